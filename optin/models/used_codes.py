"""Authorization codes that were used."""

from django.db import models


class UsedCode(models.Model):
    """An authorization code that was exchanged for tokens, so that a second use is noticed.

    RFC 6749 4.1.2: if it is used twice, somebody else may have it, and its tokens must end. The
    code itself is not kept. ``purge`` deletes the row a day later.
    """

    digest = models.CharField(max_length=64, primary_key=True)  # SHA-256
    # Shows whether a second use comes from the client that began the first (RFC 7636).
    code_challenge = models.CharField(max_length=128)
    token_family = models.UUIDField()  # of the refresh tokens that it gave
    used_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return "used authorization code"
