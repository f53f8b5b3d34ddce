"""What arrived of the audit stream: the events and the seals, line by line."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from optin.models import AuditEvent, AuditSeal
from optin.operations import audit_stream


def write() -> int:
    """Write what is due, which works; return how many lines."""
    written = audit_stream.write_due(seconds=30)
    assert not written.fault
    return written.lines


@dataclass(frozen=True)
class Arrived:
    """Lines, each of which is whole JSON."""

    lines: Sequence[dict[str, Any]]

    @classmethod
    def of(cls, *texts: str) -> "Arrived":
        for text in texts:
            assert text == "" or text.endswith("\n")
        return cls([json.loads(line) for text in texts for line in text.splitlines()])

    @classmethod
    def at(cls, *paths: Path) -> "Arrived":
        return cls.of(*(path.read_text("ascii") for path in paths))

    @property
    def events(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["metadata"]["log_name"] == "audit"]

    @property
    def ids(self) -> list[int]:
        return [line["unmapped"]["id"] for line in self.events]

    @property
    def seals(self) -> list[AuditSeal]:
        lines = [line for line in self.lines if line["metadata"]["log_name"] == "seals"]
        return [one for line in lines if (one := AuditSeal.from_line(line["raw_data"]))]


def ids_in_trail() -> list[int]:
    return list(AuditEvent.objects.order_by("pk").values_list("pk", flat=True))


def event_of(line: dict[str, Any]) -> AuditEvent:
    """Return the event that a line tells of, as it was in the trail, if nothing is masked."""
    own = dict(line["unmapped"])
    assert "masked" not in own
    return AuditEvent(**own | {"at": datetime.fromisoformat(own["at"])})
