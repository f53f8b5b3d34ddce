"""Changes of an account that a restored database has lost, made again.

A new number, app, passkey or password is not in the ledger. But the service must not accept the old
one again, or leave the account without a second factor. So it suspends the old number, accepts
nothing of the old app or passkey, and sets a password that nobody knows. These people use a
recovery code, choose a new password by a link in an email, or ask support.
"""

import secrets
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from django.contrib.auth.hashers import make_password
from django.db import transaction

from optin.audit.ledger import Line
from optin.conf import CLOCK_SLACK
from optin.models import (
    AccessKey,
    AuditEvent,
    AuthenticatorApp,
    EmailChange,
    Guard,
    KnownNetwork,
    Passkey,
    ProviderUser,
    Purpose,
    RecoveryCode,
    User,
)
from optin.operations import email_changes
from optin.operations.factors import Factors, forget_recovery_codes, read_locked
from optin.operations.not_me import end_all
from optin.origin import Origin
from optin.outcomes import SECURED

NO_STEP = 2**62
"""A time step of an app that never comes: no code of the app is accepted."""

Kind = AuditEvent.Kind


def record(
    outcome: str, line: Line, origin: Origin, now: datetime, user: User | None = None
) -> None:
    """Record what came of the decision of *line*: for *user*, if it changed their account."""
    AuditEvent.objects.record(
        Kind.RESTORE,
        outcome,
        now=now,
        origin=origin,
        user_id=user.pk if user else None,
        data={"event": line.event_id, "digest": line.digest, "was": line.kind},
    )


def made_until(line: Line) -> datetime:
    """Return until when something was made that *line* can be about: clocks differ."""
    return line.at + CLOCK_SLACK


# -- who has lost a factor ---------------------------------------------------------


def left_without(lines: Iterable[Line]) -> dict[int, dict[str, int]]:
    """Return the users who set up a second factor since the backup, and had it last.

    With what that was, by "number" (its ``ProviderUserId``), "app" and "passkey" with its id.

    :param lines: the lost decisions, in their order.
    """
    new: dict[int, dict[str, int]] = defaultdict(dict)
    for line in lines:
        if line.user_id is None or not line.is_told:
            continue
        if line.kind == Kind.VERIFY_OPT_IN:
            new[line.user_id]["number"] = line.provider_user_id or 0
        elif line.kind == Kind.APP:
            new[line.user_id]["app"] = 0
        elif line.kind == Kind.PASSKEY:
            new[line.user_id][f"passkey {line.data['passkey']}"] = 0
        elif line.kind == Kind.ERASE or _is_of_all(line):
            new[line.user_id].clear()
        elif line.kind in {Kind.REVOKE, Kind.OPT_OUT, Kind.DISOWN}:
            passkeys = (f"passkey {pk}" for pk in line.data.get("passkeys", []))
            for name in (*removed_by(line), *passkeys):
                new[line.user_id].pop(name, None)
    return {user_id: factors for user_id, factors in new.items() if factors}


def still_without(left: Mapping[int, Mapping[str, int]]) -> list[int]:
    """Return those of *left* who do not have back what they had last."""
    numbers = [factors["number"] for factors in left.values() if "number" in factors]
    live = ProviderUser.objects.filter(pk__in=numbers, confirmed=True, suspended_at=None)
    back = set(live.values_list("user_id", "pk"))  # it was removed, and verified again
    return sorted(
        user_id
        for user_id, factors in left.items()
        if factors.keys() - {"number"} or (user_id, factors["number"]) not in back
    )


# -- changes, under the lock of the user -------------------------------------------


def change(user: User, line: Line, left: Container[int], origin: Origin) -> str:
    """Make the change that *line* tells of to *user*.

    Nobody is told by email: they were told when it was decided.
    """
    with transaction.atomic(durable=True):
        factors = read_locked(user, Purpose.SIGN_IN, every_factor=True)
        before = _Before(factors, line, must_stay=user.pk in left)
        changed = _use_up(before) if line.uses_up else False
        if line.is_told and line.kind in CHANGES:
            changed |= CHANGES[line.kind](before)
        outcome = "again" if changed else "unchanged"
        record(outcome, line, origin, factors.now, user if changed else None)
    return outcome


@dataclass(frozen=True, slots=True)
class _Before:
    """An account as the backup has it, under its lock, and what was decided since."""

    factors: Factors
    line: Line
    must_stay: bool
    """Whether a factor that was set up since is lost. Then the account must still need a factor."""

    @property
    def user(self) -> User:
        return self.factors.user

    @property
    def number(self) -> ProviderUser | None:
        """The active number, unless it was verified after the decision."""
        row = self.factors.number
        return row if row and row.verified_at and row.verified_at <= made_until(self.line) else None

    @property
    def app(self) -> AuthenticatorApp | None:
        app = self.factors.app
        return app if app and app.verified_at and app.verified_at <= made_until(self.line) else None

    def remove(self, *names: str) -> bool:
        """Remove these factors, or let them stay and accept nothing of them."""
        changed = False
        if "number" in names and self.number and self.must_stay:
            changed = self.suspend()
        elif "number" in names and self.number:
            self.number.release(self.factors.now)
            changed = True
        if "app" in names and self.app and self.must_stay:
            changed |= self.stop_app()
        elif "app" in names and self.app:
            self.app.delete()
            changed = True
        if "passkey" in names:
            changed |= self.remove_passkeys()
        forget_recovery_codes(self.user)
        return changed

    def remove_passkeys(self) -> bool:
        """Remove those that the line names, or all, or let them stay and accept none of them."""
        found = Passkey.objects.filter(user=self.user, created_at__lte=made_until(self.line))
        if "passkeys" in self.line.data:
            found = found.filter(pk__in=self.line.data["passkeys"])
        if self.must_stay:
            return bool(found.exclude(public_key="").update(public_key=""))
        return bool(found.delete()[0])

    def suspend(self) -> bool:
        """Accept no texted code for the number."""
        if self.number is None or self.number.suspended_at:
            return False
        rows = ProviderUser.objects.filter(pk=self.number.pk)
        return bool(rows.update(suspended_at=self.line.at))

    def stop_app(self) -> bool:
        """Accept no code of the app."""
        if self.app is None or self.app.last_step == NO_STEP:
            return False
        self.app.use(NO_STEP)
        return True


def removed_by(line: Line) -> list[str]:
    """Return which factors *line* removed. A line of a client's call does not say: the number."""
    names: list[str] = line.data.get("removed", ["number"])
    return names


def _is_of_all(line: Line) -> bool:
    """Whether *line* is of staff, or of the person, who had everything removed."""
    return line.kind == Kind.REVOKE and "removed" not in line.data


def _use_up(before: _Before) -> bool:
    """Use the recovery code up, lock or disable the account, as the line tells.

    A right code after that is not in the ledger: the count may be higher than it was.
    """
    data, user, now = before.line.data, before.user, before.factors.now
    codes = RecoveryCode.objects.filter(user=user, created_at__lte=made_until(before.line))
    unused = codes.filter(pk=data.get("recovery_code", 0), used_at=None)
    changed = bool(unused.update(used_at=now))
    count = user.programs if data.get("programs") else user.own
    if data.get("failures", 0) > count.failures:
        count.set(failures=data["failures"])
        changed = True
    if "locked_until" in data:
        until = datetime.fromisoformat(data["locked_until"])
        count.set(locked_until=max(until, count.locked_until or until))
    if "app_until" in data:
        until = datetime.fromisoformat(data["app_until"])
        user.app_failures_until = max(until, user.app_failures_until or until)
    if data.get("disabled"):
        count.set(disabled_at=count.disabled_at or now)
    user.save_counts()
    return changed


def _revoke(before: _Before) -> bool:
    """Remove what the line names, or everything.

    Then the recovery codes go too if a factor has to stay, for it is not accepted.
    """
    if not _is_of_all(before.line):
        return before.remove(*removed_by(before.line))
    changed = before.remove("number", "app", "passkey")
    return _forget_recovery_codes(before) or changed


def _disown(before: _Before) -> bool:
    """Take back what the person disowned: keys, networks and codes may be a thief's."""
    user, now = before.user, before.factors.now
    if before.line.outcome == SECURED:
        return _shut_out(before)
    changed = before.remove(*removed_by(before.line)) | _put_back_address(before)
    codes, _ = RecoveryCode.objects.filter(user=user).delete()
    keys = AccessKey.objects.filter(
        user=user, created_at__lte=made_until(before.line), revoked_at=None
    )
    networks = KnownNetwork.objects.filter(user=user).exists()
    end_all(user, now)
    return bool(keys.update(revoked_at=now) or changed or codes or networks)


def _shut_out(before: _Before) -> bool:
    """End the sign-ins again, and close the number to strangers for the rest of the time."""
    now, line, number = before.factors.now, before.line, before.number
    end_all(before.user, now)
    until = datetime.fromisoformat(line.data["until"]) if "until" in line.data else now
    if until > now and number and number.number_digest == line.number_digest:
        Guard.objects.close_to_strangers(line.number_digest, line.last_three, now, until)
    return True


def _put_back_address(before: _Before) -> bool:
    """Put the address back that the line says, if the backup has the change that took it away."""
    changes = EmailChange.objects.filter(user=before.user, closed_at__lte=made_until(before.line))
    change = changes.filter(pk=before.line.data.get("change", 0)).first()
    return bool(change and email_changes.put_back(before.user, change))


def _verify(before: _Before) -> bool:
    """Suspend a number that gave way to another one; not if it was verified again itself."""
    number = before.number
    if number is None or number.pk != before.line.provider_user_id:
        return before.suspend()
    # Leave it out if staff have suspended it since.
    rows = ProviderUser.objects.filter(pk=number.pk, suspended_at__lte=made_until(before.line))
    return bool(rows.update(suspended_at=None))


def _suspend(before: _Before) -> bool:
    return _is_about(before) and before.suspend()


def _resume(before: _Before) -> bool:
    rows = ProviderUser.objects.filter(pk=before.line.provider_user_id).exclude(suspended_at=None)
    return _is_about(before) and bool(rows.update(suspended_at=None))


def _is_about(before: _Before) -> bool:
    """Whether the line is about the number that the backup has active."""
    return bool(before.number and before.number.pk == before.line.provider_user_id)


def _unlock(before: _Before) -> bool:
    return before.user.unlock()


def _forget_recovery_codes(before: _Before) -> bool:
    """Delete a list that gave way to another one, which is lost."""
    old = RecoveryCode.objects.filter(user=before.user, created_at__lte=made_until(before.line))
    return bool(old.delete()[0])


def _forget_password(before: _Before) -> bool:
    """Stop accepting the old password, if any: the person had chosen another one.

    They can choose a new one by "Forgotten your password?", which helps nobody who has none.
    """
    before.user.end_sign_ins(before.factors.now)
    rows = User.objects.filter(pk=before.user.pk)
    return bool(rows.update(password=_unknown_password()))


@cache
def _unknown_password() -> str:
    """Return the hash of a password that nobody knows. A hash is slow, so one serves for all."""
    return make_password(secrets.token_urlsafe(32))


CHANGES: dict[str, Callable[[_Before], bool]] = {
    Kind.OPT_OUT: lambda before: before.remove(*removed_by(before.line)),
    Kind.REVOKE: _revoke,
    Kind.DISOWN: _disown,
    Kind.VERIFY_OPT_IN: _verify,
    Kind.APP: _Before.stop_app,
    Kind.PASSKEY: lambda before: False,  # it took the place of none
    Kind.RECOVERY_CODES: _forget_recovery_codes,
    Kind.PASSWORD: _forget_password,
    Kind.INVITATION: _forget_password,
    Kind.SUSPEND: _suspend,
    Kind.RESUME: _resume,
    Kind.UNLOCK: _unlock,
}
