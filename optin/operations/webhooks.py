"""The webhook endpoints of files: administrators make, change and remove them in the admin."""

import threading
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from django.db import transaction
from django.utils import timezone

from optin.errors import TooManyEndpoints, UnfitEndpoint
from optin.messaging.webhooks import CHUNK, give_numbers
from optin.models import AuditEvent, File, WebhookEndpoint, WebhookEvent
from optin.models.webhooks import OLD_SECRET_FOR
from optin.origin import Origin
from optin.outcomes import StaffOutcome
from optin.runtime import outside

MAX_ENDPOINTS = 5
"""Endpoints of one file."""

RESOLVED_WITHIN = 5.0
"""Seconds that the name of a new endpoint may take."""

Off = WebhookEndpoint.Off


def make(file: File, url: str, *, origin: Origin) -> tuple[WebhookEndpoint, str]:
    """Make an endpoint; return it and its secret, which is shown only once.

    It is sent what happens from now on.

    :raises UnfitEndpoint: if nothing may be sent to *url*, or its host cannot be resolved.
    :raises TooManyEndpoints: if the file has ``MAX_ENDPOINTS``.
    """
    if outside.fault(url) or not _is_public(url):
        raise UnfitEndpoint
    now, secret = timezone.now(), WebhookEndpoint.new_secret()
    # What happened before now gets its numbers before the endpoint begins.
    while give_numbers(file) == CHUNK:
        pass
    with transaction.atomic(durable=True):
        # Whoever gives numbers locks the file too, so none is skipped.
        locked = File.objects.select_for_update(no_key=True).get(pk=file.pk)
        if WebhookEndpoint.objects.filter(file=locked).count() >= MAX_ENDPOINTS:
            raise TooManyEndpoints
        endpoint = WebhookEndpoint.objects.create(
            file=locked,
            url=url,
            secrets_encrypted=WebhookEndpoint.seal(secret, locked.pk),
            created_at=now,
            due_at=now,
            cursor=locked.webhook_sequence,
        )
        _record("made", endpoint, origin)
    return endpoint, secret


def replace_secret(endpoint: WebhookEndpoint, *, origin: Origin) -> str:
    """Return a new secret. For ``OLD_SECRET_FOR``, the present one signs too."""
    now, secret = timezone.now(), WebhookEndpoint.new_secret()
    with transaction.atomic(durable=True):
        locked = _locked(endpoint)
        both = f"{secret} {locked.open_secrets()[0]}"
        locked.secrets_encrypted = WebhookEndpoint.seal(both, locked.file_id)
        locked.old_secret_ends_at = now + OLD_SECRET_FOR
        locked.save(update_fields=["secrets_encrypted", "old_secret_ends_at"])
        _record("secret_replaced", locked, origin)
    return secret


def switch(endpoint: WebhookEndpoint, *, on: bool, origin: Origin) -> StaffOutcome:
    """Send nothing to *endpoint* any more; or send what it lacks, up to 30 days old, and go on."""
    now = timezone.now()
    off: dict[str, Any] = {"off_at": now, "off_why": Off.STAFF}
    changes = {"off_at": None, "off_why": "", "failures": 0, "due_at": now} if on else off
    with transaction.atomic(durable=True):
        locked = _locked(endpoint)
        if bool(locked.off_at) is on:
            WebhookEndpoint.objects.filter(pk=locked.pk).update(**changes)
            outcome, recorded = StaffOutcome.OK, "switched_on" if on else "switched_off"
        else:
            outcome, recorded = StaffOutcome.UNCHANGED, "unchanged"
        _record(recorded, locked, origin)
    return outcome


def remove(endpoint: WebhookEndpoint, *, origin: Origin) -> None:
    """Delete *endpoint*, and the log of its attempts."""
    with transaction.atomic(durable=True):
        locked = _locked(endpoint)
        _record("removed", locked, origin)
        locked.delete()


def test(endpoint: WebhookEndpoint, *, origin: Origin) -> None:
    """Have a test sent to *endpoint*, once, by whoever sends the others."""
    with transaction.atomic(durable=True):
        locked = _locked(endpoint)
        WebhookEvent.objects.create(
            message_id=WebhookEvent.new_id(),
            file_id=locked.file_id,
            kind=WebhookEvent.Kind.TEST,
            at=timezone.now(),
            endpoint=locked,
        )
        _record("tested", locked, origin)


def _locked(endpoint: WebhookEndpoint) -> WebhookEndpoint:
    return WebhookEndpoint.objects.select_for_update(no_key=True).get(pk=endpoint.pk)


def _is_public(url: str) -> bool:
    """Whether all addresses of the host are public now. Each connection asks again."""
    parts = urlsplit(url)
    public = threading.Event()

    def look() -> None:
        with suppress(OSError):
            outside.addresses(parts.hostname or "", parts.port or 443)
            public.set()

    # In a thread: a resolver has no time-out of its own.
    thread = threading.Thread(target=look, name="webhook-host", daemon=True)
    thread.start()
    thread.join(RESOLVED_WITHIN)
    return public.is_set()


def _record(outcome: str, endpoint: WebhookEndpoint, origin: Origin) -> None:
    AuditEvent.objects.record(
        AuditEvent.Kind.WEBHOOK,
        outcome,
        now=timezone.now(),
        origin=origin,
        user_id=None,
        file_id=endpoint.file_id,
        data={"endpoint": endpoint.pk},
    )
