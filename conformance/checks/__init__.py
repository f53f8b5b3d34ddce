"""The checks: one module for each section of the report, in the order in which they run."""

from conformance.checks import (  # noqa: I001 - the order is that of the run
    ping,
    addresses,
    formats,
    bodies,
    credentials,
    order,
    tokens,
    oauth,
    headers,
    stories,
    events,
    sandbox,
    every_answer,
)
from conformance.registry import CHECKS

__all__ = [
    "CHECKS",
    "addresses",
    "bodies",
    "credentials",
    "events",
    "every_answer",
    "formats",
    "headers",
    "oauth",
    "order",
    "ping",
    "sandbox",
    "sections",
    "stories",
    "tokens",
]


def sections() -> list[str]:
    """The sections of the report, in order."""
    return list(dict.fromkeys(check.section for check in CHECKS))
