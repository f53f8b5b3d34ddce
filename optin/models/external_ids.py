"""Who people are in the system that they came from."""

from django.core.exceptions import ValidationError
from django.db import models

from optin.models.users import User


class ExternalId(models.Model):
    """The id of a person in that system, by which a second import finds them again."""

    user = models.OneToOneField(User, models.CASCADE, primary_key=True, related_name="external")
    text = models.CharField(max_length=255, unique=True)

    class Meta:
        default_permissions = ()
        constraints = [
            models.CheckConstraint(condition=~models.Q(text=""), name="external_id_never_empty")
        ]

    def __str__(self) -> str:
        return f"external id of user {self.pk}"

    def clean(self) -> None:
        """Refuse what no import reads."""
        if not self.text.isprintable() or self.text != self.text.strip():
            why = "It has blanks around it, or a character that cannot be printed."
            raise ValidationError({"text": why})
