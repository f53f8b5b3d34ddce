"""What the service of today does with the database that it is given; prints it as JSON.

A process of its own: that of the tests has another database.
"""

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import django
import time_machine

django.setup()

from django.conf import settings  # noqa: E402
from django.test import Client  # noqa: E402
from django.utils import timezone  # noqa: E402

from optin.audit import integrity, seals  # noqa: E402
from optin.messaging import delivery  # noqa: E402
from optin.models import (  # noqa: E402
    AuditEvent,
    File,
    PendingOtp,
    ProviderUser,
    Purpose,
    User,
)
from optin.operations import challenges, opt_ins  # noqa: E402
from optin.origin import Face, Origin  # noqa: E402

A_MINUTE_LATER = datetime(2026, 11, 2, 12, 1, tzinfo=UTC)
ORIGIN = Origin(Face.COMMAND)
VERIFY = "/User/verify-2fa-opt-in?FileId=777&WsAccessKey=ann-key-of-the-first-database-0000000000"


def verify(code: str) -> str:
    """Check a code of ann's opt-in over HTTP, with the access key of the first day."""
    body = json.dumps({"ProviderUserId": 1, "Otp": code})
    answer = Client().post(VERIFY, body, "application/json", headers={"host": "127.0.0.1"})
    return "ok" if answer.status_code == 200 else answer.json()["_links"][-1]["title"]


def texts(*before: str) -> list[str]:
    """To whom a text left, and whether with one of the codes of *before*."""
    lines = (Path(settings.DATA_DIR) / "sms.jsonl").read_text().splitlines()
    told = {True: "the code of before", False: "another code"}
    sent = map(json.loads, lines)
    return [f"{text['to']} {told[text['body'].startswith(before)]}" for text in sent]


def today(ann_code: str, ben_code: str) -> dict[str, Any]:
    ann, ben = User.objects.order_by("pk")
    file = File.objects.get()
    found: dict[str, Any] = {
        "trail": [event.content_digest() == event.digest for event in AuditEvent.objects.all()],
        "numbers": [row.open_number() for row in ProviderUser.objects.order_by("pk")],
        "resend": opt_ins.opt_in(ann, file, "0491 570 156", origin=ORIGIN).outcome,
        "wrong": verify("0000000"),
    }
    ann.refresh_from_db()
    found["failures"] = ann.failures
    found["tries"] = PendingOtp.objects.get(provider_user__user=ann).tries
    found["right"] = verify(ann_code)
    found["again"] = verify(ann_code)
    found["sign in"] = challenges.check(ben, Purpose.SIGN_IN, ben_code, origin=ORIGIN).outcome
    found["opt out"] = challenges.challenge(ben, Purpose.OPT_OUT, origin=ORIGIN).outcome
    found["texts"] = texts(ann_code, ben_code)
    found["check"] = check(timezone.now() + timedelta(minutes=6))
    return found


def check(now: datetime) -> list[str]:
    """What is wrong with the trail, before and after its events are sealed at *now*."""
    found = list(integrity.verify(now, integrity.Tally()))
    assert seals.seal(now) == 1
    found += integrity.verify(now, integrity.Tally())
    return [finding.text for finding in found]


if __name__ == "__main__":
    with time_machine.travel(A_MINUTE_LATER, tick=False):
        found = today(*sys.argv[1:])
    delivery.postman.wait()  # its mails are printed, too
    print(json.dumps(found))
