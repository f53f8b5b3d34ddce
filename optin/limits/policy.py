"""Which limits a text is under, and what they decide.

A person who opts in a number has not verified it yet. They must not learn what others did with it
(S-38). So the rules about the person come first, and refuse openly. The rules about the number come
last, and withhold the text. People are told of the open refusal that lasts longest; only staff
are told of a withheld text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import NamedTuple

from optin.conf import conf
from optin.limits.counters import Limit, Refused, Tally, Withheld, each_rate, longest, over
from optin.limits.recent import Sent, rates, wait_after
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
    """The limits with counters that a text is under, in the order in which these are locked."""

    own: list[Limit]  # that only this user or their address uses up
    client: list[Limit]  # over all users of a client
    budgets: list[Limit]  # over all users of a file, and over all


def limits_of(asked: Asked) -> Limits:
    """Return the limits with counters. Those against pumping are not among them."""
    own = _address_limits(asked)
    if asked.purpose in ASKED_FOR:
        budgets = each_rate(Rule.TOTAL, "", conf.sends_total)
        if asked.file_id is not None:  # a page's request to turn off is under none
            budgets = [*each_rate(Rule.FILE, str(asked.file_id), conf.sends_per_file), *budgets]
    else:
        own += _each_first(asked.user_id)
        budgets = each_rate(Rule.OWN_TOTAL, "", conf.own_sends_total)
    return Limits(own, _client_limits(asked), budgets)


_OF_NUMBER = {
    Purpose.OPT_IN: Rule.ASKED_NUMBER,
    Purpose.OPT_OUT: Rule.OFF_NUMBER,
    Purpose.SIGN_IN: Rule.OWN_NUMBER,
    Purpose.CHANGE: Rule.OWN_NUMBER,
}
"""Only the owner of an active number can ask for texts to turn two-factor off, anybody for those of
opt-ins: so they count apart."""


def rates_of(asked: Asked, texts: Sequence[Sent], now: datetime) -> list[Tally]:
    """Return what the limits of the number and of the user come to with this text.

    :param texts: those of both, of late.
    """
    rule, is_asked = _OF_NUMBER[asked.purpose], asked.purpose in ASKED_FOR
    to_number = [
        text
        for text in texts
        if text.number_digest == asked.number_digest and _OF_NUMBER[text.purpose] is rule
    ]
    left = [text for text in to_number if not text.is_withheld]
    tallies = rates(rule, conf.sends_per_number, left, now)
    if asked.purpose is Purpose.OPT_IN:
        # The same as for all users together: otherwise a user's own requests could be withheld.
        pair = [text for text in to_number if text.user_id == asked.user_id]
        tallies += rates(Rule.ASKED_PAIR, conf.sends_per_number, pair, now)
    own = [
        text
        for text in texts
        if text.user_id == asked.user_id and (text.purpose in ASKED_FOR) is is_asked
    ]
    rule = Rule.ASKED_USER if is_asked else Rule.OWN_USER
    return tallies + rates(rule, conf.sends_per_user, own, now)


def decide(
    asked: Asked,
    tallies: Sequence[Tally],
    texts: Sequence[Sent],
    now: datetime,
    *,
    told: Sequence[Refused | None] = (),
    about_number: Refused | None = None,
) -> Refused | None:
    """Return what refuses the text, if anything does.

    :param tallies: what the limits come to with it.
    :param texts: as for ``rates_of``.
    :param told: of an opt-in: what other rules say that refuse openly.
    :param about_number: what other rules say of a number that was not verified here: an opt-in's
        text is withheld, another one refused.
    """
    waits = partial(wait_after, texts, asked.number_digest, asked.purpose, now)
    if asked.purpose is not Purpose.OPT_IN:
        return longest([about_number, waits(), *over(applying(tallies), now)])
    own = [tally for tally in tallies if tally.limit.rule is not Rule.ASKED_NUMBER]
    refused = longest([*told, waits(asked.user_id), *over(own, now)])
    if refused is None or asked.face in STAFF:
        of_number = [tally for tally in tallies if tally.limit.rule is Rule.ASKED_NUMBER]
        hidden = longest([about_number, waits(), *over(of_number, now)])
        refused = withheld(hidden, refused, asked.face)
    return refused


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


def _address_limits(asked: Asked) -> list[Limit]:
    if asked.face == Face.API or not asked.ip:
        return []
    rule = Rule.ASKED_IP if asked.purpose in ASKED_FOR else Rule.OWN_IP
    return each_rate(rule, network_of(asked.ip, 32), conf.sends_per_ip)


def _client_limits(asked: Asked) -> list[Limit]:
    if asked.face != Face.API:
        return []
    rule = Rule.ASKED_CLIENT if asked.purpose in ASKED_FOR else Rule.OWN_CLIENT
    return each_rate(rule, f"{asked.client} {asked.file_id}", conf.sends_per_client)


def _each_first(user_id: int) -> list[Limit]:
    """A count for the user in the windows of the limits over all users, without a limit."""
    return [Limit(Rule.OWN_FIRST, str(user_id), 0, rate.seconds) for rate in conf.own_sends_total]
