"""Connections to addresses that others name: to public ones only.

Otherwise whoever names an address could have the service ask what only it can reach: this machine,
its network, the metadata of a cloud. A name is resolved and checked as the connection is made, and
the connection goes to the address that was checked. So a name that points elsewhere a moment later
(DNS rebinding) gains nothing.

In a development start, this machine may be named too, so that a developer can try a server there.
"""

import ipaddress
import re
import socket
import time
from urllib.parse import urlsplit

from django.conf import settings

from optin.conf import conf

MAX_URL = 500

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

# The last label of a name begins with a letter. Where it does not, some resolvers read the whole as
# an IPv4 address: 127.1, 0x7f000001, 2130706433.
_HOST = re.compile(
    r"(?=.{4,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]"
)
_VISIBLE = re.compile(r"[!-~]+")

# From IANA's special-purpose registries. They are named here because ``is_global`` differs between
# releases of Python.
_NOT_PUBLIC = [
    ipaddress.IPv4Network(each)
    for each in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",  # the metadata of Azure
        "169.254.0.0/16",  # and of others
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",  # multicast, reserved, broadcast
    )
]
# All others are no global unicast: loopback, link-local, private, multicast, IPv4-mapped, NAT64.
_PUBLIC_6 = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_6 = [
    ipaddress.IPv6Network(each)
    for each in (
        "2001::/23",  # Teredo and other protocols
        "2001:db8::/32",
        "2002::/16",  # 6to4: an IPv4 address within
        "3fff::/20",
    )
]


class NotPublic(OSError):
    """The name leads, or may lead, to an address that is not public."""


class Unresolved(OSError):
    """The name has no address."""


def fault(url: str) -> str:
    """Say what is wrong with *url* as the address of somebody else's server, as a sentence.

    ``""`` if nothing is. Nothing is resolved.
    """
    if len(url) > MAX_URL or not _VISIBLE.fullmatch(url) or "\\" in url:
        return f"The address must be at most {MAX_URL} visible ASCII characters."
    try:
        parts = urlsplit(url)
        port = 443 if parts.port is None else parts.port
    except ValueError:
        return "The address cannot be read."
    if "@" in parts.netloc:
        return "The address must not contain a user name."
    if "#" in url:
        return "The address must not contain #."
    if _is_home(parts.hostname) and parts.scheme in {"http", "https"}:
        return ""
    if parts.scheme != "https":
        return "The address must begin with https://."
    if not _HOST.fullmatch(parts.hostname or ""):
        return "The address must contain a host name, not an IP address."
    if port not in conf.webhook_ports:
        return f"The port must be one of: {', '.join(map(str, conf.webhook_ports))}."
    return ""


def _is_home(host: str | None) -> bool:
    return settings.DEBUG and host in LOOPBACK


def is_public(address: str) -> bool:
    """Whether *address*, as a resolver gives it, is one of the public internet."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv4Address):
        return not any(found in network for network in _NOT_PUBLIC)
    return found in _PUBLIC_6 and not any(found in network for network in _NOT_PUBLIC_6)


def addresses(host: str, port: int) -> list[str]:
    """Return the addresses of *host*, which may all be called. It may take long.

    :raises NotPublic: if one is not.
    :raises Unresolved: if there is none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        found = []
    known = list(dict.fromkeys(str(each[4][0]) for each in found))
    if not known:
        raise Unresolved("the host name has no address")
    if not (_is_home(host) or all(map(is_public, known))):
        raise NotPublic("the host name has an address that is not public")
    return known


def dial(host: str, port: int, patience: float) -> socket.socket:
    """Connect to *host* at one of its ``addresses``, within *patience* seconds after these.

    :raises OSError: if that is not possible.
    """
    failed: OSError = Unresolved("the host name has no address")
    known = addresses(host, port)
    ends = time.monotonic() + patience
    for address in known:
        try:
            # An address, so nothing is resolved here.
            return socket.create_connection((address, port), max(ends - time.monotonic(), 0.1))
        except OSError as exc:
            failed = exc
    raise failed
