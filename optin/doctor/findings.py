"""What a check found."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    OK = "ok"
    SKIPPED = "skipped"  # nobody looked, for a reason that is told
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's. None of its texts holds a secret."""

    level: Level
    text: str
    """What is wrong, or what was found to be right."""
    seen: str = ""
    """How that was seen, where the text does not say it."""
    do: str = ""
    """A command, or a section of a page in docs."""


def ok(text: str) -> Finding:
    return Finding(Level.OK, text)


def skipped(text: str) -> Finding:
    return Finding(Level.SKIPPED, text)


def warning(text: str, *, do: str, seen: str = "") -> Finding:
    return Finding(Level.WARNING, text, seen, do)


def fault(text: str, *, do: str, seen: str = "") -> Finding:
    return Finding(Level.FAULT, text, seen, do)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is looked at."""

    name: str
    look: Callable[[], Iterable[Finding]]
    """Its docstring is the sentence for operators: what is right."""
    after: tuple[str, ...] = ()
    """Checks that come first. If one of them, or one before it, finds a fault, this is skipped."""
    seconds: float = 6.0
    """After which it is given up."""
    settles: float = 0.0
    """Seconds of work after a start that may pass before what it finds is right."""
    on_sqlite: bool = True
    """Whether there is something to look at on SQLite, too."""

    @property
    def right(self) -> str:
        """What is so if it finds nothing."""
        return " ".join((self.look.__doc__ or "").split())
