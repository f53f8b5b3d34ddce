"""What a client does before an upgrade, or after it; prints what it got as JSON.

A process of its own, in the folder of a release. It uses the contract only, which all releases
keep.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, os.getcwd())

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.test import Client  # noqa: E402

ANN, CAM = "+61491570156", "+61491570157"
PHONE = Path(settings.DATA_DIR, "sms.jsonl")
WHO = {"host": "127.0.0.1"}


class Person:
    def __init__(self, user: dict[str, Any], number: str) -> None:
        self.user, self.number = user, number

    def call(self, name: str, **body: object) -> tuple[int, dict[str, Any]]:
        """Call the API for file 777; return the status and the answer."""
        path = f"/User/{name}?FileId=777&WsAccessKey={self.user['access_keys']['777']}"
        answer = Client().post(path, body, "application/json", headers=WHO)
        return answer.status_code, answer.json() if answer.content else {}

    def opt_in(self) -> int:
        """Ask for a text; return the id of the number."""
        pk: int = self.call("opt-in-to-2fa", MobileNumber=self.number)[1]["ProviderUserId"]
        return pk

    def verify(self, pk: int, code: str) -> str:
        status, answer = self.call("verify-2fa-opt-in", ProviderUserId=pk, Otp=code)
        return "ok" if status == 200 else str(answer["_links"][-1]["title"])

    def token(self, **code: str) -> int:
        who = {"username": self.user["username"], "password": self.user["password"]}
        form = {"grant_type": "password", **who, **code}
        answer = Client().post("/authorisation/token", form, "application/json", headers=WHO)
        return answer.status_code

    def code(self, texts: int) -> str:
        """The code of the newest text, once there are *texts* of them."""
        until = time.monotonic() + 20
        while len(bodies := self._texts()) < texts and time.monotonic() < until:
            time.sleep(0.05)
        return bodies[-1].split()[0]

    def _texts(self) -> list[str]:
        lines = PHONE.read_text().splitlines() if PHONE.exists() else []
        return [text["body"] for text in map(json.loads, lines) if text["to"] == self.number]


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 10 ** len(code):0{len(code)}d}"


def before(ann: Person, cam: Person) -> dict[str, Any]:
    """Ann has one wrong try of an opt-in; cam has an active number and waits for a sign-in code."""
    pk, cams = ann.opt_in(), cam.opt_in()
    return {
        "pk": pk,
        "wrong": ann.verify(pk, wrong(ann.code(1))),
        "right": cam.verify(cams, cam.code(1)),
        "asked": cam.token(),
        "sent": bool(cam.code(2)),
    }


def after(ann: Person, cam: Person) -> dict[str, Any]:
    pk = int(os.environ["ANN_ID"])
    return {
        "wrong": ann.verify(pk, wrong(ann.code(1))),
        "right": ann.verify(pk, ann.code(1)),
        "again": ann.verify(pk, ann.code(1)),
        "sign in": cam.token(verification_code=cam.code(2)),
        "opt out": cam.call("opt-out-from-2fa", Otp="")[0],
        "leave": cam.call("opt-out-from-2fa", Otp=cam.code(3))[0],
    }


if __name__ == "__main__":
    users = json.loads(os.environ["PEOPLE"])
    act = {"before": before, "after": after}[sys.argv[1]]
    print(json.dumps(act(Person(users[0], ANN), Person(users[2], CAM))))
