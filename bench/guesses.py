"""Guess at one account as well as can be, and compare with what ``guess_budget`` prints (G-03).

The long form of ``tests/domain/test_guesses.py``: the settings in force, and days of a year, by a
clock that is moved on. It ends with an error where more guesses were compared than are printed, or
less than nine tenths of them.

    python -m bench.guesses [--days N] [--kind text|programs|app|recovery]
"""

import argparse
import time
from unittest import mock

from bench import world

import time_machine
from django.db import connections

from optin import gateways
from optin.models import File, Membership
from optin.outcomes import By
from tools import guesses
from tests.kit.guesser import Guesser
from tests.kit.people import NOON, make_user
from tests.kit.phone import Phone
from tests.kit.world import Person


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--kind", choices=[*By, guesses.PROGRAMS], action="append")
    options = parser.parse_args()
    phone = Phone()
    with (
        world.database(),
        mock.patch.object(gateways, "for_region", return_value=[phone]),
        time_machine.travel(NOON, tick=False) as clock,
    ):
        person = Person(make_user("ann"), File.objects.create(pk=world.FILE_ID), phone, clock)
        Membership.objects.create(user=person.who, file=person.file)
        person.set_up(*By)
        shares = [
            attack(person, kind, seconds)
            for kind in options.kind or [By.TEXT, guesses.PROGRAMS, By.APP]
            for seconds in (guesses.HOUR, guesses.DAY, options.days * guesses.DAY)
        ]
        connections.close_all()
    if not all(0.9 <= share <= 1 for share in shares):
        raise SystemExit("The figures that guess_budget prints are wrong.")


def attack(person: Person, kind: str, seconds: int) -> float:
    """Return which share of the guesses that are printed gets through."""
    began = time.process_time()
    plan = guesses.plan(kind, seconds)
    compared = Guesser(person, kind).attack(plan, seconds)
    share, took = compared / plan.guesses, time.process_time() - began
    print(f"{kind}, {seconds} s: {compared} of {plan.guesses} ({took:.0f} s)", flush=True)
    return share


if __name__ == "__main__":
    main()
