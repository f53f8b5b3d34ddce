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
from tools.demo.story import Kind
from tools.demo.weeks import AGENTS, DAYS, Weeks

SUPPORT = "kim"
CALLERS = ("mia", "noah", "olive", "paul", "quinn")
STAFF_NUMBER = "+61491570110"
"""One of those that Australia keeps for fiction, as all here."""

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def tell_cases(weeks: Weeks, boss: User) -> None:
    story, since = weeks.story, weeks.at(DAYS - 1, time(6, 30))
    kim, *callers = story.join((SUPPORT, *CALLERS), weeks.files[0], weeks.password, since)
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
    give_number_to_boss(weeks, boss, since + 10 * MINUTE)
    _active(weeks, kim, since + 20 * MINUTE)
    mia, noah, olive, paul, quinn = callers
    _guessed(weeks, mia)
    _mistyped(weeks, noah)
    _stopped(weeks, olive)
    _planned(weeks, paul, kim)
    _app(weeks, quinn)


def give_number_to_boss(weeks: Weeks, boss: User, at: datetime) -> None:
    """So that they can come in at once: their texts arrive on the simulated phone."""
    weeks.story.people.append(boss)
    _active(weeks, boss, at, STAFF_NUMBER)


def _active(weeks: Weeks, user: User, at: datetime, number: str = "") -> ProviderUser:
    """Somebody with an active number, for a while."""
    code = weeks.story.opt_in(
        user, number or weeks.numbers.pop(), weeks.files[0], at, weeks.origin(user)
    )
    weeks.story.verify(code, at + MINUTE / 2)
    return code.row


def _days_ago(weeks: Weeks, days: int) -> datetime:
    return weeks.at(days, time(9, 41))


def _guessed(weeks: Weeks, user: User) -> None:
    """1. "It says that my codes are refused." Somebody has their password, and guessed codes."""
    row = _active(weeks, user, _days_ago(weeks, 12))
    thief = Origin(Face.WEB, actor_id=user.pk, ip="203.0.113.77", user_agent=AGENTS[2])
    at = weeks.story.now - 9 * HOUR
    while not user.otp_disabled_at and at < weeks.story.now - HOUR:
        code = weeks.story.sign_in(row, at, thief)
        for n in range(conf.otp_tries):
            weeks.story.miss(code, at + (20 + n) * timedelta(seconds=1))
        at = max(at + 2 * MINUTE, (user.otp_locked_until or at) + MINUTE)
    facts = {
        "rule": "factor_disabled",
        "count": user.otp_failures,
        "limit": conf.disable_after,
        "purpose": Purpose.SIGN_IN.value,
    }
    _refuse(weeks, row, "factor_disabled", weeks.story.now - 20 * MINUTE, facts)


def _refuse(
    weeks: Weeks, row: ProviderUser, outcome: str, at: datetime, facts: dict[str, object]
) -> None:
    weeks.story.tell(
        Kind.CHALLENGE, outcome, at, weeks.origin(row.user), row.user, row, facts=facts
    )


def _mistyped(weeks: Weeks, user: User) -> None:
    """2. "I asked for a code, and nothing came." It went to a number that is not theirs."""
    at = weeks.story.now - 25 * MINUTE
    weeks.story.opt_in(user, weeks.numbers.pop(), weeks.files[0], at, weeks.origin(user))


def _stopped(weeks: Weeks, user: User) -> None:
    """3. "Since yesterday I get no codes." They answered STOP to a text."""
    row, at = _active(weeks, user, _days_ago(weeks, 11)), weeks.story.now - 16 * HOUR
    weeks.story.add(
        Guard(
            kind=Guard.Kind.OPTED_OUT,
            covers=Guard.Covers.NUMBER,
            key=row.number_digest,
            last_three=row.last_three,
            made_at=at,
        )
    )
    weeks.story.tell(
        Kind.NO_TEXTS, "stopped", at, Origin(Face.API, client="gateway:kannel"), user, row
    )
    weeks.story.mail(user, Notice.Kind.NO_TEXTS, at, row.last_three)
    facts = {"rule": "stopped", "count": 0, "limit": 0, "retry_after": 300, "purpose": "sign_in"}
    for minutes in (65, 40, 8):
        _refuse(weeks, row, "send_limit", weeks.story.now - minutes * MINUTE, facts)


def _planned(weeks: Weeks, user: User, actor: User) -> None:
    """4. "A mail says that you remove my second factors." Somebody else called before."""
    row, at = _active(weeks, user, _days_ago(weeks, 10)), weeks.story.now - 5 * HOUR
    reason = "Caller says the phone is lost. Knew the name and the email address."
    due_at = at + STAFF_REVOKE_DELAY
    removal = weeks.story.add(
        Revocation(user=user, actor_id=actor.pk, reason=reason, asked_at=at, due_at=due_at)
    )
    weeks.story.tell(
        Kind.REVOCATION,
        "planned",
        at,
        Origin(Face.ADMIN, actor_id=actor.pk, ip="192.0.2.20", user_agent=AGENTS[2]),
        user,
        row,
        reason=reason,
        facts={"revocation": removal, "due_at": due_at.isoformat()},
    )
    weeks.story.mail(user, Notice.Kind.REVOKE_PLANNED, at, row.last_three)


def _app(weeks: Weeks, user: User) -> None:
    """5. "I sign in, and no text comes." They have an app, whose code is asked for."""
    _active(weeks, user, _days_ago(weeks, 9))
    at = _days_ago(weeks, 3)
    weeks.story.add(
        AuthenticatorApp(
            user=user,
            confirmed=True,
            secret_encrypted=AuthenticatorApp.seal(pyotp.random_base32(), user.pk),
            created_at=at,
            verified_at=at,
        )
    )
    weeks.story.tell(Kind.APP, "ok", at, weeks.origin(user), user)
    weeks.story.mail(user, Notice.Kind.APP_ADDED, at)
    for _ in range(10):
        digest = RecoveryCode.digest_of(user, codes.new_recovery_code())
        weeks.story.add(RecoveryCode(user=user, digest=digest, created_at=at))
    weeks.story.tell(Kind.RECOVERY_CODES, "ok", at + MINUTE, weeks.origin(user), user)
    weeks.story.mail(user, Notice.Kind.RECOVERY_CODES, at + MINUTE)
    weeks.story.tell(
        Kind.SIGN_IN, "2fa_code_required", weeks.story.now - 12 * MINUTE, weeks.origin(user), user
    )
