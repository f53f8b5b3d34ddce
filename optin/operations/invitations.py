"""Invitations: the mail with which a person begins here.

It has a link to choose a password (``passwords.opens``). Whoever brought a password along is led to
the sign-in instead. Both come to the page that turns two-factor sign-in on.
"""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX
from django.db import transaction
from django.db.models import Count, Exists, OuterRef, Q
from django.utils import timezone

from optin.errors import MailsFail
from optin.messaging import delivery
from optin.models import AuditEvent, File, Membership, Notice, Passkey, User
from optin.models.factors import has_factor, kinds_of
from optin.models.messages import State
from optin.models.reasons import fit_reason
from optin.operations import staff
from optin.operations.erasure import is_erased
from optin.operations.revocations import mails_leave
from optin.origin import Origin
from optin.outcomes import InviteOutcome
from optin.runtime import locks

A_DAY = 3
"""Invitations of one person in 24 hours, at most."""

WAITING = 10
"""Mails that wait at most while further ones are made."""

IN_A_ROW = 3
"""After so many mails that did not leave, no further ones are made."""

PATIENCE = 60.0
"""Seconds in which one of the mails that wait must have left, or failed."""

_LOCK = 0x696E7669  # "invi": of all processes, one at a time looks at the pace

Kind = AuditEvent.Kind


@dataclass(frozen=True, slots=True)
class Run:
    """Who invites people, and how."""

    reason: str
    origin: Origin
    by: str = ""  # who ran the command, as the operating system knows them
    pace: timedelta = timedelta()
    """Between two mails of all runs."""
    waits: bool = True
    """Whether it waits until the mails have left, and so learns of the last ones, too."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Who of a file is to be invited, by id, and how many are not, by the reason."""

    due: list[int]
    others: Counter[InviteOutcome]


def plan(file: File, *, since: datetime | None = None) -> Plan:
    """Say who of *file* is to be invited.

    :param since: also those who were last invited then or before; by default, each is invited once.
    """
    found = Plan([], Counter())
    members = _judged(file).filter(memberships__file=file).order_by("mail_failed", "pk")
    for person in members.only(*_READ).iterator(2000):
        if why := _why_not(person, since):
            found.others[why] += 1
        else:
            found.due.append(person.pk)
    return found


_READ = (
    *("username", "email", "password", "is_active", "is_staff", "is_superuser", "is_test"),
    "invited_at",
)
"""The columns that decide."""


def _judged(file: File | None) -> Any:
    """All people, with what decides whether they are invited into *file*, or into any."""
    mine = {"user": OuterRef("pk")}
    member = Membership.objects.filter(
        **mine, active=True, file__active=True, file__is_sandbox=False
    )
    mails = Notice.objects.filter(**mine, kind=Notice.Kind.INVITATION)
    failed = mails.filter(state=State.FAILED, created_at=OuterRef("invited_at"))
    return User.objects.annotate(
        has_factor=has_factor(),
        is_member=Exists(member.filter(file=file) if file else member),
        mail_failed=Exists(failed),
    )


def _why_not(person: Any, since: datetime | None) -> InviteOutcome | None:
    """Say why *person*, of ``_judged``, is not to be invited, if so."""
    invited_at = not person.mail_failed and person.invited_at
    reasons = {
        InviteOutcome.ERASED: is_erased(person),
        InviteOutcome.DEACTIVATED: not person.is_active,
        InviteOutcome.STAFF: person.is_staff or person.is_superuser,
        InviteOutcome.TEST_ACCOUNT: person.is_test,
        InviteOutcome.NO_ADDRESS: not person.email,
        InviteOutcome.NOT_A_MEMBER: not person.is_member,
        # Without a password, an imported number does not let anybody in.
        InviteOutcome.TWO_FACTOR_ON: person.has_factor and person.has_usable_password(),
        InviteOutcome.INVITED_BEFORE: invited_at and (since is None or invited_at > since),
    }
    return next((reason for reason, is_so in reasons.items() if is_so), None)


# -- one person --------------------------------------------------------------------


def invite(user: User, *, reason: str, origin: Origin) -> InviteOutcome:
    """Mail an invitation to *user*, who may have had one. Its link takes the place of an older one.

    :raises UnfitReason: without a reason, or with one of over 500 characters.
    :raises Deactivated: if the actor is no staff any more.
    :raises MailsFail: if the mail server cannot be reached.
    """
    _refuse_without_mails()
    return _invite(user.pk, Run(fit_reason(reason), origin), since=timezone.now())


def _invite(
    pk: int, run: Run, *, file: File | None = None, since: datetime | None = None
) -> InviteOutcome:
    with transaction.atomic(durable=True):
        if run.pace and _wait_for_pace(run.pace):
            return InviteOutcome.TOO_SOON
        User.objects.locked(pk)
        now = timezone.now()
        person = _judged(file).get(pk=pk)
        outcome = _why_not(person, since)
        if outcome is InviteOutcome.INVITED_BEFORE:  # meanwhile, by another run
            return outcome
        if staff.is_out_of_reach(run.origin, person):
            outcome = InviteOutcome.OUT_OF_REACH
        mails = person.notices.filter(kind=Notice.Kind.INVITATION)
        if outcome is None and mails.filter(created_at__gt=now - _DAY).count() >= A_DAY:
            outcome = InviteOutcome.INVITATION_LIMIT
        if outcome is None:
            User.objects.filter(pk=pk).update(invited_at=now, invitation_used_at=None)
            delivery.notify(person, Notice.Kind.INVITATION, now)
        AuditEvent.objects.record(
            Kind.INVITATION,
            outcome or InviteOutcome.OK,
            now=now,
            origin=run.origin,
            user_id=pk,
            file_id=file.pk if file else None,
            reason=run.reason,
            data={"ran_by": run.by} if run.by else None,
        )
    return outcome or InviteOutcome.OK


_DAY = timedelta(days=1)


def _wait_for_pace(pace: timedelta) -> timedelta:
    """Return how long no further mail is to be made; until the commit, nobody else makes one."""
    locks.wait_for(_LOCK)
    sent = AuditEvent.objects.led_by("kind", Kind.INVITATION).filter(outcome=InviteOutcome.OK)
    newest = sent.values_list("at", flat=True).first()
    wait = newest + pace - timezone.now() if newest else timedelta()
    return max(wait, timedelta())


# -- the members of a file ---------------------------------------------------------


def invite_members(
    file: File, due: list[int], run: Run, *, since: datetime | None = None
) -> Iterator[InviteOutcome]:
    """Invite those of *file* whom ``plan`` named, one after the other; return what became of each.

    Stopped at any moment and run again, it goes on: nobody is invited twice.

    :raises UnfitReason: without a reason, or with one of over 500 characters.
    :raises Deactivated: if the actor is no staff any more.
    :raises MailsFail: before the first if the mail server cannot be reached, and later once
        ``IN_A_ROW`` mails did not leave, or none of those that wait does.
    """
    _refuse_without_mails()
    run = replace(run, reason=fit_reason(run.reason))
    began, made = timezone.now(), list[int]()
    for pk in due:
        if run.waits:
            _watch(made, began, WAITING)
        while (outcome := _invite(pk, run, file=file, since=since)) is InviteOutcome.TOO_SOON:
            time.sleep(min(1.0, run.pace.total_seconds()))
        if outcome is InviteOutcome.OK:
            made.append(pk)
        yield outcome
    if run.waits:
        _watch(made, began, 0)


def _refuse_without_mails() -> None:
    if not mails_leave():
        raise MailsFail("no mail server is set up (EMAIL_URL)")
    if why := delivery.why_no_mail():
        raise MailsFail(f"the mail server cannot be reached ({why})")


def _watch(made: list[int], began: datetime, most: int) -> None:
    """Wait until at most *most* of the mails that were *made* since *began* wait to be sent."""
    newest = Notice.objects.filter(
        kind=Notice.Kind.INVITATION, user__in=made[-2 * WAITING :], created_at__gte=began
    ).order_by("-pk")
    before, until = None, 0.0
    while True:
        fates = list(newest.values_list("state", "reason"))
        tried = [fate for fate in fates if fate[0] == State.SENT or fate[1]]
        if len(tried) >= IN_A_ROW and all(state != State.SENT for state, _ in tried[:IN_A_ROW]):
            raise MailsFail(f"the last {IN_A_ROW} did not ({tried[0][1]})")
        if len(fates) - len(tried) <= most:
            return
        if fates != before:
            before, until = fates, time.monotonic() + PATIENCE
        elif time.monotonic() > until:
            raise MailsFail(f"those that wait are not sent for {PATIENCE:.0f} seconds")
        time.sleep(0.2)


# -- how far a file is -------------------------------------------------------------


def progress(file: File) -> dict[str, int]:
    """Count the members of *file*, for each of ``how_far``."""
    counts = {name: Count("pk", filter=is_so) for name, is_so in how_far().items()}
    return Membership.objects.filter(file=file).aggregate(**counts)


def how_far() -> dict[str, Q]:
    """Return the conditions by which memberships are counted and searched.

    All but the last are about active accounts: no other is invited.
    """
    member, here = Q(active=True), Q(user__is_active=True)
    invited = Q(user__invited_at__isnull=False)
    password = ~Q(user__password__startswith=UNUSABLE_PASSWORD_PREFIX)
    two_factor = has_factor("user_id")
    has = kinds_of("user_id", Passkey.usable())
    texts_only = Q(has["texts"], ~has["app"], ~has["passkey"], user__is_test=False)
    yes = {"invited": invited, "password": password, "two_factor": two_factor}
    found = {"members": Q()} | yes | {f"not_{name}": ~is_so for name, is_so in yes.items()}
    found |= {"texts_only": texts_only, "stranded": texts_only & ~password}
    counted = {name: member & here & is_so for name, is_so in found.items()}
    return counted | {"deactivated": member & ~here}
