"""People who sign in."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser, UserManager
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.db.models.lookups import Exact
from django.utils import timezone
from oauth2_provider.models import AccessToken, RefreshToken, get_grant_model

from optin.conf import MAX_FAILURES, conf
from optin.database import Delete, Param, Select, Update, run


class UserQuerySet(models.QuerySet["User"]):
    def locked(self, pk: int) -> "User":
        """Re-read the user under a row lock: what the caller holds may be stale.

        Every operation on a user takes this lock first (many with ``locked_of``), so they queue
        up and N parallel attempts cost N failures. The lock leaves foreign keys alone (``NO
        KEY``): others may still insert rows that point at the user.
        """
        user = LOCK.row(id=pk)
        if user is None:
            raise User.DoesNotExist
        return user

    def by_login(self, name: str) -> "User | None":
        """The user who signs in as *name*: a user name or an email, in any case.

        Somebody's user name comes before somebody else's email.
        """
        if not name:
            return None
        by_name, by_email = run([_BY_NAME.bind(name=name), _BY_EMAIL.bind(name=name)])
        return next(iter([*by_name, *by_email]), None)


class UserManagerWithLock(UserManager["User"].from_queryset(UserQuerySet)):  # type: ignore[misc]
    pass


ERASED = "erased-"
"""How the names of erased people begin, before the id."""

MOST = 32_767
"""The largest value of the column of a count."""


@dataclass(frozen=True, slots=True)
class WrongCodes:
    """One of a user's two counts of wrong codes in a row, and what it led to.

    ``User.programs`` counts what comes by an access key or a token, ``User.own`` all else. So
    somebody with a key can lock out programs, but not the owner (S-07). The caller saves.
    """

    user: "User"
    column: str  # how the names of its columns begin

    @property
    def failures(self) -> int:
        return int(getattr(self.user, f"{self.column}_failures"))

    @property
    def locked_until(self) -> datetime | None:
        until: datetime | None = getattr(self.user, f"{self.column}_locked_until")
        return until

    @property
    def disabled_at(self) -> datetime | None:
        at: datetime | None = getattr(self.user, f"{self.column}_disabled_at")
        return at

    def locked_for(self, now: datetime) -> timedelta | None:
        """How long it lets no code be heard, or nothing."""
        if self.locked_until is None or now >= self.locked_until:
            return None
        return self.locked_until - now

    def bars(self, now: datetime) -> bool:
        """Whether it lets no texted code be heard."""
        return bool(self.disabled_at or self.locked_for(now))

    def add(self) -> None:
        """Count a wrong code.

        At the maximum, it goes back by ``lock_after``, so that the next multiple still locks.
        """
        failures = self.failures + 1
        self.set(failures=failures if failures <= MOST else failures - conf.lock_after)

    def set(self, **changes: Any) -> None:
        for name, value in changes.items():
            setattr(self.user, f"{self.column}_{name}", value)

    def forget(self) -> None:
        """Start again: a right code was entered. A disabling stays."""
        self.set(failures=0, locked_until=None)


class User(AbstractUser):  # type: ignore[django-manager-missing]
    """A person, and the counts of their wrong codes.

    This row is the lock for everything that hangs off it: an operation locks it
    before it reads or writes the user's factors and pending codes.
    """

    # Here, not on a code or a number: "generating a new authentication secret SHALL NOT
    # reset the failed authentication count" (NIST SP 800-63B-4 3.1.3.2).
    otp_failures = models.PositiveSmallIntegerField(default=0)
    otp_locked_until = models.DateTimeField(null=True, blank=True)
    otp_disabled_at = models.DateTimeField(null=True, blank=True)
    # The same of what came by an access key or a token.
    program_failures = models.PositiveSmallIntegerField(default=0, db_default=0)
    program_locked_until = models.DateTimeField(null=True, blank=True)
    program_disabled_at = models.DateTimeField(null=True, blank=True)
    # When the last wrong code of the app is forgotten: each adds its part of
    # ``conf.app_failures``. No right code takes from it.
    app_failures_until = models.DateTimeField(null=True, blank=True)
    # Part of the session hash: adding one ends all sessions in one statement.
    session_epoch = models.PositiveIntegerField(default=0)
    # When sign-ins were last ended, those too that wait for a code: a password that was right
    # before opens nothing (S-36).
    sign_ins_ended_at = models.DateTimeField(null=True, blank=True)
    # When a password was last chosen by a mailed link: whoever reads the mailbox can do that.
    password_mailed_at = models.DateTimeField(null=True, blank=True)
    # The address when the person last followed a link that was mailed to it. If the address changes
    # in another way, the two differ.
    proved_email = models.EmailField(blank=True, default="", db_default="")
    # The last attempt of a session that was compared, and what came of it: a form that is
    # sent twice is one attempt. A keyed digest (``verification.attempt_digest``).
    last_attempt = models.CharField(max_length=64, blank=True)
    last_attempt_as = models.CharField(max_length=32, blank=True)
    last_attempt_at = models.DateTimeField(null=True, blank=True)
    # When the last challenge that a passkey answered was made: only a later one counts.
    passkey_challenge_at = models.DateTimeField(null=True, blank=True)
    # On the sign-in page, text a code at once, though there is another factor.
    text_first = models.BooleanField(default=False, db_default=False)
    # It belongs to sandboxes only (``tenants.add_member``). Chosen when the account is made.
    is_test = models.BooleanField("test account", default=False, db_default=False)
    # By an application for SCIM of one file. An import or an application of all files may take them
    # for somebody else: only staff give them rights.
    named_for_one_file = models.BooleanField(default=False, db_default=False)
    # Of mails and texts that no page caused, as an import said; "" for the service's own.
    language = models.CharField(max_length=8, blank=True, default="", db_default="")
    # When the newest invitation was made, and when a password was chosen by its link. A
    # deactivation ends it, and so does a restore where the link would work.
    invited_at = models.DateTimeField(null=True, blank=True)
    invitation_used_at = models.DateTimeField(null=True, blank=True)

    objects: ClassVar[UserManagerWithLock] = UserManagerWithLock()

    class Meta:
        verbose_name = "account"
        permissions = [
            ("act_on_accounts", "Can suspend, resume, unlock, send again, and revoke later"),
            ("revoke_at_once", "Can remove all second factors at once"),
            ("give_roles", "Can make people staff, and end that"),
        ]
        indexes = [
            models.Index(fields=["-id"], condition=Q(is_staff=True), name="user_who_is_staff")
        ]
        constraints = [
            models.UniqueConstraint(Lower("username"), name="user_name_unique_without_case"),
            models.UniqueConstraint(
                Lower("email"), condition=~Q(email=""), name="user_email_unique_without_case"
            ),
            models.CheckConstraint(condition=~Q(username=""), name="user_name_never_empty"),
            # Its codes are shown on a page.
            models.CheckConstraint(
                condition=Q(is_test=False) | Q(is_staff=False, is_superuser=False),
                name="user_test_account_is_no_staff",
            ),
        ]

    def __str__(self) -> str:
        return f"user {self.pk}"

    def clean(self) -> None:
        """Refuse a new name that an erased person could have: nothing more of them is deleted."""
        super().clean()
        if self.username.lower().startswith(ERASED):
            raise ValidationError({"username": f"It must not begin with {ERASED}"})

    @property
    def handle(self) -> str:
        """The user handle of passkeys (WebAuthn), and the ``sub`` of OpenID Connect.

        It does not tell who the user is, and nobody else ever gets it. After a restore, somebody
        new can get the id of a person whom the database has lost. The time tells them apart.
        """
        return f"{self.pk}-{int(self.date_joined.timestamp())}"

    @property
    def own(self) -> WrongCodes:
        return WrongCodes(self, "otp")

    @property
    def programs(self) -> WrongCodes:
        return WrongCodes(self, "program")

    @property
    def failures(self) -> int:
        """Wrong codes in a row, by whomever: of these NIST has a ceiling."""
        return self.own.failures + self.programs.failures

    @property
    def can_unlock(self) -> bool:
        """Whether wrong codes led to anything that staff can end."""
        counts = (self.own, self.programs)
        return any(count.failures or count.locked_until or count.disabled_at for count in counts)

    def takes_two_codes(self, now: datetime) -> bool:
        """Whether one code of the app is not enough (G-03)."""
        return self.failures >= MAX_FAILURES or self.two_codes_until(now) is not None

    def two_codes_until(self, now: datetime) -> datetime | None:
        """Until when ``conf.app_failures`` lets the app take two codes in a row, if it does."""
        if self.app_failures_until is None:
            return None
        until = self.app_failures_until - timedelta(seconds=conf.app_failures.seconds) + _part()
        return until if now < until else None

    def count_app_failure(self, now: datetime) -> datetime:
        """Count a wrong code of the app; return when it is forgotten. The caller saves."""
        self.app_failures_until = max(self.app_failures_until or now, now) + _part()
        return self.app_failures_until

    def save_counts(self) -> None:
        """Save the counts of this row. The caller holds its lock, so nobody's are lost."""
        _COUNTS.run_later(id=self.pk, **{name: getattr(self, name) for name in _COUNTED})

    def unlock(self) -> bool:
        """End what wrong codes led to, and start both counts again. The caller holds the lock.

        :returns: whether there was anything to end.
        """
        if not self.can_unlock:
            return False
        for count in (self.own, self.programs):
            count.forget()
            count.set(disabled_at=None)
        self.save_counts()
        return True

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save; a new password or a deactivation ends what was signed in before.

        In one transaction, also with what is recorded of it by a signal.

        The counts are left out: a form or a command that read this row a while ago would
        put them back. Only operations write them, under the lock.
        """
        if self._state.adding:
            with transaction.atomic():
                super().save(*args, **kwargs)
            return
        if kwargs.get("update_fields") is None:
            kwargs["update_fields"] = [
                field.name
                for field in self._meta.concrete_fields
                if not field.primary_key and field.name not in _COUNTED
            ]
        if not self.is_active:
            self.invited_at = self.invitation_used_at = None
            kwargs["update_fields"] = {*kwargs["update_fields"], "invited_at", "invitation_used_at"}
        ends_sign_ins = self._password is not None or not self.is_active  # type: ignore[attr-defined]
        # One transaction: a refresh that waits for this row finds its token revoked.
        with transaction.atomic():
            super().save(*args, **kwargs)
            if ends_sign_ins:
                now = timezone.now()
                self.end_sign_ins(now)
                self.email_changes.open().close(now, self.email_changes.model.Closed.SECURED)
                self.revocations.own().close(now, self.revocations.model.Closed.SECURED)
            if not self.is_active:
                # They work for nobody inactive, and must not work again after a reactivation.
                AccessToken.objects.filter(user=self).delete()

    def end_sign_ins(self, now: datetime, *, waiting: bool = True) -> None:
        """End all sessions, refresh tokens and authorization codes made until now.

        Access tokens live on for their hour: the client that acts for the user here
        is often the one that asked for the change.

        :param waiting: as for ``end_sessions``.
        """
        self.end_sessions(now, waiting=waiting)
        self.revoke_grants(now)

    def end_sessions(self, now: datetime, *, waiting: bool = True) -> None:
        """End all sessions made until now.

        :param waiting: also sign-ins that wait for a code. What a session alone can ask for must
            not end them: whoever stole its cookie would keep the owner out (G-02).
        """
        self.sign_ins_ended_at = now if waiting else self.sign_ins_ended_at
        User.objects.filter(pk=self.pk).update(
            session_epoch=F("session_epoch") + 1, sign_ins_ended_at=self.sign_ins_ended_at
        )
        self.session_epoch += 1
        # One of these sessions may have asked for its secret.
        self.authenticator_apps.filter(confirmed=False).delete()
        self.forget_attempt()

    def forget_attempt(self) -> None:
        """Let no session repeat what it proved a moment ago (``verification.repeated``)."""
        User.objects.filter(pk=self.pk).update(last_attempt="")
        self.last_attempt = ""

    def revoke_grants(self, now: datetime) -> None:
        """Revoke the refresh tokens and authorization codes made until now."""
        _REVOKE.run_later(user_id=self.pk, now=now)
        _DELETE_GRANTS.run_later(user_id=self.pk)

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        base: str = super()._get_session_auth_hash(secret)  # type: ignore[misc]
        return f"{base}{self.session_epoch}"


def note_sign_in(user: User, **signal: Any) -> None:
    """Store when *user* signed in on a page."""
    user.last_login = timezone.now()
    _SIGNED_IN.run_later(id=user.pk, last_login=user.last_login)


def _part() -> timedelta:
    """In how long one wrong code of an app is forgotten."""
    return timedelta(seconds=conf.app_failures.seconds) / conf.app_failures.count


LOCK = Select(
    lambda: User._base_manager.select_for_update(no_key=True).filter(pk=Param("id", User))
)
# The expressions of the unique indexes, so that PostgreSQL uses them.
_BY_NAME = Select(
    lambda: User._base_manager.filter(
        Exact(Lower("username"), Lower(Param("name", User, "username")))
    )
)
_BY_EMAIL = Select(
    lambda: User._base_manager.filter(
        Exact(Lower("email"), Lower(Param("name", User, "email")))
    ).exclude(email="")
)
_COUNTED = (
    "otp_failures",
    "otp_locked_until",
    "otp_disabled_at",
    "program_failures",
    "program_locked_until",
    "program_disabled_at",
    "app_failures_until",
    "session_epoch",
    "sign_ins_ended_at",
    "last_attempt",
    "last_attempt_as",
    "last_attempt_at",
    "passkey_challenge_at",
)
_COUNTS = Update(
    lambda: User._base_manager.filter(pk=Param("id", User)),
    **{name: Param(name, User) for name in _COUNTED},
)
_SIGNED_IN = Update(
    lambda: User._base_manager.filter(pk=Param("id", User)), last_login=Param("last_login", User)
)
_REVOKE = Update(
    lambda: RefreshToken.objects.filter(user=Param("user_id", RefreshToken, "user"), revoked=None),
    revoked=Param("now", RefreshToken, "revoked"),
)
_DELETE_GRANTS = Delete(
    lambda: get_grant_model().objects.filter(user=Param("user_id", get_grant_model(), "user"))
)
