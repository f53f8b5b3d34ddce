"""The settings, the code and its files: what a start needs."""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from threading import Lock

from django.conf import settings
from django.core.checks import ERROR, WARNING, CheckMessage, run_checks

from optin.conf import conf
from optin.doctor.findings import Finding, Level, fault, skipped, warning
from optin.support.wording import section

KEYS = frozenset({"optin.E301", "optin.E302"})
RESTORED = frozenset({"optin.E303", "optin.E304", "optin.W208"})
"""Messages about keys and about the ledger: other checks report them."""

_running = Lock()


def settings_() -> Iterator[Finding]:
    """`check --deploy` finds nothing."""
    said = [one for one in messages() if one.id not in KEYS | RESTORED]
    is_trial = settings.DEBUG and not conf.base_url.startswith("https:")
    if is_trial:
        said = [one for one in said if not str(one.id).startswith("security.")]
    found = [as_finding(one) for one in said]
    yield from found
    if is_trial:
        yield warning(
            "This is a development start: DEBUG is on, keys that are not set are made from a file "
            "in DATA_DIR, and nothing is encrypted on the way.",
            do=f"Nothing, for trying on this machine. {section('reference', 'Settings')}",
        )
    elif settings.DEBUG:
        yield fault(
            "DEBUG is on: a page about an error shows the code and its values to visitors, and "
            "webhook endpoints may be on this machine.",
            do=f"Set DEBUG=0, and restart. {section('reference', 'Settings')}",
        )


def messages() -> list[CheckMessage]:
    """The findings of ``check --deploy``. Several checks ask for them, and it runs once."""
    with _running:  # the second one waits for the first
        return _messages()


@cache
def _messages() -> list[CheckMessage]:
    every = run_checks(include_deployment_checks=True, databases=["default"])
    return [one for one in every if one.level >= WARNING and not one.is_silenced()]


def forget() -> None:
    """Let ``check --deploy`` run again."""
    _messages.cache_clear()


def as_finding(message: CheckMessage) -> Finding:
    """Return what Django says as a line of the doctor."""
    level = Level.FAULT if message.level >= ERROR else Level.WARNING
    # A hint says what to do, or why it matters.
    words = " ".join(f"{message.msg} {message.hint or ''}".split())
    return Finding(level, words, f"manage check --deploy ({message.id}).", _section(message.id))


def _section(name: str | None) -> str:
    if name in KEYS:
        return section("run", "Keys")
    if name in RESTORED:
        return section("upgrade-and-restore", "Backup and restore")
    return section("reference", "Settings")


def files() -> Iterator[Finding]:
    """Only the service can read `production.env`, and only root `owner.env`."""
    production, owner = (settings.CONFIG_DIR / name for name in ("production.env", "owner.env"))
    open_ = [path for path in (production, owner) if os.path.exists(path) and _is_open(path)]
    for path in open_:
        yield fault(
            f"Other accounts of this machine can read {path}.",
            seen=f"Its mode is {path.stat().st_mode & 0o777:04o}.",
            do=f"chmod 600 {path}  If others use this machine, replace its keys and passwords. "
            + section("run", "Keys"),
        )
    if os.geteuid() and os.access(owner, os.R_OK):
        open_.append(owner)
        yield fault(
            f"The service can read {owner}: whoever takes it over can change the audit trail.",
            do=f"chown root: {owner}; chmod 600 {owner}  Then give the owner a new password. "
            + section("deploy", "PostgreSQL"),
        )
    if not os.path.exists(production):
        yield skipped(f"There is no {production} here.")


def _is_open(path: Path) -> bool:
    about = path.stat()
    by_group = about.st_mode & 0o070 and about.st_gid not in {0, os.getegid()}
    return bool(about.st_mode & 0o007 or by_group)
