"""Decisions that a restored database has lost, carried out again from the ledger.

What a decision replaced is not in the ledger: a new number, app or password. The old one must not
be accepted again, and the account must not be left without a second factor. So the old number is
suspended, no code of the old app is accepted, and the password becomes one that nobody knows. These
people use a recovery code, choose a new password by mail, or ask support.
"""

import secrets
from collections.abc import Callable
from datetime import datetime
from functools import cache

from django.contrib.auth.hashers import make_password
from django.core.exceptions import ObjectDoesNotExist
from django.db import transaction
from django.utils import timezone
from oauth2_provider.models import get_application_model

from optin.audit.ledger import Line
from optin.errors import UnfitTime
from optin.models import (
    AccessKey,
    AuditEvent,
    File,
    Guard,
    KnownNetwork,
    Membership,
    ProviderUser,
    Purpose,
    RecoveryCode,
    User,
)
from optin.operations import erasure, send_controls, staff, staff_actions, tenants
from optin.operations.factors import Factors, forget_recovery_codes, read_locked, record
from optin.operations.send_controls import Target
from optin.operations.staff_actions import StaffAction
from optin.origin import Origin
from optin.outcomes import StaffOutcome

NO_STEP = 2**62
"""A time step of an app that never comes: no code of the app is accepted."""

REASON = "Carried out again after a restore"

Kind = AuditEvent.Kind


def carry_out(line: Line, *, origin: Origin) -> bool | None:
    """Carry out the decision of *line* again; return whether that changed anything.

    None if the backup does not have the account, key or file that it was about.
    """
    changed = False
    try:
        if line.uses_up or (line.is_told and line.kind in _CHANGES):
            changed = _change(_user(line), line, origin)
        if line.is_told and line.kind in _OPERATIONS:
            changed |= _OPERATIONS[line.kind](line, origin)
    except ObjectDoesNotExist:
        return None
    return changed


def _user(line: Line) -> User:
    user: User = User.objects.get(pk=line.user_id or 0)
    return user


def _change(user: User, line: Line, origin: Origin) -> bool:
    """Make the change that *line* tells of to *user*; return whether it was one."""
    with transaction.atomic(durable=True):
        factors = read_locked(user, Purpose.SIGN_IN, every_factor=True)
        changed = _use_up(factors, line) if line.uses_up else False
        if line.is_told and line.kind in _CHANGES:
            changed |= _CHANGES[line.kind](factors, line)
        if changed:
            data = {"event": line.event_id, "was": line.kind}
            record(Kind.RESTORE, "again", factors, None, origin, factors.now, data=data)
    return changed


def _use_up(factors: Factors, line: Line) -> bool:
    """Use the recovery code up, lock or disable the account, as *line* tells.

    A right code after that is not in the ledger: the count may be higher than it was.
    """
    data, user, now = line.data, factors.user, factors.now
    unused = RecoveryCode.objects.filter(user=user, pk=data.get("recovery_code", 0), used_at=None)
    changed = bool(unused.update(used_at=now))
    if data.get("failures", 0) > user.otp_failures:
        user.otp_failures, changed = data["failures"], True
    if "locked_until" in data:
        until = datetime.fromisoformat(data["locked_until"])
        user.otp_locked_until = max(until, user.otp_locked_until or until)
    if data.get("disabled"):
        user.otp_disabled_at = user.otp_disabled_at or now
    user.save_counts()
    return changed


def _remove(factors: Factors, line: Line) -> bool:
    """Remove the factors that the person removed: by a client's call, the number."""
    removed = line.data.get("removed", ["number"])
    changed = False
    if "number" in removed and factors.active:
        factors.active.release(factors.now)
        changed = True
    if "app" in removed and factors.app:
        factors.app.delete()
        changed = True
    forget_recovery_codes(factors.user)
    return changed


def _disown(factors: Factors, line: Line) -> bool:
    """Take back what the person disowned: keys and networks may be a thief's."""
    user, now = factors.user, factors.now
    changed = _remove(factors, line)
    keys = AccessKey.objects.filter(user=user, revoked_at=None).update(revoked_at=now)
    networks, _ = KnownNetwork.objects.filter(user=user).delete()
    return bool(changed or keys or networks)


def _suspend_replaced(factors: Factors, line: Line) -> bool:
    """Accept no texted code from a number that gave way to another one, which is lost."""
    old = factors.active
    if old is None or old.pk != line.data.get("replaced") or old.suspended_at:
        return False
    return bool(ProviderUser.objects.filter(pk=old.pk).update(suspended_at=factors.now))


def _stop_replaced_app(factors: Factors, line: Line) -> bool:
    """Accept no code from an app that gave way to another one; signing in still needs a factor."""
    if factors.app is None or factors.app.last_step == NO_STEP:
        return False
    factors.app.use(NO_STEP)
    return True


def _forget_recovery_codes(factors: Factors, line: Line) -> bool:
    return bool(RecoveryCode.objects.filter(user=factors.user).delete()[0])


def _forget_password(factors: Factors, line: Line) -> bool:
    """Accept a former password no more. By mail the person can choose a new one."""
    return bool(User.objects.filter(pk=factors.user.pk).update(password=_unknown_password()))


@cache
def _unknown_password() -> str:
    """Return the hash of a password that nobody knows. A hash is slow, so one serves for all."""
    return make_password(secrets.token_urlsafe(32))


_CHANGES: dict[str, Callable[[Factors, Line], bool]] = {
    Kind.OPT_OUT: _remove,
    Kind.DISOWN: _disown,
    Kind.VERIFY_OPT_IN: _suspend_replaced,
    Kind.APP: _stop_replaced_app,
    Kind.RECOVERY_CODES: _forget_recovery_codes,
    Kind.PASSWORD: _forget_password,
}
"""What has to be done anew for the ledger. What staff can do goes through their operations."""


def _erase(line: Line, origin: Origin) -> bool:
    person = _user(line)
    return erasure.erase(person, reason=REASON, origin=origin) is StaffOutcome.OK


def _by_staff(action: StaffAction) -> Callable[[Line, Origin], bool]:
    def act(line: Line, origin: Origin) -> bool:
        user = _user(line)
        return action(user, reason=REASON, origin=origin) is StaffOutcome.OK

    return act


def _give_role(line: Line, origin: Origin) -> bool:
    user, role = _user(line), line.data["role"]
    return staff.give_role(user, role, reason=REASON, origin=origin) is StaffOutcome.OK


def _member(line: Line, origin: Origin) -> bool:
    user, file = _user(line), File.objects.get(pk=line.file_id or 0)
    active = line.outcome == "added"
    if Membership.objects.filter(user=user, file=file, active=active).exists():
        return False
    (tenants.add_member if active else tenants.end_membership)(user, file, origin=origin)
    return True


def _revoke_key(line: Line, origin: Origin) -> bool:
    key = AccessKey.objects.select_related("user", "file").get(pk=line.data["access_key"])
    if key.revoked_at:
        return False
    tenants.revoke_access_key(key, origin=origin)
    return True


def _remove_application(line: Line, origin: Origin) -> bool:
    application = get_application_model().objects.filter(pk=line.data["application"]).first()
    if application:
        tenants.remove_application(application, origin=origin)
    return application is not None


def _switch_password_clients(line: Line, origin: Origin) -> bool:
    tenants.switch_password_clients(on=line.outcome == "on", origin=origin)
    return True


def _list(line: Line, origin: Origin) -> bool:
    """Put a number or prefix on a list, or take it off."""
    data = line.data
    covers, region = Guard.Covers(data["covers"]), data.get("region", "")
    target = Target(covers, data["key"], region, line.last_three)
    if data.get("listed") is False:
        return send_controls.unlist(target, reason=REASON, origin=origin) is StaffOutcome.OK
    lasts = datetime.fromisoformat(data["until"]) - timezone.now()
    put = send_controls.deny if line.kind == Kind.DENY else send_controls.keep_safe
    try:
        put(target, lasts, reason=REASON, origin=origin)
    except UnfitTime:
        return False  # it has ended
    return True


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
                user_id=None,
                number_digest=digest,
                last_three=line.last_three,
                reason=REASON,
            )
    return changed


_OPERATIONS: dict[str, Callable[[Line, Origin], bool]] = {
    Kind.ERASE: _erase,
    Kind.REVOKE: _by_staff(staff_actions.revoke),
    Kind.SUSPEND: _by_staff(staff_actions.suspend),
    Kind.RESUME: _by_staff(staff_actions.resume),
    Kind.UNLOCK: _by_staff(staff_actions.unlock),
    Kind.ROLE: _give_role,
    Kind.MEMBER: _member,
    Kind.ACCESS_KEY: _revoke_key,
    Kind.APPLICATION: _remove_application,
    Kind.PASSWORD_CLIENTS: _switch_password_clients,
    Kind.DENY: _list,
    Kind.SAFE: _list,
    Kind.NO_TEXTS: _stop_number,
    Kind.STOP: _stop_texts,
}
"""What goes through the operation that made the decision."""
