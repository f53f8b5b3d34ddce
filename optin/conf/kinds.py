"""The usual kinds of settings, each with its default, its bounds and its sentence."""

from collections.abc import Callable
from decimal import Decimal

from optin.conf import faults, parse
from optin.conf.setting import Rate, Setting


def number(check: int, default: int, low: int, high: int, doc: str) -> Setting[int]:
    fault = faults.between(low, high)
    return Setting(check, default, parse=parse.integer, fault=fault, doc=doc)


def limit(check: int, *rates: Rate, doc: str) -> Setting[tuple[Rate, ...]]:
    return Setting(check, rates, parse=parse.rates, fault=faults.positive, doc=doc)


def flag(check: int, default: bool, doc: str, name: str = "") -> Setting[bool]:
    return Setting(check, default, parse=parse.boolean, doc=doc, name=name)


def text(
    check: int,
    doc: str,
    fault: Callable[[str], str] = lambda value: "",
    *,
    default: str = "",
    name: str = "",
) -> Setting[str]:
    """A text without blanks around it."""
    return Setting(check, default, parse=str.strip, fault=fault, doc=doc, name=name)


def names(
    check: int, doc: str, fault: Callable[[tuple[str, ...]], str], *default: str
) -> Setting[tuple[str, ...]]:
    """Words with commas between."""
    return Setting(check, default, parse=parse.words, fault=fault, doc=doc)


def regions(check: int) -> Setting[tuple[str, ...]]:
    """Of a gateway."""
    return names(check, "Regions that it serves.", faults.some_regions)


def price(check: int) -> Setting[Decimal]:
    """Of a gateway."""
    return Setting(check, Decimal(0), parse=parse.price, doc="What one segment costs, as in 0.045.")
