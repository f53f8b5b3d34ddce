"""People, as operators make them, end their access, and give them a password.

Each is one transaction with one audit event. Django's own commands save the person themselves:
the ``record_...`` functions are called in the transaction of that.
"""

from typing import Any

from django.db import transaction
from django.utils import timezone

from optin.gateways import Simulator
from optin.messaging import delivery
from optin.models import AuditEvent, GatewayHealth, Notice, ProviderUser, ScimEnd, User
from optin.models.reasons import fit_reason
from optin.operations import staff, staff_actions
from optin.origin import Origin
from optin.outcomes import StaffOutcome

Kind = AuditEvent.Kind


def create(username: str, email: str, *, is_test: bool = False, origin: Origin) -> User:
    """Make a person, who has no password yet.

    :param is_test: for a test account, which belongs to sandboxes only.

    :raises ValidationError: if the name or the address is unfit, or somebody else's.
    """
    person = User(username=User.normalize_username(username), email=email, is_test=is_test)
    person.set_unusable_password()
    with transaction.atomic(durable=True):
        person.full_clean()
        person.save()
        record_made(person, origin=origin)
    return person


def deactivate(
    user: User, *, reason: str, origin: Origin, data: dict[str, Any] | None = None
) -> StaffOutcome:
    """End the access of *user*: sessions, tokens and access keys work no more.

    :param data: what else the event says.
    :raises UnfitReason: without a reason, or with one of over 500 characters.
    :raises Deactivated: if the actor is no staff any more.
    """
    return _set_active(user, False, "deactivated", reason, origin, data)


def activate(user: User, *, reason: str, origin: Origin) -> StaffOutcome:
    """Let *user* in again. Sessions and tokens from before do not work again; access keys do.

    :raises UnfitReason: without a reason, or with one of over 500 characters.
    :raises Deactivated: if the actor is no staff any more.
    """
    return _set_active(user, True, "activated", reason, origin)


def _set_active(
    user: User,
    active: bool,
    outcome: str,
    reason: str,
    origin: Origin,
    data: dict[str, Any] | None = None,
) -> StaffOutcome:
    reason = fit_reason(reason)
    with transaction.atomic(durable=True):
        staff.lock_both(user, origin)
        person = User.objects.locked(user.pk)
        refused = None
        if staff.is_out_of_reach(origin, person):
            refused = StaffOutcome.OUT_OF_REACH
        elif person.is_active is active and (active or is_off_for_good(person)):
            refused = StaffOutcome.UNCHANGED
        if refused:
            _record(Kind.PERSON, refused, person, origin, reason=reason)
            return refused
        set_active(person, active, outcome, reason, origin, data)
    return StaffOutcome.OK


def set_active(
    person: User,
    active: bool,
    outcome: str,
    reason: str,
    origin: Origin,
    data: dict[str, Any] | None = None,
) -> None:
    """``activate`` or ``deactivate`` for a caller that has decided it, in its transaction."""
    person.is_active = active
    person.save(update_fields=["is_active"])
    # Whoever decides last decides: an identity provider does not undo it.
    ScimEnd.objects.filter(user=person, of_account=True).delete()
    _record(Kind.PERSON, outcome, person, origin, reason=reason, data=data)


def is_off_for_good(person: User) -> bool:
    """Whether *person* is deactivated, and no identity provider may activate them."""
    ends = person.scim_ends.all()  # imports have read them already
    return not person.is_active and all(each.deleted or not each.of_account for each in ends)


def end_trial(*, origin: Origin) -> list[ProviderUser]:
    """End the numbers that were verified in a trial: the simulator stood for their phones.

    :returns: these numbers. If this stops, run it again.
    """
    trial = GatewayHealth.objects.filter(gateway=Simulator.name)
    if not trial.exists():
        return []
    active = ProviderUser.objects.filter(confirmed=True, user__is_test=False)
    numbers = list(active.select_related("user", "file").order_by("pk"))
    for number in numbers:
        staff_actions.revoke_number(number.user, reason="The trial ended.", origin=origin)
    trial.delete()
    return numbers


def record_made(person: User, *, origin: Origin) -> None:
    """Record that *person* was made, in the transaction of that."""
    data = {"superuser": True} if person.is_superuser else {}
    data |= {"test": True} if person.is_test else {}
    _record(Kind.PERSON, "created", person, origin, data=data)


def record_password(person: User, *, origin: Origin) -> None:
    """Record, in the transaction of that, that *person* was given a password.

    Who has signed in before is told by email; others know of no password.
    """
    if person.last_login:
        delivery.notify(person, Notice.Kind.PASSWORD, timezone.now())
    _record(Kind.PASSWORD, "set", person, origin)


def _record(
    kind: AuditEvent.Kind,
    outcome: str,
    person: User,
    origin: Origin,
    *,
    reason: str = "",
    data: dict[str, Any] | None = None,
) -> None:
    AuditEvent.objects.record(
        kind,
        outcome,
        origin=origin,
        user_id=person.pk,
        reason=reason,
        data=data,
    )
