"""What a client has: an endpoint, its secret, and what arrived."""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.utils import timezone
from standardwebhooks.webhooks import Webhook

from optin.messaging import webhooks
from optin.models import AuditEvent, File, WebhookEndpoint, WebhookEvent, WebhookTry
from tests.kit.people import ORIGIN
from tests.kit.wire import Server

HOST = "hooks.example.com"

_resolve = socket.getaddrinfo


@dataclass
class Names:
    """A resolver that knows a few names. An address is its own."""

    known: dict[str, list[str]] = field(default_factory=lambda: {HOST: ["127.0.0.1"]})
    asked: list[str] = field(default_factory=list)
    then: Callable[[], None] = lambda: None
    """Called after each answer about a name: a name may lead elsewhere a moment later."""

    def getaddrinfo(self, host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host not in self.known:
            # Nothing is asked of a resolver outside.
            return _resolve(host, port, *args, **{**kwargs, "flags": socket.AI_NUMERICHOST})
        self.asked.append(host)
        kind = socket.SOCK_STREAM
        found = [
            (socket.AF_INET6 if ":" in each else socket.AF_INET, kind, 6, "", (each, port))
            for each in self.known[host]
        ]
        self.then()
        return found


@dataclass
class Client:
    endpoint: WebhookEndpoint
    secret: str
    server: Server

    @property
    def row(self) -> WebhookEndpoint:
        """The endpoint as it is."""
        return WebhookEndpoint.objects.get(pk=self.endpoint.pk)

    @property
    def tries(self) -> list[WebhookTry]:
        """The log, the oldest first."""
        return list(self.row.tries.order_by("pk"))

    def happen(self, *kinds: str) -> None:
        happen(self.endpoint.file, *kinds)

    def received(self, secret: str = "") -> list[dict[str, Any]]:
        """What arrived, in its order, each checked by the library with the secret."""
        hook = Webhook(secret or self.secret)
        return [hook.verify(each.body, each.headers) for each in self.server.requests]

    def types(self) -> list[str]:
        return [each["type"] for each in self.received()]


def happen(file: File, *kinds: str) -> None:
    """Let something of each of *kinds* happen in *file*."""
    WebhookEvent.objects.bulk_create(
        WebhookEvent(
            message_id=WebhookEvent.new_id(),
            file=file,
            kind=kind,
            at=timezone.now(),
            provider_user_id=number,
        )
        for number, kind in enumerate(kinds or [WebhookEvent.Kind.NUMBER_ACTIVATED])
    )


def unlocked(file: File, number: int | None = None) -> None:
    """Somebody is unlocked in *file*."""
    record = AuditEvent.objects.record
    record(AuditEvent.Kind.UNLOCK, "ok", origin=ORIGIN, file_id=file.pk, provider_user_id=number)


def claim() -> WebhookEndpoint | None:
    """Take the endpoint that is due, as whoever sends does."""
    with transaction.atomic():
        return WebhookEndpoint.objects.claim(timezone.now())


def send() -> int:
    """Send what is due now."""
    settle()
    return webhooks.send_due(seconds=10)


def settle() -> None:
    """Wait until new events can get their numbers.

    Other databases of the server may have transactions open, which hold events up too.
    """
    ends = time.monotonic() + 30
    while _is_held_up() and time.monotonic() < ends:
        time.sleep(0.02)


def _is_held_up() -> bool:
    waits = WebhookEvent.objects.filter(sequence=None, endpoint=None)
    return waits.exclude(pk__in=WebhookEvent.objects.without_sequence()).exists()
