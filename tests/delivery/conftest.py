"""A server that may do anything."""

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.kit.wire import Server, says

TAKEN = f'{{"messages": [{{"id": "m-1"}}], "sid": "SM{"d4" * 16}"}}'
"""What the gateways ``http`` and ``twilio`` answer."""


@pytest.fixture
def server() -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(listener, says(200, TAKEN))
        threading.Thread(target=server.run, daemon=True).start()
        yield server
        server.stopped.set()
        listener.shutdown(socket.SHUT_RDWR)
