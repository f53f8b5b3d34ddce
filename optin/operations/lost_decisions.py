"""Decisions that a restored database has lost, carried out again from the ledger.

Those about numbers, apps, codes and passwords are in ``lost_changes``. All others go through the
operation that made them.
"""

from collections.abc import Callable, Container
from contextlib import suppress
from datetime import date, datetime

from django.core.exceptions import ObjectDoesNotExist
from django.db import transaction
from django.utils import timezone
from oauth2_provider.models import get_application_model

from optin.audit.ledger import Line
from optin.errors import TellingReason, UnfitTime
from optin.models import AccessKey, AuditEvent, File, Guard, Membership, User, WebhookEndpoint
from optin.operations import (
    erasure,
    lost_changes,
    people,
    send_controls,
    sign_in,
    staff,
    tenants,
    texts_end,
    webhooks,
)
from optin.operations.lost_changes import made_until
from optin.operations.send_controls import Target
from optin.origin import Origin
from optin.outcomes import StaffOutcome

REASON = "Carried out again after a restore"

Kind = AuditEvent.Kind


def leave(line: Line, *, origin: Origin) -> str:
    """Record that nothing was done for *line*.

    It came too late to give anything back, which may have been taken since, or it is about an
    import, which an operator must repeat.
    """
    with transaction.atomic(durable=True):
        lost_changes.record("unchanged", line, origin, timezone.now())
    return "unchanged"


def carry_out(line: Line, left: Container[int], *, origin: Origin) -> str:
    """Carry out the decision of *line* again, and record that.

    :param left: ``left_without``. The factors of these users stay, but no code is accepted.
    :returns: "again", "unchanged", "gone" if the backup does not have what it was about, or
        "unknown" if another release made this decision: that is not recorded.
    """
    if not (line.is_told or line.uses_up):
        return "unknown"
    try:
        if line.uses_up or (line.is_told and line.kind in lost_changes.CHANGES):
            return lost_changes.change(_user(line), line, left, origin)
        outcome = "again" if _OPERATIONS[line.kind](line, origin) else "unchanged"
    except ObjectDoesNotExist:
        outcome = "gone"
    except (KeyError, ValueError):
        return "unknown"
    with transaction.atomic(durable=True):
        lost_changes.record(outcome, line, origin, timezone.now())
    return outcome


def _user(line: Line) -> User:
    """Return the account that *line* is about, and not a later one that got its id.

    :raises User.DoesNotExist: if there is none.
    """
    user: User = User.objects.get(pk=line.user_id or 0, date_joined__lte=made_until(line))
    return user


# -- everything else, by the operation that made the decision ----------------------


def _erase(line: Line, origin: Origin) -> bool:
    person = _user(line)
    for reason in (REASON, "-", "+"):  # no reason may have a name of the person
        with suppress(TellingReason):
            return erasure.erase(person, reason=reason, origin=origin) is StaffOutcome.OK
    return False


def _lower_role(line: Line, origin: Origin) -> bool:
    """Take a role away, or give a lower one. No line gives anybody a higher role."""
    user, role = _user(line), line.data["role"]
    ranks = ["", *staff.ROLES, staff.SUPERUSER]
    if ranks.index(role) >= ranks.index(staff.role_of(user)):
        return False
    return staff.give_role(user, role, reason=REASON, origin=origin) is StaffOutcome.OK


def _member(line: Line, origin: Origin) -> bool:
    user, file = _user(line), File.objects.get(pk=line.file_id or 0)
    if line.outcome == "manager_ended":
        own = Membership.objects.filter(user=user, file=file, active=True, manages=True)
        if not own.exists():
            return False
        return tenants.let_manage(user, file, manages=False, origin=origin) is StaffOutcome.OK
    active = line.outcome == "added"
    if Membership.objects.filter(user=user, file=file, active=active).exists():
        return False
    if user.is_test is not file.is_sandbox:  # a later file that got its id
        return False
    (tenants.add_member if active else tenants.end_membership)(user, file, origin=origin)
    return True


def _activity(line: Line, origin: Origin) -> bool:
    user = _user(line)
    switch = people.activate if line.outcome == "activated" else people.deactivate
    return switch(user, reason=REASON, origin=origin) is StaffOutcome.OK


def _revoke_key(line: Line, origin: Origin) -> bool:
    keys = AccessKey.objects.select_related("user", "file").filter(created_at__lte=made_until(line))
    key = keys.get(pk=line.data["access_key"])
    if key.revoked_at:
        return False
    tenants.revoke_access_key(key, origin=origin)
    return True


def _application(line: Line, origin: Origin) -> bool:
    model = get_application_model()
    found = model.objects.get(pk=line.data["application"], created__lte=made_until(line))
    if line.outcome == "trust_ended":
        ended = tenants.trust_application(found, trusted=False, reason=REASON, origin=origin)
        return ended is StaffOutcome.OK
    if line.outcome == "scim_ended":
        ended = tenants.end_provisioning(found, reason=REASON, origin=origin)
        return ended is StaffOutcome.OK
    tenants.remove_application(found, origin=origin)
    return True


def _end_endpoint(line: Line, origin: Origin) -> bool:
    """Remove the endpoint.

    If it was only changed since the backup, switch it off: the backup has its old address or
    secret.
    """
    made = WebhookEndpoint.objects.filter(created_at__lte=made_until(line))
    found = made.get(pk=line.data["endpoint"])
    if line.outcome == "removed":
        webhooks.remove(found, origin=origin)
        return True
    return webhooks.switch(found, on=False, origin=origin) is StaffOutcome.OK


def _switch_password_clients(line: Line, origin: Origin) -> bool:
    on = line.outcome == "on"
    if on is (sign_in.application() is not None):
        return False
    tenants.switch_password_clients(on=on, origin=origin)
    return True


def _end_texts(line: Line, origin: Origin) -> bool:
    """Set the day on which texts end, or take it back: people were told of it."""
    file = File.objects.get(pk=line.file_id or 0)
    day = date.fromisoformat(line.data["day"]) if line.outcome == "texts_end" else None
    with transaction.atomic(durable=True):
        return texts_end.put_day(file, day, reason=REASON, origin=origin) is StaffOutcome.OK


def _list(line: Line, origin: Origin) -> bool:
    """Put a number or prefix on a list, or take it off."""
    data = line.data
    covers, region = Guard.Covers(data["covers"]), data.get("region", "")
    target = Target(covers, data["key"], region, line.last_three)
    if data.get("listed") is False:
        opened = bool(data.get("by_owner"))
        return _unlist(target, origin, also_closed=opened)
    lasts = min(datetime.fromisoformat(data["until"]) - timezone.now(), send_controls.LONGEST)
    put = send_controls.deny if line.kind == Kind.DENY else send_controls.keep_safe
    try:
        put(target, lasts, reason=REASON, origin=origin)
    except UnfitTime:  # it has ended; so has what it replaced
        return _unlist(target, origin, also_closed=False)
    return True


def _unlist(target: Target, origin: Origin, *, also_closed: bool) -> bool:
    """Take *target* off a list. What its owner closed opens only if staff opened that (G-08)."""
    outcome = send_controls.unlist(target, reason=REASON, origin=origin, also_closed=also_closed)
    return outcome is StaffOutcome.OK


def _stop_texts(line: Line, origin: Origin) -> bool:
    switch = send_controls.stop_texts if line.data["stopped"] else send_controls.allow_texts
    return switch(reason=REASON, origin=origin) is StaffOutcome.OK


def _stop_number(line: Line, origin: Origin) -> bool:
    """Remember the STOP of a person, or that it was taken back."""
    stops, digest = Guard.objects, line.number_digest
    with transaction.atomic(durable=True):
        now = timezone.now()
        if line.outcome == "stopped":
            changed = stops.opt_out(digest, line.last_three, now)
        else:
            changed = stops.opt_in(digest)
        if changed:
            AuditEvent.objects.record(
                Kind.NO_TEXTS,
                line.outcome,
                now=now,
                origin=origin,
                number_digest=digest,
                last_three=line.last_three,
                reason=REASON,
            )
    return changed


_OPERATIONS: dict[str, Callable[[Line, Origin], bool]] = {
    Kind.ERASE: _erase,
    Kind.ROLE: _lower_role,
    Kind.MEMBER: _member,
    Kind.PERSON: _activity,
    Kind.ACCESS_KEY: _revoke_key,
    Kind.APPLICATION: _application,
    Kind.WEBHOOK: _end_endpoint,
    Kind.PASSWORD_CLIENTS: _switch_password_clients,
    Kind.FILE: _end_texts,
    Kind.DENY: _list,
    Kind.SAFE: _list,
    Kind.NO_TEXTS: _stop_number,
    Kind.STOP: _stop_texts,
}
