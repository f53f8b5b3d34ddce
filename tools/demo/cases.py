"""Five people who call support on the day of the first start (docs/staff.md walks through them)."""

from datetime import datetime, time, timedelta

import pyotp
from django.contrib.auth.models import Group

from optin import codes
from optin.conf import STAFF_REVOKE_DELAY, conf
from optin.models import (
    AuthenticatorApp,
    Guard,
    Notice,
    ProviderUser,
    Purpose,
    RecoveryCode,
    Revocation,
    User,
)
from optin.origin import Face, Origin
from optin.support.statistics import DAYS
from tools.demo.month import AGENTS, Month
from tools.demo.story import Kind

SUPPORT = "kim"
CALLERS = ("mia", "noah", "olive", "paul", "quinn")
STAFF_NUMBER = "+61491570110"
"""One of those that Australia keeps for fiction, as all here."""

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def tell_cases(month: Month, boss: User) -> None:
    story, since = month.story, month.at(DAYS - 1, time(6, 30))
    kim, *callers = story.join((SUPPORT, *CALLERS), month.files[0], month.password, since)
    kim.is_staff = True
    kim.groups.add(Group.objects.get(name="support"))
    story.tell(
        Kind.ROLE,
        "ok",
        since,
        Origin(Face.COMMAND),
        kim,
        reason="Joined the support desk.",
        facts={"role": "support", "before": ""},
    )
    give_number_to_boss(month, boss, since + 10 * MINUTE)
    _active(month, kim, since + 20 * MINUTE)
    mia, noah, olive, paul, quinn = callers
    _guessed(month, mia)
    _mistyped(month, noah)
    _stopped(month, olive)
    _planned(month, paul, kim)
    _app(month, quinn)


def give_number_to_boss(month: Month, boss: User, at: datetime) -> None:
    """So that they can come in at once: their texts arrive on the simulated phone."""
    month.story.people.append(boss)
    _active(month, boss, at, STAFF_NUMBER)


def _active(month: Month, user: User, at: datetime, number: str = "") -> ProviderUser:
    """Somebody with an active number, for a while."""
    code = month.story.opt_in(
        user, number or month.numbers.pop(), month.files[0], at, month.origin(user)
    )
    month.story.verify(code, at + MINUTE / 2)
    return code.row


def _days_ago(month: Month, days: int) -> datetime:
    return month.at(days, time(9, 41))


def _guessed(month: Month, user: User) -> None:
    """1. "It says that my codes are refused." Somebody has their password, and guessed codes."""
    row = _active(month, user, _days_ago(month, 20))
    thief = Origin(Face.WEB, actor_id=user.pk, ip="203.0.113.77", user_agent=AGENTS[2])
    at = month.story.now - 9 * HOUR
    while not user.otp_disabled_at and at < month.story.now - HOUR:
        code = month.story.sign_in(row, at, thief)
        for n in range(conf.otp_tries):
            month.story.miss(code, at + (20 + n) * timedelta(seconds=1))
        at = max(at + 2 * MINUTE, (user.otp_locked_until or at) + MINUTE)
    facts = {
        "rule": "factor_disabled",
        "count": user.otp_failures,
        "limit": conf.disable_after,
        "purpose": Purpose.SIGN_IN.value,
    }
    _refuse(month, row, "factor_disabled", month.story.now - 20 * MINUTE, facts)


def _refuse(
    month: Month, row: ProviderUser, outcome: str, at: datetime, facts: dict[str, object]
) -> None:
    month.story.tell(
        Kind.CHALLENGE, outcome, at, month.origin(row.user), row.user, row, facts=facts
    )


def _mistyped(month: Month, user: User) -> None:
    """2. "I asked for a code, and nothing came." It went to a number that is not theirs."""
    at = month.story.now - 25 * MINUTE
    month.story.opt_in(user, month.numbers.pop(), month.files[0], at, month.origin(user))


def _stopped(month: Month, user: User) -> None:
    """3. "Since yesterday I get no codes." They answered STOP to a text."""
    row, at = _active(month, user, _days_ago(month, 13)), month.story.now - 16 * HOUR
    month.story.add(
        Guard(
            kind=Guard.Kind.OPTED_OUT,
            covers=Guard.Covers.NUMBER,
            key=row.number_digest,
            last_three=row.last_three,
            made_at=at,
        )
    )
    month.story.tell(
        Kind.NO_TEXTS, "stopped", at, Origin(Face.API, client="gateway:kannel"), user, row
    )
    month.story.mail(user, Notice.Kind.NO_TEXTS, at, row.last_three)
    facts = {"rule": "stopped", "count": 0, "limit": 0, "retry_after": 300, "purpose": "sign_in"}
    for minutes in (65, 40, 8):
        _refuse(month, row, "send_limit", month.story.now - minutes * MINUTE, facts)


def _planned(month: Month, user: User, actor: User) -> None:
    """4. "A mail says that you remove my second factors." Somebody else called before."""
    row, at = _active(month, user, _days_ago(month, 17)), month.story.now - 5 * HOUR
    reason = "Caller says the phone is lost. Knew the name and the e-mail address."
    due_at = at + STAFF_REVOKE_DELAY
    removal = month.story.add(
        Revocation(user=user, actor_id=actor.pk, reason=reason, asked_at=at, due_at=due_at)
    )
    month.story.tell(
        Kind.REVOCATION,
        "planned",
        at,
        Origin(Face.ADMIN, actor_id=actor.pk, ip="192.0.2.20", user_agent=AGENTS[2]),
        user,
        row,
        reason=reason,
        facts={"revocation": removal, "due_at": due_at.isoformat()},
    )
    month.story.mail(user, Notice.Kind.REVOKE_PLANNED, at, row.last_three, removal)


def _app(month: Month, user: User) -> None:
    """5. "I sign in, and no text comes." They have an app, whose code is asked for."""
    _active(month, user, _days_ago(month, 11))
    at = _days_ago(month, 3)
    month.story.add(
        AuthenticatorApp(
            user=user,
            confirmed=True,
            secret_encrypted=AuthenticatorApp.seal(pyotp.random_base32(), user.pk),
            created_at=at,
            verified_at=at,
        )
    )
    month.story.tell(Kind.APP, "ok", at, month.origin(user), user)
    month.story.mail(user, Notice.Kind.APP_ADDED, at)
    for _ in range(10):
        digest = RecoveryCode.digest_of(user, codes.new_recovery_code())
        month.story.add(RecoveryCode(user=user, digest=digest, created_at=at))
    month.story.tell(Kind.RECOVERY_CODES, "ok", at + MINUTE, month.origin(user), user)
    month.story.mail(user, Notice.Kind.RECOVERY_CODES, at + MINUTE)
    month.story.tell(
        Kind.SIGN_IN, "2fa_code_required", month.story.now - 12 * MINUTE, month.origin(user), user
    )
