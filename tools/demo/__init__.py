"""What a development start has to look at: two weeks of life, and five people who call."""

import random
from datetime import datetime, timedelta

from optin.models import AuditEvent, File, User
from tools.demo.cases import give_number_to_boss, tell_cases
from tools.demo.story import Story
from tools.demo.weeks import Weeks, numbers

SEED = 2026
"""The story is always the same; only its end moves, to the time of the first start."""


def is_empty() -> bool:
    """Whether nobody has used this database: history is never added to somebody's own."""
    return not (User.objects.exists() or AuditEvent.objects.exists())


def tell(now: datetime, files: list[File], boss: User, password: str) -> None:
    """Write the history up to *now*.

    :param boss: the member of staff who is there already: they get a number.
    :param password: the hash of everybody's password.
    """
    rng = random.Random(SEED)  # noqa: S311  (no secret)
    weeks = Weeks(Story(now), files, password, rng, numbers(rng))
    weeks.tell()
    tell_cases(weeks, boss)
    weeks.story.save()


def tell_of_boss(now: datetime, file: File, boss: User) -> None:
    """Give *boss* alone a number, as if a moment ago."""
    weeks = Weeks(Story(now), [file], "", random.Random(SEED), [])  # noqa: S311
    give_number_to_boss(weeks, boss, now - timedelta(seconds=40))
    weeks.story.save()
