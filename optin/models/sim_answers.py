"""What a provider said about the SIM of a number."""

from datetime import datetime

from django.db import models

from optin.conf import conf
from optin.conf.sim_swaps import ENFORCE
from optin.database import Insert
from optin.models.factors import ProviderUser, Purpose


class SimAnswer(models.Model):
    """The last answer to "was the SIM of this number swapped?".

    A question without an answer does not change the row: "swapped" counts until its end, or until
    the provider says no.
    """

    number = models.OneToOneField(
        ProviderUser, models.CASCADE, primary_key=True, related_name="sim_answer"
    )
    asked_at = models.DateTimeField()
    is_known = models.BooleanField(default=True)  # the provider knows the number
    swapped_until = models.DateTimeField()  # in the past if it was not swapped
    let_through_until = models.DateTimeField(null=True, blank=True)  # by staff, for one sign-in

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"answer about the SIM of provider user {self.number_id}"

    @classmethod
    def of(cls, number: ProviderUser) -> "SimAnswer | None":
        """Return the last answer about *number*, if it was asked since the number was verified."""
        row: SimAnswer | None = getattr(number, "sim_answer", None)
        return row if row and row.is_about(number) else None

    @classmethod
    def against(cls, number: ProviderUser, now: datetime) -> "SimAnswer | None":
        """Return the "swapped" that stops texts to the active *number* now, if there is one."""
        if conf.sim_swap != ENFORCE:
            return None
        found = cls.of(number)
        return found if found and found.is_swapped(now) else None

    def is_about(self, number: ProviderUser) -> bool:
        """Whether it was asked about *number*, since that was verified."""
        since = number.verified_at
        return bool(self.number_id == number.pk and since and self.asked_at >= since)

    def is_swapped(self, now: datetime) -> bool:
        return now < self.swapped_until

    def lets_through(self, purpose: str, now: datetime) -> bool:
        """Whether staff let a sign-in through."""
        until = self.let_through_until
        return purpose == Purpose.SIGN_IN and until is not None and now < until

    def keep(self) -> None:
        """Store it in place of the answer before."""
        _KEEP.run_later(self)

    def use(self) -> None:
        """End the permission of staff: a sign-in used it."""
        SimAnswer.objects.filter(pk=self.pk).update(let_through_until=None)


_KEEP = Insert(
    SimAnswer,
    or_else="""ON CONFLICT (number_id) DO UPDATE SET asked_at = excluded.asked_at,
is_known = excluded.is_known, swapped_until = excluded.swapped_until,
let_through_until = excluded.let_through_until""",
)
