"""The service as it runs, with the demo people and with no limits in the way."""

from collections.abc import Iterator

import pytest

from tests.kit.server import development_start
from tests.schema.served import ENVIRONMENT, Served


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("schema")
    with development_start(folder, is_empty=True, **ENVIRONMENT) as start:
        people = {person["username"]: person for person in start.demo["users"]}
        yield Served(start.base_url, start.data, people)
    # What the service could not answer properly it has logged.
    print((folder / "server.log").read_text())
