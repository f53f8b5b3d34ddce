"""Every setting of the service: its name, type, default, unit and source.

``conf.otp_digits`` is the Django setting ``OPTIN_OTP_DIGITS``; the environment
variable of the same name sets it (``twofa_site.settings`` is the only reader of
the environment). Values are read at access, so tests can override them.
``checks`` stops the start where ``fault`` finds something wrong.
"""

import base64
import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar, overload
from urllib.parse import urlsplit

import phonenumbers
from django.conf import settings

T = TypeVar("T")

MAX_OTP_LIFETIME = 600
"""Seconds. NIST SP 800-63B-4 3.1.3.2 and ASVS 6.5.5 allow 10 minutes at most."""

MAX_FAILURES = 100
"""NIST SP 800-63B-4 3.2.2: no more consecutive failures than this."""

KEY_BYTES = 32
"""Length of every key, in bytes: 256 bits."""

MAX_HOST = 58
"""Characters of a host name: with it, the longest text still fits one segment (S-43)."""

_BASE64URL = re.compile(r"[A-Za-z0-9_-]+={0,2}")
# ASCII that takes one septet each in the GSM 7-bit alphabet (3GPP TS 23.038, 6.2.1).
_GSM7 = re.compile(r"[A-Za-z0-9 @$_!\"#%&'()*+,\-./:;<=>?]+")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``count`` in each fixed window of ``seconds``."""

    count: int
    seconds: int


class Setting(Generic[T]):
    """One setting, as a typed attribute of ``Conf``.

    :param number: names its system check, ``optin.E<number>``; never reused.
    :param default: value, or a function of no arguments, where none is given.
    :param parse: reads the environment's text; raises ``ValueError`` with a reason.
    :param fault: returns what is wrong with a value, as a sentence, or ``""``.
    :param doc: meaning, unit and source.
    :param name: of the setting, where it is not ``OPTIN_`` and the attribute's name.
    """

    def __init__(
        self,
        number: int,
        default: T | Callable[[], T],
        *,
        parse: Callable[[str], T],
        doc: str,
        name: str = "",
        fault: Callable[[T], str] = lambda value: "",
    ) -> None:
        self.check_id = f"optin.E{number:03d}"
        self.parse = parse
        self.fault = fault
        self.__doc__ = doc
        self.name = name
        self._default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = self.name or f"OPTIN_{name.upper()}"

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object | None, owner: type) -> Self | T:
        if instance is None:
            return self
        value: T = getattr(settings, self.name)
        return value

    @property
    def default(self) -> T:
        return self._default() if callable(self._default) else self._default


# -- reading ----------------------------------------------------------------------


def integer(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError("must be a whole number")
    return int(text)


def boolean(text: str) -> bool:
    try:
        return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
    except KeyError:
        raise ValueError("must be true or false") from None


def integers(text: str) -> tuple[int, ...]:
    return tuple(integer(part.strip()) for part in text.split(","))


def words(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def rates(text: str) -> tuple[Rate, ...]:
    """Read ``count/seconds,count/seconds``; ``0`` switches the rate off."""
    if text.strip() == "0":
        return ()
    pairs = [part.strip().split("/") for part in text.split(",")]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError("must be count/seconds, with commas between several, or 0")
    return tuple(Rate(integer(count), integer(seconds)) for count, seconds in pairs)


def key(text: str) -> bytes:
    """Read the ``KEY_BYTES`` bytes that *text* writes in base64url."""
    # The decoder would skip what is no base64url, and take a shorter key for the rest.
    if not _BASE64URL.fullmatch(text):
        raise ValueError("must be written in base64url")
    text = text.rstrip("=")
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise ValueError("must be written in base64url") from None
    if len(raw) != KEY_BYTES:
        raise ValueError(f"must be {KEY_BYTES} bytes long, not {len(raw)}")
    return raw


def ring(text: str) -> dict[str, bytes]:
    """Read ``kid:key,kid:key`` as key id -> key, in the order written."""
    keys: dict[str, bytes] = {}
    for entry in words(text):
        kid, colon, encoded = entry.partition(":")
        if not (kid and colon) or len(kid) > 16 or kid in keys:
            raise ValueError("must be kid:base64url, each id once and at most 16 characters")
        keys[kid] = key(encoded)
    return keys


def networks(text: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(part) for part in words(text))


# -- judging ----------------------------------------------------------------------


def between(low: int, high: int) -> Callable[[int], str]:
    def fault(value: int) -> str:
        return "" if low <= value <= high else f"must be from {low} to {high}"

    return fault


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


def some(values: tuple[str, ...]) -> str:
    return "" if values else "must not be empty"


def regions(values: tuple[str, ...]) -> str:
    if values and set(values) <= phonenumbers.SUPPORTED_REGIONS:
        return ""
    return "must be regions by their two capital letters, as in AU,NZ"


def address(value: str) -> str:
    wrong = "must be http:// or https://, a host and perhaps a port, and nothing else"
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname or "", parts.port  # reading the port checks it
    except ValueError:
        return wrong
    more = parts.path or parts.query or parts.fragment or "@" in parts.netloc
    if parts.scheme not in {"http", "https"} or not host or more:
        return wrong
    if not host.isascii() or len(host) > MAX_HOST:
        return f"must have a host of at most {MAX_HOST} ASCII characters: it is part of a text"
    return ""


def full_keys(values: dict[str, bytes]) -> str:
    if values and all(len(key) == KEY_BYTES for key in values.values()):
        return ""
    return "must hold at least one key, each of 32 bytes"


class Conf:
    """The settings; see ``docs/operators.md`` for how to give them."""

    otp_digits = Setting(
        1,
        7,
        parse=integer,
        fault=between(6, 7),
        doc="Digits of a texted code. What existing users know; NIST asks for 6 at least; "
        "at 8, HOTP's truncation makes codes uneven by 5 %.",
    )
    otp_lifetime = Setting(
        2,
        600,
        parse=integer,
        fault=between(60, MAX_OTP_LIFETIME),
        doc="Seconds that a code lives. NIST SP 800-63B-4 3.1.3.2, ASVS 6.5.5: 600 at most.",
    )
    otp_tries = Setting(
        3,
        5,
        parse=integer,
        fault=between(1, 10),
        doc="Wrong tries that one code survives. Twilio Verify and Ory Kratos use 5.",
    )
    lock_after = Setting(
        4,
        10,
        parse=integer,
        fault=between(1, MAX_FAILURES),
        doc="Each time the failures of a user pass a multiple of this, the user is locked.",
    )
    lock_seconds = Setting(
        5,
        (900, 1800, 3600, 3600),
        parse=integers,
        fault=lambda v: (
            ""
            if v and all(0 < s <= 86400 for s in v)
            else "must be at least one number of seconds, each from 1 to 86400"
        ),
        doc="Seconds of the first, second, ... lock. A lock ends by itself: it must not be "
        "a weapon in a stranger's hand.",
    )
    disable_after = Setting(
        6,
        50,
        parse=integer,
        fault=between(1, MAX_FAILURES),
        doc="Failures without a right code that disable texted codes for a user. NIST "
        "SP 800-63B-4 3.2.2 has its ceiling at 100.",
    )
    resend_wait = Setting(
        7,
        (30, 60, 120),
        parse=integers,
        fault=waits,
        doc="Seconds before the second, third, fourth ... text to a number for one purpose; "
        "0 switches the wait off. Starts again 10 minutes after the last text.",
    )
    sends_per_number = Setting(
        8,
        (Rate(5, 600), Rate(10, 86400)),
        parse=rates,
        fault=positive,
        doc="Texts to one number, over all users. Twilio Verify: 5 in 10 minutes.",
    )
    sends_per_user = Setting(
        9,
        (Rate(5, 600), Rate(10, 86400)),
        parse=rates,
        fault=positive,
        doc="Texts for one user, over all numbers.",
    )
    sends_per_ip = Setting(
        10,
        (Rate(25, 300),),
        parse=rates,
        fault=positive,
        doc="Texts asked for from one address (IPv6: one /64) by pages and password "
        "calls. login.gov uses 25 in 5 minutes.",
    )
    sends_per_client = Setting(
        11,
        (Rate(100, 300),),
        parse=rates,
        fault=positive,
        doc="Texts asked for by one access key or OAuth client under one file: one "
        "integrator's server is one address for all its users.",
    )
    sends_per_file = Setting(
        12,
        (Rate(1000, 86400),),
        parse=rates,
        fault=positive,
        doc="Texts for opt-in and opt-out under one file. Guards the SMS bill.",
    )
    sends_total = Setting(
        13,
        (Rate(10_000, 86400),),
        parse=rates,
        fault=positive,
        doc="Texts for opt-in and opt-out in all. Guards the SMS bill.",
    )
    requests_per_user = Setting(
        14,
        (Rate(120, 60),),
        parse=rates,
        fault=positive,
        doc="Requests of one user; a courtesy to the other users, not a security limit.",
    )
    failed_sign_ins_per_ip = Setting(
        15,
        (Rate(100, 300),),
        parse=rates,
        fault=positive,
        doc="Wrong passwords from one address (IPv6: one /64).",
    )
    failed_sign_ins_per_name = Setting(
        16,
        (Rate(10, 300),),
        parse=rates,
        fault=positive,
        doc="Wrong passwords for one user name from one network (/24, IPv6: /64): a "
        "stranger elsewhere cannot shut the owner out.",
    )
    sms_regions = Setting(
        17,
        ("AU",),
        parse=words,
        fault=regions,
        doc="Regions (ISO 3166-1) whose mobile numbers may opt in; a number written "
        "without a country code belongs to the first.",
    )
    keys: Setting[dict[str, bytes]] = Setting(
        18,
        dict,
        parse=ring,
        fault=full_keys,
        doc="The key ring, kid:base64url with commas between; the first is current.",
    )
    digest_key: Setting[bytes] = Setting(
        19,
        bytes,
        parse=key,
        fault=lambda v: "" if len(v) == KEY_BYTES else "must be a key of 32 bytes",
        doc="The key of look-up digests and audit digests, base64url. Not rotated online.",
    )
    gateways = Setting(
        20,
        ("simulator",),
        parse=words,
        fault=some,
        doc="SMS gateways by name, tried in this order.",
    )
    delivery = Setting(
        21,
        "inline",
        parse=str,
        fault=lambda v: "" if v == "inline" else 'must be "inline"',
        doc="How texts leave: inline, on commit, in the request.",
    )
    legacy_access_keys = Setting(
        22,
        True,
        parse=boolean,
        name="LEGACY_ACCESS_KEYS",
        doc="Whether WsAccessKey is accepted. Switch off once all clients use OAuth 2.",
    )
    trusted_proxies: Setting[tuple[Network, ...]] = Setting(
        23,
        (),
        parse=networks,
        name="TRUSTED_PROXIES",
        doc="Networks whose X-Forwarded-For header is believed.",
    )
    base_url = Setting(
        24,
        "",
        name="BASE_URL",
        parse=lambda text: text.rstrip("/"),
        fault=address,
        doc="Scheme, host and port of every link, mail and text that leaves the service.",
    )
    service_name = Setting(
        25,
        "Two-Factor",
        parse=str,
        fault=lambda v: (
            ""
            if len(v) <= 20 and _GSM7.fullmatch(v)
            else "must be 1 to 20 letters, digits or usual signs, so that a text fits one segment"
        ),
        doc="What texts and mails call the service.",
    )
    audit_retention = Setting(
        36,
        730,
        parse=integer,
        fault=between(30, 36_500),
        doc="Days that audit events are kept; purge deletes older ones.",
    )


conf = Conf()


def every_setting() -> Iterator[Setting[Any]]:
    """All settings, in the order of their check ids."""
    return (value for value in vars(Conf).values() if isinstance(value, Setting))
