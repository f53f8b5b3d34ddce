"""Seals over ranges of audit events: no event can be removed or added later unseen.

What a seal says and how it is read back is here; ``optin.audit.seals`` makes and checks them.
"""

import re
from datetime import UTC, datetime
from typing import Self

from django.db import models
from django.db.models import Q

from optin import keys
from optin.models.append_only import AppendOnly, AppendOnlyQuerySet


class AuditSealQuerySet(AppendOnlyQuerySet["AuditSeal"]):
    """Nothing changes a seal."""


class AuditSeal(AppendOnly):
    """A proof that exactly these events stood in a range of ids: none can go or come unseen.

    Seals follow each other without a gap: each starts one after the last id of the one
    before, the first with 1. Ids in a range may be missing (a transaction that was rolled
    back keeps its number), so a seal has a count. Made by ``optin.audit.seals``.
    """

    first_id = models.BigIntegerField()
    last_id = models.BigIntegerField()
    count = models.PositiveIntegerField()
    # Without a key, so that a copy of a seal proves its events also after the key is gone.
    digest = models.CharField(max_length=64, help_text="SHA-256 over the digests of the events.")
    at = models.DateTimeField(help_text="When the seal was made.")
    key_id = models.CharField(max_length=8)
    proof = models.CharField(max_length=64, help_text="Keyed digest of all that the seal says.")

    objects = AuditSealQuerySet.as_manager()

    class Meta:
        constraints = [
            # If two processes seal at once, the database refuses one.
            models.UniqueConstraint(fields=["first_id"], name="audit_seal_one_from_each_start"),
            models.CheckConstraint(
                condition=Q(last_id__gte=models.F("first_id")),
                name="audit_seal_ends_after_its_start",
            ),
            models.CheckConstraint(condition=Q(count__gt=0), name="audit_seal_holds_an_event"),
        ]

    def __str__(self) -> str:
        return f"seal over events {self.first_id} to {self.last_id}"

    def own_proof(self) -> str:
        """Return the keyed digest of all that this seal says, in hex: none can be forged.

        :raises UnknownDigestKeyError: if the key that it names is not here.
        """
        return keys.digest("audit seal", self._text(), key_id=self.key_id)

    def line(self) -> str:
        """Return the seal as one line: for a log, and to be read by ``from_line``."""
        return f"seal {self._text()} proof={self.proof}"

    @classmethod
    def from_line(cls, line: str) -> Self | None:
        """Return the seal that *line* holds somewhere, unsaved; None where there is none."""
        found = _LINE.search(line)
        if found is None:
            return None
        try:
            at = datetime.fromisoformat(found["at"]).astimezone(UTC)
        except (ValueError, OverflowError):
            return None
        return cls(
            first_id=int(found["first"]),
            last_id=int(found["last"]),
            count=int(found["count"]),
            digest=found["digest"],
            at=at,
            key_id=found["key"],
            proof=found["proof"],
        )

    def _text(self) -> str:
        at = self.at.astimezone(UTC).isoformat(timespec="microseconds")
        return (
            f"first={self.first_id} last={self.last_id} count={self.count} "
            f"digest={self.digest} at={at} key={self.key_id}"
        )


_LINE = re.compile(
    r"\bseal first=(?P<first>\d{1,18}) last=(?P<last>\d{1,18}) count=(?P<count>\d{1,9}) "
    r"digest=(?P<digest>[0-9a-f]{64}) at=(?P<at>[0-9T:.+-]{32}) key=(?P<key>[0-9a-f]{8}) "
    r"proof=(?P<proof>[0-9a-f]{64})\b",
    re.ASCII,
)
