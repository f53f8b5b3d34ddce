"""A sender in a process of its own, killed while it waits for the endpoint (PostgreSQL)."""

import signal
import socket
import time
from pathlib import Path

import pytest
from django.utils import timezone

from optin.models import WebhookEndpoint
from optin.models.webhooks import LEASE
from tests.kit.certificates import Authority
from tests.kit.server import own_process, running_python, until
from tests.kit.wire import says
from tests.webhooks.kit import HOST, Client, send

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgresql]

# As the fixtures do in this process: no setting can.
SENDER = f"""
import ssl, sys
import django
django.setup()
from optin.messaging import webhooks
from optin.runtime import outside
outside.addresses = lambda host, port: ["127.0.0.1"] if host == {HOST!r} else []
context = ssl.create_default_context(cafile=sys.argv[1])
webhooks.trust = lambda: context
webhooks.send_due(seconds=10)
"""


@pytest.fixture(autouse=True)
def clock() -> None:
    """Real time, which the other process has too."""


def test_the_next_sends_it_again_under_the_same_id(
    client: Client, authority: Authority, tmp_path: Path
) -> None:
    client.server.answer = hangs
    client.happen()
    port = str(client.server.listener.getsockname()[1])
    environment = own_process(tmp_path, OPTIN_WEBHOOK_PORTS=port)
    log = tmp_path / "sender.log"
    with running_python("-c", SENDER, str(authority.path), env=environment, log=log) as sender:
        until(lambda: bool(client.server.requests) or sender.poll() is not None)
        assert client.server.requests, log.read_text()
        sender.send_signal(signal.SIGKILL)
        sender.wait()

    client.server.answer = says(200)
    assert send() == 0  # it counts as being sent
    WebhookEndpoint.objects.update(claimed_at=timezone.now() - LEASE)
    assert send() == 1
    first, second = client.server.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    assert len(client.received()) == 2


def hangs(line: socket.socket) -> None:
    time.sleep(30)
