"""Applications that keep people up to date by SCIM, and whose access they have ended."""

from django.db import models
from oauth2_provider.models import Application

from optin.models.files import File
from optin.models.users import User


class ScimClient(models.Model):
    """An application that may use SCIM. The audit trail says why."""

    application = models.OneToOneField(
        Application, models.CASCADE, primary_key=True, related_name="scim"
    )
    # Without one it is for all files, and for people who are in none.
    file = models.ForeignKey(File, models.PROTECT, null=True, blank=True, related_name="+")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"SCIM of application {self.pk}"


class ScimEnd(models.Model):
    """An application has ended the access of a person by SCIM: only then may it give it back.

    What staff decide afterwards deletes the row.
    """

    application = models.ForeignKey(Application, models.CASCADE, related_name="+")
    user = models.ForeignKey(User, models.CASCADE, related_name="scim_ends")
    # The account, and not only the membership of its file.
    of_account = models.BooleanField(default=False, db_default=False)
    # The application deleted the person: it does not see them any more.
    deleted = models.BooleanField(default=False, db_default=False)

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["application", "user"], name="scim_end_unique")
        ]

    def __str__(self) -> str:
        return f"end of user {self.user_id} by application {self.application_id}"
