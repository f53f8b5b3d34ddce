"""Workers: in this process, where a test only needs the jobs done, and real ones."""

from collections.abc import Iterator

import pytest
from django.db import connection
from pytest_django import Settings

from tests.workers.jobs import Counted

_TABLES = ("jobs", "periodic_defers", "workers")


@pytest.fixture(autouse=True)
def clock() -> None:
    """Real time, in place of the clock that stands still: other processes have it too."""


@pytest.fixture(autouse=True)
def no_jobs(db: None, _postgresql: None) -> Iterator[None]:
    """Nothing is left of the jobs of another test: no model of ours is behind them."""
    yield
    with connection.cursor() as cursor:
        for table in _TABLES:
            cursor.execute(f"TRUNCATE procrastinate_{table} CASCADE")


@pytest.fixture(autouse=True)
def by_worker(settings: Settings) -> None:
    settings.OPTIN_DELIVERY = "worker"


# -- jobs --------------------------------------------------------------------------


# -- a gateway that counts ---------------------------------------------------------


@pytest.fixture
def gateway() -> Iterator[Counted]:
    counted = Counted()
    yield counted
    counted.close()


# -- real workers ------------------------------------------------------------------


# -- messages ----------------------------------------------------------------------
