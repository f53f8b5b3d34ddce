"""The webhook endpoints of files: administrators keep them in the admin, and members who manage a
file on their page or by calls.

Each operation takes the member who asks. Without one, staff ask, whom the admin has let in.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from optin.errors import (
    EndpointGone,
    EndpointPaused,
    NotAMember,
    OldSecretSigns,
    TooManyEndpoints,
    UnfitEndpoint,
)
from optin.events import reasons_of
from optin.messaging import delivery
from optin.messaging.webhooks import CHUNK, give_numbers
from optin.models import (
    AuditEvent,
    File,
    Membership,
    Notice,
    Purpose,
    User,
    WebhookEndpoint,
    WebhookEvent,
)
from optin.models.webhooks import OLD_SECRET_FOR
from optin.operations.factors import Standing, read_caller_locked, refuse_ended
from optin.origin import Origin
from optin.outcomes import StaffOutcome
from optin.runtime import outside

MAX_ENDPOINTS = 5
"""Endpoints of one file."""

KINDS = [kind for kind in WebhookEvent.Kind if kind is not WebhookEvent.Kind.TEST]
"""The kinds that an endpoint can choose."""

TESTS = [WebhookEvent.Kind.TEST, *KINDS]
"""The kinds of which a sample can be sent."""

Off = WebhookEndpoint.Off


@dataclass(frozen=True, slots=True)
class Member:
    """A person who asks, as their session or token has them, and what the session has proved."""

    user: User
    standing: Standing | None = None  # None by a token, which was let in for all that it may do

    def demand(self, file_id: int) -> None:
        """Lock the person, and let pass whoever manages the file. Call it first.

        :raises PasswordNeeded, FactorNeeded: if the session has not proved enough.
        :raises SignedOut, Deactivated: if it was ended meanwhile.
        :raises NotAMember: if they do not manage the file, or not any more, or it is not active.
        """
        factors = read_caller_locked(self.user, Purpose.SIGN_IN, every_factor=True, origin=None)
        refuse_ended(factors, self.user)
        if self.standing is not None:
            self.standing.demand(factors.now, factors)
        own = Membership.objects.filter(user=self.user, file=file_id, active=True, manages=True)
        # Locked: whoever ends the membership waits for this, or comes first.
        locked = own.filter(file__active=True).select_for_update(no_key=True, of=("self",))
        if not locked.first():
            raise NotAMember


def make(
    file: File,
    url: str,
    *,
    kinds: Iterable[str] = (),
    description: str = "",
    origin: Origin,
    member: Member | None = None,
) -> tuple[WebhookEndpoint, str]:
    """Make an endpoint; return it and its secret, which is shown only once.

    It is sent what happens from now on. All who manage the file are told by email.

    :param kinds: of ``KINDS``, those that it wants; none: all.
    :raises UnfitEndpoint: if nothing may be sent to *url*.
    :raises TooManyEndpoints: if the file has ``MAX_ENDPOINTS``.
    """
    _demand_fit(url)
    now, secret = timezone.now(), WebhookEndpoint.new_secret()
    # Events from before get their numbers before the endpoint begins.
    while give_numbers(file) == CHUNK:
        pass
    with transaction.atomic(durable=True):
        if member:
            member.demand(file.pk)
        # Whoever gives numbers locks the file too, so none is skipped.
        locked = File.objects.select_for_update(no_key=True).get(pk=file.pk)
        if WebhookEndpoint.objects.filter(file=locked).count() >= MAX_ENDPOINTS:
            raise TooManyEndpoints
        endpoint = WebhookEndpoint.objects.create(
            file=locked,
            url=url,
            kinds=_joined(kinds),
            description=description,
            made_by=_user(member),
            secrets_encrypted=WebhookEndpoint.seal(secret, locked.pk),
            created_at=now,
            due_at=now,
            cursor=locked.webhook_sequence,
        )
        _tell_managers(endpoint, now)
        _record("made", endpoint, origin, member)
    return endpoint, secret


def change(
    endpoint: WebhookEndpoint,
    url: str,
    *,
    kinds: Iterable[str],
    description: str,
    origin: Origin,
    member: Member | None = None,
) -> None:
    """Change what *endpoint* is. Events that wait go to the new address, at once.

    Whoever changes the address answers for it, and all who manage the file are told by email.

    :raises UnfitEndpoint: as ``make``.
    """
    if url != endpoint.url:
        _demand_fit(url)
    with transaction.atomic(durable=True):
        locked = _locked(endpoint, member)
        changes: dict[str, Any] = {"url": url, "kinds": _joined(kinds), "description": description}
        if url != locked.url:
            # Whoever sends to the old address at the moment is late: its end changes nothing.
            late = {"claimed_at": None, "claims": F("claims") + 1}
            now = timezone.now()
            changes |= {"failures": 0, "due_at": now, "made_by": _user(member), **late}
            _tell_managers(locked, now)
        WebhookEndpoint.objects.filter(pk=locked.pk).update(**changes)
        _record("changed", locked, origin, member)


def replace_secret(
    endpoint: WebhookEndpoint,
    *,
    ends_old: bool = False,
    origin: Origin,
    member: Member | None = None,
) -> str:
    """Return a new secret. For ``OLD_SECRET_FOR``, the present one signs too.

    :param ends_old: whether an older one, which signs too, may stop at once.
    :raises OldSecretSigns: if it may not.
    """
    now, secret = timezone.now(), WebhookEndpoint.new_secret()
    with transaction.atomic(durable=True):
        locked = _locked(endpoint, member)
        if locked.has_old_secret(now) and not ends_old:
            raise OldSecretSigns
        both = f"{secret} {locked.open_secrets()[0]}"
        locked.secrets_encrypted = WebhookEndpoint.seal(both, locked.file_id)
        locked.old_secret_ends_at = now + OLD_SECRET_FOR
        locked.save(update_fields=["secrets_encrypted", "old_secret_ends_at"])
        _record("secret_replaced", locked, origin, member)
    return secret


def switch(
    endpoint: WebhookEndpoint, *, on: bool, origin: Origin, member: Member | None = None
) -> StaffOutcome:
    """Send nothing to *endpoint* any more; or send what it lacks, up to 30 days old, and go on.

    Whoever switches it on answers for it.
    """
    now = timezone.now()
    changes = {"off_at": None, "off_why": "", "failures": 0, "due_at": now}
    with transaction.atomic(durable=True):
        locked = _locked(endpoint, member)
        rows = WebhookEndpoint.objects.filter(pk=locked.pk)
        if on and (locked.off_at or locked.paused):
            changed = rows.update(**changes, made_by=_user(member))
        else:
            changed = 0 if on else rows.switch_off(Off.MEMBER if member else Off.STAFF, now)
        if changed:
            outcome, recorded = StaffOutcome.OK, "switched_on" if on else "switched_off"
        else:
            outcome, recorded = StaffOutcome.UNCHANGED, "unchanged"
        _record(recorded, locked, origin, member)
    return outcome


def remove(endpoint: WebhookEndpoint, *, origin: Origin, member: Member | None = None) -> None:
    """Delete *endpoint*, and the log of its attempts."""
    with transaction.atomic(durable=True):
        locked = _locked(endpoint, member)
        _record("removed", locked, origin, member)
        locked.delete()


def skip(
    endpoint: WebhookEndpoint, sequence: int, *, origin: Origin, member: Member | None = None
) -> StaffOutcome:
    """Leave out the event for which the others wait, if it is the one with this *sequence*."""
    with transaction.atomic(durable=True):
        locked = _locked(endpoint, member)
        failed = locked.failed
        skips = bool(failed and failed.sequence == sequence)
        if failed and skips:
            failed.skipped = True
            failed.save(update_fields=["skipped"])
            _go_on_after(sequence, locked)
        outcome = "skipped" if skips else "unchanged"
        _record(outcome, locked, origin, member, sequence=sequence)
    return StaffOutcome.OK if skips else StaffOutcome.UNCHANGED


def send_again(
    endpoint: WebhookEndpoint, sequence: int, *, origin: Origin, member: Member | None = None
) -> StaffOutcome:
    """Send the event with this *sequence* again, and all after it, up to 30 days old.

    Of one that the endpoint has not come to yet, nothing.
    """
    with transaction.atomic(durable=True):
        locked = _locked(endpoint, member)
        was_sent = sequence <= locked.cursor
        if was_sent:
            locked.tries.filter(skipped=True, sequence__gte=sequence).update(skipped=False)
            _go_on_after(sequence - 1, locked)
        outcome = "sent_again" if was_sent else "unchanged"
        _record(outcome, locked, origin, member, sequence=sequence)
    return StaffOutcome.OK if was_sent else StaffOutcome.UNCHANGED


def _go_on_after(sequence: int, endpoint: WebhookEndpoint) -> None:
    # Whoever sends at the moment is late: its end changes nothing, and the next one begins when
    # its lease is over, so that the endpoint does not get two events at once.
    now, rows = timezone.now(), WebhookEndpoint.objects.filter(pk=endpoint.pk)
    rows.update(cursor=sequence, failures=0, due_at=now, claims=F("claims") + 1)


def send_test(
    endpoint: WebhookEndpoint,
    kind: str = WebhookEvent.Kind.TEST,
    *,
    origin: Origin,
    member: Member | None = None,
) -> None:
    """Have a sample of *kind* sent to *endpoint*, once, by whoever sends the others.

    It is about nobody, and has no ``Sequence``: so receivers know that it is a test. While one of
    this kind waits, there is no second one: it would go out before all else too.

    :raises EndpointPaused: if nobody answers for it.
    """
    with transaction.atomic(durable=True):
        locked = _locked(endpoint, member)
        if locked.paused:
            raise EndpointPaused
        if not locked.tests.filter(kind=kind).exists():
            WebhookEvent.objects.create(
                message_id=WebhookEvent.new_id(),
                file_id=locked.file_id,
                kind=kind,
                at=timezone.now(),
                reason=next(iter(reasons_of(WebhookEvent.Kind(kind))), ""),
                endpoint=locked,
            )
        _record("tested", locked, origin, member)


def _locked(endpoint: WebhookEndpoint, member: Member | None) -> WebhookEndpoint:
    """Lock *endpoint*, for *member* if they may.

    :raises EndpointGone: if it was removed meanwhile.
    """
    if member:
        member.demand(endpoint.file_id)
    found = WebhookEndpoint.objects.select_for_update(no_key=True).filter(pk=endpoint.pk).first()
    if found is None:
        raise EndpointGone
    return found


def _user(member: Member | None) -> User | None:
    return member.user if member else None


def _tell_managers(endpoint: WebhookEndpoint, now: datetime) -> None:
    """Tell all who manage the file where its events go: somebody may have added a thief's address.

    The mail has the address that *endpoint* has when it leaves.
    """
    mine = {"memberships__file": endpoint.file_id, "memberships__active": True}
    for manager in User.objects.filter(is_active=True, memberships__manages=True, **mine):
        delivery.notify_again(manager, Notice.Kind.ENDPOINT_ADDED, now, about_id=endpoint.pk)


def _joined(kinds: Iterable[str]) -> str:
    """Return *kinds* as they are stored: "" where all are wanted, so also later ones."""
    named = set(kinds)
    wanted = [kind for kind in KINDS if kind in named]
    return "" if len(wanted) == len(KINDS) else " ".join(wanted)


def _demand_fit(url: str) -> None:
    """Let pass an address by how it looks. Each connection checks where its host name leads."""
    if outside.fault(url):
        raise UnfitEndpoint


def _record(
    outcome: str, endpoint: WebhookEndpoint, origin: Origin, member: Member | None, **data: Any
) -> None:
    AuditEvent.objects.record(
        AuditEvent.Kind.WEBHOOK,
        outcome,
        origin=origin,
        user_id=member.user.pk if member else None,
        file_id=endpoint.file_id,
        data={"endpoint": endpoint.pk, **data},
    )
