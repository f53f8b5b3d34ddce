"""How often somebody may try: a password, a request for a lost one or for another email address, a
search or a removal by staff.

The failures of a sign-in are charged before the password is looked at, and taken back if it was
right.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from optin.conf import Rate, conf
from optin.limits import alarms
from optin.limits.counters import (
    Limit,
    Refused,
    Reserved,
    Tally,
    add,
    charge,
    each_rate,
    longest,
    over,
    take_back,
)
from optin.limits.rules import Rule
from optin.models import KnownNetwork, User
from optin.origin import CUSTOMER_V6, Origin, network_of

SEARCHES = (Rate(60, 3600), Rate(200, 86_400))
"""Numbers that one member of staff may search: who guesses what the mask hides needs more."""

REVOCATIONS = (Rate(20, 86_400),)
"""Removals of factors that one member of staff may plan: a stolen account of support reaches no
more people than these."""

EMAILS = (Rate(5, 86_400),)
"""Requests of one person for another email address: each mails to an address of their choice."""


@dataclass(frozen=True, slots=True)
class Charge:
    """One failed sign-in that was charged before its password was looked at."""

    failures: Sequence[Limit]
    at: datetime
    # Set if the limit over all networks is exceeded. That alone refuses nobody.
    beyond: Reserved | None

    def refund(self) -> None:
        """Take the failure back, but not the try. Call inside a transaction."""
        take_back(self.failures, self.at)


def reserve_sign_in(
    name: str, origin: Origin, now: datetime, user: User | None = None
) -> Charge | Refused:
    """Charge one failed sign-in before the password is looked at, or say why not.

    Charging first keeps the limit exact however many try at once. A right password takes back the
    failure (``Charge.refund``), but not the try. Call inside a transaction.

    :param user: who has the name, if anybody. The statements are the same either way (S-38).
    """
    network, address = _sign_in_network(origin), network_of(origin.ip, 32)
    is_known = _knows_network(user, origin)
    if is_known:
        # People who signed in from there before are counted alone: others at a shared address must
        # not use up what they need.
        address = f"{name} {address}"
    tries = each_rate(Rule.SIGN_IN_TRIES, address, conf.sign_ins_per_ip if origin.ip else ())
    failures = _failures(name, origin, network, address)
    with transaction.atomic():
        tallies = add([*tries, *failures], now)
        beyond = longest(over(_of(tallies, Rule.SIGN_IN_ALL), now))
        new = longest(over(_of(tallies, Rule.SIGN_IN_NEW), now))
        slowed_down = None
        if beyond and new and not is_known:
            # Many wrong passwords from all networks slow down only new ones, and only as long as
            # both are over their limits.
            slowed_down = min(new, beyond, key=lambda refused: refused.retry_after)
        others = [one for one in tallies if one.limit.rule not in _OF_ALL_NETWORKS]
        refused = longest([*over(others, now), slowed_down])
        if refused:
            transaction.set_rollback(True)
            return refused
    over_all = None
    if beyond:
        over_all = Reserved(beyond.rule, beyond.count, beyond.limit, seconds=beyond.seconds)
    return Charge(failures, now, over_all)


def reserve_reset(name: str, origin: Origin, now: datetime) -> Refused | None:
    """Count one request for a lost password, or say why not. Call inside a transaction.

    The rates are those of wrong passwords, the counters are not: whoever asks for links to
    somebody's address must not keep their right password out (S-07).
    """
    from_there = f"{name} {_sign_in_network(origin)}"
    limits = each_rate(Rule.RESET_NAME, from_there, conf.failed_sign_ins_per_name)
    limits += each_rate(Rule.RESET_IP, network_of(origin.ip, 32), conf.failed_sign_ins_per_ip)
    return charge(limits, now)


def reserve_email(user: User, now: datetime) -> Refused | None:
    """Count one request for another email address, or say why not. Call inside a transaction."""
    return charge(each_rate(Rule.EMAIL, str(user.pk), EMAILS), now)


def _knows_network(user: User | None, origin: Origin) -> bool:
    """Whether *user* has signed in from this network. The statement is the same for nobody."""
    return KnownNetwork.objects.knows(user.pk if user else 0, _sign_in_network(origin))


def remember_network(user: User, origin: Origin, now: datetime) -> None:
    """Store the network from which *user* has just signed in. The caller holds their lock."""
    KnownNetwork.objects.remember(user.pk, _sign_in_network(origin), now)


def reserve_search(origin: Origin, now: datetime) -> Refused | None:
    """Count one search for a full number, or say why not. Call inside a transaction."""
    return _reserve_for_staff(Rule.SEARCH, SEARCHES, origin, now)


def reserve_revocation(origin: Origin, now: datetime) -> Refused | None:
    """Count one revocation that waits, or say why not. Call inside a transaction."""
    return _reserve_for_staff(Rule.REVOCATION, REVOCATIONS, origin, now)


def _reserve_for_staff(
    rule: Rule, rates: tuple[Rate, ...], origin: Origin, now: datetime
) -> Refused | None:
    if origin.actor_id is None:  # a command: who runs one needs no permission
        return None
    with transaction.atomic():
        tallies = add(each_rate(rule, str(origin.actor_id), rates), now)
        refused = longest(over(tallies, now))
        if refused:
            transaction.set_rollback(True)
    for tally in tallies if refused is None else ():
        if tally.count == tally.limit.count:  # once in each window
            alarms.sound(alarms.STAFF, actor=origin.actor_id, rule=tally.limit.scope)
    return refused


def _failures(name: str, origin: Origin, network: str, address: str) -> list[Limit]:
    # One customer may have 65 536 networks: each would have these tries.
    from_customer = f"{name} {network_of(origin.ip, 24, CUSTOMER_V6)}"
    return [
        *each_rate(Rule.SIGN_IN_NAME, f"{name} {network}", conf.failed_sign_ins_per_name),
        *each_rate(Rule.SIGN_IN_IP, address, conf.failed_sign_ins_per_ip),
        *each_rate(Rule.SIGN_IN_ALL, name, conf.failed_sign_ins_per_name_total),
        # Counted for all, so that known and unknown networks take the same time.
        *each_rate(Rule.SIGN_IN_NEW, from_customer, conf.failed_sign_ins_per_new_network),
    ]


def _sign_in_network(origin: Origin) -> str:
    return network_of(origin.ip, 24)


_OF_ALL_NETWORKS = {Rule.SIGN_IN_ALL, Rule.SIGN_IN_NEW}


def _of(tallies: Sequence[Tally], rule: Rule) -> list[Tally]:
    return [tally for tally in tallies if tally.limit.rule is rule]
