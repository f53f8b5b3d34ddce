"""Who may be sent how many messages: counted in the database, exactly.

Counters are fixed windows. All counters of one send are raised in one statement,
inside a savepoint: if any of them is over its limit the savepoint goes back, so that
a refused send costs nothing. The statement takes the rows in one fixed order, so
that no two sends wait for each other.

Against pumping, the texts of opt-ins are also counted by prefix (a number less its last 4
digits) and by region: how many left, and how many opt-ins were proved. A prefix with too
few is closed to opt-ins for a while; for a region the operators are alarmed. What staff
decided comes before all counters: the stop of all texts, the lists, a prefix opened.

Who asks to opt a number in has not shown that it is theirs, and must not learn what others
did with it or said of it (S-38). So the waits and limits of their own answer openly, and
first; those of the number, over all users, withhold the text and are not told.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction

from optin import keys
from optin.conf import Rate, conf
from optin.messaging import alarms
from optin.models import Guard, KnownNetwork, PendingOtp, Purpose, SmsMessage, User
from optin.models.messages import State
from optin.origin import CUSTOMER_V6, Face, Origin, network_of
from optin.phones import MobileNumber

SERIES_ENDS_AFTER = timedelta(minutes=10)
"""So long after the last text to a number its waits start from the first again."""

# Texts that anybody with a key can cause, and texts that only a right password causes.
# Each class has its own counters: the first cannot use up the owner's way in.
_ASKED_FOR = {Purpose.OPT_IN, Purpose.OPT_OUT}

_STAFF = {Face.ADMIN, Face.COMMAND}
"""They may know why a text is not sent."""


_INSERT = "INSERT INTO optin_sendcounter (scope, key, window_start, count, proved) VALUES "
_OR_ADD = """
ON CONFLICT (scope, key, window_start) DO UPDATE SET
count = optin_sendcounter.count + excluded.count,
proved = optin_sendcounter.proved + excluded.proved
RETURNING count, proved
"""
_OR_TAKE_BACK = """
ON CONFLICT (scope, key, window_start) DO UPDATE SET count =
CASE WHEN optin_sendcounter.count > 0 THEN optin_sendcounter.count - 1 ELSE 0 END
RETURNING count, proved
"""

_OWN_TOTAL, _OWN_FIRST = "own-total", "own-first"
"""The limit of all texts for signing in and changes; and the count of a user's own, of which the
first always leave."""

RESEND_WAIT = "resend-wait"
"""The rule that a text to a number waits a little for the one before it."""

STOP = "stop"
"""The rule that no text leaves at all: staff said so."""

OPTED_OUT = "stopped"
"""The rule that no text goes to a number from which somebody answered STOP."""

SIGN_IN_NAME = "sign-in-name"
"""The rule of wrong passwords for one name, and the scope of its counters."""

RESET_NAME = "reset-name"
"""The rule of requests for a lost password of one name, and the scope of its counters."""

PREFIX = "prefix"
"""The rule of the breaker, and with ``/`` and its seconds the scope of its counters."""

REGION = "region"

ALL_FAILED = "sign-in-all"
"""The counter of wrong passwords for one name over all networks. It refuses nobody by itself."""

NEW_NETWORK = "sign-in-new"
"""The rule for networks from which a user never signed in, while that counter is over its limit."""

ASK_AGAIN = timedelta(minutes=5)
"""When to ask again after a stop, of all texts or of one number: nobody knows its end."""

LONGEST = timedelta(days=1)
"""No answer puts anybody off for longer."""


SEARCHES = (Rate(60, 3600), Rate(200, 86_400))
"""Numbers that one member of staff may search: who guesses what the mask hides needs more."""

REVOCATIONS = (Rate(20, 86_400),)
"""Removals of factors that one member of staff may plan: a stolen account of support reaches no
more people than these."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One counter and its ceiling. ``count`` 0 counts without a ceiling."""

    scope: str
    key: str  # what is counted; stored as a keyed digest
    count: int
    seconds: int
    adds: int = 1
    proves: int = 0

    def window(self, now: datetime) -> datetime:
        """Return the start of the window that *now* is in."""
        stamp = int(now.timestamp())
        return datetime.fromtimestamp(stamp - stamp % self.seconds, tz=now.tzinfo)


@dataclass(frozen=True, slots=True)
class Tally:
    """What one counter came to."""

    limit: Limit
    count: int
    proved: int

    @property
    def unproved(self) -> int:
        """How many stood unproved before this one."""
        return self.count - self.limit.adds - self.proved

    def is_pumped(self, threshold: int) -> bool:
        """Whether too few of those asked for before this one were proved."""
        asked = self.count - self.limit.adds
        too_few = self.proved * 100 < asked * conf.breaker_share
        return 0 < threshold <= self.unproved and too_few


@dataclass(frozen=True, slots=True)
class Decision:
    """The rule that decided, and what it counted."""

    rule: str
    count: int
    limit: int  # 0: none

    @property
    def data(self) -> dict[str, int | str]:
        """The facts, for the audit event."""
        return {"rule": self.rule, "count": self.count, "limit": self.limit}


@dataclass(frozen=True, slots=True)
class Refused(Decision):
    """The rule that said no, what it counted, and when asking again makes sense."""

    retry_after: timedelta

    @property
    def data(self) -> dict[str, int | str]:
        seconds = int(self.retry_after.total_seconds())
        return {
            "rule": self.rule,
            "count": self.count,
            "limit": self.limit,
            "retry_after": seconds,
        }


@dataclass(frozen=True, slots=True)
class Withheld(Refused):
    """The same, by a rule about others: the answer is as if the text was sent."""


@dataclass(frozen=True, slots=True)
class Reserved(Decision):
    """The rule that was nearest to saying no."""


def reserve_text(
    *,
    user_id: int,
    number_digest: str,
    purpose: Purpose,
    file_id: int | None,
    origin: Origin,
    now: datetime,
    number: MobileNumber | None = None,
    is_proved: bool = True,
) -> Reserved | Refused:
    """Count one text, or say why it may not be sent. Call inside a transaction.

    A withheld text counts only for its user and for their address or client.

    The counter of the number is raised first, which locks its row until the
    transaction ends: two users who ask for a text to one number queue up here, and the second
    sees the text of the first in the resend wait.

    :param number: of an opt-in, for the lists and the breaker.
    :param is_proved: whether the user has ever proved the number: then they may know of a STOP.
    """
    prefix = Guard.prefix_of(number.e164) if number else ""
    guards = Guard.objects.about(
        {"", number_digest, prefix} if number else {"", number_digest}, now
    )
    if refused := _stopped(guards, is_proved) or (_guarded(guards, now) if number else None):
        return refused
    first = _number_limits(number_digest, purpose)
    own = _own_limits(user_id, number_digest, purpose, file_id, origin)
    limits = [*first, *own]
    if number:
        limits += _of_opt_in(number, prefix, adds=1)
    if purpose in _ASKED_FOR:
        if file_id is not None:  # a page's request to turn off is under none
            limits += _each("file", str(file_id), conf.sends_per_file)
        limits += _each("total", "", conf.sends_total)
    else:
        limits += _each_own(user_id)
    shut: Refused | None = None
    with transaction.atomic():
        tallies = _add(limits, now)
        if number and not _is_open(guards):
            shut = _shut(tallies, now)
        if number:
            refused = (
                shut
                or resend_wait(number_digest, purpose, now, user_id)
                or _over(tallies[len(first) :], now)
                or _withheld(
                    _about_number(guards, now)
                    or resend_wait(number_digest, purpose, now)
                    or _over(tallies[: len(first)], now),
                    origin,
                )
            )
        else:
            refused = resend_wait(number_digest, purpose, now) or _over(_beyond(tallies), now)
        if refused:
            transaction.set_rollback(True)
    if refused is None:
        _alarm(tallies, number, now)
        return _nearest(tallies)
    if isinstance(refused, Withheld):
        return _charge(own, now) or refused
    if number and refused is shut:
        _close(prefix, number.region, refused, now)
    return refused


def count_proof(number: MobileNumber, issued_at: datetime) -> None:
    """Count that an opt-in was proved, in the window in which its code was asked for."""
    _add(_of_opt_in(number, Guard.prefix_of(number.e164), adds=0, proves=1), issued_at)


def texts_are_stopped() -> bool:
    """Whether staff stopped all texts: those that were queued before must wait too."""
    return Guard.objects.is_stopped()


def reserve_sign_in(
    name: str, origin: Origin, now: datetime, user: User | None = None
) -> Reserved | Refused | None:
    """Charge one failed sign-in before the password is looked at, or say why not.

    Charging first keeps the limit exact however many try at once. A right password takes back the
    failure (``refund_sign_in``), but not the try. Call inside a transaction.

    :param user: who has the name, if anybody. The statements are the same either way (S-38).
    :returns: ``Reserved`` only beyond the limit over all networks, which by itself refuses nobody.
    """
    is_known = KnownNetwork.objects.knows(user.pk if user else 0, _sign_in_network(origin))
    limits = _each(
        "sign-in-tries", _network(origin.ip, 32), conf.sign_ins_per_ip if origin.ip else ()
    )
    limits += _sign_in_limits(name, origin)
    with transaction.atomic():
        tallies = _by_scope(_add(limits, now))
        beyond = _over(tallies[ALL_FAILED], now)
        slowed_down = _over(tallies[NEW_NETWORK], now) if beyond and not is_known else None
        refused = _over(tallies[""], now) or slowed_down
        if refused:
            transaction.set_rollback(True)
    return refused or (Reserved(beyond.rule, beyond.count, beyond.limit) if beyond else None)


def refund_sign_in(name: str, origin: Origin, charged_at: datetime) -> None:
    """Take back the charge of ``reserve_sign_in``. Call inside a transaction."""
    _count(
        [replace(limit, adds=0) for limit in _sign_in_limits(name, origin)],
        charged_at,
        _OR_TAKE_BACK,
    )


def reserve_reset(name: str, origin: Origin, now: datetime) -> Refused | None:
    """Count one request for a lost password, or say why not. Call inside a transaction.

    The rates are those of wrong passwords, the counters are not: whoever asks for links to
    somebody's address must not keep their right password out (S-07).
    """
    from_there = f"{name} {_sign_in_network(origin)}"
    limits = _each(RESET_NAME, from_there, conf.failed_sign_ins_per_name)
    limits += _each("reset-ip", _network(origin.ip, 32), conf.failed_sign_ins_per_ip)
    return _charge(limits, now)


def remember_network(user: User, origin: Origin, now: datetime) -> None:
    """Store the network from which *user* has just signed in. The caller holds their lock."""
    KnownNetwork.objects.remember(user.pk, _sign_in_network(origin), now)


def reserve_search(origin: Origin, now: datetime) -> Refused | None:
    """Count one search for a full number, or say why not. Call inside a transaction."""
    return _reserve_for_staff("search", SEARCHES, origin, now)


def reserve_revocation(origin: Origin, now: datetime) -> Refused | None:
    """Count one revocation that waits, or say why not. Call inside a transaction."""
    return _reserve_for_staff("revocation", REVOCATIONS, origin, now)


def _reserve_for_staff(
    name: str, rates: tuple[Rate, ...], origin: Origin, now: datetime
) -> Refused | None:
    if origin.actor_id is None:  # a command: who runs one needs no permission
        return None
    with transaction.atomic():
        tallies = _add(_each(name, str(origin.actor_id), rates), now)
        refused = _over(tallies, now)
        if refused:
            transaction.set_rollback(True)
    for tally in tallies if refused is None else ():
        if tally.count == tally.limit.count:  # once in each window
            alarms.sound("staff", actor=origin.actor_id, rule=tally.limit.scope)
    return refused


def _charge(limits: Sequence[Limit], now: datetime) -> Refused | None:
    """Raise all of *limits*, or none if one of them would be exceeded."""
    with transaction.atomic():
        refused = _over(_add(limits, now), now)
        if refused:
            transaction.set_rollback(True)
    return refused


def _group(purpose: Purpose) -> str:
    return "asked" if purpose in _ASKED_FOR else "own"


def _number_limits(number_digest: str, purpose: Purpose) -> list[Limit]:
    """Over all users. Counted even if the limit is off: the row is the lock of the number.

    Only the owner of an active number can ask for texts to turn two-factor off, anybody for those
    of opt-ins: so they count apart.
    """
    scope = "off-number" if purpose is Purpose.OPT_OUT else f"{_group(purpose)}-number"
    return _each(scope, number_digest, conf.sends_per_number) or [
        Limit(f"{scope}/600", number_digest, 0, 600)
    ]


def _own_limits(
    user_id: int, number_digest: str, purpose: Purpose, file_id: int | None, origin: Origin
) -> list[Limit]:
    """The limits that only this user, address or client uses up."""
    group, limits = _group(purpose), []
    if purpose is Purpose.OPT_IN:
        # The same as for all users together: otherwise a user's own requests could be withheld.
        limits += _each("asked-pair", f"{user_id} {number_digest}", conf.sends_per_number)
    limits += _each(f"{group}-user", str(user_id), conf.sends_per_user)
    if origin.face == Face.API:
        limits += _each(f"{group}-client", f"{origin.client} {file_id}", conf.sends_per_client)
    elif origin.ip:
        limits += _each(f"{group}-ip", _network(origin.ip, 32), conf.sends_per_ip)
    return limits


def _each_own(user_id: int) -> list[Limit]:
    """The limits over all users, and a count for the user in the same windows, without a limit."""
    rates = conf.own_sends_total
    firsts = [Limit(f"{_OWN_FIRST}/{r.seconds}", str(user_id), 0, r.seconds) for r in rates]
    return [*firsts, *_each(_OWN_TOTAL, "", rates)]


def _of_opt_in(number: MobileNumber, prefix: str, adds: int, proves: int = 0) -> list[Limit]:
    seconds = conf.breaker_seconds
    return [
        Limit(f"{PREFIX}/{seconds}", prefix, 0, seconds, adds, proves),
        Limit(f"{REGION}/{seconds}", number.region, 0, seconds, adds, proves),
    ]


def _sign_in_limits(name: str, origin: Origin) -> list[Limit]:
    from_there = f"{name} {_sign_in_network(origin)}"
    # One customer may have 65 536 networks: each would have these tries.
    from_customer = f"{name} {network_of(origin.ip, 24, CUSTOMER_V6)}"
    return [
        *_each(SIGN_IN_NAME, from_there, conf.failed_sign_ins_per_name),
        *_each("sign-in-ip", _network(origin.ip, 32), conf.failed_sign_ins_per_ip),
        *_each(ALL_FAILED, name, conf.failed_sign_ins_per_name_total),
        # Counted for all, so that known and unknown networks take the same time.
        *_each(NEW_NETWORK, from_customer, conf.failed_sign_ins_per_new_network),
    ]


def _sign_in_network(origin: Origin) -> str:
    return _network(origin.ip, 24)


def _each(scope: str, key: str, rates: Iterable[Rate]) -> list[Limit]:
    return [Limit(f"{scope}/{r.seconds}", key, r.count, r.seconds) for r in rates]


def _network(ip: str, prefix_v4: int) -> str:
    return network_of(ip, prefix_v4)


def _add(limits: Sequence[Limit], now: datetime) -> list[Tally]:
    """Raise each counter, in the order given, and return what they came to."""
    return _count(limits, now, _OR_ADD)


def _count(limits: Sequence[Limit], now: datetime, or_else: str) -> list[Tally]:
    if not limits:
        return []
    sql = _INSERT + ", ".join(["(%s, %s, %s, %s, %s)"] * len(limits)) + or_else
    params: list[Any] = []
    for limit in limits:
        start = connection.ops.adapt_datetimefield_value(limit.window(now))
        key = keys.digest("counter", limit.key)
        params += [limit.scope, key, start, limit.adds, limit.proves]
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        found = cursor.fetchall()
    return [Tally(limit, *counts) for limit, counts in zip(limits, found, strict=True)]


# -- judging -----------------------------------------------------------------------


def _stopped(guards: dict[tuple[str, str], Guard], is_proved: bool) -> Refused | None:
    """Refuse if no text at all may leave, or none to this number, which belongs to the user."""
    if (Guard.Kind.STOP, Guard.Covers.ALL) in guards:
        return Refused(STOP, 0, 0, ASK_AGAIN)
    if is_proved and (Guard.Kind.OPTED_OUT, Guard.Covers.NUMBER) in guards:
        return Refused(OPTED_OUT, 0, 0, ASK_AGAIN)
    return None


def _guarded(guards: dict[tuple[str, str], Guard], now: datetime) -> Refused | None:
    """Say no where staff did, or a breaker that is closed. A number says more than its prefix."""
    kind, covers = Guard.Kind, Guard.Covers
    if (kind.SAFE, covers.NUMBER) in guards:
        return None
    if deny := guards.get((kind.DENY, covers.PREFIX)):
        return Refused("deny-prefix", 0, 0, _left(deny, now))
    if (kind.SAFE, covers.PREFIX) in guards:
        return None
    breaker = guards.get((kind.BREAKER, covers.PREFIX))
    if breaker and not _is_open(guards) and conf.breaker_unproved:
        left = _left(breaker, now)
        return Refused(PREFIX, breaker.unproved, conf.breaker_unproved, left)
    return None


def _about_number(guards: dict[tuple[str, str], Guard], now: datetime) -> Refused | None:
    """Refuse if the holder of this number (by STOP) or staff said so."""
    if (Guard.Kind.OPTED_OUT, Guard.Covers.NUMBER) in guards:
        return Refused(OPTED_OUT, 0, 0, ASK_AGAIN)
    if deny := guards.get((Guard.Kind.DENY, Guard.Covers.NUMBER)):
        return Refused("deny-number", 0, 0, _left(deny, now))
    return None


def _withheld(refused: Refused | None, origin: Origin) -> Refused | None:
    """Return *refused* as a refusal that only staff are told of."""
    if refused is None or origin.face in _STAFF:
        return refused
    return Withheld(refused.rule, refused.count, refused.limit, refused.retry_after)


def _is_open(guards: dict[tuple[str, str], Guard]) -> bool:
    """Whether no breaker closes for this number."""
    return any(kind in {Guard.Kind.SAFE, Guard.Kind.LIFT} for kind, _ in guards)


def _left(guard: Guard, now: datetime) -> timedelta:
    return min(guard.until - now, LONGEST) if guard.until else LONGEST


def _shut(tallies: Sequence[Tally], now: datetime) -> Refused | None:
    """Say no to an opt-in if its prefix must be closed."""
    limit = conf.breaker_unproved
    (tally,) = (t for t in tallies if t.limit.scope.startswith(f"{PREFIX}/"))
    if not tally.is_pumped(limit):
        return None
    closed_for = min(timedelta(seconds=conf.breaker_seconds), LONGEST)
    return Refused(PREFIX, tally.unproved, limit, closed_for)


def _beyond(tallies: Sequence[Tally]) -> list[Tally]:
    """Leave out the limits over all users that do not apply to this text.

    The first texts of a user in a window always leave: otherwise other accounts could use up
    the texts with which people sign in (S-07).
    """
    first = {
        tally.limit.seconds
        for tally in tallies
        if tally.limit.scope.startswith(f"{_OWN_FIRST}/") and tally.count <= conf.own_sends_reserve
    }
    return [
        tally
        for tally in tallies
        if tally.limit.seconds not in first or not tally.limit.scope.startswith(f"{_OWN_TOTAL}/")
    ]


def _over(tallies: Sequence[Tally], now: datetime) -> Refused | None:
    """Return the first limit that its count is over, if any."""
    for tally in tallies:
        limit = tally.limit
        if limit.count and tally.count > limit.count:
            end = limit.window(now) + timedelta(seconds=limit.seconds)
            return Refused(limit.scope, tally.count - 1, limit.count, end - now)
    return None


def _by_scope(tallies: Sequence[Tally]) -> dict[str, list[Tally]]:
    """Part those of a sign-in: many wrong passwords from all networks slow down only new ones."""
    of: dict[str, list[Tally]] = {ALL_FAILED: [], NEW_NETWORK: [], "": []}
    for tally in tallies:
        name, _, _ = tally.limit.scope.partition("/")
        of[name if name in of else ""].append(tally)
    return of


def _nearest(tallies: Sequence[Tally]) -> Reserved:
    """Return the rule that had least room left, with this text in its count."""
    found = [
        Reserved(tally.limit.scope, tally.count, tally.limit.count)
        for tally in tallies
        if tally.limit.count
    ]
    if conf.breaker_unproved:
        found += [
            Reserved(PREFIX, tally.unproved + tally.limit.adds, conf.breaker_unproved)
            for tally in tallies
            if tally.limit.scope.startswith(f"{PREFIX}/")
        ]
    return max(found, key=lambda rule: rule.count / rule.limit, default=Reserved("none", 0, 0))


# -- telling -----------------------------------------------------------------------


def _close(prefix: str, region: str, refused: Refused, now: datetime) -> None:
    """Close *prefix*; of many who find that it must be, one closes it and sounds the alarm."""
    until = now + timedelta(seconds=conf.breaker_seconds)
    breaker = Guard.objects.close(
        prefix, region=region, unproved=refused.count, now=now, until=until
    )
    if breaker:
        alarms.sound(
            "prefix",
            breaker=breaker,
            region=region,
            unproved=refused.count,
            until=until.isoformat(timespec="seconds"),
        )


def _alarm(tallies: Sequence[Tally], number: MobileNumber | None, now: datetime) -> None:
    """Sound the alarms that this text is the one to sound, once in each window."""
    for tally in tallies:
        limit, (name, _, _) = tally.limit, tally.limit.scope.partition("/")
        # Counts only rise, one by one: exactly one of them crosses the line.
        line = limit.count * conf.alarm_share
        if (
            name in {"file", "total", _OWN_TOTAL}
            and (tally.count - 1) * 100 < line <= tally.count * 100
        ):
            file = {"file": limit.key} if name == "file" else {}
            alarms.sound(name, **file, count=tally.count, limit=limit.count, seconds=limit.seconds)
        # This share falls and rises: a counter of its own knows whether it was told.
        if number and name == REGION and tally.is_pumped(conf.alarm_unproved):
            told = _add([Limit(f"region-alarm/{limit.seconds}", limit.key, 0, limit.seconds)], now)
            if told[0].count == 1:
                alarms.sound(REGION, region=number.region, unproved=tally.unproved)


# -- waiting -----------------------------------------------------------------------


def resend_wait(
    number_digest: str, purpose: Purpose, now: datetime, user_id: int | None = None
) -> Refused | None:
    """Say how long the number must wait for its next text for *purpose*, if it must.

    :param user_id: count only the texts of this user, and withheld ones too: the user does not know
        that they were withheld.
    """
    waits = conf.resend_wait
    found = SmsMessage.objects.filter(
        pending_otp__provider_user__number_digest=number_digest, pending_otp__purpose=purpose
    )
    if user_id is None:
        found = found.exclude(state=State.WITHHELD)
    else:
        found = found.filter(pending_otp__provider_user__user=user_id)
    texts = found.order_by("-id")[: len(waits)]
    newest: datetime | None = None
    length, later = 0, now
    for sent_at, closed_as in texts.values_list("created_at", "pending_otp__closed_as"):
        if later - sent_at >= SERIES_ENDS_AFTER or closed_as == PendingOtp.Closed.PROVED:
            break
        newest = newest or sent_at
        length, later = length + 1, sent_at
    if newest is None:
        return None
    wait = timedelta(seconds=waits[length - 1])
    # A clock that jumped back must not stretch the wait.
    left = min(newest + wait - now, wait)
    return Refused(RESEND_WAIT, length, length, left) if left > timedelta(0) else None
