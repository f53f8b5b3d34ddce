"""Clients as their users run them, each a process of its own, against a real server."""

import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.clients.programs import Service
from tests.kit import chromium
from tests.kit.mono import compiled
from tests.kit.server import needs

FOLDER = Path(__file__).resolve().parent.parent.parent / "docs" / "clients"
COMMANDS = {
    "Python": [sys.executable, "-W", "error", str(FOLDER / "optin.py")],
    "Ruby": ["ruby", "-w", str(FOLDER / "optin.rb")],
    "PHP": ["php", "-d", "error_reporting=-1", "-d", "display_errors=1", str(FOLDER / "optin.php")],
}
_SET_UP = """
import json
from django.core.management import call_command
from tests.clients import people
call_command("migrate", verbosity=0)
print(json.dumps({"people": people.make(), "testers": people.make_testers()}))
"""


@pytest.fixture(autouse=True)
def clock() -> None:
    """The real one, in place of the clock that stands still: the server moves its own."""


@pytest.fixture(autouse=True)
def phone() -> None:
    """The simulator's file: see ``Service.code``."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("clients")
            item.add_marker("long")


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("clients")
    with chromium.serve(folder, set_up=_SET_UP, application="tests.clients.moving_clock") as site:
        yield Service(site)


@pytest.fixture(scope="session")
def mono(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], list[str]]:
    """Compiles a C# program, and returns the command that runs it."""
    return partial(compiled, tmp_path_factory.mktemp("mono"))


@pytest.fixture(params=["Python", "Ruby", "PHP", "C# with JSON", "C# with XML"])
def command(request: pytest.FixtureRequest) -> list[str]:
    """How to run one of the programs."""
    if request.param.startswith("C#"):
        program: list[str] = request.getfixturevalue("mono")(FOLDER / "OptIn.cs")
        return ["env", f"API_FORMAT={request.param[-4:].strip().lower()}", *program]
    found = COMMANDS[request.param]
    needs(request.param, shutil.which(found[0]) is not None)
    return found
