"""The networks from which people sign in."""

from datetime import datetime, timedelta
from typing import ClassVar

from django.db import connection, models

from optin import keys
from optin.database import Bound, Param, Select, run_later
from optin.models.users import User

COARSE = timedelta(days=1)
"""How often the time of a network is written at most."""


class KnownNetworkQuerySet(models.QuerySet["KnownNetwork"]):
    def knows(self, user_id: int, network: str) -> bool:
        """Whether this user has signed in from *network*."""
        return _ONE.row(user_id=user_id, digest=_digest(user_id, network)) is not None

    def remember(self, user_id: int, network: str, now: datetime) -> None:
        """Store that the user signed in from *network*. The caller holds their lock."""
        times = map(connection.ops.adapt_datetimefield_value, (now, now - COARSE))
        run_later(Bound(_REMEMBER, [user_id, _digest(user_id, network), *times]))


class KnownNetwork(models.Model):
    """A network (/24, IPv6: /64) from which somebody has signed in; its address is not kept."""

    user = models.ForeignKey(
        User,
        models.CASCADE,
        related_name="known_networks",
        db_index=False,  # that of the constraint begins with it
    )
    digest = models.CharField(max_length=64)  # keyed, and with the user in it
    last_used_at = models.DateTimeField(db_index=True)

    objects: ClassVar = KnownNetworkQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user", "digest"], name="known_network_once_for_each_user"
            )
        ]

    def __str__(self) -> str:
        return f"known network {self.pk}"


_ONE = Select(
    lambda: KnownNetwork._base_manager.filter(
        user=Param("user_id", KnownNetwork, "user"), digest=Param("digest", KnownNetwork)
    )
)
_REMEMBER = """
INSERT INTO optin_knownnetwork (user_id, digest, last_used_at) VALUES (%s, %s, %s)
ON CONFLICT (user_id, digest) DO UPDATE SET last_used_at = excluded.last_used_at
WHERE optin_knownnetwork.last_used_at <= %s
"""


def _digest(user_id: int, network: str) -> str:
    return keys.digest("network", f"{user_id} {network}")
