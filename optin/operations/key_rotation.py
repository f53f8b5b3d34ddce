"""Whether the keys are the right ones, and new keys in place of old.

The ring rotates while the service runs: ``rotate`` encrypts again, in chunks, what is
not under the current key. The digest key does not change.

A chunk of ``rotate`` decides nothing about anybody: what a row says stays as it is. So it
locks no users, and leaves one event for the run as a whole.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.db import models, transaction
from django.db.models import Count, F, QuerySet, Value
from django.db.models.functions import Concat, StrIndex, Substr
from django.utils import timezone

from optin import keys
from optin.keys import UndecryptableError
from optin.models import (
    AuditEvent,
    AuthenticatorApp,
    Canary,
    PendingOtp,
    ProposedNumber,
    ProviderUser,
    WebhookEndpoint,
)
from optin.origin import Origin

CHUNK = 200
"""Rows in one transaction: some 40 ms, for those who want one of them."""

Kind = AuditEvent.Kind


class Misfit(StrEnum):
    """What is wrong with the keys, by the canary."""

    KEY_MISSING = "key_missing"  # the key that it was sealed with is not in the ring
    KEY_CHANGED = "key_changed"  # that key has another value
    DIGEST_KEY = "digest_key"


class KeysDoNotFit(Exception):
    """The keys are not those with which the data was written."""

    def __init__(self, misfits: list[Misfit]) -> None:
        super().__init__(", ".join(misfits))
        self.misfits = misfits


def misfits(canary: Canary) -> list[Misfit]:
    """Compare the keys at hand with those of *canary*."""
    found = []
    if not canary.opens():
        known = keys.has(canary.key_id)
        found.append(Misfit.KEY_CHANGED if known else Misfit.KEY_MISSING)
    if not canary.has_digest():
        found.append(Misfit.DIGEST_KEY)
    return found


Use = Counter[str]
"""How much there is of each of ``USES``."""

USES = ("numbers", "apps", "webhooks", "proposed", "codes")
"""What a key of the ring is for: numbers, secrets of apps and of webhook endpoints, proposed
numbers, codes on their way."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """The counts of one run, by ``USES``."""

    done: Use  # rows that were encrypted again
    unreadable: dict[str, list[int]]  # ids of rows that were left as they are
    in_use: dict[str, Use]  # by key id, the current one too

    @property
    def needed(self) -> dict[str, Use]:
        """The keys behind the current one that must stay in the ring."""
        return {kid: use for kid, use in self.in_use.items() if kid != keys.current_id()}


@dataclass(frozen=True, slots=True)
class _Column:
    """Tables that are encrypted with the ring. Each row can ``seal_anew``."""

    use: str
    model: type[models.Model]
    name: str

    @property
    def rows(self) -> "QuerySet[Any]":
        rows: QuerySet[Any] = self.model._base_manager.all()
        return rows

    def under_other_keys(self) -> "QuerySet[Any]":
        current = {f"{self.name}__startswith": f"{keys.current_id()}:"}
        rows: QuerySet[Any] = self.rows.exclude(**current)
        return rows

    def by_key(self) -> "QuerySet[Any]":
        """All rows, each with the id of its key as ``kid``."""
        # The colon is added for a value that was tampered with.
        end = StrIndex(Concat(F(self.name), Value(":")), Value(":")) - 1
        rows: QuerySet[Any] = self.rows.annotate(kid=Substr(self.name, 1, end))
        return rows


_COLUMNS = (
    _Column("numbers", ProviderUser, "number_encrypted"),
    _Column("apps", AuthenticatorApp, "secret_encrypted"),
    _Column("webhooks", WebhookEndpoint, "secrets_encrypted"),
    _Column("proposed", ProposedNumber, "number_encrypted"),
)


def rotate(
    *, origin: Origin, lost: str = "", progress: Callable[[Use], None] = lambda done: None
) -> Rotation:
    """Encrypt with the current key what is under another; the service may run meanwhile.

    Killed in the middle, it goes on where it stopped when it is called again: what is
    left to do is read from the rows. The canary comes last, once nothing needs an
    older key: until then a start without that key is refused.

    :param lost: the id of a key that is gone for good. What it closed stays closed, and
        a start without it is no longer refused.
    :raises KeysDoNotFit: if these keys are not those of the data.
    """
    canary = _fitting_canary(lost)
    done, unreadable = Use(), {column.use: set[int]() for column in _COLUMNS}
    for column in _COLUMNS:
        # Again for the rows that an operation held while their chunk went by.
        while _pass(column, done, unreadable[column.use], progress):
            pass
    now = timezone.now()
    with transaction.atomic(durable=True):
        left = {use: sorted(ids) for use, ids in unreadable.items()}
        rotation = Rotation(done, left, _in_use(left, now))
        if not rotation.needed and not keys.is_current(canary.sealed):
            canary.seal_anew()
        _record(rotation, lost, now, origin)
    return rotation


def _fitting_canary(lost: str) -> Canary:
    """Return the canary, if the keys are those of the data, apart from the *lost* one.

    :raises KeysDoNotFit: if they are not.
    """
    canary = Canary.objects.look()
    wrong = misfits(canary)
    if lost and canary.key_id == lost:
        wrong = [misfit for misfit in wrong if misfit is Misfit.DIGEST_KEY]
    if wrong:
        raise KeysDoNotFit(wrong)
    return canary


def _record(rotation: Rotation, lost: str, now: datetime, origin: Origin) -> None:
    left, needed = rotation.unreadable, rotation.needed
    AuditEvent.objects.record(
        Kind.KEYS,
        "incomplete" if needed else "rotated",
        now=now,
        origin=origin,
        data={
            "key": keys.current_id(),
            **{use: rotation.done[use] for use in left},
            "unreadable": len(left["numbers"]),
            **{f"unreadable_{use}": len(left[use]) for use in left if use != "numbers"},
            "needed": {kid: {name: use[name] for name in USES} for kid, use in needed.items()},
            **({"lost": lost} if lost else {}),
        },
    )


def _pass(
    column: _Column, done: Use, unreadable: set[int], progress: Callable[[Use], None]
) -> bool:
    """Go once through all rows that are under another key; say whether some are no more."""
    after, before = 0, done[column.use]
    while True:
        with transaction.atomic(durable=True):
            # No row is changed between reading and writing it, so no opt-in that seals
            # or moves a row at the same time is lost. Rows that an operation holds are
            # skipped: this never waits for anybody, and so is part of no deadlock.
            rows = list(
                column.under_other_keys()
                .filter(pk__gt=after)
                .exclude(pk__in=unreadable)
                .order_by("pk")
                .select_for_update(no_key=True, skip_locked=True)[:CHUNK]
            )
            opened = [row for row in rows if _sealed_anew(row, unreadable)]
            column.rows.bulk_update(opened, [column.name])
        if not rows:
            return done[column.use] > before
        after = rows[-1].pk
        done[column.use] += len(opened)
        progress(done)


def _sealed_anew(row: Any, unreadable: set[int]) -> bool:
    """Seal *row* anew; remember it among the *unreadable* if it does not open."""
    try:
        row.seal_anew()
    except UndecryptableError:
        unreadable.add(row.pk)
        return False
    return True


def _in_use(unreadable: dict[str, list[int]], now: datetime) -> dict[str, Use]:
    """Count what each key is needed for: rows that it opens, codes that still count."""
    found: dict[str, Use] = {}
    for column in _COLUMNS:
        _add(found, column.use, column.by_key().exclude(pk__in=unreadable[column.use]), "kid")
    _add(found, "codes", PendingOtp.objects.open().filter(expires_at__gt=now), "key_id")
    return found


def _add(found: dict[str, Use], use: str, rows: "QuerySet[Any]", by: str) -> None:
    for kid, count in rows.values_list(by).annotate(count=Count("pk")):
        found.setdefault(kid, Use())[use] = count
