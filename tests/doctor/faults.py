"""Faults for the doctor to find: each breaks one thing of a running installation, and mends it."""

import base64
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from unittest.mock import patch

from tests.doctor.installation import Installation
from tests.kit.certificates import tls
from tests.kit.server import free_port

Env = Mapping[str, str]
Broken = AbstractContextManager[object]
"""It gives the environment of the doctor, if that differs."""

Breaks = Callable[[Installation], Broken]


@dataclass(frozen=True)
class Seed:
    """One thing that is wrong, and what the doctor must say about it."""

    name: str
    breaks: Breaks
    check: str
    says: str
    level: str = "fault"

    def __str__(self) -> str:
        return self.name


def sql(breaks: str, mends: str, role: str = "owner") -> Breaks:
    return lambda made: made.broken(breaks, mends, role)


def proxy(old: str = "", new: str = "", certificate: str = "site") -> Breaks:
    return lambda made: made.proxy(old, new, certificate)


def env(**changes: str) -> Breaks:
    return lambda made: nullcontext(changes)


def frozen(part: str) -> Breaks:
    return lambda made: made.frozen(part)


def mail(trait: str, value: object) -> Breaks:
    """The mail server behaves like this."""
    return lambda made: patch.object(made.mail, trait, value)


def _key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


# -- the database ------------------------------------------------------------------


@contextmanager
def changed_event(made: Installation) -> Iterator[None]:
    """The owner changed an event, and put the trigger back."""
    change = """
        ALTER TABLE optin_auditevent DISABLE TRIGGER optin_auditevent_no_update;
        UPDATE optin_auditevent SET reason = '{}';
        ALTER TABLE optin_auditevent ENABLE TRIGGER optin_auditevent_no_update;
    """
    with made.broken(change.format("forged"), change.format("")):
        yield


# -- workers and what is regular ---------------------------------------------------


@contextmanager
def dead_worker(made: Installation) -> Iterator[None]:
    with made.frozen("worker"):
        made.sql("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '2 min'")
        yield


# -- the servers around ------------------------------------------------------------


@contextmanager
def deaf_gateway(made: Installation) -> Iterator[Env]:
    """The first one takes the connection, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        yield {"OPTIN_GATEWAY_HTTP_URL": f"https://localhost:{port}/texts"}


# -- all of them -------------------------------------------------------------------

_HOST = "proxy_set_header Host $host;"

# fmt: off
SEEDS = (
    Seed("transactions are read-only",
        sql("ALTER ROLE optin_service SET default_transaction_read_only = on",
            "ALTER ROLE optin_service RESET default_transaction_read_only", role=""),
        "writes", "transactions are read-only"),
    Seed("a sequence was set back",
        sql("SELECT setval('optin_pendingotp_id_seq', 1, false)",
            "SELECT setval('optin_pendingotp_id_seq', (SELECT max(id) FROM optin_pendingotp))"),
        "writes", "the sequence of optin_pendingotp gives ids that are taken"),
    Seed("an audit event was changed", changed_event, "seals", "its content was changed"),
    Seed("the worker is dead", dead_worker, "workers", "No worker runs"),
    Seed("the certificate of a gateway has expired",
        lambda made: patch.object(made.gateway, "context", tls(made.folder / "expired.pem")),
        "gateways", "has expired"),
    Seed("the name of a gateway does not resolve",
        env(OPTIN_GATEWAY_HTTP_URL="https://sms.invalid/texts"),
        "gateways", "sms.invalid does not resolve"),
    Seed("a gateway refuses the credentials",
        lambda made: patch.object(made.gateway, "token", "token-of-another"),
        "gateways", "twilio refuses our"),
    Seed("a gateway hangs", deaf_gateway, "gateways", "says nothing"),
    Seed("the mail server is away",
        env(EMAIL_URL=f"submission://optin:x@localhost:{free_port()}"),
        "mail", "The mail server cannot be reached"),
    Seed("the mail server refuses the login", mail("lets_in", False), "mail",
        "refuses name and password"),
    Seed("the mail server says nothing to the login", mail("is_deaf_to", "AUTH"), "mail",
        "is silent"),
    Seed("the proxy believes visitors",
        proxy("X-Forwarded-For $remote_addr", "X-Forwarded-For $http_x_forwarded_for"),
        "proxy", "Visitors can choose their address"),
    Seed("the proxy drops X-Forwarded-Proto", proxy("proxy_set_header X-Forwarded-Proto $scheme;"),
        "https", "does not learn that visitors use https"),
    Seed("the proxy drops Host", proxy(_HOST), "site", "does not pass on Host"),
    Seed("the proxy removes HSTS",
        proxy(_HOST, f"{_HOST} proxy_hide_header Strict-Transport-Security;"),
        "https", "removes Strict-Transport-Security"),
    Seed("the certificate of the site has expired", proxy(certificate="expired"), "site",
        "has expired"),
    Seed("the certificate of the site ends soon", proxy(certificate="ending"), "site",
        "ends in 4 days", level="warning"),
    Seed("the service hangs", frozen("service"), "site", "but does not answer"),
    Seed("the service is down", proxy("limit_conn optin_address 50", "return 502"), "site",
        "does not answer"),
    Seed("the running service has another SECRET_KEY", env(SECRET_KEY=secrets.token_urlsafe(50)),
        "proxy", "does not know the doctor"),
)
# fmt: on
