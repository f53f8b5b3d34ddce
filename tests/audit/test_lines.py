"""Events as lines of JSON: in the log after the commit, and by ``manage audit export``."""

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction

from optin.models import AuditEvent
from tests.kit.logs import Lines, lines
from tests.kit.tamper import record

pytestmark = pytest.mark.django_db(transaction=True, reset_sequences=True)


@pytest.fixture
def log() -> Any:
    yield from lines("json")


def exported(*arguments: str) -> list[dict[str, Any]]:
    out = StringIO()
    call_command("audit", "export", *arguments, stdout=out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_each_committed_event_is_one_line(log: Lines) -> None:
    event = record()
    with transaction.atomic():
        record()
        transaction.set_rollback(True)

    (line,) = (line for line in log.all if "audit" in line)
    assert (line["logger"], line["event"]) == ("optin.audit", "audit event")
    assert line["audit"]["id"] == event.pk
    assert line["audit"]["digest"] == event.digest
    assert not {"reason", "data", "user_agent", "number_digest"} & line["audit"].keys()


def test_the_export_fills_a_gap_with_the_same_lines(log: Lines) -> None:
    events = [record() for _ in range(3)]
    logged = [line["audit"] for line in log.all if "audit" in line]
    assert exported("--after", str(events[0].pk)) == logged[1:]
    assert exported() == logged
    assert exported("--after", str(AuditEvent.objects.latest("pk").pk)) == []
