"""Authenticator apps and recovery codes: the second factors that need no text.

Numbers, and the codes that are sent to them, are in ``factors``.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import models
from django.db.models import Q
from django_otp.models import DeviceManager

from optin import codes, keys
from optin.database import Delete, Param
from optin.models.devices import FactorDevice
from optin.models.users import User

SET_UP_WITHIN = timedelta(minutes=20)
"""From the secret of an app to its first code: as long as the proofs for a change count."""


class AuthenticatorAppManager(DeviceManager, models.Manager["AuthenticatorApp"]):
    """django-otp's manager of devices, typed."""

    def waiting_of(self, user: User, session: str, now: datetime) -> "AuthenticatorApp | None":
        """The app that *session* of *user* is setting up and has not verified yet.

        Not one of another session or of long ago: somebody else may have begun it and know
        the secret. Also not one whose key has left the ring.
        """
        begun_by = AuthenticatorApp.begun(session)
        fresh = now - SET_UP_WITHIN
        waiting = self.filter(user=user, confirmed=False, begun_by=begun_by, created_at__gt=fresh)
        app = waiting.first()
        return app if app and app.opens() else None


class AuthenticatorApp(FactorDevice):
    """The secret that a user's authenticator app shares with this service.

    ``confirmed`` means verified: signing in needs a code from then on. Removing it deletes
    the row.
    """

    user = models.ForeignKey(User, models.CASCADE, related_name="authenticator_apps")
    confirmed = models.BooleanField(default=False)
    secret_encrypted = models.TextField()
    # The time step of the last right code: no code works twice.
    last_step = models.BigIntegerField(default=0)
    # The step of a right code that counts once the next one is entered (G-03).
    first_step = models.BigIntegerField(default=0, db_default=0)
    # The place at which that code was entered (``Origin.place``), as a keyed digest.
    first_at = models.CharField(max_length=64, blank=True, default="", db_default="")
    begun_by = models.CharField(max_length=64, blank=True)  # a keyed digest of the session
    created_at = models.DateTimeField()
    verified_at = models.DateTimeField(null=True, blank=True)

    objects = AuthenticatorAppManager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user", "confirmed"], name="authenticator_app_one_active_one_waiting"
            ),
            models.CheckConstraint(
                condition=Q(confirmed=True, verified_at__isnull=False)
                | Q(confirmed=False, verified_at__isnull=True),
                name="authenticator_app_active_is_proved",
            ),
        ]

    def __str__(self) -> str:
        return f"authenticator app {self.pk}"

    def step_of(self, code: str, now: datetime) -> int | None:
        """Return the unused time step that *code* is for at *now*, if it is right.

        :raises keys.UndecryptableError: as ``open_secret``.
        """
        return codes.app_step(code, self.open_secret(), now=now, after=self.last_step)

    def is_second(self, step: int, place: str) -> bool:
        """Whether a right code shortly before *step*, at the same *place*, was the first."""
        is_later = 0 < step - self.first_step <= codes.APP_PAIR
        return is_later and self.first_at == self._first_at(place)

    def keep_first(self, step: int, place: str) -> None:
        """Wait for a second code after that of *step*. The caller holds the user's lock."""
        rows = AuthenticatorApp.objects.filter(pk=self.pk)
        rows.update(first_step=step, first_at=self._first_at(place))

    @staticmethod
    def _first_at(place: str) -> str:
        return keys.digest("first of two", place)

    def use(self, step: int) -> None:
        """Let no code of *step* or before count again. The caller holds the user's lock."""
        AuthenticatorApp.objects.filter(pk=self.pk).update(last_step=step, first_step=0)

    @staticmethod
    def begun(session: str) -> str:
        """Return what is kept of the session that began a set-up."""
        return keys.digest("app set-up", session)

    @staticmethod
    def seal(secret: str, user_id: int) -> str:
        """Return *secret* encrypted so that it opens for the same user only."""
        return keys.encrypt(secret, context=f"authenticator app of user {user_id}")

    def seal_anew(self) -> None:
        """Encrypt the secret with the current key. Not saved.

        :raises keys.UndecryptableError: as ``open_secret``.
        """
        self.secret_encrypted = self.seal(self.open_secret(), self.user_id)

    def opens(self) -> bool:
        """Whether its secret can still be read."""
        try:
            self.open_secret()
        except keys.UndecryptableError:
            return False
        return True

    def open_secret(self) -> str:
        """Return the secret in base 32.

        :raises keys.UndecryptableError: wrong ring, or the secret of somebody else.
        """
        context = f"authenticator app of user {self.user_id}"
        return keys.decrypt(self.secret_encrypted, context=context)


class RecoveryCodeManager(models.Manager["RecoveryCode"]):
    def of(self, user: User, code: str) -> "RecoveryCode | None":
        """The row of *user* for the parsed *code*, used or not."""
        return self.filter(user=user, digest=RecoveryCode.digest_of(user, code)).first()

    def unused(self, user: User, code: str) -> "RecoveryCode | None":
        """The row of *user* for the parsed *code*, unless it is used up."""
        found = self.of(user, code)
        return found if found and found.used_at is None else None

    def forget(self, user: User) -> None:
        """Delete the codes of *user*."""
        _FORGET.run_later(user_id=user.pk)

    def left(self, user: User) -> int:
        """How many codes *user* can still use."""
        return self.filter(user=user, used_at=None).count()

    def replace(self, user: User, texts: Iterable[str], now: datetime) -> None:
        """Put the parsed codes *texts* in place of all codes of *user*."""
        self.filter(user=user).delete()
        self.bulk_create(
            RecoveryCode(user=user, digest=RecoveryCode.digest_of(user, text), created_at=now)
            for text in texts
        )


class RecoveryCode(models.Model):
    """One code of a list for the day the phone is lost. The code itself is not here."""

    user = models.ForeignKey(User, models.CASCADE, related_name="recovery_codes")
    # Plain SHA-256: the code is random, so there is nothing to guess from its digest.
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    objects = RecoveryCodeManager()

    def __str__(self) -> str:
        return f"recovery code {self.pk}"

    def use(self, now: datetime) -> None:
        """Let it never count again. The caller holds the lock of the user."""
        RecoveryCode.objects.filter(pk=self.pk).update(used_at=now)

    @staticmethod
    def digest_of(user: User, code: str) -> str:
        return keys.sha256(f"recovery code of user {user.pk}: {code}")


_FORGET = Delete(lambda: RecoveryCode.objects.filter(user=Param("user_id", RecoveryCode, "user")))
