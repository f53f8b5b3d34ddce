"""Get each error in the contract's tables from outside, with a sandbox.

    python -m conformance.sandbox BASE_URL FILE ACCESS_KEY USERNAME PASSWORD

It needs a test account that nobody else uses and that has no active number, and a service that
lets password clients sign in. It prints the answers that each call got, and those that not even a
sandbox gives (``UNREACHABLE``). Exit status 1: it did not get an answer that it should have got.
"""

import json
import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from conformance import goldens
from conformance.wire import JSON, Request, Wire

OPT_IN, VERIFY, OPT_OUT = "opt-in-to-2fa", "verify-2fa-opt-in", "opt-out-from-2fa"
TOKEN = "token"  # noqa: S105 - the name of a call
OK = "ok"

_CALLS = {"opt-in": OPT_IN, "verify": VERIFY, "opt-out": OPT_OUT}

ENDINGS = {number[-2:]: (_CALLS[call], code) for number, (call, code) in goldens.SANDBOX.items()}
"""The call that an ending is for, and the code of its answer."""

_USUAL = ("0491 570 006", "0491 575 254", "0491 570 156", "0491 570 157", "0491 570 158")
NUMBERS = {
    number[-2:]: f"+61{number[1:].replace(' ', '')}" for number in (*goldens.SANDBOX, *_USUAL)
}
"""A number for fiction with each ending that is used here."""

_OF_EVERY_CALL = {
    *("invalid_request", "not_authenticated", "invalid_token", "insufficient_scope"),
    *("file_access_denied", "not_found", "method_not_allowed", "too_large"),
    "unsupported_media_type",
}

ROWS: dict[str, set[str]] = {
    VERIFY: _OF_EVERY_CALL
    | {OK, "otp_incorrect", "otp_expired", "otp_exhausted", "factor_disabled", "already_verified"}
    | {"mobile_number_in_use", "internal_error", "locked", "throttled", "unavailable"},
    OPT_IN: {OK, "mobile_number_invalid", "region_not_allowed", "send_limit", "already_opted_in"}
    | {"factor_disabled", "locked", "throttled", "internal_error", "unavailable"},
    OPT_OUT: {OK, "2fa_code_required", "not_opted_in", "otp_incorrect", "otp_expired"}
    | {"otp_exhausted", "locked", "factor_disabled", "send_limit", "throttled", "internal_error"}
    | {"unavailable"},
    TOKEN: {OK, "invalid_request", "invalid_grant", "invalid_scope", "unsupported_grant_type"}
    | {"invalid_client", "2fa_code_required", "temporarily_unavailable"},
}
"""The answers of each call: docs/contract.md, sections 3 and 4."""

UNREACHABLE: dict[str, dict[str, str]] = {
    TOKEN: {
        "unauthorized_client": "the operator switches password clients off",
        "server_error": "a fault of the service",
        "temporarily_unavailable (503)": "the database cannot be written",
    }
}
"""What not even a sandbox gives: the calls by password know no number."""


@dataclass
class Person:
    """A test account, and what its calls were answered."""

    base_url: str
    file: int
    access_key: str
    username: str
    password: str
    reached: dict[str, set[str]] = field(default_factory=dict)

    def send(
        self, name: str, body: Any = None, *, method: str = "POST", path: str = "",
        query: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None,
    ) -> str:  # fmt: skip
        """Send one call, and return the code of its answer: ``OK`` of a 200."""
        own = {"FileId": self.file, "WsAccessKey": self.access_key}
        asked = "" if name == TOKEN else f"?{urlencode(own if query is None else query)}"
        where = path or (f"/authorisation/{name}" if name == TOKEN else f"/User/{name}")
        sent = {"Content-Type": JSON, "Accept": JSON, **(headers or {})}
        raw = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        answer = Wire(self.base_url).send(Request(method, where + asked, sent, raw))
        self.answer = answer.data
        code = OK if answer.status == 200 else answer.code
        self.reached.setdefault(name, set()).add(code)
        return code

    def opt_in(self, ending: str) -> str:
        code = self.send(OPT_IN, {"MobileNumber": NUMBERS[ending]})
        if code == OK:
            self.id = self.answer["ProviderUserId"]
        return code

    def verify(self, otp: str) -> str:
        return self.send(VERIFY, {"ProviderUserId": self.id, "Otp": otp})

    def opt_out(self, otp: str = "") -> str:
        return self.send(OPT_OUT, {"Otp": otp})

    def token(self, **more: str) -> str:
        named = {"username": self.username, "password": self.password}
        return self.send(TOKEN, {"grant_type": "password", **named, **more})

    def code(self, ending: str) -> str:
        """Return the code of the newest text to the number."""
        asked = urlencode({"FileId": self.file, "WsAccessKey": self.access_key})
        answer = Wire(self.base_url).send(Request("GET", f"/sandbox/texts?{asked}"))
        body = next(t["Body"] for t in answer.get("Texts") if t["To"] == NUMBERS[ending])
        found = re.match(r"[0-9]+", body)
        assert found, body
        return found[0]

    def turn_off(self, ending: str) -> None:
        """Release the number by another code, once the wait for that is over."""
        before = self.code(ending)
        until = time.monotonic() + 40
        while self.opt_out() and self.code(ending) == before and time.monotonic() < until:
            time.sleep(1)
        self.opt_out(self.code(ending))

    def wrong(self, ending: str) -> str:
        code = self.code(ending)
        return f"{(int(code) + 1) % 10 ** len(code):0{len(code)}d}"


def malformed(person: Person) -> None:
    """What is refused before the operation."""
    with_file = {"FileId": person.file}
    person.token(scope="view")
    narrow = {"Authorization": f"Bearer {person.answer['access_token']}"}
    person.send(VERIFY, {"Otp": "1"})
    person.send(VERIFY, query=with_file)
    person.send(VERIFY, query=with_file | {"WsAccessKey": "none"})
    person.send(VERIFY, query=with_file, headers=narrow)
    person.send(VERIFY, query={"FileId": 2147483647, "WsAccessKey": person.access_key})
    person.send(VERIFY, path="/User/nothing")
    person.send(VERIFY, method="PUT")
    person.send(VERIFY, b" " * 20_000)
    person.send(VERIFY, b"Otp=1", headers={"Content-Type": "text/plain"})


def refused(person: Person) -> None:
    """What an opt-in or its code is refused for."""
    person.send(OPT_IN, {"MobileNumber": "0499 999 999"})
    for ending, (call, code) in ENDINGS.items():
        if call == OPT_IN and code not in {"locked", "factor_disabled"}:
            person.opt_in(ending)
        if call == VERIFY:
            person.opt_in(ending)
            person.verify(person.code(ending))
    person.opt_out()
    person.opt_in("58")
    for _ in range(6):
        person.verify(person.wrong("58"))


def barred(person: Person) -> None:
    """A lock and a disabling, which the next opt-in ends."""
    for ending in ("04", "32"):
        person.opt_in(ending)
        person.verify("0" * len(person.code("58")))
        person.opt_out()


def turned_on(person: Person) -> None:
    """A number is active, and then not any more."""
    person.opt_in("06")
    code = person.code("06")
    person.verify(code)
    person.verify(code)
    person.opt_in("56")
    person.token()
    person.token(verification_code=person.wrong("06"))
    person.token(verification_code=person.code("06"))
    person.opt_in("04")
    person.token()
    person.opt_in("56")
    person.opt_out()
    person.opt_out(person.wrong("06"))
    person.opt_out(person.code("06"))


def turned_off_in_vain(person: Person) -> None:
    """The code of an opt-out expires."""
    person.opt_in("12")
    person.verify(person.code("12"))
    person.opt_out()
    person.opt_out(person.code("12"))
    person.turn_off("12")


def turned_off_late(person: Person) -> None:
    """The code of an opt-out has no tries left."""
    person.opt_in("57")
    person.verify(person.code("57"))
    person.opt_out()
    for _ in range(6):
        person.opt_out(person.wrong("57"))
    person.turn_off("57")


def turned_off_at_first_in_vain(person: Person) -> None:
    """What an opt-out answers at first."""
    for ending, (call, code) in ENDINGS.items():
        if call == OPT_OUT and code != "otp_expired":
            person.opt_in(ending)
            person.verify(person.code(ending))
            verified = time.monotonic()
            person.opt_out()
            time.sleep(max(0, verified + goldens.OPT_OUT_FAILS_FOR - time.monotonic()))
            person.opt_in("06")  # ends a lock
            person.turn_off(ending)


def tokens(person: Person) -> None:
    person.send(TOKEN, {"grant_type": "password"})
    person.token(password="wrong")  # noqa: S106
    person.token(scope="everything")
    person.send(TOKEN, {"grant_type": "other"})
    person.send(TOKEN, headers={"Authorization": "Basic x"})


STEPS: tuple[Callable[[Person], None], ...] = (
    malformed, tokens, refused, barred, turned_on, turned_off_in_vain, turned_off_late,
    turned_off_at_first_in_vain,
)  # fmt: skip


def missing(person: Person) -> dict[str, set[str]]:
    """Return the rows that no answer had, by their call."""
    left = {call: codes - person.reached.get(call, set()) for call, codes in ROWS.items()}
    return {call: codes for call, codes in left.items() if codes}


def main(arguments: list[str]) -> int:
    base_url, file, access_key, username, password = arguments
    person = Person(base_url.rstrip("/"), int(file), access_key, username, password)
    for step in STEPS:
        step(person)
    for call, codes in person.reached.items():
        print(f"{call}: {', '.join(sorted(codes))}")
    for call, whys in UNREACHABLE.items():
        for code, why in whys.items():
            print(f"{call}: {code} cannot be reached: {why}")
    left = missing(person)
    for call, codes in left.items():
        print(f"{call}: not reached: {', '.join(sorted(codes))}")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
