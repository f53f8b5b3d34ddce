"""Say what is wrong with a value, as a sentence; ``""`` if nothing is."""

import re
import ssl
from collections.abc import Callable, Sized
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo

import phonenumbers

from optin.conf.setting import KEY_BYTES, MAX_HOST, MIN_SECRET, Network, Rate

# A header is name: value in visible ASCII (RFC 9110, 5.1 and 5.5), and no second line.
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")

_HEADER_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")

# An alphanumeric sender (3GPP TS 23.040, 9.1.2.5), or a number.
_SENDER = re.compile(r"[A-Za-z0-9 ]{1,11}|\+?[0-9]{3,15}")

_MAILBOX = re.compile(r"[!-?A-~]+@[A-Za-z0-9.-]+")


def between(low: int, high: int) -> Callable[[int], str]:
    def fault(value: int) -> str:
        return "" if low <= value <= high else f"must be from {low} to {high}"

    return fault


def one_of(*values: str) -> Callable[[str], str]:
    def fault(value: str) -> str:
        return "" if value in values else f"must be one of {', '.join(values)}"

    return fault


def off_or_between(low: int, high: int) -> Callable[[int], str]:
    def fault(value: int) -> str:
        return "" if value == 0 or low <= value <= high else f"must be 0, or from {low} to {high}"

    return fault


def absolute(value: str) -> str:
    return "" if not value or value.startswith("/") else "must be an absolute path"


def positive(values: tuple[Rate, ...]) -> str:
    if not all(rate.count > 0 and rate.seconds > 0 for rate in values):
        return "must have a count and a number of seconds above 0"
    if len({rate.seconds for rate in values}) < len(values):
        return "must have one count for each number of seconds"
    return ""


def waits(values: tuple[int, ...]) -> str:
    if values and all(0 <= value <= 3600 for value in values):
        return ""
    return "must be at least one number of seconds, each at most 3600"


def some(values: Sized) -> str:
    return "" if values else "must not be empty"


def regions(values: tuple[str, ...]) -> str:
    if values and set(values) <= phonenumbers.SUPPORTED_REGIONS:
        return ""
    return "must be regions by their two capital letters, as in AU,NZ"


def _parts(value: str) -> tuple[SplitResult, str]:
    """Return the parts of an address, and its host; all are empty if it cannot be one."""
    try:
        parts = urlsplit(value)
        _ = parts.port  # reading the port checks it
    except ValueError:
        parts = urlsplit("")
    return parts, parts.hostname or ""


def address(value: str) -> str:
    wrong = "must be http:// or https://, a host and perhaps a port, and nothing else"
    parts, host = _parts(value)
    more = parts.path or parts.query or parts.fragment or "@" in parts.netloc
    if parts.scheme not in {"http", "https"} or not host or more:
        return wrong
    if not host.isascii() or len(host) > MAX_HOST:
        return f"must have a host of at most {MAX_HOST} ASCII characters: it is part of a text"
    return ""


def narrow(values: tuple[Network, ...]) -> str:
    # 10.0.0.0/8 and fc00::/7 are the widest private ones.
    if all(net.prefixlen >= (8 if net.version == 4 else 7) for net in values):
        return ""
    return "must name your own proxies, not half of the internet: anybody could claim any address"


def certificates(path: str) -> str:
    try:
        if path:
            ssl.create_default_context(cafile=path)
    except OSError:  # of which an SSLError is one
        return "must be a file with certificates in PEM"
    return ""


def remote(value: str) -> str:
    wrong = "must be https://, a host, and perhaps a port, a path and a query"
    parts, host = _parts(value)
    if not value:
        return ""
    if parts.scheme not in {"http", "https"} or not host or "@" in parts.netloc:
        return wrong
    return "" if value.isascii() and value.isprintable() and " " not in value else wrong


def sendable(values: tuple[tuple[str, str], ...]) -> str:
    # Never with a value in it: it may be a secret.
    for name, value in values:
        if not (_HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value)):
            return "must hold names and values in visible ASCII signs"
        if name.lower() in {"content-length", "transfer-encoding", "host", "connection"}:
            return f"must not hold {name}, which follows from the request"
    if len({name.lower() for name, _ in values}) < len(values):
        return "must hold each header once"
    return ""


def zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ValueError, LookupError, OSError):  # the last: a folder of zones, as Australia
        return "must be the name of a time zone, as in Australia/Sydney"
    return ""


def secret(value: str) -> str:
    # As security.W009 of Django, which only a deployment check tells.
    if len(value) >= MIN_SECRET and len(set(value)) >= 5:
        return ""
    return f"must be at least {MIN_SECRET} random characters"


def some_regions(values: tuple[str, ...]) -> str:
    return regions(values) if values else ""


def fit_senders(values: tuple[tuple[str, str], ...]) -> str:
    if fault := some_regions(tuple(region for region, _ in values)):
        return fault
    if len(dict(values)) < len(values):
        return "must have one name for each region"
    if not all(_SENDER.fullmatch(name) for _, name in values):
        return "must have names of 1 to 11 letters, digits or spaces, or numbers of up to 15 digits"
    return ""


def header_word(value: str) -> str:
    return "" if not value or _HEADER_VALUE.fullmatch(value) else "must be visible ASCII signs"


def sender(value: str) -> str:
    if not value or _SENDER.fullmatch(value):
        return ""
    return "must be 1 to 11 letters, digits or spaces, or a number of up to 15 digits"


def sid(kind: str) -> Callable[[str], str]:
    """Twilio's names of things."""

    def fault(value: str) -> str:
        fits = not value or re.fullmatch(f"{kind}[0-9a-fA-F]{{32}}", value)
        return "" if fits else f"must be {kind} and 32 hexadecimal digits"

    return fault


def path_secret(value: str) -> str:
    fits = re.fullmatch(r"[A-Za-z0-9]{32,128}", value)
    return "" if not value or fits else "must be 32 to 128 random letters and digits"


def mailboxes(values: tuple[str, ...]) -> str:
    if all(_MAILBOX.fullmatch(value) for value in values):
        return ""
    return "must be email addresses, with commas between several"


def full_keys(values: dict[str, bytes]) -> str:
    if values and all(len(key) == KEY_BYTES for key in values.values()):
        return ""
    return "must hold at least one key, each of 32 bytes"
