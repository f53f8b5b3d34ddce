"""Sessions in the database, under the digest of their id.

The id is what the cookie holds: whoever reads a table or a backup must not be able to
come as somebody else (S-34, S-50).
"""

from typing import Any

from django.contrib.sessions.backends import db
from django.contrib.sessions.models import Session
from django.utils import timezone

from optin import keys


def row_of(session_key: str | None) -> str:
    """Return the key of the row in which a session is kept."""
    # As long as the column is: 160 bits.
    return keys.sha256(session_key)[:40] if session_key else ""


class SessionStore(db.SessionStore):
    """Django's, but for how a row is found. Keeps the name, which is the salt of its signature."""

    def _get_session_from_db(self) -> Session | None:
        now = timezone.now()
        found = Session.objects.filter(session_key=row_of(self.session_key), expire_date__gt=now)
        session = found.first()
        if session is None:
            self._session_key = None
        return session

    def exists(self, session_key: str) -> bool:
        return Session.objects.filter(session_key=row_of(session_key)).exists()

    def create_model_instance(self, data: Any) -> Any:
        session = super().create_model_instance(data)
        session.session_key = row_of(session.session_key)
        return session

    def delete(self, session_key: str | None = None) -> None:
        row = row_of(session_key or self.session_key)
        Session.objects.filter(session_key=row).delete()
