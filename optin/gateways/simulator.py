"""The gateway of a development start: a file that stands for the phone.

Each message is one JSON object on a line of ``sms.jsonl`` in the data directory:
``at`` (ISO 8601, UTC), ``to`` (E.164), ``body``, ``reference``. The file has mode
0600: it holds codes.
"""

import json
import os
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from django.conf import settings

from optin.gateways.protocol import Callback, Forged, Receipt, SmsError, Text

FILE_NAME = "sms.jsonl"


@dataclass(frozen=True, slots=True)
class Arrived:
    """One message as it lies on the simulated phone."""

    at: datetime
    to: str
    body: str
    reference: str


class Simulator:
    name = "simulator"
    regions: tuple[str, ...] = ()
    price = Decimal(0)

    def __init__(self, folder: Path | None = None) -> None:
        self.path: Path = (folder or settings.DATA_DIR) / FILE_NAME

    def send(self, text: Text) -> str:
        """Append the message; see ``gateways.Gateway.send``."""
        entry = {
            "at": datetime.now(UTC).isoformat(),
            "to": text.to,
            "body": text.body,
            "reference": text.reference,
        }
        # One write to a file opened for appending: lines of parallel senders stay whole.
        line = json.dumps(entry) + "\n"
        try:
            file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(file, "ab", buffering=0) as phone:
                phone.write(line.encode())
        except OSError as exc:
            raise SmsError(f"the simulator cannot write: {exc.strerror}") from exc
        return text.reference

    def receipt(self, callback: Callback) -> Receipt:
        """The simulated phone reports nothing."""
        raise Forged

    def latest(self, limit: int) -> list[Arrived]:
        """Return the newest *limit* messages, newest first."""
        try:
            with self.path.open(encoding="utf-8") as file:
                lines = deque(file, maxlen=limit)
        except FileNotFoundError:
            return []
        entries = [json.loads(line) for line in reversed(lines)]
        return [
            Arrived(datetime.fromisoformat(e["at"]), e["to"], e["body"], e["reference"])
            for e in entries
        ]
