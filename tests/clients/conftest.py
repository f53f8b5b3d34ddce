"""Clients as their users run them, each a process of its own, against a real server."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.browser import bench
from tests.clients.people import FILE_ID, Person
from tests.conftest import needs

ASSEMBLIES = ["System.Net.Http", "System.Runtime.Serialization"]
CODE_PROMPT = "Enter the code from the text message:"

_SET_UP = """
import json
from django.core.management import call_command
from tests.clients import people
call_command("migrate", verbosity=0)
print(json.dumps({"people": people.make()}))
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


@dataclass
class Service:
    """A server whose clock can move, and people whom no other test has."""

    site: bench.Site
    people: Iterator[Person] = field(init=False)
    days: int = 0
    file_id: str = str(FILE_ID)

    def __post_init__(self) -> None:
        self.people = iter([Person(**each) for each in self.site.demo["people"]])

    @property
    def url(self) -> str:
        return self.site.url

    def pass_days(self, days: int) -> None:
        """Move the clock of the server; tokens and waits grow older."""
        self.days += days
        (self.site.data_dir / "days").write_text(str(self.days))

    def code(self, person: Person, *, nth: int) -> str:
        """The code of the *nth* text to a person, once it has arrived."""
        return self.site.newest_text(person.number, after=nth - 1).split()[0]


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("clients")
    with bench.serve(folder, set_up=_SET_UP, application="tests.clients.moving_clock") as site:
        yield Service(site)


@pytest.fixture(scope="session")
def mono(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], list[str]]:
    """Compiles a C# program, and returns the command that runs it."""
    programs = all(map(shutil.which, ["mcs", "mono"]))
    assemblies = all(Path(f"/usr/lib/mono/4.5/{name}.dll").exists() for name in ASSEMBLIES)
    needs(f"mono with mcs, {' and '.join(ASSEMBLIES)}", programs and assemblies)
    folder = tmp_path_factory.mktemp("mono")

    def compiled(source: Path) -> list[str]:
        program = folder / f"{source.stem}.exe"
        if not program.exists():
            references = [f"-r:{name}" for name in ASSEMBLIES]
            command = ["mcs", "-warnaserror", *references, f"-out:{program}", str(source)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
        return ["mono", str(program)]

    return compiled


@dataclass(frozen=True)
class Done:
    """What a program printed, and how it ended."""

    lines: list[str]
    errors: str
    status: int


def run(command: list[str], env: Mapping[str, str], replies: Mapping[str, Iterator[str]]) -> Done:
    """Run a program with *env*, and answer each of its lines that *replies* knows."""
    with subprocess.Popen(
        command,
        env={"PATH": os.environ["PATH"], **env},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdin
        assert program.stdout
        assert program.stderr
        lines = []
        for line in program.stdout:
            lines.append(line.rstrip())
            if lines[-1] in replies:
                program.stdin.write(next(replies[lines[-1]]) + "\n")
                program.stdin.flush()
        errors = program.stderr.read()
    return Done(lines, errors, program.returncode)
