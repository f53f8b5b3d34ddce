"""How often somebody may try: a password, a request for a lost one, a search or a removal by staff.

The failures of a sign-in are charged before the password is looked at, and taken back if it was
right.
"""

from collections.abc import Sequence
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
    first_over,
    take_back,
)
from optin.models import KnownNetwork, User
from optin.origin import CUSTOMER_V6, Origin, network_of

SIGN_IN_NAME = "sign-in-name"
"""The rule of wrong passwords for one name, and the scope of its counters."""

RESET_NAME = "reset-name"
"""The rule of requests for a lost password of one name, and the scope of its counters."""

ALL_FAILED = "sign-in-all"
"""The counter of wrong passwords for one name over all networks. It refuses nobody by itself."""

NEW_NETWORK = "sign-in-new"
"""The rule for networks from which a user never signed in, while that counter is over its limit."""

SEARCHES = (Rate(60, 3600), Rate(200, 86_400))
"""Numbers that one member of staff may search: who guesses what the mask hides needs more."""

REVOCATIONS = (Rate(20, 86_400),)
"""Removals of factors that one member of staff may plan: a stolen account of support reaches no
more people than these."""


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
    limits = each_rate(
        "sign-in-tries", network_of(origin.ip, 32), conf.sign_ins_per_ip if origin.ip else ()
    )
    limits += _sign_in_limits(name, origin)
    with transaction.atomic():
        tallies = _by_scope(add(limits, now))
        beyond = first_over(tallies[ALL_FAILED], now)
        slowed_down = first_over(tallies[NEW_NETWORK], now) if beyond and not is_known else None
        refused = first_over(tallies[""], now) or slowed_down
        if refused:
            transaction.set_rollback(True)
    return refused or (Reserved(beyond.rule, beyond.count, beyond.limit) if beyond else None)


def refund_sign_in(name: str, origin: Origin, charged_at: datetime) -> None:
    """Take back the charge of ``reserve_sign_in``. Call inside a transaction."""
    take_back(_sign_in_limits(name, origin), charged_at)


def reserve_reset(name: str, origin: Origin, now: datetime) -> Refused | None:
    """Count one request for a lost password, or say why not. Call inside a transaction.

    The rates are those of wrong passwords, the counters are not: whoever asks for links to
    somebody's address must not keep their right password out (S-07).
    """
    from_there = f"{name} {_sign_in_network(origin)}"
    limits = each_rate(RESET_NAME, from_there, conf.failed_sign_ins_per_name)
    limits += each_rate("reset-ip", network_of(origin.ip, 32), conf.failed_sign_ins_per_ip)
    return charge(limits, now)


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
        tallies = add(each_rate(name, str(origin.actor_id), rates), now)
        refused = first_over(tallies, now)
        if refused:
            transaction.set_rollback(True)
    for tally in tallies if refused is None else ():
        if tally.count == tally.limit.count:  # once in each window
            alarms.sound("staff", actor=origin.actor_id, rule=tally.limit.scope)
    return refused


def _sign_in_limits(name: str, origin: Origin) -> list[Limit]:
    from_there = f"{name} {_sign_in_network(origin)}"
    # One customer may have 65 536 networks: each would have these tries.
    from_customer = f"{name} {network_of(origin.ip, 24, CUSTOMER_V6)}"
    return [
        *each_rate(SIGN_IN_NAME, from_there, conf.failed_sign_ins_per_name),
        *each_rate("sign-in-ip", network_of(origin.ip, 32), conf.failed_sign_ins_per_ip),
        *each_rate(ALL_FAILED, name, conf.failed_sign_ins_per_name_total),
        # Counted for all, so that known and unknown networks take the same time.
        *each_rate(NEW_NETWORK, from_customer, conf.failed_sign_ins_per_new_network),
    ]


def _sign_in_network(origin: Origin) -> str:
    return network_of(origin.ip, 24)


def _by_scope(tallies: Sequence[Tally]) -> dict[str, list[Tally]]:
    """Part those of a sign-in: many wrong passwords from all networks slow down only new ones."""
    of: dict[str, list[Tally]] = {ALL_FAILED: [], NEW_NETWORK: [], "": []}
    for tally in tallies:
        name, _, _ = tally.limit.scope.partition("/")
        of[name if name in of else ""].append(tally)
    return of
