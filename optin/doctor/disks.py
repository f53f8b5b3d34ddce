"""The space where the service writes."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.db import connection

from optin.conf import conf
from optin.doctor.database import is_postgresql, rows
from optin.doctor.findings import Finding, fault, ok, skipped, warning

LITTLE, FEW = 20 * 1024**2, 500 * 1024**2
"""Bytes: less than the first is a fault, less than the second a warning. A process writes up to
5 MB a day to the ledger."""

LEDGER = "ledger"

DO = "Move logs away first. Keep ledger.1, and each ledger that is younger than your oldest backup."


def space() -> Iterator[Finding]:
    """There are more than 500 MB free for the ledger. Below 20 MB is a fault."""
    free = []
    for what, folder in _folders().items():
        if not os.access(folder, os.W_OK | os.X_OK):
            if what == LEDGER:
                yield skipped(f"{folder} cannot be written to: see 'ledger'.")
                continue
            yield fault(
                f"The service cannot write to {folder} ({what}).",
                seen=f"access() for the account with the id {os.geteuid()}.",
                do="Give the folder to the account of the service, and run the doctor as it: "
                f"install -d -o optin -g optin {folder}. Is the disk mounted read-only?",
            )
            continue
        left = shutil.disk_usage(folder).free
        text = f"{folder} ({what}) has {_size(left)} free"
        if left < LITTLE:
            yield fault(f"{text}: the disk is full.", seen=f"df {folder}", do=DO)
        elif left < FEW:
            yield warning(f"{text}.", seen=f"df {folder}", do=DO)
        else:
            free.append(f"{what} {_size(left)}")
    if not _folders():
        yield ok(f"The service writes to no folder of this machine.{_database()}")
    elif free:
        who = "" if os.geteuid() else " As root nobody sees whether the service may write there."
        yield ok(f"Free: {', '.join(free)}.{who}{_database()}")


def _folders() -> dict[str, Path]:
    """The folders where the service writes, by what is there. Its logs go to others."""
    found: dict[str, Path] = {}
    if conf.ledger:
        found[LEDGER] = Path(conf.ledger).resolve().parent
    if settings.DEBUG or not is_postgresql():
        found["DATA_DIR"] = settings.DATA_DIR
    return found


def _database() -> str:
    """Say how large the database is. Its disk is another machine's: nobody here sees it."""
    if not is_postgresql() or not connection.is_usable():
        return ""
    ((size,),) = rows("SELECT pg_database_size(current_database())")
    return f" The database has {_size(size)}; what is free there cannot be seen from here."


def _size(count: object) -> str:
    assert isinstance(count, int)
    megabytes = count / 1024**2
    return f"{megabytes / 1024:.1f} GB" if megabytes > 1024 else f"{megabytes:.0f} MB"
