"""The clients against the strict server of the kit: it has nothing to say about what they send."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from conformance.server.door import Desk, serving
from tests.clients.programs import CODE_PROMPT, Done, run
from tests.kit.phone import wrong

NUMBER, FILE_ID = "0491 570 156", "777"
BY_PASSWORD = {"API_USER": "ann", "API_PASSWORD": "ann-password"}
BY_KEY = {"API_KEY": "ann-key-777"}


@dataclass
class Strict:
    """The strict server, whose clock moves, and the phone that it texts."""

    desk: Desk
    days: int = 0

    def codes(self) -> Iterator[str]:
        """A code that is mistyped, then the one that was texted last."""
        yield wrong(self._newest())
        while True:
            yield self._newest()

    def _newest(self) -> str:
        return self.desk.texts[0][1].split()[0]

    def told(self) -> list[str]:
        return [told for seen in self.desk.seen for told in [*seen.wrong, *seen.better]]


@pytest.fixture
def strict() -> Iterator[Strict]:
    def clock() -> float:
        return time.time() + found.days * 86400

    with serving("127.0.0.1", 0, tell=lambda told: None, clock=clock) as desk:
        found = Strict(desk)
        yield found


@pytest.mark.parametrize("login", [BY_PASSWORD, BY_KEY], ids=["password", "key"])
def test_it_has_nothing_to_say_about_the_programs(
    command: list[str], strict: Strict, login: dict[str, str]
) -> None:
    env = {"API_URL": strict.desk.base_url, "API_FILE_ID": FILE_ID, **login}
    done = run([*command, NUMBER], env, {CODE_PROMPT: strict.codes()})
    assert (done.errors, done.status) == ("", 0)
    assert done.lines[-1] == "Two-factor authentication is off."
    assert len(strict.desk.seen) >= 6
    assert strict.told() == []


def test_it_has_nothing_to_say_about_the_compiled_client(
    strict: Strict, mono: Callable[[Path], list[str]]
) -> None:
    def days() -> Iterator[str]:
        while True:
            strict.days += 5
            yield ""

    command = mono(Path(__file__).parent / "SdkClient.cs")
    login = ["ann-key-777", "ann", "ann-password", NUMBER]
    replies = {CODE_PROMPT: strict.codes(), "Let 5 days pass:": days()}
    done: Done = run([*command, f"{strict.desk.base_url}/", FILE_ID, *login], {}, replies)
    assert (done.errors, done.lines[-1:]) == ("", ["Done."])
    assert strict.told() == []
