"""All checks: each is a short function whose docstring has its name and its section."""

import re
import sys

from conformance.session import Check, Looks

CHECKS: list[Check] = []
"""All checks, in the order in which they run: each story builds on the steps before."""


def check(look: Looks) -> Looks:
    """Register *look*: ``What is right. [2.3]`` is its docstring."""
    add(look, sys.modules[look.__module__].__doc__ or "")
    return look


def add(look: Looks, section: str, told: str | None = None) -> None:
    """Register *look* under the title that *section* begins with.

    :param told: the docstring, where *look* has none of its own.
    """
    name, contract = read(told or look.__doc__)
    CHECKS.append(Check(section.partition(".")[0], name, contract, look))


def read(docstring: str | None) -> tuple[str, str]:
    """Return the name and the section of the contract that a check's docstring gives."""
    found = re.fullmatch(r"(.+\.) \[([\d.]+)\]", " ".join((docstring or "").split()))
    assert found, f"no name, and no section in brackets: {docstring!r}"
    return found[1], found[2]
