"""Read the text of an environment variable: each function raises ``ValueError`` with a reason."""

import base64
import ipaddress
import re
from decimal import Decimal, InvalidOperation

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from optin.conf.setting import KEY_BYTES, Network, Rate

_PEM = re.compile(r"-----BEGIN [A-Z ]+-----\s.+?\s-----END [A-Z ]+-----", re.DOTALL)
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+={0,2}")


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


def several_keys(text: str) -> tuple[bytes, ...]:
    return tuple(key(part) for part in words(text))


def ring(text: str) -> dict[str, bytes]:
    """Read ``kid:key,kid:key`` as key id -> key, in the order written."""
    keys: dict[str, bytes] = {}
    for entry in words(text):
        kid, colon, encoded = entry.partition(":")
        if not (kid and colon) or len(kid) > 16 or kid in keys:
            raise ValueError("must be kid:base64url, each id once and at most 16 characters")
        keys[kid] = key(encoded)
    return keys


def rsa_keys(text: str) -> tuple[str, ...]:
    """Read private keys in PEM form, one after the other."""
    pems = tuple(_PEM.findall(text))
    if not pems or _PEM.sub("", text).strip() or not all(map(_is_strong, pems)):
        raise ValueError("must be RSA private keys of 2048 bits or more, in PEM form, unencrypted")
    if len({*pems}) < len(pems):
        raise ValueError("must name each key once")
    return pems


def _is_strong(pem: str) -> bool:
    try:
        loaded = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return isinstance(loaded, RSAPrivateKey) and loaded.key_size >= 2048


def networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(part) for part in words(text))
    except ValueError:
        raise ValueError("must be networks, as in 10.0.0.0/8, with commas between") from None


def headers(text: str) -> tuple[tuple[str, str], ...]:
    """Read ``Name: value || Name: value``; line breaks, as in a file, separate too."""
    lines = [line.strip() for part in text.split("||") for line in part.splitlines()]
    pairs = [line.partition(":") for line in lines if line]
    if not all(colon for _, colon, _ in pairs):
        raise ValueError("must be Name: value, with || or a line break between several")
    return tuple((name.strip(), value.strip()) for name, _, value in pairs)


def field(text: str) -> tuple[str, ...]:
    """Read ``path=value``, or nothing."""
    path, equals, value = (part.strip() for part in text.partition("="))
    if bool(path) != bool(equals):
        raise ValueError("must be path=value, as in status=ok")
    return (path, value) if path else ()


def unquoted(text: str) -> str:
    """Return *text* without the quotes around it, which not every reader of a file takes off.

    A shell and systemd do, docker's ``--env-file`` does not.
    """
    inner = text.strip()
    is_quoted = len(inner) > 1 and inner[0] == inner[-1] and inner[0] in "'\""
    return inner[1:-1] if is_quoted else text


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
