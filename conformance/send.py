"""A sender of webhooks, to try a receiver: with events that it must take, and must refuse."""

import base64
import http.client
import json
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from conformance import report, signing
from conformance.wire import JSON, Request, Wire

_OLD = 2 * signing.TOLERANCE  # seconds


@dataclass(frozen=True)
class Sample:
    """A request, and whether a receiver must take it."""

    name: str
    is_good: bool
    headers: Mapping[str, str]
    body: bytes


def samples(secret: str, now: int) -> Iterator[Sample]:
    """Yield what a receiver with *secret* is tried with at *now*."""
    other = f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
    plain = _body(1)
    headers = _headers(plain, now, secret)

    def changed(**to: str) -> dict[str, str]:
        return headers | {f"webhook-{name}": value for name, value in to.items()}

    def good(name: str, body: bytes, *signers: str) -> Sample:
        return Sample(name, True, _headers(body, now, *(signers or [secret])), body)

    def bad(name: str, headers: Mapping[str, str], body: bytes = plain) -> Sample:
        return Sample(name, False, headers, body)

    mine = headers["webhook-signature"]
    unsigned = {name: headers[name] for name in headers if name != "webhook-signature"}
    yield Sample("An event", True, headers, plain)
    yield Sample("The same event again", True, headers, plain)
    pretty = _body(2, Reference="Zoë \N{BOOKS}")
    yield good("Spaces, and letters that are not ASCII", pretty)
    yield good("An unknown type and an unknown property", _body(3, "number.seen", Colour="red"))
    yield good("A person who was erased", _body(4, ProviderUserId=None, Reference=""))
    test = _body(None, "endpoint.test", ProviderUserId=None, Reason="", Reference="")
    yield good("A test, which has no Sequence", test)
    yield good("Two signatures: a new secret, and this one", _body(5), other, secret)
    yield good("Two signatures: this secret, and an old one", _body(6), secret, other)
    yield bad("Signed with another secret", _headers(plain, now, other))
    yield bad("A body that changed after it was signed", headers, plain.replace(b"777", b"778"))
    yield bad("A webhook-id that changed", changed(id="msg_other"))
    yield bad("A webhook-timestamp that changed", changed(timestamp=str(now - 1)))
    yield bad("Signed 10 minutes ago", _headers(plain, now - _OLD, secret))
    yield bad("Signed for 10 minutes from now", _headers(plain, now + _OLD, secret))
    yield bad("No signature", unsigned)
    yield bad("A signature without its version", changed(signature=mine.removeprefix("v1,")))
    yield bad("The beginning of the signature", changed(signature=mine[:10]))
    yield bad("No event", {"Content-Type": JSON}, b"{")


def _body(sequence: int | None, kind: str = "number.activated", **more: Any) -> bytes:
    """Return an event; with spaces, and letters as they are, as JSON may have them."""
    data = {"FileId": 777, "ProviderUserId": 1, "Sequence": sequence, "Reason": "verified"}
    data |= {"Reference": "customer-4711", **more}
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    event = {"type": kind, "timestamp": at, "data": data}
    return json.dumps(event, ensure_ascii=False).encode()


def _headers(body: bytes, at: int, *signers: str) -> dict[str, str]:
    message_id = f"msg_{secrets.token_hex(16)}"
    signatures = [signing.signature(each, message_id, str(at), body) for each in signers]
    return {
        "Content-Type": JSON,
        "webhook-id": message_id,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(signatures),
    }


def send(url: str, secret: str, junit: Path | None) -> int:
    """Send each sample to *url*, and print what came of it; return 1 if one was not as it must be.

    :raises OSError: if nobody answers there.
    :raises ValueError: if *url* is no address, or the secret is none.
    """
    parts = urlsplit(url)
    wire = Wire(f"{parts.scheme}://{parts.netloc}")
    target = parts._replace(scheme="", netloc="", path=parts.path or "/", fragment="").geturl()
    cases, events = [], set()
    for sample in samples(secret, int(time.time())):
        if sample.is_good:
            events.add(sample.body)
        began = time.monotonic()
        answer = _status(wire, Request("POST", target, sample.headers, sample.body))
        seconds = time.monotonic() - began
        fault = _fault(sample, answer, seconds)
        cases.append(report.Case("send", sample.name, seconds, failure=fault))
        print(f"{'FAILED' if fault else 'passed'}  {sample.name:<44} {fault or answer}", flush=True)
    failed = sum(bool(case.failure) for case in cases)
    print(f"\n{len(cases)} requests: {failed} failed.")
    print(f"The receiver must have handled {len(events)} events, and none twice.")
    return report.end(cases, junit)


def _status(wire: Wire, request: Request) -> int:
    """Return the status of the answer; 0 if the receiver hung up or said something else."""
    try:
        return wire.send(request).status
    except (ConnectionResetError, TimeoutError, http.client.HTTPException):
        return 0


def _fault(sample: Sample, status: int, seconds: float) -> str:
    must = "2xx" if sample.is_good else "4xx"
    if seconds > signing.PATIENCE:
        return f"The answer took {seconds:.0f} seconds: {signing.PATIENCE} are allowed."
    if not status:
        return f"There was no answer: it must be {must}."
    return "" if str(status)[0] == must[0] else f"The answer was {status}: it must be {must}."
