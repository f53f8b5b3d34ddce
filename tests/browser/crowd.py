"""People for the browser to be: each test takes one whom no other has.

They are made in the server's own database, by its own services, in a process of their own.
"""

import json
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from django.contrib.auth.hashers import make_password

from optin.gateways import Simulator
from optin.messaging import delivery
from optin.models import File, Membership, User
from optin.operations import opt_ins
from optin.origin import Face, Origin
from tests.kit.chromium import Site

PASSWORD = "tell-the-harbour-9"
HOW_MANY = 140
"""Of each kind: one worker may get all tests. The budgets of texts are large enough."""
AHEAD = 8
"""So many are there before they are asked for: nobody has used a number a moment ago."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody of the file Harbour Books, and two numbers that are theirs."""

    name: str
    number: str  # in E.164 form
    other_number: str

    @property
    def email(self) -> str:
        return f"{self.name}@example.com"


def people(kind: str) -> Iterator[Person]:
    # Numbers that nobody else has: the staff of the demo, the office, or a test by itself.
    first = {"new": 200, "on": 500}[kind]
    for each in range(HOW_MANY):
        at = first + 2 * each
        yield Person(f"{kind}-{each}", f"+61491570{at}", f"+61491570{at + 1}")


@dataclass
class Crowd:
    """Hands out people: ``new()`` has no second factor, ``on()`` has an active number."""

    site: Site
    _left: dict[str, Iterator[tuple[int, Person]]] = field(
        default_factory=lambda: {kind: enumerate(people(kind)) for kind in ("new", "on")}
    )

    def new(self) -> Person:
        return self._make("new")

    def on(self) -> Person:
        return self._make("on")

    def _make(self, kind: str) -> Person:
        number, person = next(self._left[kind])
        ahead = number + AHEAD
        if ahead < HOW_MANY:
            self.site.do(f"from tests.browser import crowd; crowd.make({kind!r}, {ahead})")
        return person


# -- in the other process ----------------------------------------------------------

_HEAD = "from datetime import *; from optin.models import *"


def answer(bodies: Iterable[str]) -> None:
    """Run each of *bodies*, Python in JSON, and print its ``out``: see ``Site.do``."""
    for body in bodies:
        names: dict[str, Any] = {"out": {}}
        try:
            exec(f"{_HEAD}\n{json.loads(body)}", names)  # noqa: S102
        except Exception:
            found = {"error": traceback.format_exc()}
        else:
            found = {"out": names["out"]}
        let_mails_leave()
        print(json.dumps(found), flush=True)


def make_first() -> None:
    """Make those who come first, before there is a server."""
    for number in range(AHEAD):
        make("new", number)
        make("on", number)
    let_mails_leave()


@cache
def _hash() -> str:
    """That of everybody's password: it takes half a second."""
    return make_password(PASSWORD)


def make(kind: str, number: int) -> None:
    """Make one of ``people``."""
    person = list(people(kind))[number]
    file = File.objects.get(name="Harbour Books")
    user = User.objects.create(username=person.name, email=person.email, password=_hash())
    Membership.objects.create(user=user, file=file)
    if kind == "on":
        _opt_in(user, file, person.number)


def let_mails_leave() -> None:
    """Wait for the mails of this process, for a minute at most.

    At its end a process waits only for a moment, which is short on a busy machine.
    """
    for _ in range(20):
        delivery.postman.wait()


def _opt_in(user: User, file: File, number: str) -> None:
    origin = Origin(Face.COMMAND)
    sending = opt_ins.opt_in(user, file, number, origin=origin)
    assert sending.provider_user_id
    texts = Simulator().latest(20)
    code = next(text for text in texts if text.to == number).body.split()[0]
    opt_ins.verify_opt_in(user, file, sending.provider_user_id, code, origin=origin)


def run(site: Site, body: str) -> dict[str, Any]:
    """Run Python beside the server, where no page leads: time that passed, staff, a client."""
    return site.do(body)
