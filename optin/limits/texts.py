"""Who may be sent how many texts.

Against pumping, the texts of opt-ins are also counted by prefix (a number less its last 4
digits) and by region: how many texts left, and how many opt-ins were verified. If too few opt-ins
under a prefix are verified, or there are too many, it is closed to opt-ins for a while. If too few
in a region are verified, the operators get an alarm. What staff decided about all texts or about a
prefix comes before all counters.

What follows from the counts is in ``policy``. Here are the counters themselves, the lists, and the
breaker. The deny list, what an owner closed to strangers (G-08), and a STOP are rules about the
number, which withhold the text; only a person who verified the number before is told of a STOP.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import cast

from django.db import transaction

from optin.conf import ALARM_SHARE, conf
from optin.database import release_early, run
from optin.limits import alarms, policy, recent, shared
from optin.limits.counters import (
    Limit,
    Refused,
    Reserved,
    Tally,
    Withheld,
    add,
    adding,
    charge,
    each_rate,
    is_first,
    longest,
    over,
    take_back,
    tallies_of,
)
from optin.limits.policy import Asked
from optin.limits.rules import Rule
from optin.models import Guard, Purpose
from optin.origin import Origin
from optin.phones import MobileNumber
from optin.runtime.commits import after_commit

_BUDGETS = {Rule.FILE, Rule.TOTAL, Rule.OWN_TOTAL, Rule.SIM_SWAP}

ASK_AGAIN = timedelta(minutes=5)
"""When to ask again after a stop, of all texts or of one number: nobody knows its end."""


def reserve_text(
    *,
    user_id: int,
    number_digest: str,
    purpose: Purpose,
    file_id: int | None,
    origin: Origin,
    now: datetime,
    number: MobileNumber | None = None,
    is_verified: bool = True,
    is_test: bool = False,
) -> Reserved | Refused:
    """Count one text, or say why it may not be sent. Call inside a transaction.

    A withheld text counts only for its user and for their address or client.

    Two users who ask for a text to one number queue up here, and the second sees the text of the
    first.

    :param number: of an opt-in, for the lists and the breaker.
    :param is_verified: whether the user has ever verified the number here: then they may know of a
        STOP, and it is not closed to them.
    :param is_test: whether it is one of a test account.
    """
    if is_test:
        return _of_sandbox(user_id, number_digest, purpose, origin, now, is_verified=is_verified)
    prefix = Guard.prefix_of(number.e164) if number else ""
    controls = Guard.objects.about(number_digest, prefix, now)
    if refused := _stopped(controls, is_verified or number is None):
        return refused
    denied = _denied(controls, now) if number else None
    breaker = _breaker(controls)
    is_open = _is_open(controls, now)
    is_own = is_verified and number is None
    about_number = None if is_own else _about_number(controls, now, is_verified)
    asked = Asked(user_id, number_digest, purpose, file_id, origin.face, origin.client, origin.ip)
    own, client, others = policy.limits_of(asked)
    if number:
        is_exempt = is_open and denied is None and _is_closed_or_denied(controls)
        others = [
            *_of_opt_in(number, prefix, adds=1, may_close=not is_open, is_exempt=is_exempt),
            *others,
        ]
    is_refused = denied is not None or (breaker is not None and not is_open)
    with transaction.atomic():
        if not is_refused:
            recent.lock_number(number_digest)
        texts, counted = _counted(asked, own, [*client, *others], now, only_read=is_refused)
        tallies = policy.rates_of(asked, texts, now) + counted
        closing = _closing(controls, tallies, denied, now) if number else None
        refused = policy.decide(
            asked,
            tallies,
            texts,
            now,
            told=[denied, closing],
            about_number=about_number,
        )
        if refused:
            transaction.set_rollback(True)
    if refused is None:
        _raise_shared(tallies, [*client, *others], now)
        return _nearest(tallies)
    if isinstance(refused, Withheld):
        return _charge_withheld(own, client, others, now) or refused
    if number and closing:
        until = now + closing.retry_after
        if breaker is None or breaker.until != until:
            until = _close(prefix, number.region, closing.count, now, until)
            if refused.rule is Rule.PREFIX:
                refused = replace(refused, retry_after=until - now)
    return refused


def _of_sandbox(
    user_id: int,
    number_digest: str,
    purpose: Purpose,
    origin: Origin,
    now: datetime,
    *,
    is_verified: bool,
) -> Reserved | Refused:
    """Refuse a text of a sandbox by the wait and by a STOP only: it costs nothing."""
    controls = Guard.objects.about(number_digest, "", now)
    controls.pop((Guard.Kind.STOP, Guard.Covers.ALL), None)
    return (
        _stopped(controls, is_verified)
        or recent.resend_wait(user_id, number_digest, purpose, now)
        or policy.withheld(_about_number(controls, now, is_verified), None, origin.face)
        or Reserved(Rule.NONE, 0, 0)
    )


def _counted(
    asked: Asked, own: Sequence[Limit], others: Sequence[Limit], now: datetime, *, only_read: bool
) -> tuple[list[recent.Sent], list[Tally]]:
    """Read the recent texts, and raise the counters, in one round trip.

    Those of *others* may only be read: return what they will come to.

    :param only_read: raise none: the text is refused whatever they say.
    """
    raised, awaited = [*own], [*others]
    if only_read:
        raised, awaited = [], [*own, *others]
    elif not shared.are_raised_later():
        raised, awaited = [*own, *others], []
    raising = [adding(raised, now)] if raised else []
    reading = [shared.reading(awaited, now)] if awaited else []
    texts, *rows = run(
        [recent.reading(asked.user_id, asked.number_digest, now), *raising, *reading]
    )
    tallies = tallies_of(raised, rows[0] if raised else [])
    return recent.sent(texts), tallies + shared.expected(awaited, rows[-1] if awaited else [])


def count_verified(number: MobileNumber, issued_at: datetime) -> None:
    """Count that an opt-in was verified, in the window in which its code was asked for."""
    limits = _of_opt_in(number, Guard.prefix_of(number.e164), adds=0, verifies=1)
    shared.add_at_the_end(limits, issued_at)


def _raise_shared(tallies: Sequence[Tally], others: Sequence[Limit], now: datetime) -> None:
    """Raise the counters that were only read, and sound the alarms that follow from them."""
    raised = [tally for tally in tallies if tally.limit in others]
    if shared.are_raised_later():
        within = [tally.limit for tally in policy.applying(tallies) if tally.limit in others]
        raised = []
        shared.add_at_the_end(others, now, within=within, then=raised.extend)
    else:
        release_early()
    # By the final counts: of many who read the same one, one crosses the line.
    after_commit(lambda: _alarm(raised, now))


def _charge_withheld(
    own: Sequence[Limit], client: Sequence[Limit], others: Sequence[Limit], now: datetime
) -> Refused | None:
    """Count a withheld text for its user and for their address or client."""
    refused = charge(own, now)
    if refused is None:
        # The same statement as for a text that leaves: its time must not tell (S-38).
        unchanged = [replace(limit, adds=0) for limit in others]
        shared.add_at_the_end([*client, *unchanged], now, within=client)
    return refused


def count_warning(now: datetime) -> None:
    """Count a text that warns a user. Call near the end of a transaction: it locks the counter.

    No limit refuses it: whoever knows the password could use up the limit first, and nobody would
    be warned. ``operations.own_removals`` sends one a day at most, and only to an active number.
    It counts with the texts for signing in, for their alarm.
    """
    tallies = add(each_rate(Rule.OWN_TOTAL, "", conf.own_sends_total), now)
    after_commit(lambda: _alarm(tallies, now))


def reserve_sim_swap(now: datetime) -> bool:
    """Count one question about a swapped SIM; return whether its budget allows it.

    Call it outside a transaction. One that is refused does not stay in the count.
    """
    limits = each_rate(Rule.SIM_SWAP, "", conf.sim_swap_budget)
    tallies = add(limits, now)
    if over(tallies, now):
        take_back(limits, now)
        return False
    _alarm(tallies, now)
    return True


def _of_opt_in(
    number: MobileNumber,
    prefix: str,
    adds: int,
    verifies: int = 0,
    *,
    may_close: bool = False,
    is_exempt: bool = False,
) -> list[Limit]:
    """Return the counters against pumping.

    :param is_exempt: whether staff let it through while the prefix is closed or denied. Its text
        does not count for the prefix, which it could close as soon as that opens.
    """
    seconds = conf.breaker_seconds
    closes_at = conf.breaker_unproved if may_close else 0
    full_at = conf.breaker_texts if closes_at else 0
    of_prefix = Limit(Rule.PREFIX, prefix, 0, seconds, adds, verifies, closes_at, full_at)
    of_region = Limit(Rule.REGION, number.region, 0, seconds, adds, verifies)
    return [of_region] if is_exempt else [of_prefix, of_region]


def _stopped(controls: dict[tuple[str, str], Guard], is_verified: bool) -> Refused | None:
    """Refuse if no text at all may leave, or none to this number, which belongs to the user."""
    if (Guard.Kind.STOP, Guard.Covers.ALL) in controls:
        return Refused(Rule.STOP, 0, 0, ASK_AGAIN, is_open_ended=True)
    if is_verified and (Guard.Kind.OPTED_OUT, Guard.Covers.NUMBER) in controls:
        return Refused(Rule.OPTED_OUT, 0, 0, ASK_AGAIN, is_open_ended=True)
    return None


def _denied(controls: dict[tuple[str, str], Guard], now: datetime) -> Refused | None:
    """Refuse if staff denied the prefix, unless the number is safe."""
    kind, covers = Guard.Kind, Guard.Covers
    deny = controls.get((kind.DENY, covers.PREFIX))
    if deny is None or (kind.SAFE, covers.NUMBER) in controls:
        return None
    return _listed(Rule.DENY_PREFIX, deny, now)


def _breaker(controls: dict[tuple[str, str], Guard]) -> Guard | None:
    """Return the breaker of the prefix, unless breakers are switched off."""
    breaker = controls.get((Guard.Kind.BREAKER, Guard.Covers.PREFIX))
    return breaker if conf.breaker_unproved else None


def _is_closed_or_denied(controls: dict[tuple[str, str], Guard]) -> bool:
    """Whether there is something at all that staff can let a number through."""
    denied = controls.get((Guard.Kind.DENY, Guard.Covers.PREFIX))
    return denied is not None or _breaker(controls) is not None


def _about_number(
    controls: dict[tuple[str, str], Guard], now: datetime, is_verified: bool
) -> Refused | None:
    """Refuse if the holder of this number (by STOP, or "that was not me") or staff said so."""
    if (Guard.Kind.OPTED_OUT, Guard.Covers.NUMBER) in controls:
        return Refused(Rule.OPTED_OUT, 0, 0, ASK_AGAIN, is_open_ended=True)
    kinds = [Guard.Kind.DENY] if is_verified else [Guard.Kind.DENY, Guard.Kind.NOT_ME]
    found = [controls.get((kind, Guard.Covers.NUMBER)) for kind in kinds]
    return longest(_listed(Rule.DENY_NUMBER, control, now) for control in found if control)


def _is_open(controls: dict[tuple[str, str], Guard], at: datetime) -> bool:
    """Whether staff let this number pass breakers at *at*."""
    opens = {Guard.Kind.SAFE, Guard.Kind.LIFT}
    return any(kind in opens and _until(control) > at for (kind, _), control in controls.items())


def _listed(rule: Rule, control: Guard, now: datetime) -> Refused:
    return Refused(rule, 0, 0, _until(control) - now)


def _until(control: Guard) -> datetime:
    return cast(datetime, control.until)  # the database demands one


def _closing(
    controls: dict[tuple[str, str], Guard],
    tallies: Sequence[Tally],
    denied: Refused | None,
    now: datetime,
) -> Refused | None:
    """Refuse an opt-in if its prefix is closed or must be closed.

    :param denied: the denial by staff, if any. While it stands, nothing new is closed.
    """
    if not conf.breaker_unproved or _is_open(controls, now):
        return None
    (tally,) = (t for t in tallies if t.limit.rule is Rule.PREFIX)
    if breaker := _breaker(controls):
        unverified, wait = breaker.unverified, _until(breaker) - now
    elif denied is None and _must_close(tally):
        unverified, wait = tally.unverified, timedelta(seconds=conf.breaker_seconds)
    else:
        return None
    return Refused(Rule.PREFIX, unverified, conf.breaker_unproved, wait)


def _must_close(prefix: Tally) -> bool:
    """Whether too few opt-ins were verified, or more texts asked for than by honest people."""
    return prefix.is_pumped(conf.breaker_unproved) or 0 < conf.breaker_texts <= prefix.before


def _nearest(tallies: Sequence[Tally]) -> Reserved:
    """Return the rule that had least room left, with this text in its count."""
    found = [
        Reserved(tally.limit.rule, tally.count, tally.limit.count, seconds=tally.limit.seconds)
        for tally in tallies
        if tally.limit.count
    ]
    if conf.breaker_unproved:
        found += [
            Reserved(Rule.PREFIX, tally.unverified + tally.limit.adds, conf.breaker_unproved)
            for tally in tallies
            if tally.limit.rule is Rule.PREFIX
        ]
    none = Reserved(Rule.NONE, 0, 0)
    return max(found, key=lambda decision: decision.count / decision.limit, default=none)


def _close(prefix: str, region: str, unverified: int, now: datetime, until: datetime) -> datetime:
    """Close *prefix* until *until* and sound the alarm. Return the end that is stored.

    If several requests close it at once, one of them closes it and sounds the alarm.
    """
    begins = until - timedelta(seconds=conf.breaker_seconds)
    breaker = Guard.objects.close(
        prefix, region=region, unverified=unverified, now=now, begins=begins, until=until
    )
    if not breaker:
        return _until(Guard.objects.get(key=prefix, kind=Guard.Kind.BREAKER))
    alarms.sound(
        Rule.PREFIX,
        breaker=breaker,
        region=region,
        unproved=unverified,
        until=until.isoformat(timespec="seconds"),
    )
    return until


def _alarm(tallies: Sequence[Tally], now: datetime) -> None:
    """Sound the alarms that this text is the one to sound, once in each window."""
    for tally in tallies:
        limit, rule = tally.limit, tally.limit.rule
        # Counts only rise, one by one: exactly one of them crosses the line.
        line = limit.count * ALARM_SHARE
        if rule in _BUDGETS and (tally.count - 1) * 100 < line <= tally.count * 100:
            file = {"file": limit.key} if rule is Rule.FILE else {}
            alarms.sound(rule, **file, count=tally.count, limit=limit.count, seconds=limit.seconds)
        # This share falls and rises: a counter of its own knows whether it was told.
        pumped = rule is Rule.REGION and tally.is_pumped(conf.alarm_unproved)
        if pumped and is_first(Limit(Rule.REGION_ALARM, limit.key, 0, limit.seconds), now):
            alarms.sound(rule, region=limit.key, unproved=tally.unverified)
