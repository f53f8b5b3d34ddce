"""Send the events of files to their endpoints, signed as Standard Webhooks says.

``send_due`` first gives the new events their numbers in the sequences of their files. Then a few
threads send: each takes the endpoint that has waited longest, and sends it one event. So no
endpoint gets two at once, and a slow one holds up one thread. If an attempt fails, the endpoint
waits, and all its later events with it: they arrive in their order, each at least once.
"""

import json
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, connections, transaction
from django.utils import timezone
from standardwebhooks.webhooks import Webhook

from optin import keys
from optin.gateways import SmsError, call
from optin.limits import alarms
from optin.models import AuditEvent, File, WebhookEndpoint, WebhookEvent, WebhookTry
from optin.models.webhooks import ANSWER_KEPT
from optin.origin import Face, Origin
from optin.runtime import outside

PATIENCE = 5.0
"""Seconds for one attempt, from resolving the name to the end of the answer."""

WAITS = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
)
"""After each failure in a row, as Standard Webhooks proposes: the tenth is three days after the
first. Then the endpoint is switched off."""

THREADS = 8
CHUNK = 500
"""Events that get their numbers in one transaction."""

_LOCK = 0x6F7074696E77  # of the database: only one process gives numbers
_EXCERPT = 4 * ANSWER_KEPT  # bytes: UTF-8 has up to four for a character
_ORIGIN = Origin(Face.COMMAND, client="webhooks")

Off = WebhookEndpoint.Off


def trust() -> ssl.SSLContext:
    """Return what decides whose certificates of endpoints are believed."""
    return call.public_trust()


def send_due(seconds: float) -> int:
    """Send what is due; begin no attempt after *seconds*. Return how many succeeded.

    Any number of processes may do this at once. Call it outside a transaction.
    """
    ends = time.monotonic() + seconds
    while give_numbers() == CHUNK:
        pass
    due = WebhookEndpoint.objects.due(timezone.now()).count()
    if not due:
        return 0
    threads = min(THREADS, due)
    with ThreadPoolExecutor(threads, thread_name_prefix="webhooks") as pool:
        return sum(pool.map(_send_until, [ends] * threads))


def _send_until(ends: float) -> int:
    sent = 0
    try:
        while time.monotonic() < ends:
            with transaction.atomic(durable=True):
                endpoint = WebhookEndpoint.objects.claim(timezone.now())
            if endpoint is None:
                break
            sent += send_one(endpoint)
    finally:
        connections.close_all()
    return sent


# -- the sequence of a file --------------------------------------------------------


def give_numbers() -> int:
    """Give new events the next numbers of their files; return how many got one.

    Without gaps, and never before an event of a transaction that is still open.
    """
    with transaction.atomic(durable=True):
        if not _is_alone():
            return 0
        new = list(WebhookEvent.objects.without_sequence()[:CHUNK])
        last = File.objects.in_bulk({event.file_id for event in new})
        for event in new:
            last[event.file_id].webhook_sequence += 1
            event.sequence = last[event.file_id].webhook_sequence
        WebhookEvent.objects.bulk_update(new, ["sequence"])
        File.objects.bulk_update(last.values(), ["webhook_sequence"])
    return len(new)


def _is_alone() -> bool:
    """Take the lock of whoever gives numbers, until the transaction ends, if nobody has it."""
    if connection.vendor != "postgresql":
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK])
        (taken,) = cursor.fetchone()
    return bool(taken)


# -- one attempt -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an attempt."""

    status: int = 0  # 0: there was no answer
    text: str = ""  # its beginning
    reason: str = ""  # why there was none

    @property
    def is_good(self) -> bool:
        return 200 <= self.status < 300


def send_one(endpoint: WebhookEndpoint) -> bool:
    """Send the next event of the *endpoint*, which this process claimed; return whether it arrived.

    Call it outside a transaction: it waits for the network.
    """
    event = endpoint.next_event()
    if event is None:
        endpoint.finish()
        return False
    # Back to the pool for as long as the network takes: the texts of this worker need it too.
    connection.close()
    at, began = timezone.now(), time.monotonic()
    try:
        answer = _post(endpoint.url, *signed(event, endpoint.secrets_at(at), at))
    except keys.UndecryptableError:
        answer = Answer(reason="the key of the secret is not in OPTIN_KEYS")
    made = WebhookTry(
        endpoint=endpoint,
        message_id=event.message_id,
        kind=event.kind,
        sequence=event.sequence,
        at=at,
        status=answer.status,
        milliseconds=round((time.monotonic() - began) * 1000),
        answer=answer.text,
        reason=answer.reason[:200],
    )
    with transaction.atomic(durable=True):
        # It may be removed by now.
        if WebhookEndpoint.objects.select_for_update(no_key=True).filter(pk=endpoint.pk).first():
            made.save()
            _finish(endpoint, event, answer)
    return answer.is_good


def signed(event: WebhookEvent, secrets: list[str], at: datetime) -> tuple[dict[str, str], bytes]:
    """Return the headers and the body of *event*, sent at *at*, signed with each of *secrets*."""
    body = json.dumps(event.body(), separators=(",", ":"))
    signatures = (Webhook(secret).sign(event.message_id, at, body) for secret in secrets)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "optin",
        "webhook-id": event.message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
    return headers, body.encode()


def _post(url: str, headers: dict[str, str], body: bytes) -> Answer:
    # Again, because the setting of ports may have changed.
    if fault := outside.fault(url):
        return Answer(reason=fault)
    refused: list[str] = []

    def dial(host: str, port: int, patience: float) -> socket.socket:
        try:
            return outside.dial(host, port, patience)
        except (outside.NotPublic, outside.Unresolved) as exc:
            refused.append(str(exc))
            raise

    post = call.Call(
        url,
        headers,
        body,
        reads=True,
        patience=PATIENCE,
        excerpt=_EXCERPT,
        dial=dial,
        context=trust(),
        whom="the endpoint",
    )
    try:
        status, answer = post.run()
    except SmsError as exc:
        return Answer(reason=refused[0] if refused else str(exc))
    # PostgreSQL keeps no NUL.
    text = answer.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
    return Answer(status, text[:ANSWER_KEPT])


def _finish(endpoint: WebhookEndpoint, event: WebhookEvent, answer: Answer) -> None:
    """Record what became of *event* with the *endpoint*, and give it back, in the transaction."""
    now = timezone.now()
    is_test = event.sequence is None
    if is_test:
        event.delete()  # it has one attempt
    if answer.is_good:
        cursor = endpoint.cursor if event.sequence is None else event.sequence
        endpoint.finish(cursor=cursor, failures=0, due_at=now)
    elif is_test:
        endpoint.finish()
    elif endpoint.failures < len(WAITS):
        wait = WAITS[endpoint.failures]
        endpoint.finish(failures=endpoint.failures + 1, due_at=now + wait)
    elif endpoint.finish(failures=0, off_at=now, off_why=Off.FAILING):
        _tell_off(endpoint, now)


def _tell_off(endpoint: WebhookEndpoint, now: datetime) -> None:
    alarms.sound(alarms.WEBHOOK, file=endpoint.file_id, endpoint=endpoint.pk)
    AuditEvent.objects.record(
        AuditEvent.Kind.WEBHOOK,
        "failing",
        now=now,
        origin=_ORIGIN,
        user_id=None,
        file_id=endpoint.file_id,
        data={"endpoint": endpoint.pk},
    )
