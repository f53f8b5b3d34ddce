"""Requests for texts that count together for one limit, and one that counts elsewhere."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from optin.gateways import every_setting
from optin.models import File, User
from optin.operations import opt_ins
from optin.operations.sending import Sending
from optin.origin import Face, Origin
from tests.kit.people import ORIGIN

LIMITS = (
    "OPTIN_SENDS_PER_NUMBER",
    "OPTIN_SENDS_PER_USER",
    "OPTIN_SENDS_PER_IP",
    "OPTIN_SENDS_PER_CLIENT",
    "OPTIN_SENDS_PER_FILE",
    "OPTIN_SENDS_TOTAL",
)
PAGE = Origin(Face.WEB, ip="192.0.2.1")
TOKEN = Origin(Face.TOKEN, ip="192.0.2.1")


def mobile(n: int) -> str:
    """The nth of many mobile numbers."""
    return f"+6149157{n:04d}"


def default(name: str) -> object:
    """The default of a setting."""
    return next(setting.default for setting in every_setting() if setting.name == name)


@dataclass
class Asker:
    """Asks to opt in, with something else each time."""

    file: File
    other_file: File
    users: list[User]

    def ask(
        self, *, user: int = 0, number: int = 0, file: File | None = None, origin: Origin = ORIGIN
    ) -> Sending:
        return opt_ins.opt_in(self.users[user], file or self.file, mobile(number), origin=origin)


Ask = Callable[[Asker, int], Sending]


def other_client(asker: Asker, n: int) -> Sending:
    return asker.ask(user=n, number=n, origin=replace(ORIGIN, client=f"key:{n}", ip=f"192.0.2.{n}"))


def other_user(asker: Asker, n: int) -> Sending:
    return asker.ask(user=n, number=n)


# For each limit: the rule that the event names, texts that count together, and one
# that counts elsewhere.
TABLE = [
    pytest.param(
        "OPTIN_SENDS_PER_NUMBER",
        "asked-pair",
        lambda a, n: a.ask(origin=replace(ORIGIN, client=f"key:{n}")),
        lambda a: a.ask(number=1),
        id="per-number",
    ),
    pytest.param(
        "OPTIN_SENDS_PER_USER",
        "asked-user",
        lambda a, n: a.ask(number=n, origin=replace(ORIGIN, client=f"key:{n}")),
        lambda a: a.ask(user=1),
        id="per-user",
    ),
    pytest.param(
        "OPTIN_SENDS_PER_CLIENT",
        "asked-client",
        lambda a, n: a.ask(user=n, number=n, origin=replace(ORIGIN, ip=f"192.0.2.{n}")),
        lambda a: a.ask(user=5, number=5, origin=replace(ORIGIN, client="key:other")),
        id="per-client",
    ),
    pytest.param(
        "OPTIN_SENDS_PER_CLIENT",
        "asked-client",
        other_user,
        lambda a: a.ask(user=5, number=5, file=a.other_file),
        id="per-client-and-file",
    ),
    pytest.param(
        "OPTIN_SENDS_PER_IP",
        "asked-ip",
        lambda a, n: a.ask(user=n, number=n, origin=PAGE),
        lambda a: a.ask(user=5, number=5, origin=replace(PAGE, ip="192.0.2.2")),
        id="per-address",
    ),
    pytest.param(
        "OPTIN_SENDS_PER_IP",
        "asked-ip",
        lambda a, n: a.ask(user=n, number=n, origin=replace(PAGE, ip=f"2001:db8:0:1::{n:x}")),
        lambda a: a.ask(user=5, number=5, origin=replace(PAGE, ip="2001:db8:0:2::1")),
        id="per-/64",
    ),
    pytest.param(
        "OPTIN_SENDS_PER_FILE",
        "file",
        other_client,
        lambda a: a.ask(user=5, number=5, file=a.other_file),
        id="per-file",
    ),
    pytest.param("OPTIN_SENDS_TOTAL", "total", other_client, None, id="total"),
]
