"""What people do with their second factors on pages, except opting in.

Set up an app, make recovery codes, remove a factor.

For each change, the session must have verified the password in the last 15 minutes and, while
two-factor sign-in is on, a second factor too: otherwise ``PasswordNeeded`` or ``FactorNeeded`` is
raised. If the session has ended meanwhile, ``SignedOut`` or ``Deactivated`` is raised.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from optin import codes
from optin.conf import conf
from optin.errors import FactorNeeded
from optin.messaging import delivery
from optin.models import (
    AuditEvent,
    AuthenticatorApp,
    Guard,
    Notice,
    Passkey,
    PendingOtp,
    ProposedNumber,
    ProviderUser,
    Purpose,
    RecoveryCode,
    User,
)
from optin.models.second_factors import overview
from optin.operations import verification
from optin.operations.factors import (
    Factors,
    Standing,
    asked_by_session,
    forget_recovery_codes,
    read_caller_locked,
    record,
    refuse_ended,
)
from optin.operations.opt_ins import KeepSession, end_session
from optin.operations.verification import Verification
from optin.origin import Origin
from optin.outcomes import By, CodeOutcome, FactorOutcome
from optin.passkeys import PasskeyResponse

Kind = AuditEvent.Kind


class Removal(StrEnum):
    """The factors to turn off."""

    ALL = "all"
    NUMBER = "number"
    APP = "app"
    PASSKEY = "passkey"  # one of them


@dataclass(frozen=True, slots=True)
class Change:
    """The answer to a wish to change a factor."""

    outcome: FactorOutcome
    retry_after: timedelta | None = None
    repeated: bool = False  # it was done a moment ago: nothing happens
    data: dict[str, Any] = field(default_factory=dict)  # for the audit event


def is_stopped(user: User, **which: Any) -> bool:
    """Whether somebody answered STOP from that number of *user*, the active one by default.

    Of none that they have not verified: nobody may learn that of another's number (S-38). Of an
    active one they do, also if it was taken over: the operators say that it is theirs.
    """
    own = ProviderUser.objects.filter(user=user, **(which or {"confirmed": True}))
    proved = Q(verified_at__isnull=False, taken_over_at=None)
    theirs = own.filter(proved | Q(confirmed=True)).values("number_digest")
    return Guard.objects.filter(kind=Guard.Kind.OPTED_OUT, key__in=theirs).exists()


def last_used(user: User) -> datetime | None:
    """Return when a second factor of *user* was verified last."""
    verified = AuditEvent.objects.about(user).filter(
        kind__in=[Kind.CHECK, Kind.VERIFY_OPT_IN, Kind.OPT_OUT], outcome=CodeOutcome.OK
    )
    return verified.values_list("at", flat=True).first()


# -- what a page asks for first ----------------------------------------------------


def ask_first(user: User, first: By, *, standing: Standing, origin: Origin) -> bool:
    """Let the sign-in page ask for the passkey or the app's code *first*, or text a code at once.

    Clients of the API are not concerned: they are texted a code in any case.

    :return: whether *user* has such a factor and a number, so that there is a choice.
    """
    with asked_by_session(user, standing, factor=False) as factors:
        has_both = bool(factors.number and factors.works_without_texts)
        text_first = first is By.TEXT
        if has_both and factors.user.text_first is not text_first:
            User.objects.filter(pk=user.pk).update(text_first=text_first)
            outcome = "text_first" if text_first else "app_first"
            record(Kind.APP, outcome, factors, None, origin)
    return has_both


# -- texts after a STOP -------------------------------------------------------------


def allow_texts(user: User, *, standing: Standing, origin: Origin) -> Change:
    """Let texts go to the active number of *user* again, after a STOP from it.

    Anybody can forge the sender of a STOP, so a person who verifies an app or a recovery code may
    undo it. A texted code is not enough: it may be from before the STOP. A number that was taken
    over, and from which no code was entered here, may be somebody else's: its STOP stays. If the
    gateway still blocks the number, the next text fails and shows it.
    """
    with asked_by_session(user, standing) as factors:
        if not standing.is_beyond_texts:
            raise FactorNeeded
        row = factors.number
        result = barred(factors, standing) or Change(_allow(row))
        record(Kind.NO_TEXTS, result.outcome, factors, row, origin)
    return result


def _allow(row: ProviderUser | None) -> FactorOutcome:
    if row is None:
        return FactorOutcome.NOT_OPTED_IN
    if not row.is_proved or _is_claimed(row):
        return FactorOutcome.MOBILE_NUMBER_IN_USE
    return FactorOutcome.OK if Guard.objects.opt_in(row.number_digest) else FactorOutcome.UNCHANGED


def _is_claimed(row: ProviderUser) -> bool:
    """Whether another account has verified the number of *row* since: it may have sent the STOP."""
    return (
        AuditEvent.objects.led_by("other_user_id", row.user_id)
        .filter(
            kind=Kind.VERIFY_OPT_IN,
            outcome=CodeOutcome.MOBILE_NUMBER_IN_USE,
            number_digest=row.number_digest,
            at__gte=row.verified_at,
        )
        .exists()
    )


# -- authenticator apps ------------------------------------------------------------


def begin_app(user: User, *, standing: Standing, origin: Origin) -> Change:
    """Make a secret for an app to be set up; one that waits already is replaced."""
    with asked_by_session(user, standing) as factors:
        standing.to_replace(factors.app).demand(factors.now, factors)
        result = barred(factors, standing) or Change(FactorOutcome.STARTED)
        if result.outcome is FactorOutcome.STARTED:
            AuthenticatorApp.objects.filter(user=factors.user, confirmed=False).delete()
            AuthenticatorApp.objects.create(
                user=factors.user,
                name="app",
                secret_encrypted=AuthenticatorApp.seal(codes.new_app_secret(), user.pk),
                begun_by=AuthenticatorApp.begun(origin.session),
                created_at=factors.now,
            )
        record(Kind.APP, result.outcome, factors, None, origin)
    return result


def confirm_app(
    user: User,
    otp: str,
    *,
    standing: Standing,
    origin: Origin,
    keep_session: KeepSession = end_session,
) -> Change:
    """Make the app that waits the user's app, if *otp* is its code.

    A wrong one is no failure: whoever may ask has just been shown the secret. For the same
    reason a right one does not start the count again.

    :raises MalformedCode: if *otp* cannot be an app's code.
    """
    code = codes.parse(otp)
    return add_factor(
        user,
        By.APP,
        lambda factors: _confirm(factors, code, origin),
        attempt=verification.attempt_digest(origin, code, "set up"),
        standing=standing,
        origin=origin,
        keep_session=keep_session,
    )


def add_factor(
    user: User,
    by: By,
    make: Callable[[Factors], Change],
    *,
    attempt: str,
    standing: Standing,
    origin: Origin,
    keep_session: KeepSession,
) -> Change:
    """Add a factor that needs no text, with *make*, under the lock of *user*.

    :param attempt: as ``verification.attempt_digest`` returns it. Only a right one is remembered.
    """
    with transaction.atomic(durable=True):
        factors = read_caller_locked(user, Purpose.CHANGE, every_factor=True, origin=None)
        if verification.repeated(factors, None, attempt):
            return Change(FactorOutcome.OK, repeated=True)
        refuse_ended(factors, user)
        replaced = factors.app if by is By.APP else None
        standing.to_replace(replaced).demand(factors.now, factors)
        result = barred(factors, standing) or make(factors)
        if result.outcome is FactorOutcome.OK:
            _end_what_was_begun(factors)
            verification.remember(factors, attempt, Verification(CodeOutcome.OK, by=by))
            factors.user.save_counts()
            keep_session(factors.user)
        record(Kind(by.value), result.outcome, factors, None, origin, data=result.data)
    return result


def _confirm(factors: Factors, code: str, origin: Origin) -> Change:
    user, now = factors.user, factors.now
    waiting = AuthenticatorApp.objects.waiting_of(user, origin.session, now)
    if waiting is None:
        return Change(FactorOutcome.NOTHING_WAITING)
    step = waiting.step_of(code, now)
    if step is None:
        return Change(FactorOutcome.OTP_INCORRECT)
    if factors.app:
        factors.app.delete()
    waiting.confirmed, waiting.verified_at, waiting.last_step = True, now, step
    # Leave out the secret: ``rotate_keys`` may have encrypted it anew.
    waiting.save(update_fields=["confirmed", "verified_at", "last_step"])
    delivery.notify(user, Notice.Kind.APP_ADDED, now, about_id=waiting.pk)
    return Change(FactorOutcome.OK)


def _end_what_was_begun(factors: Factors) -> None:
    """End the sign-ins, opt-ins and choices from before the locked user added such a factor."""
    user, now = factors.user, factors.now
    if user.text_first and not factors.works_without_texts:  # chosen when there was another
        User.objects.filter(pk=user.pk).update(text_first=False)
    # An opt-in that a client began is for somebody without a factor.
    PendingOtp.objects.filter(provider_user__user=user, purpose=Purpose.OPT_IN).close(
        now, PendingOtp.Closed.OTHER_VERIFIED
    )
    ProposedNumber.objects.drop(user)
    user.end_sign_ins(now)


def waiting_secret(user: User, *, origin: Origin) -> tuple[str, str] | None:
    """Return the secret of the app that this session sets up, and its ``otpauth://`` address."""
    waiting = AuthenticatorApp.objects.waiting_of(user, origin.session, timezone.now())
    if waiting is None:
        return None
    secret = waiting.open_secret()
    return secret, codes.app_uri(secret, name=user.get_username(), issuer=conf.service_name)


# -- recovery codes ----------------------------------------------------------------


def new_recovery_codes(user: User, *, standing: Standing) -> list[str]:
    """Return new codes to be shown. They work once ``keep_recovery_codes`` has stored them."""
    standing.demand(timezone.now(), overview(user))
    return [codes.new_recovery_code() for _ in range(codes.RECOVERY_CODES)]


def newest_recovery_code(user: User) -> int:
    """Return the id of the newest code of *user*'s list, used or not; 0 without one."""
    newest = RecoveryCode.objects.filter(user=user).order_by("-pk").first()
    return newest.pk if newest else 0


def keep_recovery_codes(
    user: User, texts: Iterable[str], *, instead_of: int, standing: Standing, origin: Origin
) -> Change:
    """Put the codes *texts* in place of all that *user* had; only their digests are kept.

    The caller shows that they are of ``new_recovery_codes``: people choose badly.

    :param instead_of: the ``newest_recovery_code`` when they were shown: a form from
        before another list was kept brings nothing back.
    """
    parsed = [codes.parse_any(text) for text in texts]
    with asked_by_session(user, standing) as factors:
        result = barred(factors, standing) or Change(_keep(factors, parsed, instead_of))
        record(Kind.RECOVERY_CODES, result.outcome, factors, None, origin)
    return result


def _keep(factors: Factors, parsed: list[str], instead_of: int) -> FactorOutcome:
    user = factors.user
    if not factors.is_on:
        return FactorOutcome.NOT_OPTED_IN
    if RecoveryCode.objects.of(user, parsed[0]):
        return FactorOutcome.UNCHANGED  # the same form, sent twice: a used code stays used
    if newest_recovery_code(user) != instead_of:
        return FactorOutcome.NOTHING_WAITING
    RecoveryCode.objects.replace(user, parsed, factors.now)
    delivery.notify(user, Notice.Kind.RECOVERY_CODES, factors.now)
    return FactorOutcome.OK


# -- turning off -------------------------------------------------------------------


def turn_off(
    user: User,
    attempt: str | PasskeyResponse,
    *,
    removal: Removal,
    passkey_id: int | None = None,
    standing: Standing,
    origin: Origin,
) -> Verification:
    """Check one attempt at any factor; the right one removes what *removal* names.

    :param attempt: a code, or the response of a passkey.
    :param passkey_id: of ``Removal.PASSKEY``.
    :raises MalformedCode: if *attempt* cannot be a code; nothing is counted.
    """
    code = codes.parse_any(attempt) if isinstance(attempt, str) else attempt
    with asked_by_session(user, standing, factor=False, purpose=Purpose.OPT_OUT) as factors:
        row, which = factors.number, [passkey_id] if passkey_id else []
        result = verification.check_any(
            factors, code, Purpose.OPT_OUT, removal, *which, origin=origin, standing=standing
        )
        if result.repeated:
            return result
        is_right = result.outcome is CodeOutcome.OK
        removed = remove(factors, removal, passkeys=which) if is_right else {"removed": []}
        by = {"by": result.by} if result.by else {}
        data = {**result.data, **by, **removed}
        record(Kind.OPT_OUT, result.outcome, factors, row, origin, data=data)
    return result


def remove(
    factors: Factors, removal: Removal, *, passkeys: Collection[int] = (), told: bool = True
) -> dict[str, Any]:
    """Remove factors of the locked user, and tell them if *told*.

    If the last usable factor goes, all others go too. Sessions stay: they have proved more than
    will be asked for. Refresh tokens end (docs/contract.md, section 3.4).

    :param passkeys: the ids of ``Removal.PASSKEY``.
    :returns: the data of the event: what was ``removed``, and the ids of ``passkeys``.
    """
    user, now = factors.user, factors.now
    named: dict[Removal, Sequence[object]] = {
        Removal.ALL: factors.all,
        Removal.NUMBER: [factors.number],
        Removal.APP: [factors.app],
        Removal.PASSKEY: [one for one in factors.passkeys if one.pk in passkeys],
    }
    gone = named[removal]
    if factors.usable and not factors.lets_in_without(gone):
        gone = factors.all
    keys = [one.pk for one in factors.passkeys if one in gone]
    removed: dict[str, Notice.Kind] = {}
    if factors.number and factors.number in gone:
        factors.number.release(now)
        removed["number"] = Notice.Kind.RELEASED
    if factors.app and factors.app in gone:
        factors.app.delete()
        removed["app"] = Notice.Kind.APP_REMOVED
    if keys:
        Passkey.objects.filter(pk__in=keys).delete()
        removed["passkey"] = Notice.Kind.PASSKEY_REMOVED
    for name, kind in removed.items() if told else ():
        delivery.notify(user, kind, now, factors.number if name == "number" else None)
    if removed:
        user.revoke_grants(now)
    forget_recovery_codes(user)
    return {"removed": [*removed], **({"passkeys": keys} if keys else {})}


def barred(factors: Factors, standing: Standing) -> Change | None:
    """Say why nothing may be changed now, if so."""
    if refusal := verification.barred(factors, changing=standing.is_beyond_texts):
        return Change(FactorOutcome(refusal.outcome), retry_after=refusal.retry_after)
    return None
