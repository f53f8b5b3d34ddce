"""Programs that a test runs and answers, and the service that they call."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tests.clients.people import FILE_ID, Person
from tests.kit import chromium as bench

CODE_PROMPT = "Enter the code from the text message:"


@dataclass
class Service:
    """A server whose clock can move, and people whom no other test has."""

    site: bench.Site
    people: Iterator[Person] = field(init=False)
    testers: Iterator[Person] = field(init=False)
    days: int = 0
    file_id: str = str(FILE_ID)

    def __post_init__(self) -> None:
        self.people = iter([Person(**each) for each in self.site.demo["people"]])
        self.testers = iter([Person(**each) for each in self.site.demo.get("testers", [])])

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
