"""The audit stream: each event once, in its order, with its seals; and what is in a line."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from django.core.management.base import CommandError
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from pytest_django.fixtures import Settings

from optin import keys
from optin.audit import seals
from optin.models import AuditEvent, AuditStream, File, User
from optin.operations import audit_stream, opt_ins
from optin.origin import Face, Origin
from optin.outcomes import CodeOutcome, SignInOutcome, StaffOutcome
from optin.tasks import stream_audit
from tests.audit.streamed import Arrived, event_of, ids_in_trail, write
from tests.kit.commands import run
from tests.kit.people import NUMBER, ORIGIN
from tests.kit.phone import Phone
from tests.kit.tamper import change, content_of, record, record_many
from tests.kit.tamper import run as verify_audit
from tests.kit.trail import FULL_ORIGIN, tell

pytestmark = pytest.mark.django_db(transaction=True)


# -- which events ------------------------------------------------------------------


def test_without_the_setting_nothing_is_asked_of_the_database(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    with django_assert_num_queries(0):
        stream_audit.func(timestamp=0)
    with pytest.raises(CommandError, match="OPTIN_AUDIT_STREAM is not set"):
        run("audit", "stream")


def test_it_begins_while_it_cannot_be_written(settings: Settings, tmp_path: Path) -> None:
    settings.OPTIN_AUDIT_STREAM = f"file:{tmp_path}/missing/audit.jsonl"
    assert audit_stream.write_due(seconds=1).fault
    later = record()
    (tmp_path / "missing").mkdir()
    assert write() == 1
    assert Arrived.at(tmp_path / "missing" / "audit.jsonl").ids == [later.pk]


def test_it_begins_with_the_next_event_and_writes_each_once(target: Path) -> None:
    record()
    assert write() == 0
    later = [record(), record()]
    assert [write(), write()] == [2, 0]
    later.append(record())
    stream_audit.func(timestamp=0)
    later.append(record())
    run("send_due")  # by cron
    assert Arrived.at(target).ids == [event.pk for event in later]


def test_many_events_are_several_batches(stream: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_stream, "BATCH", 3)
    record_many(10)
    assert "Wrote 10 lines." in run("audit", "stream")
    assert Arrived.at(stream).ids == ids_in_trail()


def test_it_goes_on_with_a_chosen_event(stream: Path) -> None:
    record_many(5)
    write()
    run("audit", "stream", "--from", "3")
    assert Arrived.at(stream).ids == [1, 2, 3, 4, 5, 3, 4, 5]

    record_many(2)
    run("audit", "stream", "--from", "now")
    later = record()
    write()
    assert Arrived.at(stream).ids[8:] == [later.pk]
    for first in ("tomorrow", "-1", "9" * 19):
        with pytest.raises(CommandError, match="takes the id of an event, or now"):
            run("audit", "stream", f"--from={first}")


# -- seals -------------------------------------------------------------------------


def test_a_seal_follows_its_events(stream: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is made later comes later."""
    monkeypatch.setattr(audit_stream, "BATCH", 3)
    record_many(4)
    assert write() == 4
    seals.seal(timezone.now())
    assert write() == 1
    record_many(4)
    seals.seal(timezone.now())
    record(timedelta(0))
    write()
    logs = [line["metadata"]["log_name"] for line in Arrived.at(stream).lines]
    assert "".join(log[0] for log in logs) == "aaaasaaaaas"
    assert [(one.first_id, one.last_id) for one in Arrived.at(stream).seals] == [(1, 4), (5, 8)]


def test_the_stream_alone_proves_the_trail(stream: Path) -> None:
    """With the digest key: what each event says, and that a range had these events only."""
    record_many(7)
    seals.seal(timezone.now())
    write()
    arrived = Arrived.at(stream)
    events = [event_of(line) for line in arrived.events]
    assert all(event.is_proved() for event in events)
    (one,) = arrived.seals
    content = content_of(events)
    assert (one.count, one.digest) == (content.count, content.digest())
    assert one.proof == one.own_proof()
    assert one.key_id == keys.digest_key_id()


def test_the_lines_are_copies_of_the_seals_for_verify_audit(stream: Path) -> None:
    record_many(4)
    seals.seal(timezone.now())
    write()
    status, said = verify_audit("--copies", str(stream))
    assert (status, "1 copies of seals" in said[-1]) == (0, True)

    line = stream.read_text().splitlines()[-1]
    stream.write_text(line.replace("count=4", "count=3") + "\n")
    status, said = verify_audit("--copies", str(stream))
    assert (status, said[0]) == (2, "line 1: this copy of a seal was changed")


# -- what is in a line -------------------------------------------------------------


def test_no_number_code_name_or_address_of_mail(
    stream: Path, user: User, file: File, phone: Phone
) -> None:
    answer = opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)
    assert answer
    row = user.provider_users.get()
    code = phone.code()
    opt_ins.verify_opt_in(user, file, row.pk, code, origin=ORIGIN)
    write()
    text = stream.read_text()
    assert len(Arrived.at(stream).ids) == 2
    for secret in (NUMBER, NUMBER[1:], code, user.username, user.email):
        assert f'"{secret}"' not in text
        assert NUMBER[4:] not in text
    assert '"ip":"192.0.2.1"' in text


def test_what_may_be_a_number_is_masked_as_in_the_export(stream: Path) -> None:
    asked = {"until": "2026-11-28T10:11:12+00:00", "digest": "12345678" * 8, "limit": 1_000_000_000}
    record(reason="She has 0491 570 156 now", data={**asked, "list": ["0491570156"]})
    write()
    (line,) = Arrived.at(stream).lines
    assert line["unmapped"]["reason"] == "She has •••156 now"
    assert line["unmapped"]["data"] == {**asked, "list": ["•••156"]}
    assert line["unmapped"]["masked"] is True


def test_a_row_that_was_tampered_with_holds_nothing_up(stream: Path) -> None:
    with transaction.atomic():
        odd, later = record(), record()
    change(odd, data=["no", {"facts": 1}], kind="strange", outcome="x")
    write()
    arrived = Arrived.at(stream)
    assert arrived.ids == [odd.pk, later.pk]
    assert arrived.lines[0]["class_uid"] == 0


def test_the_reader_asks_the_same_few_statements_for_any_number_of_events(stream: Path) -> None:
    def statements(count: int) -> int:
        record_many(count)
        with CaptureQueriesContext(connection) as asked:
            assert write() == count
        return len(asked)

    assert statements(2) == statements(20)


def test_a_line_is_ascii(stream: Path) -> None:
    record(reason="Zoë\u2028")
    write()
    assert stream.read_bytes().isascii()
    assert json.loads(stream.read_text())["unmapped"]["reason"] == "Zoë"
    assert AuditStream.objects.get().event == AuditEvent.objects.latest("pk").pk


# -- OCSF 1.2.0 ----------------------------------------------------------------------

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
