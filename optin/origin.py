"""Who asked for an operation, and from where."""

import ipaddress
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Self

from django.db.models import TextChoices
from django.utils.translation import gettext as _

from optin.conf import conf

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Face(TextChoices):
    """The way in."""

    API = "api", "API"
    TOKEN = "token", "Token call"
    WEB = "web", "Page"
    ADMIN = "admin", "Admin"
    COMMAND = "command", "Command"


@dataclass(frozen=True, slots=True)
class Origin:
    """Kept with every audit event; its address counts for the limits."""

    face: Face
    actor_id: int | None = None  # the user who acts
    client: str = ""  # "key:<id>" or "app:<id>": what spoke for the user
    ip: str = ""
    user_agent: str = ""
    request_id: str = ""
    # Tells the session of a page from others, and is never stored. A code that one session
    # sends twice is one attempt.
    session: str = field(default="", repr=False)

    @property
    def is_program(self) -> bool:
        """Whether it came by an access key or a token: its wrong codes count apart."""
        return self.face == Face.API

    @property
    def place(self) -> str:
        """The session or, without one, the network: where two codes in a row belong together."""
        return self.session or network_of(self.ip, 24)

    @classmethod
    def of(
        cls,
        face: Face,
        environ: Mapping[str, Any],
        *,
        actor_id: int | None = None,
        client: str = "",
        session: str = "",
    ) -> Self:
        """Return the origin of a request with this WSGI environment."""
        return cls(
            face,
            actor_id=actor_id,
            client=client,
            ip=ip_of(environ),
            user_agent=environ.get("HTTP_USER_AGENT", ""),
            request_id=environ.get("REQUEST_ID", ""),
            session=session,
        )


CUSTOMER_V6 = 48
"""The most of IPv6 that a provider usually gives to one customer (RFC 6177)."""


@lru_cache(maxsize=1024)
def network_of(ip: str, prefix_v4: int, prefix_v6: int = 64) -> str:
    """Return the network that stands for *ip*: one household has a whole IPv6 /64."""
    if not ip:
        return ""
    address = ipaddress.ip_address(ip)
    prefix = prefix_v4 if address.version == 4 else prefix_v6
    return str(ipaddress.ip_network((address, prefix), strict=False))


def ip_of(environ: Mapping[str, Any]) -> str:
    """Return the address of the client of a request with this WSGI environment.

    If the client is trusted to name the address of its user, return that one.
    """
    named: str | None = environ.get(_NAMED)
    return named or client_ip(
        environ.get("REMOTE_ADDR", ""), environ.get("HTTP_X_FORWARDED_FOR", "")
    )


def name_address(environ: MutableMapping[str, Any], text: str) -> bool:
    """Let the request count as one from the address *text*. Return False if that is none."""
    address = _address(text)
    if address:
        environ[_NAMED] = str(address)
    return address is not None


_NAMED = "NAMED_ADDRESS"  # among the WSGI variables: a client cannot name it


def client_ip(remote: str, forwarded_for: str) -> str:
    """Return the address of the client, "" where there is none (a Unix socket).

    *remote* is the peer of the socket. *forwarded_for* is the ``X-Forwarded-For``
    header: anybody can write it, so it is read from its end, and only as far as each
    hop is one of ``TRUSTED_PROXIES``.
    """
    nearest = ""
    for hop in [remote, *reversed([hop.strip() for hop in forwarded_for.split(",")])]:
        address = _address(hop)
        if address is None:
            break
        nearest = str(address)
        if not any(address in network for network in conf.trusted_proxies):
            break
    return nearest


@lru_cache(maxsize=1024)
def _address(hop: str) -> Address | None:
    """Return the address that *hop* writes, if it does."""
    try:
        address = ipaddress.ip_address(hop)
    except ValueError:
        return None
    # On a socket for both, IPv4 peers are written ::ffff:192.0.2.1; a link-local one
    # names its interface. Neither is part of the address.
    mapped: Address | None = getattr(address, "ipv4_mapped", None)
    return mapped or ipaddress.ip_address(str(address).partition("%")[0])


def browser(user_agent: str) -> str:
    """Name the browser and the system, where *user_agent* is of a usual one."""
    program = next((name for sign, name in _BROWSERS if sign in user_agent), "")
    system = next((name for sign, name in _SYSTEMS if sign in user_agent), "")
    if program and system:
        return _("%(browser)s on %(system)s") % {"browser": program, "system": system}
    return program or system


# The first sign that is there decides: Edge also says Chrome, Chrome also says Safari.
_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)
