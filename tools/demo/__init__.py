"""What a development start has to look at: a month of life, an attack, and five people who call."""

import random
from datetime import datetime, timedelta

from optin.models import AuditEvent, File, User
from tools.demo.cases import give_number_to_boss, tell_cases
from tools.demo.month import Month, numbers
from tools.demo.story import Story

SEED = 2026
"""The story is always the same; only its end moves, to the time of the first start."""


def is_empty() -> bool:
    """Whether nobody has used this database: history is never added to somebody's own."""
    return not (User.objects.exists() or AuditEvent.objects.exists())


def tell(now: datetime, files: list[File], boss: User, password: str, client: int) -> None:
    """Write the history up to *now*.

    :param boss: the member of staff who is there already: they get a number.
    :param password: the hash of everybody's password.
    :param client: the id of the application through which clients come.
    """
    rng = random.Random(SEED)  # noqa: S311  (no secret)
    story = Story(now)
    month = Month(story, files, password, rng, numbers(rng), client)
    month.tell()
    tell_cases(month, boss)
    story.save()


def tell_of_boss(now: datetime, file: File, boss: User) -> None:
    """Give *boss* alone a number, as if a moment ago."""
    rng = random.Random(SEED)  # noqa: S311
    month = Month(Story(now), [file], "", rng, [], 0)
    give_number_to_boss(month, boss, now - timedelta(seconds=40))
    month.story.save()
