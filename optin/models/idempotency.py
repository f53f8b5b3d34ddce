"""Requests that a client may send again: those with an ``Idempotency-Key``."""

from datetime import datetime, timedelta
from typing import Any, Self

from django.db import models

from optin import keys
from optin.database import Insert, Param, Select
from optin.errors import KeyReused
from optin.models.users import User
from optin.runtime import logs

KEPT = timedelta(hours=24)
"""How long a request with the same key gets the first answer."""


class IdempotencyKey(models.Model):
    """The key of a request, and what was answered to the first request with it.

    The row is written in the transaction of the decision. It has digests only: neither the key,
    nor the number or the code in the body.
    """

    digest = models.CharField(max_length=64, primary_key=True)  # of the key, and who sent it where
    body_digest = models.CharField(max_length=64)
    user = models.ForeignKey(User, models.CASCADE, related_name="idempotency_keys")
    request_id = models.CharField(max_length=36)  # of the first request
    answer = models.JSONField()  # the fields of the decision from which the answer is written
    answered_at = models.DateTimeField(db_index=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"idempotency key of user {self.user_id}"

    @classmethod
    def of(
        cls,
        key: str,
        body: bytes,
        user_id: int,
        client: str,
        call: str,
        file_id: int,
        *,
        request_id: str,
    ) -> Self:
        """Return the row, not saved, of a request with *key*.

        :param client: the credential: ``Origin.client``.
        """
        digest = keys.digest("idempotency key", f"{user_id} {client} {call} {file_id} {key}")
        body_digest = keys.digest("idempotency body", f"{digest} {body.decode('latin-1')}")
        return cls(digest=digest, body_digest=body_digest, user_id=user_id, request_id=request_id)

    def first(self, now: datetime) -> dict[str, Any] | None:
        """Return what ``keep`` was given at the first request with this key, if there was one.

        The caller holds the lock of the user. So of requests at the same time one is carried out,
        and the others find its answer.

        :raises KeyReused: if the first request had another body.
        """
        row = _FIRST.row(digest=self.digest, since=now - KEPT)
        if row is None:
            return None
        if row.body_digest != self.body_digest:
            raise KeyReused
        self.request_id = row.request_id
        logs.add(first_request_id=row.request_id)
        answer: dict[str, Any] = row.answer
        return answer

    def keep(self, now: datetime, **answer: Any) -> None:
        """Keep the answer to this request, the first with its key, for ``KEPT``."""
        self.answer, self.answered_at = answer, now
        _KEEP.run_later(self)


_FIRST = Select(
    lambda: IdempotencyKey._base_manager.filter(
        digest=Param("digest", IdempotencyKey),
        answered_at__gt=Param("since", IdempotencyKey, "answered_at"),
    )
)
# A row that ``purge`` has not deleted yet is replaced.
_KEEP = Insert(
    IdempotencyKey,
    or_else="""ON CONFLICT (digest) DO UPDATE SET body_digest = excluded.body_digest,
request_id = excluded.request_id, answer = excluded.answer, answered_at = excluded.answered_at""",
)
