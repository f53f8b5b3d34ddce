"""Mobile numbers as second factors, and the codes that are sent to them.

Authenticator apps and recovery codes are in ``authenticators``.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, Self, TypeVar

from django.db import models
from django.db.models import Exists, F, FilteredRelation, OuterRef, Q
from django.utils.translation import gettext_noop as _
from django_otp.models import DeviceManager

from optin import codes, keys, phones
from optin.conf import CLOCK_SLACK, conf
from optin.database import Insert, Param, Select, Update, run
from optin.models.authenticators import AuthenticatorApp
from optin.models.choices import ChoiceField
from optin.models.devices import FactorDevice
from optin.models.files import File
from optin.models.passkeys import Passkey
from optin.models.users import LOCK, User

M = TypeVar("M", bound=models.Model)

MAX_REFERENCE = 64
"""Characters of a client's own reference."""

REFERENCE = re.compile(f"[!-~]{{1,{MAX_REFERENCE}}}")
"""Matches one."""


Others = tuple[AuthenticatorApp | None, list[Passkey]]
"""The factors of a user that need no text."""


class ProviderUserManager(DeviceManager, models.Manager["ProviderUser"]):
    """django-otp's manager of devices, typed."""

    def of(self, user: User, purpose: "Purpose") -> "list[ProviderUser]":
        """All numbers that *user* has or had, each with its ``open_code`` for *purpose*.

        As rows of that very *user*.
        """
        return _with_codes(user, _ROWS.rows(user_id=user.pk, purpose=purpose))

    def locked_of(
        self, user_id: int, purpose: "Purpose", *, every_factor: bool = False
    ) -> "tuple[User, list[ProviderUser], Others]":
        """Lock a user (``UserQuerySet.locked``); return them and ``of``, as both are by then.

        With the other factors, if they are asked for.
        """
        others = [_OTHERS.bind(user_id=user_id)] if every_factor else []
        rows_of = _ROWS.bind(user_id=user_id, purpose=purpose)
        users, rows, *found = run([LOCK.bind(id=user_id), rows_of, *others])
        if not users:
            raise User.DoesNotExist
        user = users[0]
        return user, _with_codes(user, rows), _others(*found)

    def others_of(self, user: User) -> Others:
        """Return the other factors of *user*."""
        return _others(_OTHERS.rows(user_id=user.pk))

    def has_active(self, user_id: int) -> bool:
        """Whether the user has an active number."""
        return bool(_ACTIVE.rows(user_id=user_id))

    def active_owner(self, number_digest: str) -> "ProviderUser | None":
        """The row of the one user who has this number active."""
        return _OWNER.row(number_digest=number_digest)


class ProviderUser(FactorDevice):
    """One mobile number of one user: the contract's ``ProviderUserId``.

    ``confirmed`` means active: verified and not released.
    """

    id = models.AutoField(primary_key=True)  # the contract's ids are .NET ``int``
    user = models.ForeignKey(User, models.CASCADE, related_name="provider_users")
    file = models.ForeignKey(File, models.PROTECT, related_name="provider_users")
    confirmed = models.BooleanField(default=False)
    number_encrypted = models.TextField()
    number_digest = models.CharField(max_length=64)
    last_three = models.CharField(max_length=3)
    # The client's own reference, from a header of the opt-in. It belongs to the file.
    client_reference = models.CharField(
        max_length=MAX_REFERENCE, blank=True, default="", db_default=""
    )
    created_at = models.DateTimeField()
    verified_at = models.DateTimeField(null=True, blank=True)
    released_at = models.DateTimeField(null=True, blank=True)
    suspended_at = models.DateTimeField(null=True, blank=True)
    # When and how the system before verified it, by the word of the operator who imported it.
    # Empty once a code from it was entered here.
    taken_over_at = models.DateTimeField(null=True, blank=True)
    taken_over_by = models.CharField(
        max_length=MAX_REFERENCE, blank=True, default="", db_default=""
    )

    open_code: "PendingOtp | None" = None  # where ``ProviderUserManager.of`` read it

    objects = ProviderUserManager()

    class Meta:
        verbose_name = "mobile number"
        permissions = [("reveal_number", "Can see a number in full")]
        constraints = [
            models.UniqueConstraint(
                fields=["user", "number_digest"], name="provider_user_one_row_per_number"
            ),
            models.UniqueConstraint(
                fields=["user"],
                condition=Q(confirmed=True),
                name="provider_user_one_active_per_user",
            ),
            models.UniqueConstraint(
                fields=["number_digest"],
                condition=Q(confirmed=True),
                name="provider_user_one_active_owner_per_number",
            ),
            models.CheckConstraint(
                condition=Q(confirmed=True, verified_at__isnull=False, released_at__isnull=True)
                | Q(confirmed=False, verified_at__isnull=True)
                | Q(confirmed=False, released_at__isnull=False),
                name="provider_user_active_is_proved_and_not_released",
            ),
            models.CheckConstraint(
                condition=Q(suspended_at__isnull=True) | Q(confirmed=True),
                name="provider_user_only_an_active_one_is_suspended",
            ),
        ]
        # Texts to a number count over all users (limits).
        indexes = [
            models.Index(fields=["number_digest"], name="provider_user_by_number"),
            models.Index(
                fields=["-id"],
                condition=Q(suspended_at__isnull=False),
                name="provider_user_suspended",
            ),
        ]

    def __str__(self) -> str:
        # No number: __str__ reaches logs, tracebacks and breadcrumbs.
        return f"provider user {self.pk}"

    def insert(self) -> None:
        """Save the new row."""
        _INSERT.run(self)

    def confirm(self, now: datetime) -> None:
        """Make the number active.

        :raises IntegrityError: if somebody else has it active.
        """
        _CONFIRM.run_later(id=self.pk, verified_at=now)

    def release(self, now: datetime) -> None:
        """Make the number inactive, and close its codes. The count of failures is the user's."""
        _RELEASE.run_later(id=self.pk, now=now)
        _CLOSE_ALL.run_later(id=self.pk, now=now)

    @property
    def is_proved(self) -> bool:
        """Whether a code from it was ever entered here, and not only in the system before."""
        return self.verified_at is not None and self.taken_over_at is None

    def prove(self) -> None:
        """Record that a code from a number that was taken over was entered here."""
        _PROVE.run_later(id=self.pk)

    @property
    def masked_number(self) -> str:
        return phones.mask(self.last_three)

    @staticmethod
    def seal(e164: str, user: User) -> str:
        """Return *e164* encrypted so that only its own row of *user* can open it."""
        return keys.encrypt(e164, context=_context(user.pk, ProviderUser.digest_of(e164, user)))

    def seal_anew(self) -> None:
        """Encrypt the number with the current key. Not saved.

        :raises keys.UndecryptableError: as ``open_number``.
        """
        self._seal(self.open_number())

    def _seal(self, e164: str) -> None:
        # For the digest that the row has, whatever the digest key at hand.
        context = _context(self.user_id, self.number_digest)
        self.number_encrypted = keys.encrypt(e164, context=context)

    def open_number(self) -> str:
        """Return the number in E.164, for the gateway.

        :raises keys.UndecryptableError: wrong ring, or the ciphertext of another row.
        """
        return keys.decrypt(
            self.number_encrypted, context=_context(self.user_id, self.number_digest)
        )

    @staticmethod
    def digest_of(e164: str, user: User | None = None) -> str:
        """Return the keyed digest by which a number is found and counted, in hex.

        :param user: whose it is. Of a test account it is another number than everybody else's:
            the numbers for fiction are few, so all integrators use the same ones.
        """
        return keys.digest("number", f"{e164} of {user.pk}" if user and user.is_test else e164)


class Purpose(models.TextChoices):
    """The purpose of a code. A code for one purpose is not accepted for another."""

    OPT_IN = "opt_in", "to verify a number"
    SIGN_IN = "sign_in", _("to sign in")
    OPT_OUT = "opt_out", _("to turn two-factor sign-in off")
    CHANGE = "change", _("to change how you sign in")


class PendingOtpQuerySet(models.QuerySet["PendingOtp"]):
    def open(self) -> Self:
        """Codes that nothing has closed; they may be expired or used up."""
        return self.filter(closed_at=None)

    def close(self, now: datetime, closed_as: "PendingOtp.Closed") -> int:
        """Close the open ones among these; returns how many."""
        return self.open().update(closed_at=now, closed_as=closed_as)


class PendingOtp(models.Model):
    """A code waiting to be verified. The code itself is not here: see ``codes``."""

    class Closed(models.TextChoices):
        VERIFIED = "proved", "Verified"
        SUPERSEDED = "superseded", "A newer code took its place"
        RELEASED = "released", "The number was released"
        OTHER_VERIFIED = "other_proved", "Another number was verified"
        RESTORED = "restored", "The database was restored from a backup"

    provider_user = models.ForeignKey(ProviderUser, models.CASCADE, related_name="pending_otps")
    purpose = ChoiceField(max_length=8, choices=Purpose.choices)
    # Only an opt-in is bound to a file.
    file = models.ForeignKey(File, models.PROTECT, null=True, blank=True, related_name="+")
    nonce = models.CharField(max_length=40, unique=True)
    key_id = models.CharField(max_length=16)
    digits = models.PositiveSmallIntegerField()
    tries = models.PositiveSmallIntegerField(default=0)
    issued_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_as = ChoiceField(max_length=12, choices=Closed.choices, blank=True)

    objects = PendingOtpQuerySet.as_manager()

    class Meta:
        verbose_name = "code"
        indexes = [
            models.Index(
                fields=["issued_at"], condition=Q(purpose="opt_in"), name="pending_otp_opt_ins"
            )
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["provider_user", "purpose"],
                condition=Q(closed_at__isnull=True),
                name="pending_otp_one_open_per_purpose",
            ),
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("issued_at")), name="pending_otp_expires_after_issue"
            ),
            models.CheckConstraint(
                condition=Q(closed_at__isnull=True, closed_as="")
                | (Q(closed_at__isnull=False) & ~Q(closed_as="")),
                name="pending_otp_closed_for_a_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"pending otp {self.pk}"

    def insert(self) -> None:
        """Save the new row."""
        _INSERT_CODE.run(self)

    @classmethod
    def of(cls, row: ProviderUser) -> Self | None:
        """Return the open code that was read with *row*, if it has one."""
        code = _joined(cls, row, "open")
        if code:
            code.provider_user = row
        return code

    def count_try(self) -> None:
        """Add one wrong try. The caller holds the lock of the user."""
        self.tries += 1
        _FAIL.run_later(id=self.pk, tries=self.tries)

    def close_as_verified(self, now: datetime) -> None:
        """Close the code for good: the right one was entered."""
        _CLOSE_AS_VERIFIED.run_later(id=self.pk, now=now)

    def is_expired(self, now: datetime) -> bool:
        """Dead at its lifetime's end, and before its birth: a clock went back then."""
        return now >= self.expires_at or now < self.issued_at - CLOCK_SLACK

    def is_used_up(self) -> bool:
        """Whether it has had all its wrong tries."""
        return self.tries >= conf.otp_tries

    def code(self) -> str:
        """Return the digits, for the text message.

        :raises keys.UndecryptableError: if the key has left the ring.
        """
        return codes.derive(self._binding, kid=self.key_id, digits=self.digits)

    def matches(self, code: str) -> bool:
        """Whether *code* is right; ``provider_user`` must be at hand."""
        return codes.matches(code, self._binding, kid=self.key_id, digits=self.digits)

    @property
    def _binding(self) -> codes.Binding:
        return codes.Binding(
            nonce=self.nonce,
            provider_user_id=self.provider_user_id,
            purpose=self.purpose,
            file_id=self.file_id,
            number_digest=self.provider_user.number_digest,
        )


def _with_codes(user: User, rows: list[ProviderUser]) -> list[ProviderUser]:
    for row in rows:
        row.user = user
        row.open_code = PendingOtp.of(row)
    return rows


def _others(found: Sequence[User] = ()) -> Others:
    """Return what ``_OTHERS`` found: a row for each passkey, and the app in each row."""
    passkeys = [passkey for row in found if (passkey := _joined(Passkey, row, "passkey"))]
    return (_joined(AuthenticatorApp, found[0], "app") if found else None), passkeys


@cache
def _columns(model: type[models.Model]) -> list[str]:
    return [field.attname for field in model._meta.concrete_fields]


def _join(model: type[models.Model], relation: str, name: str) -> dict[str, F]:
    """Return the annotations that read the columns of *model* under *name*: see ``_joined``."""
    return {f"{name}_{column}": F(f"{relation}__{column}") for column in _columns(model)}


def _joined(model: type[M], row: models.Model, name: str) -> M | None:
    """Return the row of *model* that was read with *row* by ``_join``, if there was one."""
    values = [getattr(row, f"{name}_{column}") for column in _columns(model)]
    return model.from_db("default", _columns(model), values) if values[0] is not None else None


def _context(user_id: int, number_digest: str) -> str:
    return f"number {number_digest} of user {user_id}"


_ROWS = Select(
    lambda: (
        ProviderUser._base_manager.filter(user=Param("user_id", ProviderUser, "user"))
        .select_related("sim_answer")
        .annotate(
            open=FilteredRelation(
                "pending_otps",
                condition=Q(
                    pending_otps__closed_at=None, pending_otps__purpose=Param("purpose", PendingOtp)
                ),
            )
        )
        .annotate(**_join(PendingOtp, "open", "open"))
    )
)


def kinds_of(user: str, passkeys: Q | None = None) -> dict[str, Exists]:
    """Return, by kind of second factor, whether the user in the column *user* has one.

    :param passkeys: which passkeys count; by default also those that are not usable.
    """
    kinds: dict[str, models.QuerySet[Any]] = {
        "texts": ProviderUser._base_manager.all(),
        "app": AuthenticatorApp._base_manager.all(),
        "passkey": Passkey._base_manager.filter(passkeys or Q()),
    }
    mine = {"user": OuterRef(user), "confirmed": True}
    return {name: Exists(rows.filter(**mine)) for name, rows in kinds.items()}


def has_factor(user: str = "pk") -> Q:
    """Return the condition that two-factor sign-in of the user in the column *user* is on."""
    return Q(*kinds_of(user).values(), _connector=Q.OR)


_OTHERS = Select(
    lambda: (
        User._base_manager.filter(pk=Param("user_id", User, "id"))
        .annotate(
            app=FilteredRelation(
                "authenticator_apps", condition=Q(authenticator_apps__confirmed=True)
            )
        )
        .annotate(**_join(AuthenticatorApp, "app", "app"), **_join(Passkey, "passkeys", "passkey"))
        .order_by("passkeys__pk")
        .only("id")
    )
)
_HAS_FACTOR = Select(
    lambda: (
        User._base_manager.filter(pk=Param("user_id", User, "id")).filter(has_factor()).only("id")
    )
)
_OWNER = Select(
    lambda: ProviderUser._base_manager.filter(
        number_digest=Param("number_digest", ProviderUser), confirmed=True
    )
)
_ACTIVE = Select(
    lambda: ProviderUser._base_manager.filter(
        user=Param("user_id", ProviderUser, "user"), confirmed=True
    ).only("id")
)
_INSERT, _INSERT_CODE = Insert(ProviderUser), Insert(PendingOtp)
_CONFIRM = Update(
    lambda: ProviderUser._base_manager.filter(pk=Param("id", ProviderUser)),
    confirmed=True,
    verified_at=Param("verified_at", ProviderUser),
    released_at=None,
    taken_over_at=None,
    taken_over_by="",
)
_PROVE = Update(
    lambda: ProviderUser._base_manager.filter(pk=Param("id", ProviderUser)),
    taken_over_at=None,
    taken_over_by="",
)
_RELEASE = Update(
    lambda: ProviderUser._base_manager.filter(pk=Param("id", ProviderUser)),
    confirmed=False,
    released_at=Param("now", ProviderUser, "released_at"),
    suspended_at=None,
)
_CLOSE_ALL = Update(
    lambda: PendingOtp.objects.open().filter(provider_user=Param("id", ProviderUser)),
    closed_at=Param("now", PendingOtp, "closed_at"),
    closed_as="released",
)
_CLOSE_AS_VERIFIED = Update(
    lambda: PendingOtp.objects.open().filter(pk=Param("id", PendingOtp)),
    closed_at=Param("now", PendingOtp, "closed_at"),
    closed_as="proved",
)
_FAIL = Update(
    lambda: PendingOtp.objects.filter(pk=Param("id", PendingOtp)), tries=Param("tries", PendingOtp)
)


def has_active_factor(user: User) -> bool:
    """Whether signing in needs a second factor: ``SecondFactors.is_on``."""
    return bool(_HAS_FACTOR.rows(user_id=user.pk))
