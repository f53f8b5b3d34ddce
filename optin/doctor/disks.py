"""The space where the service writes."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from optin.conf import conf
from optin.doctor.database import is_postgresql
from optin.doctor.findings import Finding, fault, ok, skipped, warning

LITTLE, FEW = 20 * 1024**2, 500 * 1024**2
"""Bytes: less than the first is a fault, less than the second a warning. A process writes up to
5 MB a day to the ledger."""

DO = "Move logs away first. Keep ledger.1, and each ledger that is younger than your oldest backup."


def space() -> Iterator[Finding]:
    """There are more than 500 MB free for the ledger. Below 20 MB is a fault."""
    folders = _folders()
    if not folders:
        yield ok("The service writes to no folder of this machine.")
    for what, folder in folders.items():
        if not os.access(folder, os.W_OK | os.X_OK):
            yield skipped(f"{folder} ({what}) cannot be written to: see 'ledger' and 'writes'.")
            continue
        left = shutil.disk_usage(folder).free
        text = f"{folder} ({what}) has {left // 1024**2:,} MB free"
        if left < LITTLE:
            yield fault(f"{text}: the disk is full.", do=DO)
        elif left < FEW:
            yield warning(f"{text}.", do=DO)
        else:
            yield ok(f"{text}.")


def _folders() -> dict[str, Path]:
    """The folders where the service writes, by what is there. Its logs go to others."""
    found: dict[str, Path] = {}
    if conf.ledger:
        found["ledger"] = Path(conf.ledger).resolve().parent
    if settings.DEBUG or not is_postgresql():
        found["DATA_DIR"] = settings.DATA_DIR
    return found
