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
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Generic, Self, TypeVar, overload
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import phonenumbers
from django.conf import settings

T = TypeVar("T")

MIN_OTP_LIFETIME = 66
"""Seconds. No text leaves in the last 65 of its code's life (``delivery.WORTH_IT``)."""

MAX_OTP_LIFETIME = 600
"""Seconds. NIST SP 800-63B-4 3.1.3.2 and ASVS 6.5.5 allow 10 minutes at most."""

CLOCK_SLACK = timedelta(seconds=5)
"""The most by which the clocks of two servers may differ (design, section 3; S-65). A stored time
that is further ahead was written before a clock jumped back."""

MAX_FAILURES = 100
"""NIST SP 800-63B-4 3.2.2: no more consecutive failures than this."""

KEY_BYTES = 32
"""Length of every key, in bytes: 256 bits."""

MIN_SECRET = 50
"""Characters of ``SECRET_KEY``, as Django's own check wants (security.W009)."""

MAX_HOST = 58
"""Characters of a host name: with it, the longest text still fits one segment (S-43)."""

_BASE64URL = re.compile(r"[A-Za-z0-9_-]+={0,2}")
# A header is name: value in visible ASCII (RFC 9110, 5.1 and 5.5), and no second line.
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
# An alphanumeric sender (3GPP TS 23.040, 9.1.2.5), or a number.
_SENDER = re.compile(r"[A-Za-z0-9 ]{1,11}|\+?[0-9]{3,15}")
_MAILBOX = re.compile(r"[!-?A-~]+@[A-Za-z0-9.-]+")
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
    try:
        return tuple(ipaddress.ip_network(part) for part in words(text))
    except ValueError:
        raise ValueError("must be networks, as in 10.0.0.0/8, with commas between") from None


def headers(text: str) -> tuple[tuple[str, str], ...]:
    """Read ``Name: value || Name: value``; line breaks, as in a file, separate too."""
    lines = [line.strip() for part in quoted(text).split("||") for line in part.splitlines()]
    pairs = [line.partition(":") for line in lines if line]
    if not all(colon for _, colon, _ in pairs):
        raise ValueError("must be Name: value, with || or a line break between several")
    return tuple((name.strip(), value.strip()) for name, _, value in pairs)


def quoted(text: str) -> str:
    """Read *text* without the single quotes around it, which not every reader takes off.

    A shell and systemd do, a container's ``--env-file`` does not.
    """
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == "'" else text


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


def narrow(values: tuple[Network, ...]) -> str:
    # 10.0.0.0/8 and fc00::/7 are the widest private ones.
    if all(net.prefixlen >= (8 if net.version == 4 else 7) for net in values):
        return ""
    return "must name your own proxies, not half of the internet: anybody could claim any address"


def remote(value: str) -> str:
    # Never with the address in it: its query may hold a secret.
    wrong = "must be https://, a host, and perhaps a port, a path and a query"
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname or "", parts.port  # reading the port checks it
    except ValueError:
        return wrong
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


def header_name(value: str) -> str:
    return "" if not value or _HEADER_NAME.fullmatch(value) else "must be the name of a header"


def level(value: str) -> str:
    known = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
    return "" if value in known else f"must be one of {', '.join(known)}"


def zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ValueError, LookupError, OSError):  # the last: a folder of zones, as Australia
        return "must be the name of a time zone, as in Australia/Sydney"
    return ""


def redis(value: str) -> str:
    wrong = "must be redis:// or rediss://, a host, and perhaps a port and the number of a database"
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port  # reading the port checks it
    except ValueError:
        return wrong
    if not value or (parts.scheme == "unix" and parts.path):
        return ""
    database = parts.path.strip("/")
    fits = parts.scheme in {"redis", "rediss"} and host and (not database or database.isdigit())
    return "" if fits else wrong


def secret(value: str) -> str:
    # As security.W009 of Django, which only a deployment check tells.
    if len(value) >= MIN_SECRET and len(set(value)) >= 5:
        return ""
    return f"must be at least {MIN_SECRET} random characters"


def price(text: str) -> Decimal:
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        raise ValueError("must be a price, as in 0.045") from None
    if not (value.is_finite() and 0 <= value < 1000 and int(value.as_tuple().exponent) >= -4):
        raise ValueError("must be a price from 0 to 999 with at most 4 decimals")
    return value


def senders(text: str) -> tuple[tuple[str, str], ...]:
    """Read ``region:name,region:name``."""
    pairs = [part.partition(":") for part in words(text)]
    if not all(region and colon and name for region, colon, name in pairs):
        raise ValueError("must be region:name, with commas between several")
    return tuple((region.strip(), name.strip()) for region, _, name in pairs)


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
    return "must be e-mail addresses, with commas between several"


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
        fault=between(MIN_OTP_LIFETIME, MAX_OTP_LIFETIME),
        doc="Seconds that a code lives. NIST SP 800-63B-4 3.1.3.2, ASVS 6.5.5: 600 at most. In the "
        "last 65 of them no text leaves.",
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
        doc="Texts to one number, counted for each user and over all users; those for opt-in, for "
        "opt-out and for signing in and changes count apart. If all users together reach it, an "
        "opt-in text is withheld and its user is not told. Twilio Verify: 5 in 10 minutes.",
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
    own_sends_total = Setting(
        90,
        (Rate(100_000, 86400),),
        parse=rates,
        fault=positive,
        doc="Texts for signing in and changes in all. Once it is reached, each user still gets "
        "OPTIN_OWN_SENDS_RESERVE. Ten times OPTIN_SENDS_TOTAL, as people sign in more often than "
        "they opt in.",
    )
    own_sends_reserve = Setting(
        91,
        3,
        parse=integer,
        fault=between(1, 1000),
        doc="Texts for signing in and changes that each user gets in a window of "
        "OPTIN_OWN_SENDS_TOTAL, even when that limit is reached. So other accounts cannot shut a "
        "user out.",
    )
    requests_per_user = Setting(
        14,
        (Rate(120, 60),),
        parse=rates,
        fault=positive,
        doc="Calls of one user and, counted apart, pages of one session. It keeps the service fast "
        "for other users; it is not a security limit.",
    )
    requests_per_network = Setting(
        76,
        (Rate(600, 60),),
        parse=rates,
        fault=positive,
        doc="Forms of people who are not signed in, token calls, and requests to `/o/token/`, "
        "`/o/introspect/` and `/o/revoke_token/`, from one address (IPv6: one /64). It keeps the "
        "service fast for others. It is generous because an office, or the server of an "
        "integrator, is one address for many people.",
    )
    failed_sign_ins_per_ip = Setting(
        15,
        (Rate(100, 300),),
        parse=rates,
        fault=positive,
        doc="Wrong passwords and, counted apart, requests for a link to a new password from one "
        "address (IPv6: one /64).",
    )
    failed_sign_ins_per_name = Setting(
        16,
        (Rate(10, 300),),
        parse=rates,
        fault=positive,
        doc="Wrong passwords for one user name and, counted apart, requests for a link to a new "
        "password for one e-mail address from one network (/24, IPv6: /64): a stranger elsewhere "
        "cannot shut the owner out.",
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
        fault=lambda v: "" if v in {"inline", "worker"} else 'must be "inline" or "worker"',
        doc="How texts and mails leave. inline: texts in the request, after its commit, and mails "
        "by a thread of the same process. worker: both by workers (manage.py procrastinate "
        "worker), which need PostgreSQL.",
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
        fault=narrow,
        name="TRUSTED_PROXIES",
        doc="Networks whose X-Forwarded-For header is believed.",
    )
    no_proxy = Setting(
        85,
        False,
        parse=boolean,
        doc="True says that there is no proxy in front, so TRUSTED_PROXIES is empty on purpose.",
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
    secret_key = Setting(
        26,
        "",
        parse=str,
        fault=secret,
        name="SECRET_KEY",
        doc="Signs sessions and links: 50 random characters or more. A development start makes "
        "one, keeps it in DATA_DIR, and derives all other keys from it.",
    )
    redis_url = Setting(
        27,
        "",
        parse=str.strip,
        fault=redis,
        name="REDIS_URL",
        doc="The Redis that counts requests for all processes (OPTIN_REQUESTS_PER_USER, "
        "OPTIN_REQUESTS_PER_NETWORK). Without it, each process counts its own. If it is set, "
        "calls and pages fail while Redis is away.",
    )
    time_zone = Setting(
        28,
        "Australia/Sydney",
        parse=str.strip,
        fault=zone,
        name="TIME_ZONE",
        doc="Zone of the times in mails and pages.",
    )
    log_level = Setting(
        29,
        "INFO",
        parse=lambda text: text.strip().upper(),
        fault=level,
        name="LOG_LEVEL",
        doc="What is logged: DEBUG, INFO, WARNING, ERROR or CRITICAL.",
    )

    # -- the gateway "http" --------------------------------------------------------

    gateway_http_url = Setting(
        30,
        "",
        parse=str.strip,
        fault=remote,
        doc="Where the gateway http posts a text to: https. May hold a secret.",
    )
    gateway_http_headers: Setting[tuple[tuple[str, str], ...]] = Setting(
        31,
        (),
        parse=headers,
        fault=sendable,
        doc="Headers of the gateway http, as Name: value, with two upright strokes or a line break "
        "between several. May hold secrets.",
    )
    gateway_http_body = Setting(
        32,
        "",
        parse=quoted,
        doc="What the gateway http posts: JSON, or a form, with {to}, {body}, {reference} and "
        "{sender} in its values.",
    )
    gateway_http_sender = Setting(
        33,
        "",
        parse=quoted,
        doc="What {sender} stands for: the name or number that texts come from.",
    )
    gateway_http_id = Setting(
        34,
        "",
        parse=str.strip,
        doc="Where the answer of the gateway http, in JSON, has its id of the message, as in "
        "messages.0.id. Empty: nowhere.",
    )
    gateway_http_idempotency_header = Setting(
        35,
        "Idempotency-Key",
        parse=str.strip,
        fault=header_name,
        doc="The header of the gateway http that is the same for each attempt at one text. "
        "Empty: none is sent.",
    )
    gateway_http_receipt_id = Setting(
        37,
        "id",
        parse=str.strip,
        doc="The field of a receipt of the gateway http that holds its id of the message.",
    )
    gateway_http_receipt_state = Setting(
        38,
        "status",
        parse=str.strip,
        doc="The field of a receipt of the gateway http that says delivered, failed, ...",
    )
    gateway_http_receipt_from = Setting(
        56,
        "",
        parse=str.strip,
        doc="The field of a receipt of the gateway http that holds the number from which STOP or "
        "START came. Empty: they count only for a text that is still known.",
    )
    gateway_http_regions = Setting(
        39,
        (),
        parse=words,
        fault=some_regions,
        doc="Regions that the gateway http serves; none: all.",
    )
    gateway_http_price = Setting(
        40,
        Decimal(0),
        parse=price,
        doc="What one segment costs at the gateway http, in your currency.",
    )

    # -- the gateway "kannel" ------------------------------------------------------

    gateway_kannel_url = Setting(
        41,
        "",
        parse=str.strip,
        fault=remote,
        doc="Kannel's sendsms, as in http://127.0.0.1:13013/cgi-bin/sendsms.",
    )
    gateway_kannel_user = Setting(
        42,
        "",
        parse=str.strip,
        fault=header_word,
        doc="The name of a sendsms-user group of Kannel.",
    )
    gateway_kannel_password = Setting(
        43, "", parse=str.strip, fault=header_word, doc="Its password."
    )
    gateway_kannel_sender = Setting(
        44, "", parse=str.strip, fault=header_word, doc="The number or name that texts come from."
    )
    gateway_kannel_regions = Setting(
        45, (), parse=words, fault=some_regions, doc="Regions that Kannel serves; none: all."
    )
    gateway_kannel_price = Setting(
        46, Decimal(0), parse=price, doc="What one segment costs through Kannel, in your currency."
    )

    # -- the gateway "twilio" ------------------------------------------------------

    gateway_twilio_account = Setting(
        61,
        "",
        parse=str.strip,
        fault=sid("AC"),
        doc="The account SID of Twilio, AC and 32 hexadecimal digits.",
    )
    gateway_twilio_token = Setting(
        62,
        "",
        parse=str.strip,
        fault=header_word,
        doc="The primary auth token of that account: receipts are signed with it, and it sends "
        "texts where no key does. Without it no receipt of Twilio is asked for or taken.",
    )
    gateway_twilio_key = Setting(
        63,
        "",
        parse=str.strip,
        fault=sid("SK"),
        doc="The SID of an API key that sends texts in the token's place, SK and 32 digits.",
    )
    gateway_twilio_key_secret = Setting(
        64, "", parse=str.strip, fault=header_word, doc="The secret of that key."
    )
    gateway_twilio_sender = Setting(
        65,
        "",
        parse=str.strip,
        fault=sender,
        doc="The number or name at Twilio that texts come from.",
    )
    gateway_twilio_service = Setting(
        66,
        "",
        parse=str.strip,
        fault=sid("MG"),
        doc="The SID of a Messaging Service of Twilio, MG and 32 digits: it chooses the sender "
        "where none is named.",
    )
    gateway_twilio_url = Setting(
        67,
        "https://api.twilio.com",
        parse=str.strip,
        fault=address,
        doc="Where Twilio is called: https.",
    )
    gateway_twilio_regions = Setting(
        68, (), parse=words, fault=some_regions, doc="Regions that Twilio serves; none: all."
    )
    gateway_twilio_price = Setting(
        69, Decimal(0), parse=price, doc="What one segment costs at Twilio, in your currency."
    )

    # -- all gateways --------------------------------------------------------------

    receipt_secret = Setting(
        47,
        "",
        parse=str.strip,
        fault=path_secret,
        doc="Part of the address that gateways send receipts to: 32 random letters and digits or "
        "more. Without it no receipt is asked for or taken.",
    )
    senders: Setting[tuple[tuple[str, str], ...]] = Setting(
        48,
        (),
        parse=senders,
        fault=fit_senders,
        doc="Names that texts come from, by region: AU:HarbourBks,NZ:Harbour. At most 11 "
        "characters (3GPP TS 23.040, 9.1.2.5). Other regions get the gateway's own.",
    )

    # -- against pumping -----------------------------------------------------------

    breaker_unproved = Setting(
        49,
        20,
        parse=integer,
        fault=between(0, 1_000_000),
        doc="Opt-ins under one prefix (a number less its last 4 digits) that nobody proved, from "
        "which it may be closed to opt-ins; 0 switches breakers off.",
    )
    breaker_share = Setting(
        50,
        20,
        parse=integer,
        fault=between(1, 100),
        doc="Percent of the opt-ins under a prefix that are proved: with fewer it is closed.",
    )
    breaker_seconds = Setting(
        51,
        3600,
        parse=integer,
        fault=between(60, 604_800),
        doc="Seconds of the window in which opt-ins are counted for breakers and for the alarm of "
        "a region, and for which a prefix is closed.",
    )
    alarm_unproved = Setting(
        52,
        100,
        parse=integer,
        fault=between(0, 1_000_000),
        doc="Opt-ins in one region that nobody proved, from which there is an alarm, if the share "
        "of a breaker is not reached; 0 switches it off. A region is never closed.",
    )
    alarm_share = Setting(
        53,
        80,
        parse=integer,
        fault=between(1, 100),
        doc="Percent of OPTIN_SENDS_PER_FILE, OPTIN_SENDS_TOTAL and OPTIN_OWN_SENDS_TOTAL at which "
        "there is an alarm.",
    )
    alarm_email: Setting[tuple[str, ...]] = Setting(
        54,
        (),
        parse=words,
        fault=mailboxes,
        doc="Who gets alarms by mail; they are logged and counted in any case.",
    )
    senders_registered: Setting[tuple[str, ...]] = Setting(
        55,
        (),
        parse=words,
        fault=some_regions,
        doc="Regions whose register of senders holds the names of OPTIN_SENDERS. In AU, carriers "
        "mark texts from other names as likely scams, or drop them, since July 2026.",
    )
    support = Setting(
        60,
        "",
        parse=str.strip,
        fault=lambda v: (
            "" if len(v) <= 100 and v.isprintable() else "must be one line of 100 signs at most"
        ),
        doc="How people reach those who run the service: an e-mail address, a number, a place. "
        "Shown on each page and in each mail.",
    )
    staff_revoke_delay = Setting(
        70,
        86_400,
        parse=integer,
        fault=between(3600, 604_800),
        doc="Seconds from a revocation that support asks for until it is carried out: the person, "
        "who is told at once, can cancel it. An administrator's takes effect at once.",
    )
    access_token_lifetime = Setting(
        71,
        3600,
        parse=integer,
        fault=between(60, 86_400),
        doc="Seconds that an access token is valid. RFC 6750 5.3: an hour or less. Some clients "
        "expect 10800.",
    )
    refresh_token_lifetime = Setting(
        72,
        2_592_000,
        parse=integer,
        fault=between(3600, 31_622_400),
        doc="Seconds that a refresh token is valid, from its issue. Some clients expect a year, "
        "31536000.",
    )
    password_clients_rotate = Setting(
        73,
        False,
        parse=boolean,
        doc="Whether authorisation/refresh replaces the refresh token each time. A token that is "
        "then sent twice ends all tokens of its sign-in (RFC 9700 4.14.2). It locks out clients "
        "that keep their first refresh token.",
    )
    password_hashes = Setting(
        80,
        1,
        parse=integer,
        fault=between(1, 64),
        doc="Passwords that one web process hashes at once. 3 more wait, and the next gets 503. "
        "Each hash keeps a core busy: let all processes together hash no more at once than there "
        "are cores. More than 4 can take all 8 threads of a process: start more processes.",
    )
    sign_ins_per_ip = Setting(
        81,
        (Rate(300, 300),),
        parse=rates,
        fault=positive,
        doc="Passwords, right or wrong, from one address (IPv6: one /64). A server that signs in "
        "for all its users is one address.",
    )
    failed_sign_ins_per_name_total = Setting(
        82,
        (Rate(100, 3600),),
        parse=rates,
        fault=positive,
        doc="Wrong passwords for one user name, over all networks. Once it is reached, networks "
        "from which this person never signed in get fewer tries "
        "(OPTIN_FAILED_SIGN_INS_PER_NEW_NETWORK), and further ones have no audit event each: they "
        "are counted. NIST SP 800-63B-4 3.2.2 has its ceiling at 100.",
    )
    failed_sign_ins_per_new_network = Setting(
        83,
        (Rate(3, 3600),),
        parse=rates,
        fault=positive,
        doc="Wrong passwords for one user name from one network (/24, IPv6: /48, which one "
        "customer may have) from which this person never signed in, once "
        "OPTIN_FAILED_SIGN_INS_PER_NAME_TOTAL is reached.",
    )
    audit_retention = Setting(
        36,
        730,
        parse=integer,
        fault=between(30, 36_500),
        doc="Days that audit events are kept; purge deletes older ones.",
    )
    seal_every = Setting(
        75,
        300,
        parse=integer,
        fault=between(0, 1800),
        doc="Seconds between two seals of the audit trail by each web process; 0: it makes none. "
        "With OPTIN_DELIVERY=worker the workers seal instead.",
    )


conf = Conf()


def every_setting() -> Iterator[Setting[Any]]:
    """All settings, in the order of their check ids."""
    return (value for value in vars(Conf).values() if isinstance(value, Setting))
