"""Sessions in the database, under the digest of their id.

The id is what the cookie holds: whoever reads a table or a backup must not be able to
come as somebody else (S-34, S-50).
"""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends import db
from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.crypto import get_random_string

from optin import keys
from optin.database import Insert, Param, Select, Update
from optin.models import SessionOwner, User

_MESSAGES = frozenset({"flash", "flash_refused", "flash_to_password", "refused"})
"""Keys that may still be written into a session that has ended."""

_SEAL = "session.successor"

_MOST_READ = 200
"""Rows of one person: each sign-in and each proof in the last hours has one."""


def row_of(session_key: str | None) -> str:
    """Return the key of the row in which a session is kept."""
    # The length of the column: 160 bits.
    return keys.sha256(session_key)[:40] if session_key else ""


class SessionStore(db.SessionStore):
    """Django's store, with its own way to find a row, and one write for a new session.

    The name of the class stays: it is the salt of the signature.
    """

    _is_new = False  # it has an id, and no row

    def _get_session_from_db(self) -> Session | None:
        session = _FRESH.row(session_key=row_of(self.session_key), now=timezone.now())
        if session is None:
            self._session_key = None
        return session

    def create(self) -> None:
        """Give it an id. It has a row once it is saved, with all that it holds then."""
        self._session_key = get_random_string(32)
        self._session_cache = getattr(self, "_session_cache", {})
        self._is_new = self.modified = True

    def save(self, must_create: bool = False) -> None:
        """Save, but a session that has ended stays as it was when it ended.

        A slow request has read it before, and would take the mark away.

        :raises UpdateError: if it is not stored any more, or its first save was rolled back.
        """
        if self.session_key is None:
            self.create()
        with transaction.atomic():
            if self._is_new:
                _INSERT.run_later(self.create_model_instance(self._session_cache))
                self._is_new = False
                if SESSION_KEY in self:
                    _own(self)
                return
            held = stored(self)
            if held is None:
                raise UpdateError
            data = dict(self.items())
            if "ends" in held:
                kept = {key: value for key, value in held.items() if key not in _MESSAGES}
                said = {key: value for key, value in data.items() if key in _MESSAGES}
                self._session_cache = data = {**kept, **said}
            _UPDATE.run_later(**vars(self.create_model_instance(data)))

    def create_model_instance(self, data: Any) -> Any:
        session = super().create_model_instance(data)
        session.session_key = row_of(session.session_key)
        return session

    def delete(self, session_key: str | None = None) -> None:
        if row := row_of(session_key or self.session_key):
            Session.objects.filter(session_key=row).delete()


def stored(session: Any) -> SessionStore | None:
    """Return a session as it is stored, locked while a transaction lasts; None if it is not."""
    with transaction.atomic(savepoint=False):  # Django locks only inside one
        row = _HELD.row(session_key=row_of(session.session_key), now=timezone.now())
    if row is None:
        return None
    held = SessionStore(session.session_key)
    held._session_cache = held.decode(row.session_data)
    return held


def succeed(
    session: Any, ends: datetime, step: str, *, both: dict[str, Any], new: dict[str, Any]
) -> SessionStore | None:
    """Begin the session that takes the place of *session*, which is to end.

    :param step: what ends it.
    :param both: what both hold from now on.
    :param new: what only the new one does.
    :returns: the new one; where *session* ended before, that as it is stored; None if it is
        not stored any more.
    """
    with transaction.atomic():
        old = stored(session)
        if old is None or "ends" in old:
            return old
        now = timezone.now().timestamp()
        before = {row: end for row, end in session.get("before", {}).items() if end > now}
        before[row_of(old.session_key)] = ends.timestamp()
        successor = SessionStore()
        successor.update({**dict(session.items()), **both, **new, "before": before})
        successor.save()
        sealed = keys.encrypt(successor.session_key or "", context=_SEAL)
        old.update({**both, "ends": ends.timestamp(), "step": str(step), "successor": sealed})
        old.save()
        # Its successor is listed in its place.
        SessionOwner.objects.filter(session_key=row_of(old.session_key)).delete()
    return successor


def _own(session: SessionStore) -> None:
    """Remember whose the new *session* is."""
    owner = SessionOwner(
        session_key=row_of(session.session_key),
        user_id=int(session[SESSION_KEY]),
        ends_at=timezone.now() + timedelta(seconds=settings.SESSION_COOKIE_AGE),
    )
    _INSERT_OWNER.run_later(owner)


def all_of(user: User, now: datetime) -> list[tuple[str, dict[str, Any]]]:
    """Return the key of each row that *user* owns, with what it holds, the last used first."""
    store = SessionStore()
    rows = SessionOwner.objects.sessions_of(user, now)[:_MOST_READ]
    return [(row.session_key, store.decode(row.session_data)) for row in rows]


def take(row_key: str) -> dict[str, Any] | None:
    """Delete a row; return what it held, None if there was none."""
    with transaction.atomic():
        row = Session.objects.select_for_update().filter(session_key=row_key).first()
        if row is None:
            return None
        row.delete()
    held: dict[str, Any] = SessionStore().decode(row.session_data)
    return held


def successor_of(ended: Any) -> str | None:
    """Return the id of the session that took the place of *ended*, if one did.

    It is encrypted: whoever reads the table must not be able to come with it.
    """
    try:
        return keys.decrypt(ended["successor"], context=_SEAL) or None
    except (KeyError, keys.UndecryptableError):
        return None


def _fresh() -> QuerySet[Session]:
    return Session.objects.filter(
        session_key=Param("session_key", Session),
        expire_date__gt=Param("now", Session, "expire_date"),
    )


_FRESH = Select(_fresh)
_HELD = Select(lambda: _fresh().select_for_update())
_INSERT, _INSERT_OWNER = Insert(Session), Insert(SessionOwner)
_UPDATE = Update(
    lambda: Session.objects.filter(session_key=Param("session_key", Session)),
    session_data=Param("session_data", Session),
    expire_date=Param("expire_date", Session),
)
