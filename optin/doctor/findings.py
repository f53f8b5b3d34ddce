"""What a check found."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    OK = "ok"
    SKIPPED = "skipped"  # not checked, for a reason that the text names
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's output. None of its texts holds a secret."""

    level: Level
    text: str
    """What is wrong, or what is right."""
    seen: str = ""
    """How that was found, where the text does not say it."""
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
    """One thing that the doctor checks."""

    name: str
    look: Callable[[], Iterable[Finding]]
    """Its docstring is the sentence for operators: what is right."""
    after: tuple[str, ...] = ()
    """Checks that come first. If one of them finds a fault or is skipped for one, so is this."""

    @property
    def right(self) -> str:
        """What is so if it finds nothing."""
        return " ".join((self.look.__doc__ or "").split())
