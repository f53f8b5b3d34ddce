"""What the rows of django-oauth-toolkit do not say about the tokens in them."""

from django.db import models
from oauth2_provider.models import AccessToken, RefreshToken


class Renewal(models.Model):
    """An access token that came from a refresh token which was not used up by that.

    The toolkit ties one access token to a refresh token: the first, whose scope is the
    widest that the refresh token can give. By this row the later ones end with it, too.
    """

    access_token = models.OneToOneField(AccessToken, models.CASCADE, primary_key=True)
    refresh_token = models.ForeignKey(RefreshToken, models.CASCADE, related_name="renewals")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"renewal {self.pk}"
