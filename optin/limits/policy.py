"""Which limits a text is under, and what they decide: no database, no clock.

``texts`` decides by these functions, and ``support.replay`` decides recorded requests again.

A person who opts in a number has not verified it yet. They must not learn what others did with it
(S-38). So the rules about the person come first, and refuse openly. The rules about the number come
last, and withhold the text. Of the rules that refuse openly, the one that stands longest is told;
what withholds a text is not among them, but for staff.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from optin.conf import conf
from optin.limits.counters import Limit, Refused, Tally, Withheld, each_rate, enforced, longest
from optin.limits.rules import Rule
from optin.models import Purpose
from optin.origin import Face, network_of

# Texts that anybody with a key can cause, and texts that only a right password causes.
# Each class has its own counters: the first cannot use up the owner's way in.
ASKED_FOR = {Purpose.OPT_IN, Purpose.OPT_OUT}

STAFF = {Face.ADMIN, Face.COMMAND}
"""They may know why a text is not sent."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for a text: what the limits need to know of it."""

    user_id: int
    number_digest: str
    purpose: Purpose
    file_id: int | None
    face: Face
    client: str
    ip: str


class Limits(NamedTuple):
    """The limits that a text is under, in the order in which their counters are locked."""

    number: list[Limit]  # over all users
    own: list[Limit]  # that only this user or their address uses up
    client: list[Limit]  # over all users of a client
    budgets: list[Limit]  # over all users of a file, and over all


Waits = Callable[[int | None], Refused | None]
"""How long the number waits after its last text: after all texts, or after those of one user."""

Over = Callable[[Sequence[Tally], datetime], list[Refused]]
"""A refusal for each limit that its count is over."""


class Decided(NamedTuple):
    """What refuses a text. If nothing does: what would, and only observes (``OPTIN_OBSERVE``)."""

    refused: Refused | None = None
    observed: Refused | None = None


def limits_of(asked: Asked) -> Limits:
    """Return the limits by counts. Those against pumping are not among them."""
    own = _own_limits(asked)
    if asked.purpose in ASKED_FOR:
        budgets = each_rate(Rule.TOTAL, "", conf.sends_total)
        if asked.file_id is not None:  # a page's request to turn off is under none
            budgets = [*each_rate(Rule.FILE, str(asked.file_id), conf.sends_per_file), *budgets]
    else:
        own += _each_first(asked.user_id)
        budgets = each_rate(Rule.OWN_TOTAL, "", conf.own_sends_total)
    return Limits(_number_limits(asked), own, _client_limits(asked), budgets)


def decide(
    asked: Asked,
    tallies: Sequence[Tally],
    now: datetime,
    *,
    waits: Waits,
    over: Over,
    told: Sequence[Refused | None] = (),
    about_number: Callable[[], Refused | None] = lambda: None,
) -> Decided:
    """Return what refuses the text, if anything does.

    :param tallies: what the counters come to with it; those of the number come first.
    :param told: of an opt-in: what other rules say that refuse openly.
    :param about_number: of an opt-in: what other rules say that withhold the text.
    """
    if asked.purpose is not Purpose.OPT_IN:
        return _decided([waits(None), *over(applying(tallies), now)])
    own = [tally for tally in tallies if tally.limit.rule is not Rule.ASKED_NUMBER]
    refused, observed = _decided([*told, waits(asked.user_id), *over(own, now)])
    if refused is None or asked.face in STAFF:
        of_number = [tally for tally in tallies if tally.limit.rule is Rule.ASKED_NUMBER]
        hidden = _decided([about_number(), waits(None), *over(of_number, now)])
        refused = withheld(hidden.refused, refused, asked.face)
        observed = longest([observed, hidden.observed])
    return Decided(refused, observed)


def _decided(found: Sequence[Refused | None]) -> Decided:
    """Return the longest of *found* that is enforced, and the longest that only observes."""
    kept = [enforced(each) for each in found]
    seen = [each for each, enforces in zip(found, kept, strict=True) if enforces is None]
    return Decided(longest(kept), longest(seen))


def withheld(refused: Refused | None, told: Refused | None, face: Face) -> Refused | None:
    """Return *refused* as a refusal that only staff are told of, who know of *told* too."""
    if refused is None or face in STAFF:
        return longest([told, refused])
    return Withheld(
        refused.rule, refused.count, refused.limit, refused.retry_after, seconds=refused.seconds
    )


def applying(tallies: Sequence[Tally]) -> list[Tally]:
    """Leave out the limits over all users that do not apply to this text.

    The first texts of a user in a window always leave: otherwise other accounts could use up
    the texts with which people sign in (S-07).
    """
    first = {
        tally.limit.seconds
        for tally in tallies
        if tally.limit.rule is Rule.OWN_FIRST and tally.count <= conf.own_sends_reserve
    }
    return [
        tally
        for tally in tallies
        if tally.limit.seconds not in first or tally.limit.rule is not Rule.OWN_TOTAL
    ]


def _number_limits(asked: Asked) -> list[Limit]:
    """Over all users. Counted even if the limit is off: the row is the lock of the number.

    Only the owner of an active number can ask for texts to turn two-factor off, anybody for those
    of opt-ins: so they count apart.
    """
    rule = {
        Purpose.OPT_IN: Rule.ASKED_NUMBER,
        Purpose.OPT_OUT: Rule.OFF_NUMBER,
    }.get(asked.purpose, Rule.OWN_NUMBER)
    return each_rate(rule, asked.number_digest, conf.sends_per_number) or [
        Limit(rule, asked.number_digest, 0, 600)
    ]


def _own_limits(asked: Asked) -> list[Limit]:
    user, is_asked, limits = str(asked.user_id), asked.purpose in ASKED_FOR, []
    if asked.purpose is Purpose.OPT_IN:
        # The same as for all users together: otherwise a user's own requests could be withheld.
        pair = f"{user} {asked.number_digest}"
        limits += each_rate(Rule.ASKED_PAIR, pair, conf.sends_per_number)
    rule = Rule.ASKED_USER if is_asked else Rule.OWN_USER
    limits += each_rate(rule, user, conf.sends_per_user)
    if asked.face != Face.API and asked.ip:
        rule = Rule.ASKED_IP if is_asked else Rule.OWN_IP
        limits += each_rate(rule, network_of(asked.ip, 32), conf.sends_per_ip)
    return limits


def _client_limits(asked: Asked) -> list[Limit]:
    if asked.face != Face.API:
        return []
    rule = Rule.ASKED_CLIENT if asked.purpose in ASKED_FOR else Rule.OWN_CLIENT
    return each_rate(rule, f"{asked.client} {asked.file_id}", conf.sends_per_client)


def _each_first(user_id: int) -> list[Limit]:
    """A count for the user in the windows of the limits over all users, without a limit."""
    return [Limit(Rule.OWN_FIRST, str(user_id), 0, rate.seconds) for rate in conf.own_sends_total]
