"""Passkeys and security keys: second factors that a fake page cannot use."""

from datetime import datetime

from django.db import models
from django.db.models import Q
from django_otp.models import DeviceManager

from optin import passkeys
from optin.models.devices import FactorDevice
from optin.models.users import User

MAX_NAME = 40
"""Characters of a name."""

MOST_PASSKEYS = 10
"""How many one person can have."""


class PasskeyManager(DeviceManager, models.Manager["Passkey"]):
    """django-otp's manager of devices, typed."""

    def of(self, user: User) -> "list[Passkey]":
        """The passkeys of *user*, the oldest first."""
        return list(self.filter(user=user).order_by("pk"))


class Passkey(FactorDevice):
    """The public key of one passkey. The person keeps the private key.

    Removing it deletes the row.
    """

    user = models.ForeignKey(User, models.CASCADE, related_name="passkeys")
    name = models.CharField(max_length=MAX_NAME)  # as the person calls it
    rp_id = models.CharField(max_length=253)  # the host of ``BASE_URL`` then
    credential_id = models.CharField(max_length=passkeys.MAX_CREDENTIAL_ID, unique=True)
    public_key = models.TextField()  # COSE, in base64url
    sign_count = models.PositiveBigIntegerField()  # 0 if the authenticator does not count
    can_be_backed_up = models.BooleanField()  # it can be synced to the person's other devices
    is_backed_up = models.BooleanField()
    transports = models.CharField(max_length=100, blank=True)
    created_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True)

    objects = PasskeyManager()

    def __str__(self) -> str:
        return f"passkey {self.pk}"

    @property
    def verified_at(self) -> datetime:
        """When it was added: its first signature was verified then."""
        return self.created_at

    @property
    def is_usable(self) -> bool:
        """Whether it is accepted. Browsers use it only at the host for which it was made."""
        return self.rp_id == passkeys.rp_id()

    @staticmethod
    def usable() -> Q:
        """Return the condition by which rows are usable."""
        return Q(rp_id=passkeys.rp_id())

    def use(self, sign_count: int, now: datetime, *, is_backed_up: bool) -> None:
        """Store what the last valid assertion said. The caller holds the user's lock."""
        Passkey.objects.filter(pk=self.pk).update(
            sign_count=sign_count, is_backed_up=is_backed_up, last_used_at=now
        )
