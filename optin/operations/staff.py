"""Staff: what each role may do, on whom, and how an account is found.

The roles are groups (made by a migration); Django's permissions say what each may do.
Whom somebody may act on is decided here, for every operation.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.contrib.auth.models import Group, Permission
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone

from optin import keys, limits, phones
from optin.conf import conf
from optin.errors import Deactivated, InvalidMobileNumber, TestAccount
from optin.messaging import delivery
from optin.models import (
    AccessKey,
    AuditEvent,
    Notice,
    ProviderUser,
    Purpose,
    User,
    WebhookEndpoint,
)
from optin.models.reasons import fit_reason
from optin.operations.factors import read_locked
from optin.origin import Face, Origin
from optin.outcomes import CodeOutcome, StaffOutcome

READS = (
    "optin.view_user",
    "optin.view_provideruser",
    "optin.view_pendingotp",
    "optin.view_smsmessage",
    "optin.view_notice",
    "optin.view_guard",
    "optin.view_gatewayhealth",
    "optin.view_auditevent",
    "optin.view_file",
    "optin.view_membership",
    "optin.view_accesskey",
    "oauth2_provider.view_application",
)
EXPORT = "optin.export_events"
ACT = "optin.act_on_accounts"
REVOKE = "optin.revoke_at_once"
REVEAL = "optin.reveal_number"
TENANTS = "optin.manage_tenants"
SEND_CONTROLS = "optin.manage_guards"
ROLES_OF_OTHERS = "optin.give_roles"

ROLES: dict[str, tuple[str, ...]] = {
    "auditor": (*READS, EXPORT),
    "support": (*READS, ACT),
    "administrator": (*READS, EXPORT, ACT, REVOKE, REVEAL, TENANTS, SEND_CONTROLS, ROLES_OF_OTHERS),
}
"""What each group may do, as ``app.permission``."""


def sees(model: type[models.Model]) -> str:
    """Return the permission to look at rows of *model*."""
    if model is WebhookEndpoint:
        return TENANTS
    return f"{model._meta.app_label}.view_{model._meta.model_name}"


SUPERUSER = "superuser"

FOUND_AT_MOST = 20
"""Accounts that a search by number shows."""


def is_out_of_reach(origin: Origin, user: User) -> bool:
    """Whether staff who act may not act on *user*: themselves, or a superior (S-37).

    A superior is who may do something here that the actor may not: so it holds for groups,
    single permissions and superusers alike, deactivated ones too. Commands have no actor.

    :raises Deactivated: if the actor is no staff any more.
    """
    if origin.actor_id is None:
        return False
    actor = _actor(origin)
    if actor.pk == user.pk:
        return True
    return not actor.is_superuser and (user.is_superuser or not _powers(user) <= _powers(actor))


def still_may(actor_id: int | None, permission: str, user: User) -> bool:
    """Whether who asked for something a while ago may still do it to *user*.

    Commands have no actor: who ran one is not known, and is not asked again.
    """
    if actor_id is None:
        return True
    origin = Origin(Face.ADMIN, actor_id=actor_id)
    try:
        return bool(_actor(origin).has_perm(permission)) and not is_out_of_reach(origin, user)
    except Deactivated:
        return False


def _actor(origin: Origin) -> User:
    active = User.objects.filter(is_active=True, is_staff=True)
    actor: User | None = active.filter(pk=origin.actor_id).first()
    if actor is None:
        raise Deactivated
    return actor


def _powers(user: User) -> set[int]:
    own = Permission.objects.filter(Q(user=user) | Q(group__user=user))
    return set(own.values_list("pk", flat=True))


# -- finding somebody --------------------------------------------------------------


class Link(StrEnum):
    """The relation of an account to a number."""

    USES = "uses"
    HAD = "had"
    ENTERED = "entered"  # the right code, while another account used the number
    ASKED = "asked"  # for a text to it


@dataclass(frozen=True, slots=True)
class Found:
    """The accounts that a search led to, or how long whoever asks must wait."""

    users: tuple[User, ...]
    retry_after: timedelta | None = None
    links: Mapping[int, tuple[Link, datetime]] = field(default_factory=dict)
    """The relation of each account to the number, and since or until when."""

    @property
    def holder(self) -> User | None:
        """The account that uses the number now."""
        uses = (one for one in self.users if self.links.get(one.pk, ("",))[0] == Link.USES)
        return next(uses, None)


def find(text: str, *, origin: Origin) -> Found:
    """Return the accounts that *text* names: user name, email, external id or full number.

    A number also finds who has had it, or has asked for a text to it in vain. Whoever tries
    number after number learns what the mask hides, without the permission to see it: so each
    search for one is counted, and told to the audit trail (S-37).
    """
    text = text.replace("\0", "").strip()  # which PostgreSQL does not take
    user = User.objects.by_login(text) or User.objects.filter(external__text=text).first()
    named = [user] if user else []
    try:
        number = phones.parse(text, home_region=conf.sms_regions[0])
    except InvalidMobileNumber:
        return Found(tuple(named))
    digest, now = ProviderUser.digest_of(number.e164), timezone.now()
    with transaction.atomic(durable=True):
        refused = limits.reserve_search(origin, now)
        # A name may look like the number of somebody else: both are shown.
        links = {} if refused else _with_number(digest)
        with_number = User.objects.in_bulk(links)
        owners = [with_number[pk] for pk in links if pk in with_number]
        users = [] if refused else [*named, *(u for u in owners if u != user)]
        AuditEvent.objects.record(
            AuditEvent.Kind.SEARCH,
            StaffOutcome.SEARCH_LIMIT if refused else StaffOutcome.OK,
            now=now,
            origin=origin,
            number_digest=digest,
            last_three=number.e164[-3:],
            data=refused.data if refused else {"found": len(users)},
        )
    return Found(tuple(users), refused.retry_after if refused else None, links)


def _with_number(digest: str) -> dict[int, tuple[Link, datetime]]:
    """Whose number has *digest* now, had it, or would have had it: the ids of the accounts."""
    rows = ProviderUser.objects.filter(number_digest=digest).order_by("-confirmed", "-pk")
    events = AuditEvent.objects.led_by("number_digest", digest).filter(user_id__isnull=False)
    found = events.values_list("user_id", "outcome", "at")[:FOUND_AT_MOST]
    told = [(pk, outcome, at) for pk, outcome, at in found if pk]
    entered = {pk: at for pk, outcome, at in reversed(told) if outcome == _ENTERED}
    links: dict[int, tuple[Link, datetime]] = {}
    for row in rows[:FOUND_AT_MOST]:
        if row.confirmed and row.verified_at:
            link = Link.USES, row.verified_at
        elif row.user_id in entered:
            link = Link.ENTERED, entered[row.user_id]
        elif row.released_at:
            link = Link.HAD, row.released_at
        else:
            link = Link.ASKED, row.created_at
        links.setdefault(row.user_id, link)
    for pk, _outcome, at in told:
        links.setdefault(pk, (Link.ENTERED, entered[pk]) if pk in entered else (Link.ASKED, at))
    return links


_ENTERED = CodeOutcome.MOBILE_NUMBER_IN_USE


def find_keys(beginning: str) -> list[AccessKey]:
    """Return the access keys that begin with *beginning*, which has 6 characters."""
    keys = AccessKey.objects.filter(prefix=beginning).select_related("user", "file")
    return list(keys.order_by("-pk")[:FOUND_AT_MOST])


# -- what is only read, and told to the audit trail ---------------------------------


@dataclass(frozen=True, slots=True)
class Revealed:
    """The answer to a wish to see a number in full."""

    outcome: StaffOutcome
    number: str = ""

    def __repr__(self) -> str:
        return f"Revealed({self.outcome})"


def reveal(row: ProviderUser, *, reason: str, origin: Origin) -> Revealed:
    """Return the number of *row* in full. Its owner can see that staff looked at it."""
    reason = fit_reason(reason)
    with transaction.atomic(durable=True):
        factors = read_locked(row.user, Purpose.SIGN_IN)
        now = factors.now
        row = factors.rows.get(row.pk, row)  # purged meanwhile, it reads as it did
        if is_out_of_reach(origin, factors.user):
            result = Revealed(StaffOutcome.OUT_OF_REACH)
        else:
            try:
                result = Revealed(StaffOutcome.OK, row.open_number())
            except keys.UndecryptableError:
                result = Revealed(StaffOutcome.UNREADABLE)
        AuditEvent.objects.record(
            AuditEvent.Kind.REVEAL,
            result.outcome,
            now=now,
            origin=origin,
            user_id=factors.user.pk,
            file_id=row.file_id,
            provider_user_id=row.pk,
            number_digest=row.number_digest,
            last_three=row.last_three,
            reason=reason,
        )
    return result


def record_export(filters: dict[str, Any], *, origin: Origin) -> None:
    """Record that the audit events which *filters* leave are handed out as a file."""
    with transaction.atomic(durable=True):
        AuditEvent.objects.record(
            AuditEvent.Kind.EXPORT,
            StaffOutcome.OK,
            origin=origin,
            data={"filters": filters},
        )


# -- roles -------------------------------------------------------------------------


def role_of(user: User) -> str:
    """Return the highest role of *user*, "" for none; of a superuser, that they are one."""
    return roles_of([user])[user.pk]


def roles_of(users: Iterable[User]) -> dict[int, str]:
    """Return ``role_of`` each of *users* by their ids, with one statement."""
    roles = {user.pk: SUPERUSER if user.is_superuser else "" for user in users}
    ranks = ["", *ROLES, SUPERUSER]
    groups = Group.objects.filter(user__in=roles, name__in=ROLES)
    for pk, name in groups.values_list("user", "name"):
        roles[pk] = max(roles[pk], name, key=ranks.index)
    return roles


def give_role(user: User, role: str, *, reason: str, origin: Origin) -> StaffOutcome:
    """Make *user* staff in one role and no other, or, for "", no staff any more.

    A superuser is none from then on. Nobody gives a role that may do more than they may.
    The person is told by email.

    :raises TestAccount: if *user* is one.
    """
    reason = fit_reason(reason)
    if role and user.is_test:
        raise TestAccount
    with transaction.atomic(durable=True):
        lock_both(user, origin)
        user, now = User.objects.locked(user.pk), timezone.now()
        group = Group.objects.get(name=role) if role else None
        before, outcome = role_of(user), StaffOutcome.UNCHANGED
        if is_out_of_reach(origin, user) or (group and _is_beyond(group, origin)):
            outcome = StaffOutcome.OUT_OF_REACH
        elif before != role or user.is_staff is not bool(role):
            user.groups.remove(*Group.objects.filter(name__in=ROLES))
            if group:
                user.groups.add(group)
            User.objects.filter(pk=user.pk).update(is_staff=bool(role), is_superuser=False)
            about_id = group.pk if group else None
            delivery.notify(user, Notice.Kind.ROLE, now, about_id=about_id)
            outcome = StaffOutcome.OK
        AuditEvent.objects.record(
            AuditEvent.Kind.ROLE,
            outcome,
            now=now,
            origin=origin,
            user_id=user.pk,
            reason=reason,
            data={"role": role, "before": before},
        )
    return outcome


def lock_both(user: User, origin: Origin) -> None:
    """Let of two who take each other's rights at once one be the first: the other has none left."""
    ids = [pk for pk in (user.pk, origin.actor_id) if pk is not None]
    both = User.objects.select_for_update(no_key=True).filter(pk__in=ids).order_by("pk")
    list(both.values_list("pk"))


def _is_beyond(group: Group, origin: Origin) -> bool:
    """Whether *group* may do what the actor may not."""
    if origin.actor_id is None:
        return False
    actor = _actor(origin)
    given = set(group.permissions.values_list("pk", flat=True))
    return not actor.is_superuser and not given <= _powers(actor)
