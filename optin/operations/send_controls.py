"""What staff decide about texts: stop them all, open a prefix, deny and safe lists.

As every operation: one transaction each, with a reason, and one audit event
last. ``limits`` and ``messaging.delivery`` read the rows at each decision. So a decision of staff
binds all processes as soon as it is committed.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from django.db import transaction
from django.utils import timezone

from optin import phones
from optin.conf import conf
from optin.errors import UnfitTime
from optin.models import AuditEvent, Guard, ProviderUser
from optin.models.reasons import fit_reason
from optin.origin import Origin
from optin.outcomes import StaffOutcome

LONGEST = timedelta(days=366)
"""No entry lasts longer without somebody looking at it again."""

Kind = AuditEvent.Kind
Covers = Guard.Covers

_LISTS = {Guard.Kind.DENY: Kind.DENY, Guard.Kind.SAFE: Kind.SAFE}
_OTHER_LIST = {Guard.Kind.DENY: Guard.Kind.SAFE, Guard.Kind.SAFE: Guard.Kind.DENY}


@dataclass(frozen=True, slots=True)
class Target:
    """What an entry is about: one number, or all that share its prefix. Digests only."""

    covers: Covers
    key: str
    region: str
    last_three: str = ""

    @classmethod
    def number(cls, text: str) -> Self:
        """Return the one number in *text*.

        :raises InvalidMobileNumber: if there is none.
        """
        number = phones.parse(text, home_region=conf.sms_regions[0])
        digest = ProviderUser.digest_of(number.e164)
        return cls(Covers.NUMBER, digest, number.region, number.last_three)

    @classmethod
    def prefix(cls, text: str) -> Self:
        """Return the prefix of the number in *text*: any number that has it will do.

        :raises InvalidMobileNumber: if there is none.
        """
        number = phones.parse(text, home_region=conf.sms_regions[0])
        return cls(Covers.PREFIX, Guard.prefix_of(number.e164), number.region)


def stop_texts(*, reason: str, origin: Origin) -> StaffOutcome:
    """Let no text leave at all, of whatever kind; queued ones wait, and expire."""
    reason, now = fit_reason(reason), timezone.now()
    with transaction.atomic(durable=True):
        _guard, made = Guard.objects.get_or_create(
            key="",
            kind=Guard.Kind.STOP,
            defaults={"covers": Covers.ALL, "reason": reason, "made_at": now},
        )
        outcome = StaffOutcome.OK if made else StaffOutcome.UNCHANGED
        _record(Kind.STOP, outcome, origin, now, reason, data={"stopped": True})
    return outcome


def allow_texts(*, reason: str, origin: Origin) -> StaffOutcome:
    """End the stop."""
    reason, now = fit_reason(reason), timezone.now()
    with transaction.atomic(durable=True):
        deleted, _ = Guard.objects.filter(kind=Guard.Kind.STOP).delete()
        outcome = StaffOutcome.OK if deleted else StaffOutcome.UNCHANGED
        _record(Kind.STOP, outcome, origin, now, reason, data={"stopped": False})
    return outcome


def lift_breaker(prefix: Target, lasts: timedelta, *, reason: str, origin: Origin) -> Guard:
    """Open *prefix* to opt-ins for a time, whether it is closed now or would be.

    After that time, a breaker that is still in force closes it again. Opt-ins do not count while a
    breaker is in force. All others count, and may close the prefix when the time is over.

    :raises UnfitTime: unless the time is from a minute to 366 days.
    """
    return _put(Guard.Kind.LIFT, Kind.BREAKER, prefix, lasts, reason, origin)


def deny(target: Target, lasts: timedelta, *, reason: str, origin: Origin) -> Guard:
    """Refuse opt-ins of *target* for a time. What is active stays, and signs in.

    An entry for a number counts more than one for its prefix.

    :raises UnfitTime: as ``lift_breaker``.
    """
    return _put(Guard.Kind.DENY, Kind.DENY, target, lasts, reason, origin)


def keep_safe(target: Target, lasts: timedelta, *, reason: str, origin: Origin) -> Guard:
    """Let no breaker refuse opt-ins of *target* for a time; the other limits hold.

    :raises UnfitTime: as ``lift_breaker``.
    """
    return _put(Guard.Kind.SAFE, Kind.SAFE, target, lasts, reason, origin)


def unlist(
    target: Target, *, reason: str, origin: Origin, also_closed: bool = True
) -> StaffOutcome:
    """Take *target* off the list on which it stands.

    :param also_closed: if it is on neither list, open it again if its owner closed it (G-08).
    """
    reason, now = fit_reason(reason), timezone.now()
    with transaction.atomic(durable=True):
        kinds = [*_LISTS, *([Guard.Kind.NOT_ME] if also_closed else [])]
        entries = Guard.objects.select_for_update().filter(key=target.key, kind__in=kinds)
        control = min(entries, key=lambda entry: kinds.index(Guard.Kind(entry.kind)), default=None)
        kind, outcome = Kind.DENY, StaffOutcome.UNCHANGED
        data: dict[str, Any] = {"covers": target.covers.value, "key": target.key, "listed": False}
        if control:
            kind, outcome = _LISTS.get(Guard.Kind(control.kind), Kind.DENY), StaffOutcome.OK
            data["guard"] = control.pk
            if control.kind == Guard.Kind.NOT_ME:
                data["by_owner"] = True
            control.delete()
        _record(kind, outcome, origin, now, reason, target, data)
    return outcome


def allow_number(target: Target, *, reason: str, origin: Origin) -> StaffOutcome:
    """Let texts go again to a number from which somebody answered STOP.

    The gateway has a memory of its own: it must allow the number too.
    """
    reason, now = fit_reason(reason), timezone.now()
    with transaction.atomic(durable=True):
        outcome = StaffOutcome.OK if Guard.objects.opt_in(target.key) else StaffOutcome.UNCHANGED
        _record(Kind.NO_TEXTS, outcome, origin, now, reason, target)
    return outcome


def _put(
    kind: Guard.Kind,
    event: AuditEvent.Kind,
    target: Target,
    lasts: timedelta,
    reason: str,
    origin: Origin,
) -> Guard:
    """Make the one entry of this kind for *target*, or make it anew."""
    reason, now = fit_reason(reason), timezone.now()
    if not timedelta(minutes=1) <= lasts <= LONGEST:
        raise UnfitTime
    with transaction.atomic(durable=True):
        control, _ = Guard.objects.update_or_create(
            key=target.key,
            kind=kind,
            defaults={
                "covers": target.covers,
                "last_three": target.last_three,
                "region": target.region,
                "reason": reason,
                "made_at": now,
                "until": now + lasts,
            },
        )
        if kind in _OTHER_LIST:
            Guard.objects.filter(key=target.key, kind=_OTHER_LIST[kind]).delete()
        until = (now + lasts).isoformat(timespec="seconds")
        # By these the trail can say what it was about, once the entry is purged.
        what = {"covers": target.covers.value, "region": target.region, "key": target.key}
        data = {"guard": control.pk, **what, "until": until}
        _record(event, StaffOutcome.OK, origin, now, reason, target, data)
    return control


def _record(
    kind: AuditEvent.Kind,
    outcome: StaffOutcome,
    origin: Origin,
    now: datetime,
    reason: str,
    target: Target | None = None,
    data: dict[str, Any] | None = None,
) -> None:
    one = target is not None and target.covers is Covers.NUMBER
    AuditEvent.objects.record(
        kind,
        outcome,
        now=now,
        origin=origin,
        number_digest=target.key if target and one else "",
        last_three=target.last_three if target and one else "",
        reason=reason,
        data=data,
    )
