"""Real threads, real processes, real time. Only PostgreSQL lets writers race."""

from collections.abc import Iterator

import pytest
from pytest_django.fixtures import Settings

from optin.runtime import hashing
from tests.kit.server import Site, serving
from tests.races.ways import ByHttp


@pytest.fixture(autouse=True)
def clock() -> None:
    """Real time, in place of the clock that stands still: other processes have it too."""


@pytest.fixture(autouse=True)
def no_breaker(settings: Settings) -> None:
    """All numbers here have one prefix. ``serving`` has none either, but where it is asked for."""
    settings.OPTIN_BREAKER_UNPROVED = 0


@pytest.fixture(autouse=True)
def many_hashers(settings: Settings) -> Iterator[None]:
    """All threads may hash at once, as in ``serving``: races are about what comes after."""
    settings.OPTIN_PASSWORD_HASHES = 64
    hashing._turns.cache_clear()
    yield
    hashing._turns.cache_clear()


# -- a server of several processes -------------------------------------------------


@pytest.fixture(scope="package")
def server(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with the default limits, for all tests here that need no others.

    It ends with them: after 5 minutes it would seal what other tests write.
    """
    with serving(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def way(server: Site) -> ByHttp:
    return ByHttp(server)
