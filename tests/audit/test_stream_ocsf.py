"""Each line is an event of OCSF 1.2.0, in a class that fits, with what the class requires."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from django.utils import timezone

from optin.audit import seals
from optin.models import AuditEvent
from optin.origin import Face, Origin
from optin.outcomes import CodeOutcome, SignInOutcome, StaffOutcome
from tests.audit.streamed import Arrived, write
from tests.kit.tamper import record_many
from tests.kit.trail import FULL_ORIGIN, tell

pytestmark = pytest.mark.django_db(transaction=True)

Kind = AuditEvent.Kind
SCHEMA = json.loads((Path(__file__).parent / "ocsf.json").read_text())


def told(stream: Path, kind: Kind, outcome: str, **facts: Any) -> dict[str, Any]:
    """Return the line of such an event, which is as OCSF has it."""
    tell(kind, outcome, **{"origin": Origin(Face.API), **facts})
    write()
    line = Arrived.at(stream).lines[-1]
    assert is_valid(line)
    assert line["type_uid"] == 100 * line["class_uid"] + line["activity_id"]
    return line


def is_valid(line: dict[str, Any]) -> bool:
    checker = jsonschema.FormatChecker(["ipv4", "ipv6"])
    jsonschema.Draft202012Validator(SCHEMA, format_checker=checker).validate(line)
    return True


def test_each_kind_has_a_class(stream: Path) -> None:
    """Whatever is known: a person, an address, a file; or nothing."""
    for kind in Kind:
        bare = told(stream, kind, "ok")
        full = told(stream, kind, "made", user_id=7, file_id=777, origin=FULL_ORIGIN)
        assert bare["class_uid"] == full["class_uid"] != 0
        assert full["src_endpoint"] == {"ip": "2001:db8::1"}
        assert full["actor"] == {"app_name": "web", "app_uid": "app:3", "user": {"uid": "7"}}
        assert full["metadata"]["correlation_uid"] == "a" * 32


@pytest.mark.parametrize(
    ("kind", "outcome", "type_uid", "status_id"),
    [
        (Kind.SIGN_IN, SignInOutcome.SIGNED_IN, 300201, 1),
        (Kind.CHECK, CodeOutcome.OTP_INCORRECT, 300201, 2),
        (Kind.VERIFY_OPT_IN, CodeOutcome.OTP_INCORRECT, 300199, 2),
        (Kind.OPT_IN, "withheld", 300199, 2),
        (Kind.REVOKE, StaffOutcome.OK, 300111, 1),
        (Kind.ACCESS, "file_access_denied", 600399, 2),
    ],
)
def test_what_a_rule_of_a_siem_looks_for(
    stream: Path, kind: Kind, outcome: str, type_uid: int, status_id: int
) -> None:
    line = told(stream, kind, outcome, user_id=7)
    assert (line["type_uid"], line["status_id"]) == (type_uid, status_id)
    assert (line["metadata"]["event_code"], line["status_code"]) == (kind, outcome)


def test_a_lock_is_of_medium_severity(stream: Path) -> None:
    locked = {"locked_until": timezone.now().isoformat()}
    assert told(stream, Kind.CHECK, "otp_incorrect", data=locked)["severity_id"] == 3
    assert told(stream, Kind.CHECK, "ok", data={"try": 1})["severity_id"] == 1


def test_a_seal_is_an_event_too(stream: Path) -> None:
    record_many(2)
    seals.seal(timezone.now())
    write()
    line = Arrived.at(stream).lines[-1]
    assert is_valid(line)
    assert (line["class_uid"], line["metadata"]["uid"]) == (0, "seal:1")
