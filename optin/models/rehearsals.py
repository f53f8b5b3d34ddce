"""The last rehearsal of each attack, for those who want to see that a promise was tried."""

from django.db import models


class Rehearsal(models.Model):
    """What ``manage limits rehearse --keep`` found for one attack. A newer one takes its place."""

    attack = models.CharField(max_length=20, unique=True)  # a name of ``tools.rehearsals``
    at = models.DateTimeField()
    is_short = models.BooleanField()  # one hour, not six
    bounds = models.JSONField()  # [what was measured, how much, at most], in the report's order
    settings = models.JSONField()  # those that decide, as they were: {name: value}

    def __str__(self) -> str:
        return f"rehearsal of {self.attack}"
