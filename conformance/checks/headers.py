"""Headers of requests."""

from uuid import uuid4

from conformance.registry import check
from conformance.session import Session

MALFORMED = ("", "x" * 65, "a b", "\u00e9", "a\tb")


@check
def client_reference(s: Session) -> None:
    """Client-Reference is 1 to 64 visible ASCII characters, for opt-in only. [1.1]"""
    for value, code in (
        *((value, "invalid_request") for value in MALFORMED),
        *((value, "mobile_number_invalid") for value in ("!", "~" * 64, "customer-4711")),
    ):
        headers = {"Client-Reference": value}
        s.expect(s.call("opt-in", {"MobileNumber": "hello"}, headers=headers), 400, code)
    ignored = {"Client-Reference": MALFORMED[1]}
    s.expect(s.call("ping", headers=ignored), 200)


@check
def idempotency_key(s: Session) -> None:
    """Idempotency-Key is 1 to 64 visible ASCII characters, for opt-in and opt-out only. [1.1]"""
    for value in MALFORMED:
        headers = {"Idempotency-Key": value}
        answers = (
            s.call("opt-in", {"MobileNumber": "hello"}, headers=headers),
            s.call("opt-out", {"Otp": "0" * s.options.digits}, headers=headers),
        )
        for answer in answers:
            s.expect(answer, 400, "invalid_request")
    s.expect(s.call("ping", headers={"Idempotency-Key": MALFORMED[1]}), 200)


@check
def refusals_are_not_kept(s: Session) -> None:
    """A refusal is not kept: its Idempotency-Key serves another body. [1.4]"""
    headers = {"Idempotency-Key": f"kit-{uuid4()}"}
    for number in ("hello", "0491"):
        answer = s.call("opt-in", {"MobileNumber": number}, headers=headers)
        s.expect(answer, 400, "mobile_number_invalid")
