"""Workers: in this process, where a test only needs the jobs done, and real ones."""

from collections.abc import Iterator

import pytest
from django.db import connection
from pytest_django import Settings

from tests.kit.server import until
from tests.workers.jobs import Counted


@pytest.fixture(autouse=True)
def clock() -> None:
    """Real time, in place of the clock that stands still: other processes have it too."""


@pytest.fixture(autouse=True)
def others_are_done(db: None, _postgresql: None) -> Iterator[None]:
    """What a killed worker asked last comes before the flush, not into the next test."""
    yield
    until(lambda: not _others_are_busy())


def _others_are_busy() -> bool:
    """Whether another connection to this database does something."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND state <> 'idle')"
        )
        (busy,) = cursor.fetchone()
    return bool(busy)


@pytest.fixture(autouse=True)
def by_worker(settings: Settings) -> None:
    settings.OPTIN_DELIVERY = "worker"


@pytest.fixture
def gateway() -> Iterator[Counted]:
    counted = Counted()
    yield counted
    counted.close()
