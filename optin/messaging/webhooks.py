"""Send the events of files to their endpoints, signed as Standard Webhooks says.

``send_due`` first gives the new events their numbers in the sequences of their files. Then it takes
the endpoint that has waited longest, and a thread sends that one its next few events over one
connection, until an attempt fails. So no endpoint gets two at once. If an attempt fails, the
endpoint waits, and all its later events with it: they arrive in their order, each at least once.
Only after the tenth failure is the next event tried too. If that arrives, the first is skipped.

A slow endpoint delays others only if ``PLACES`` of them are slow at once.
"""

import json
import ssl
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone
from django.utils.http import parse_http_date_safe
from standardwebhooks.webhooks import Webhook

from optin import keys
from optin.gateways import call
from optin.limits import alarms
from optin.messaging import delivery
from optin.models import AuditEvent, File, Notice, User, WebhookEndpoint, WebhookEvent, WebhookTry
from optin.models.webhooks import ANSWER_KEPT
from optin.origin import Face, Origin
from optin.runtime import locks, outside
from optin.runtime.lines import Line, NoAnswer

PATIENCE = 5.0
"""Seconds for one attempt, from resolving the name to the end of the answer."""

WAITS = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
)
"""After each failure in a row, as Standard Webhooks proposes: the tenth is three days after the
first. A ``Retry-After`` can make each longer, up to the last one."""

PLACES = 40
"""Endpoints to which a call of ``send_due`` sends at once."""

AT_ONCE = 20
"""Events that an endpoint gets over one connection. If the sender dies, it gets them again."""

TALK = 0.5
"""Seconds after which no more are begun over a connection: others wait."""

CHUNK = 500
"""Events that get their numbers in one transaction."""

_NUMBER = "UPDATE optin_webhookevent SET sequence = %s WHERE id = %s"
_PAUSE = 0.25  # seconds, after which there may be something new to do
_LOCK = 0x6F7074696E77  # of the database: only one process gives numbers
_EXCERPT = 4 * ANSWER_KEPT  # bytes: UTF-8 has up to four for a character
_ORIGIN = Origin(Face.COMMAND, client="webhooks")

Off = WebhookEndpoint.Off


def trust() -> ssl.SSLContext:
    """Return what decides whose certificates of endpoints are believed.

    In development, those of this machine's authorities and of ``SSL_CERT_FILE``.
    """
    return ssl.create_default_context() if settings.DEBUG else call.public_trust()


def send_due(seconds: float) -> int:
    """Send what is due; begin no attempt after *seconds*. Return how many succeeded.

    Any number of processes may do this at once. Call it outside a transaction.
    """
    ends = time.monotonic() + seconds
    while give_numbers() == CHUNK and time.monotonic() < ends:
        pass
    return _Sending(ends).run()


class _Sending:
    """Attempts that are under way. Threads talk to endpoints; only this one uses the database."""

    def __init__(self, ends: float) -> None:
        self.ends = ends
        self.talks: dict[Future[list[Attempt]], _Talk] = {}
        self.sent = 0

    def run(self) -> int:
        faults: list[Exception] = []
        with ThreadPoolExecutor(PLACES, thread_name_prefix="webhooks") as pool:
            while self._begin(pool):
                for done in wait(self.talks, _PAUSE, return_when=FIRST_COMPLETED).done:
                    talk = self.talks.pop(done)
                    try:
                        self._record(talk.endpoint, done.result())
                    except Exception as exc:
                        faults.append(exc)  # the others go on
        if faults:
            raise faults[0]
        return self.sent

    def _begin(self, pool: ThreadPoolExecutor) -> bool:
        """Begin as many talks as there is room for; return whether any is under way."""
        while time.monotonic() < self.ends and len(self.talks) < PLACES:
            with transaction.atomic(durable=True):
                endpoint = WebhookEndpoint.objects.claim(timezone.now())
            if endpoint is None:
                break
            # Read first: an event that gets its number from now on is not passed over.
            newest = File.objects.values_list("webhook_sequence", flat=True)
            passed = newest.get(pk=endpoint.file_id)
            if events := endpoint.next_events(AT_ONCE):
                talk = _Talk(endpoint, events)
                self.talks[pool.submit(talk.run, self.ends)] = talk
            else:
                endpoint.finish(cursor=endpoint.cursor if endpoint.off_at else passed)
        return bool(self.talks)

    def _record(self, endpoint: WebhookEndpoint, made: "list[Attempt]") -> None:
        tries = [each.as_try(endpoint) for each in made]
        with transaction.atomic(durable=True):
            # It may be removed by now.
            locked = WebhookEndpoint.objects.select_for_update(no_key=True)
            if locked.filter(pk=endpoint.pk).first():
                tries[0].skipped = _finish(endpoint, made)
                WebhookTry.objects.bulk_create(tries)
        self.sent += sum(each.answer.is_good for each in made)


# -- the sequence of a file --------------------------------------------------------


def give_numbers(file: File | None = None) -> int:
    """Give new events, of all files or of *file*, their next numbers; return how many got one.

    Without gaps, and never before an event of a transaction that is still open. While another
    process does it, none.
    """
    with transaction.atomic(durable=True):
        if not locks.take(_LOCK):
            return 0
        waiting = WebhookEvent.objects.without_sequence()
        new = list((waiting.filter(file=file) if file else waiting)[:CHUNK])
        last = File.objects.in_bulk({event.file_id for event in new})
        for event in new:
            last[event.file_id].webhook_sequence += 1
            event.sequence = last[event.file_id].webhook_sequence
        with connection.cursor() as cursor:
            # The statement of bulk_update takes far longer.
            cursor.executemany(_NUMBER, [(event.sequence, event.pk) for event in new])
        File.objects.bulk_update(last.values(), ["webhook_sequence"])
    return len(new)


# -- a talk with an endpoint -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of an attempt."""

    status: int = 0  # 0: there was no answer
    text: str = ""  # its beginning
    reason: str = ""  # why there was none
    retry_after: timedelta = timedelta()

    @property
    def is_good(self) -> bool:
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt to send *event*, at *at*."""

    event: WebhookEvent
    at: datetime
    seconds: float
    answer: Answer

    def as_try(self, endpoint: WebhookEndpoint) -> WebhookTry:
        return WebhookTry(
            endpoint=endpoint,
            message_id=self.event.message_id,
            kind=self.event.kind,
            sequence=self.event.sequence,
            at=self.at,
            status=self.answer.status,
            milliseconds=round(self.seconds * 1000),
            answer=self.answer.text,
            reason=self.answer.reason[:200],
        )


class _Talk:
    """Sends *events* to the *endpoint*, which this process claimed."""

    def __init__(self, endpoint: WebhookEndpoint, events: list[WebhookEvent]) -> None:
        self.endpoint = endpoint
        self.events = events
        self.began = time.monotonic()

    def run(self, ends: float) -> list[Attempt]:
        """Send one event after the other until one fails; begin none after *ends* but the first.

        If the first fails for the tenth time, the next one shows whether all fail.
        It waits for the network, and does not use the database.
        """
        ends, made = min(ends, self.began + TALK), []
        # Again, because the setting of ports may have changed.
        if fault := outside.fault(self.endpoint.url):
            return [Attempt(self.events[0], timezone.now(), 0, Answer(reason=fault))]
        line = Line(
            self.endpoint.url, trust(), who="the endpoint", patience=PATIENCE, excerpt=_EXCERPT
        )
        with closing(line):
            for event in self.events:
                at, began = timezone.now(), time.monotonic()
                answer = self._send(line, event, at)
                made.append(Attempt(event, at, time.monotonic() - began, answer))
                if not self._goes_on(made, ends):
                    break
        return made

    def _goes_on(self, made: list[Attempt], ends: float) -> bool:
        """Whether the next event is sent too: after a failure only if it is the tenth of all."""
        answer = made[-1].answer
        if answer.is_good:
            return time.monotonic() <= ends
        is_tenth = len(made) == 1 and self.endpoint.failures == len(WAITS)
        return is_tenth and answer.status != HTTPStatus.GONE

    def _send(self, line: Line, event: WebhookEvent, at: datetime) -> Answer:
        try:
            status, answer = line.post(*signed(event, self.endpoint.secrets_at(at), at))
        except keys.UndecryptableError:
            return Answer(reason="the key of the secret is not in OPTIN_KEYS")
        except NoAnswer as exc:
            return Answer(reason=str(exc))
        # PostgreSQL keeps no NUL.
        text = (answer or b"").decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
        return Answer(status, text[:ANSWER_KEPT], retry_after=_wait(line.retry_after, at))


def _wait(retry_after: str, now: datetime) -> timedelta:
    """Return how long this header asks to wait, at most the last of ``WAITS``; 0 if it is wrong."""
    if retry_after.isascii() and retry_after.isdigit():
        seconds = float(retry_after)
    else:
        seconds = (parse_http_date_safe(retry_after) or 0) - now.timestamp()
    return timedelta(seconds=min(max(0, seconds), WAITS[-1].total_seconds()))


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


def _finish(endpoint: WebhookEndpoint, made: list[Attempt]) -> bool:
    """Record what became of its events with the *endpoint*, and give it back, in the transaction.

    :param made: attempts; all are good but the last, and maybe the first.
    :return: whether the first event is skipped: it failed for the tenth time, and others arrived.
    """
    now, first, last = timezone.now(), made[0], made[-1]
    if last.event.sequence is None:
        _finish_test(endpoint, last, now)
        return False
    arrived = [each.event.sequence for each in made if each.answer.is_good]
    changes: dict[str, Any] = {"cursor": arrived[-1]} if arrived else {}
    if last.answer.is_good:
        changes |= {"failures": 0, "due_at": now}
    else:
        changes |= _failed(last.answer, 0 if arrived else endpoint.failures, now)
    if not endpoint.finish(**changes):
        return False
    if why := changes.get("off_why"):
        _tell_off(endpoint, why, now)
    is_skipped = bool(arrived) and not first.answer.is_good
    if is_skipped:
        _record(endpoint, "given_up", now, sequence=first.event.sequence)
    return is_skipped


def _finish_test(endpoint: WebhookEndpoint, made: Attempt, now: datetime) -> None:
    """Give the *endpoint* back after a test, which has one attempt. Its failure counts nowhere."""
    made.event.delete()
    changes: dict[str, Any] = {"failures": 0} if made.answer.is_good else {}
    if made.answer.is_good or endpoint.due_at < now:
        changes["due_at"] = now  # at the end of the line
    endpoint.finish(**changes)


def _failed(answer: Answer, failures: int, now: datetime) -> dict[str, Any]:
    """Return what changes of an endpoint that has failed *failures* times before."""
    gone = answer.status == HTTPStatus.GONE
    if gone or failures == len(WAITS):
        return {"failures": 0, "off_at": now, "off_why": Off.GONE if gone else Off.FAILING}
    wait = max(WAITS[failures], answer.retry_after)
    return {"failures": failures + 1, "due_at": now + wait}


def _tell_off(endpoint: WebhookEndpoint, why: str, now: datetime) -> None:
    alarms.sound(alarms.WEBHOOK, file=endpoint.file_id, endpoint=endpoint.pk, why=why)
    if owner := _owner(endpoint):
        delivery.notify(owner, Notice.Kind.ENDPOINT_OFF, now, about_id=endpoint.pk)
    _record(endpoint, why, now)


def _owner(endpoint: WebhookEndpoint) -> User | None:
    """Return who answers for *endpoint*, if they still manage its file."""
    owner = endpoint.made_by
    managed = owner and File.objects.managed_by(owner).filter(pk=endpoint.file_id)
    return owner if managed and managed.exists() else None


def _record(endpoint: WebhookEndpoint, outcome: str, now: datetime, **data: Any) -> None:
    owner = _owner(endpoint)
    AuditEvent.objects.record(
        AuditEvent.Kind.WEBHOOK,
        outcome,
        now=now,
        origin=_ORIGIN,
        user_id=owner.pk if owner else None,
        file_id=endpoint.file_id,
        data={"endpoint": endpoint.pk, **data},
    )
