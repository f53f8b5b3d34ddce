"""Facts about tokens and clients for which django-oauth-toolkit has no column."""

from django.db import models
from oauth2_provider.models import AccessToken, Application, RefreshToken


class Renewal(models.Model):
    """An access token from a refresh that did not replace the refresh token.

    The toolkit ties one access token to a refresh token: the first, whose scope is the
    widest that the refresh token can give. This row ties a later one to
    it, so that both end together.
    """

    access_token = models.OneToOneField(AccessToken, models.CASCADE, primary_key=True)
    refresh_token = models.ForeignKey(RefreshToken, models.CASCADE, related_name="renewals")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"renewal {self.pk}"


class TrustedClient(models.Model):
    """A confidential client that may name the address of its user. The audit trail says why."""

    application = models.OneToOneField(
        Application, models.CASCADE, primary_key=True, related_name="trust"
    )

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"trust in application {self.pk}"
