"""Faults for the doctor to find: each breaks one thing of a running installation, and mends it."""

import base64
import os
import secrets
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from unittest.mock import patch

from tests.doctor.installation import Installation
from tests.kit.certificates import tls
from tests.kit.server import free_port, needs

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
    also: frozenset[str] = frozenset()
    """Checks that may warn, because what is wrong can be seen there, too."""

    def __str__(self) -> str:
        return self.name


def sql(breaks: str, mends: str, role: str = "owner") -> Breaks:
    return lambda made: made.broken(breaks, mends, role)


def revoked(right: str, on: str) -> Breaks:
    grant = f"GRANT {right} ON {on} TO optin_service"
    return sql(f"REVOKE {right} ON {on} FROM optin_service", grant)


def granted(right: str, on: str) -> Breaks:
    revoke = f"REVOKE {right} ON {on} FROM optin_service"
    return sql(f"GRANT {right} ON {on} TO optin_service", revoke)


def proxy(old: str = "", new: str = "", certificate: str = "site") -> Breaks:
    return lambda made: made.proxy(old, new, certificate)


def env(**changes: str) -> Breaks:
    return lambda made: nullcontext(changes)


def frozen(part: str) -> Breaks:
    return lambda made: made.frozen(part)


def unit(**states: str) -> Breaks:
    """One unit is in another state, as ``systemctl show`` tells it."""
    return lambda made: made.systemd(**states)


def mail(trait: str, value: object) -> Breaks:
    """The mail server behaves like this."""
    return lambda made: patch.object(made.mail, trait, value)


def _key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


# -- the database ------------------------------------------------------------------


@contextmanager
def without_trigger(made: Installation) -> Iterator[None]:
    name = "optin_auditseal_no_truncate"
    sql = f"SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = '{name}'"  # noqa: S608
    ((made_by,),) = made.sql(sql)
    with made.broken(f"DROP TRIGGER {name} ON optin_auditseal", made_by):
        yield


@contextmanager
def without_migration(made: Installation) -> Iterator[None]:
    newest = "SELECT name FROM django_migrations WHERE app = 'optin' ORDER BY name DESC LIMIT 1"
    ((name,),) = made.sql(newest)
    with made.broken(
        f"DELETE FROM django_migrations WHERE name = '{name}'",  # noqa: S608
        f"INSERT INTO django_migrations (app, name, applied) VALUES ('optin', '{name}', now())",  # noqa: S608
    ):
        yield


@contextmanager
def wrong_clock(made: Installation) -> Iterator[None]:
    """The clock that new sessions of the service see is 30 seconds ahead."""
    breaks = """
        CREATE SCHEMA wrong;
        CREATE FUNCTION wrong.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS
        $$ SELECT pg_catalog.clock_timestamp() + interval '30 s' $$;
        GRANT USAGE ON SCHEMA wrong TO PUBLIC;
        ALTER ROLE optin_service SET search_path = wrong, pg_catalog, public;
    """
    mends = "ALTER ROLE optin_service RESET search_path;\nDROP SCHEMA wrong CASCADE"
    with made.broken(breaks, mends, role=""):
        yield


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


@contextmanager
def open_settings(made: Installation) -> Iterator[None]:
    file = made.folder / "production.env"
    file.chmod(0o644)
    try:
        yield
    finally:
        file.chmod(0o600)


@contextmanager
def everybody_reaches(made: Installation) -> Iterator[None]:
    """Gunicorn is bound to all addresses."""
    made.restart_service("0.0.0.0")  # noqa: S104
    try:
        yield
    finally:
        made.restart_service()


OLD_JOB = """
    INSERT INTO procrastinate_jobs (queue_name, task_name) VALUES ('messages', 'send_text');
    UPDATE procrastinate_events SET at = now() - interval '10 min'
    WHERE job_id = (SELECT max(id) FROM procrastinate_jobs);
"""
NO_JOB = "DELETE FROM procrastinate_jobs WHERE queue_name = 'messages'"
OLD_MAIL = """
    INSERT INTO optin_notice (state, tries, unknown_attempts, reason, created_at, language,
        kind, last_three, user_id)
    SELECT 'queued', 0, 0, '', now() - interval '10 min', '', 'locked', '', id FROM optin_user
"""
NO_MAIL = "DELETE FROM optin_notice"


OLD_FIGURES = "UPDATE optin_span SET made_at = made_at - interval '3 hours'"
NEW_FIGURES = OLD_FIGURES.replace("-", "+")


# -- the servers around ------------------------------------------------------------


@contextmanager
def deaf_gateway(made: Installation) -> Iterator[Env]:
    """The first one takes the connection, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        yield {"OPTIN_GATEWAY_HTTP_URL": f"https://localhost:{port}/texts"}


# -- disks -------------------------------------------------------------------------


@contextmanager
def small_disk(made: Installation, options: str) -> Iterator[Env]:
    folder = made.folder / "small"
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    needs("mount (root)", os.geteuid() == 0)
    subprocess.run(mount, check=True, capture_output=True)
    with ExitStack() as stack:
        stack.callback(subprocess.run, ["umount", str(folder)], check=True)
        yield {"OPTIN_LEDGER": str(folder / "ledger")}


# -- all of them -------------------------------------------------------------------

_OTHER = frozenset({"running"})  # its settings differ from those of the doctor
_HOST = "proxy_set_header Host $host;"
_NOBODY = f"https://localhost:{free_port()}/"

# fmt: off
SEEDS = (
    Seed("a grant is missing", revoked("UPDATE", "optin_user"), "grants",
        "lacks UPDATE on optin_user"),
    Seed("a grant on one column is too many", granted("UPDATE (proof)", "optin_auditseal"),
        "grants", "has UPDATE on optin_auditseal"),
    Seed("a trigger is missing", without_trigger, "triggers", "optin_auditseal_no_truncate"),
    Seed("a trigger is disabled",
        sql("ALTER TABLE optin_auditevent DISABLE TRIGGER optin_auditevent_no_update",
            "ALTER TABLE optin_auditevent ENABLE TRIGGER optin_auditevent_no_update"),
        "triggers", "is disabled"),
    Seed("the clock of the database is 30 s ahead", wrong_clock, "clock", "30 seconds ahead"),
    Seed("a migration is missing", without_migration, "migrations", "not applied"),
    Seed("a migration of another release",
        sql("INSERT INTO django_migrations (app, name, applied) VALUES ('optin', '0999_x', now())",
            "DELETE FROM django_migrations WHERE name = '0999_x'"),
        "migrations", "optin.0999_x", level="warning"),
    Seed("transactions are read-only",
        sql("ALTER ROLE optin_service SET default_transaction_read_only = on",
            "ALTER ROLE optin_service RESET default_transaction_read_only", role=""),
        "writes", "transactions are read-only"),
    Seed("a sequence was set back",
        sql("SELECT setval('optin_pendingotp_id_seq', 1, false)",
            "SELECT setval('optin_pendingotp_id_seq', (SELECT max(id) FROM optin_pendingotp))"),
        "writes", "the sequence of optin_pendingotp gives ids that are taken"),
    Seed("the database is on another server, and the ledger is whole",
        sql("UPDATE optin_canary SET home = '1:' || home",
            "UPDATE optin_canary SET home = substr(home, 3)"),
        "ledger", "on another server or timeline"),
    Seed("no time limit for statements",
        sql("ALTER ROLE optin_service RESET statement_timeout",
            "ALTER ROLE optin_service SET statement_timeout = '10s'", role=""),
        "database", "statement_timeout is off", level="warning"),
    Seed("the service runs as the owner",
        lambda made: nullcontext({"DATABASE_URL": made.url("owner")}),
        "role", "the owner of the tables", also=_OTHER | {"database"}),
    Seed("nothing listens at the address of the database",
        env(DATABASE_URL=f"postgres://optin_service:x@127.0.0.1:{free_port()}/optin"),
        "database", "nothing listens there", also=_OTHER),
    Seed("the database hangs", frozen("postgresql"), "database", "it does not answer"),
    Seed("an audit event was changed", changed_event, "trail", "its content was changed"),
    Seed("others can read the settings", open_settings, "files", "production.env"),
    Seed("everybody reaches gunicorn", everybody_reaches, "listens", "listens at 0.0.0.0"),
    Seed("the timer of the backup is off",
        unit(Id="optin-backup.timer", ActiveState="inactive"),
        "timers", "timers are off: optin-backup."),
    Seed("the check of the trail failed",
        unit(Id="optin-run@verify_audit.service", Result="exit-code"),
        "timers", "last run of optin-run@verify_audit failed"),
    Seed("the worker is dead", dead_worker, "workers", "No worker runs"),
    Seed("jobs are old", sql(OLD_JOB, NO_JOB), "jobs",
        "1 background job of the queue messages not taken up"),
    Seed("figures are not counted", sql(OLD_FIGURES, NEW_FIGURES), "regular",
        "have not been counted since"),
    Seed("the certificate of a gateway has expired",
        lambda made: patch.object(made.gateway, "context", tls(made.folder / "expired.pem")),
        "gateways", "has expired"),
    Seed("the name of a gateway does not resolve",
        env(OPTIN_GATEWAY_HTTP_URL="https://sms.invalid/texts"),
        "gateways", "sms.invalid does not resolve", also=_OTHER),
    Seed("a gateway refuses the credentials",
        lambda made: patch.object(made.gateway, "token", "token-of-another"),
        "gateways", "twilio refuses our"),
    Seed("a gateway hangs", deaf_gateway, "gateways", "says nothing", also=_OTHER),
    Seed("the provider of SIM swaps is away",
        env(OPTIN_SIM_SWAP="enforce", OPTIN_SIM_SWAP_URL=_NOBODY, OPTIN_SIM_SWAP_TOKEN_URL=_NOBODY,
            OPTIN_SIM_SWAP_CLIENT_ID="x", OPTIN_SIM_SWAP_CLIENT_SECRET="x"),
        "sims", "Whether SIMs were swapped cannot be asked", also=_OTHER),
    Seed("the mail server is away",
        env(EMAIL_URL=f"submission://optin:x@localhost:{free_port()}"),
        "mail", "The mail server cannot be reached"),
    Seed("the mail server refuses the login", mail("lets_in", False), "mail",
        "refuses name and password"),
    Seed("the mail server says nothing to the login", mail("is_deaf_to", "AUTH"), "mail",
        "is silent"),
    Seed("the disk is full", lambda made: small_disk(made, "size=1m"), "disk", "the disk is full",
        also=_OTHER),
    Seed("the folder of the ledger is read-only", lambda made: small_disk(made, "size=99m,ro"),
        "ledger", "OPTIN_LEDGER cannot be read and written", also=_OTHER | {"disk"}),
    Seed("OPTIN_KEYS is wrong", env(OPTIN_KEYS=f"2026:{_key()}"), "keys", "OPTIN_KEYS is not",
        also=_OTHER),
    Seed("OPTIN_DIGEST_KEY is wrong", env(OPTIN_DIGEST_KEY=_key()), "keys",
        "OPTIN_DIGEST_KEY is not", also=_OTHER),
    Seed("DEBUG is on", env(DEBUG="1"), "settings", "DEBUG is on", also=_OTHER | {"settings"}),
    Seed("the running service has another SECRET_KEY", env(SECRET_KEY=secrets.token_urlsafe(50)),
        "running", "does not know the doctor"),
    Seed("the service was not restarted", env(OPTIN_OTP_TRIES="4"), "running",
        "other settings than this command: OPTIN_OTP_TRIES.", level="warning"),
    Seed("the proxy believes visitors",
        proxy("X-Forwarded-For $remote_addr", "X-Forwarded-For $http_x_forwarded_for"),
        "proxy", "Visitors can choose their address"),
    Seed("the proxy drops X-Forwarded-Proto", proxy("proxy_set_header X-Forwarded-Proto $scheme;"),
        "https", "does not learn that visitors use https"),
    Seed("the proxy drops Host", proxy(_HOST), "site", "does not pass on Host"),
    Seed("the proxy removes HSTS",
        proxy(_HOST, f"{_HOST} proxy_hide_header Strict-Transport-Security;"),
        "https", "removes Strict-Transport-Security"),
    Seed("the proxy passes on half requests",
        proxy("proxy_request_buffering on", "proxy_request_buffering off"),
        "requests", "before they are whole"),
    Seed("the certificate of the site has expired", proxy(certificate="expired"), "site",
        "has expired"),
    Seed("the certificate of the site ends soon", proxy(certificate="ending"), "site",
        "ends in 4 days", level="warning"),
    Seed("the service hangs", frozen("service"), "site", "but does not answer"),
    Seed("the service is down", proxy("limit_conn optin_address 50", "return 502"), "site",
        "does not answer"),
)
# fmt: on
