"""Get each error in the contract's tables from outside, with a sandbox.

    python -m conformance.sandbox BASE_URL FILE ACCESS_KEY USERNAME PASSWORD

It needs a test account that nobody else uses and that has no active number, and a service that
lets password clients sign in. It prints the answers that each call got, and those that not even a
sandbox gives (``UNREACHABLE``). Exit status 1: it did not get an answer that it should have got.
"""

import re
import sys
import time
from collections.abc import Callable

from conformance import goldens
from conformance.options import Options
from conformance.session import Session
from conformance.wire import Answer

OK = "ok"

ENDINGS = {number[-2:]: asked for number, asked in goldens.SANDBOX.items()}
"""The call that an ending is for, and the code of its answer."""

_USUAL = ("0491 570 006", "0491 575 254", "0491 570 156", "0491 570 157", "0491 570 158")
NUMBERS = {
    number[-2:]: f"+61{number[1:].replace(' ', '')}" for number in (*goldens.SANDBOX, *_USUAL)
}
"""A number for fiction with each ending that is used here."""

ROWS: dict[str, set[str]] = {
    "verify": {
        *("invalid_request", "not_authenticated", "invalid_token", "insufficient_scope"),
        *("file_access_denied", "not_found", "method_not_allowed", "too_large"),
        *("unsupported_media_type", OK, "otp_incorrect", "otp_expired", "otp_exhausted"),
        *("factor_disabled", "already_verified", "mobile_number_in_use", "internal_error"),
        *("locked", "throttled", "unavailable"),
    },
    "opt-in": {
        *(OK, "mobile_number_invalid", "region_not_allowed", "send_limit", "already_opted_in"),
        *("factor_disabled", "locked", "throttled", "internal_error", "unavailable"),
    },
    "opt-out": {
        *(OK, "2fa_code_required", "not_opted_in", "otp_incorrect", "otp_expired"),
        *("otp_exhausted", "locked", "factor_disabled", "send_limit", "throttled"),
        *("internal_error", "unavailable"),
    },
    "token": {
        *(OK, "invalid_request", "invalid_grant", "invalid_scope", "unsupported_grant_type"),
        *("invalid_client", "2fa_code_required", "temporarily_unavailable"),
    },
}
"""The answers of each call: docs/contract.md, sections 3 and 4. What every call can answer is only
under ``verify``."""

UNREACHABLE = {
    "unauthorized_client": "the operator switches password clients off",
    "server_error": "a fault of the service",
    "temporarily_unavailable (503)": "the database cannot be written",
}
"""What not even a sandbox gives of ``token``: the calls by password know no number."""


class Person(Session):
    """A test account. It repeats no call that is throttled, because it wants that answer too."""

    def opt_in(self, ending: str) -> str:
        answer = self.call("opt-in", {"MobileNumber": NUMBERS[ending]})
        if answer.status == 200:
            self.id = answer.get("ProviderUserId")
        return answer.code or OK

    def verify(self, otp: str) -> None:
        self.call("verify", {"ProviderUserId": self.id, "Otp": otp})

    def opt_out(self, otp: str = "") -> None:
        self.call("opt-out", {"Otp": otp})

    def sign_in(self, **more: str) -> Answer:
        return self.call("token", self.password() | more)

    def code(self, ending: str) -> str:
        """Return the code of the newest text to the number."""
        answer = self.send("GET", f"/sandbox/texts?{self.query(self.options.file)}")
        body = next(t["Body"] for t in answer.get("Texts") if t["To"] == NUMBERS[ending])
        found = re.match(r"[0-9]+", body)
        assert found, body
        return found[0]

    def turn_off(self, ending: str) -> None:
        """Release the number by another code, once the wait for that is over."""
        before = self.code(ending)
        until = time.monotonic() + 40
        self.opt_out()
        while self.code(ending) == before and time.monotonic() < until:
            time.sleep(1)
            self.opt_out()
        self.opt_out(self.code(ending))

    def wrong(self, ending: str) -> str:
        code = self.code(ending)
        return f"{(int(code) + 1) % 10 ** len(code):0{len(code)}d}"

    def missing(self) -> dict[str, set[str]]:
        """Return the rows that no answer had, by their call."""
        got = {(call or "verify", each.code or OK) for call, each in self.api_answers()}
        left = {call: {c for c in codes if (call, c) not in got} for call, codes in ROWS.items()}
        return {call: codes for call, codes in left.items() if codes}


def malformed(person: Person) -> None:
    """What is refused before the operation."""
    own = f"FileId={person.options.file}"
    narrow = {"Authorization": f"Bearer {person.sign_in(scope='view').get('access_token')}"}
    person.call("verify", {"Otp": "1"})
    person.call("verify", credential="none")
    person.call("verify", query=f"{own}&WsAccessKey=none")
    person.call("verify", query=own, headers=narrow)
    person.call("verify", query=person.query(2147483647))
    person.send("POST", "/User/nothing")
    person.call("verify", method="PUT")
    person.call("verify", b" " * 20_000)
    person.call("verify", b"Otp=1", "text/plain")


def refused(person: Person) -> None:
    """What an opt-in or its code is refused for."""
    person.call("opt-in", {"MobileNumber": "0499 999 999"})
    for ending, (call, code) in ENDINGS.items():
        if call == "opt-in" and code not in {"locked", "factor_disabled"}:
            person.opt_in(ending)
        if call == "verify":
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
    person.sign_in()
    person.sign_in(verification_code=person.wrong("06"))
    person.sign_in(verification_code=person.code("06"))
    person.opt_in("04")
    person.sign_in()
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
        if call == "opt-out" and code != "otp_expired":
            person.opt_in(ending)
            person.verify(person.code(ending))
            verified = time.monotonic()
            person.opt_out()
            time.sleep(max(0, verified + goldens.OPT_OUT_FAILS_FOR - time.monotonic()))
            person.opt_in("06")  # ends a lock
            person.turn_off(ending)


def tokens(person: Person) -> None:
    """What a token is refused for."""
    person.call("token", {"grant_type": "password"})
    person.sign_in(password="wrong")  # noqa: S106
    person.sign_in(scope="everything")
    person.call("token", {"grant_type": "other"})
    person.call("token", {}, headers={"Authorization": "Basic x"})


STEPS: tuple[Callable[[Person], None], ...] = (
    malformed, tokens, refused, barred, turned_on, turned_off_in_vain, turned_off_late,
    turned_off_at_first_in_vain,
)  # fmt: skip


def main(arguments: list[str]) -> int:
    base_url, file, key, username, password = arguments
    person = Person(Options(base_url.rstrip("/"), int(file), key, username, password, max_wait=0))
    for step in STEPS:
        step(person)
    left = person.missing()
    for call, codes in ROWS.items():
        print(f"{call}: {', '.join(sorted(codes - left.get(call, set())))}")
    for code, why in UNREACHABLE.items():
        print(f"token: {code} cannot be reached: {why}")
    for call, codes in left.items():
        print(f"{call}: not reached: {', '.join(sorted(codes))}")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
