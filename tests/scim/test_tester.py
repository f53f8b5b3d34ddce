"""``scim2-tester``, which nobody here wrote, against the service as it runs."""

from pathlib import Path

import pytest
from httpx2 import Client

from tests.kit.scim import make_provider
from tests.kit.server import running

pytestmark = [
    pytest.mark.slow,
    pytest.mark.postgresql,
    pytest.mark.django_db(transaction=True),
]


@pytest.fixture(autouse=True)
def clock() -> None:
    """Real time: the server has it too, and refuses a token of a month ago."""


def test_scim2_tester_finds_nothing_wrong(tmp_path: Path) -> None:
    """A search over people and groups at once is left out, as RFC 7644 allows."""
    # Here, as to load it takes a quarter of the time in which all tests are collected.
    from scim2_client.engines.httpx2 import SyncSCIMClient
    from scim2_tester import Status, check_server

    headers = {"Authorization": f"Bearer {make_provider().token}"}
    with running(tmp_path) as site:
        address = f"http://127.0.0.1:{site.port}/scim/v2"
        with Client(base_url=address, headers=headers, timeout=60) as line:
            results = check_server(SyncSCIMClient(line))

    found = {status: [each for each in results if each.status is status] for status in Status}
    assert [(each.title, each.reason) for each in found[Status.ERROR]] == []
    assert len(found[Status.SUCCESS]) > 30
    assert {each.title for each in found[Status.SKIPPED]} == {"search_with_attributes"}
