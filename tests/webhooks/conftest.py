"""An endpoint of a client: a real TLS server on this machine, under a name of its own."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from optin.messaging import webhooks
from optin.models import File
from optin.operations import webhooks as endpoints
from optin.runtime import outside
from tests.kit.certificates import Authority
from tests.kit.people import ORIGIN
from tests.kit.wire import Server, says, serving
from tests.webhooks.kit import HOST, Client, Names


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def certificate(authority: Authority) -> Path:
    return authority.certificate("hooks", host=HOST)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """What each host name resolves to. ``HOST`` is this machine, which counts as public."""
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
    is_public = outside.is_public
    monkeypatch.setattr(outside, "is_public", lambda a: a == "127.0.0.1" or is_public(a))
    return names


@pytest.fixture
def server(
    names: Names,
    authority: Authority,
    certificate: Path,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Server]:
    """Answers at ``HOST`` with 200, until a test says otherwise."""
    context = ssl.create_default_context(cafile=authority.path)
    monkeypatch.setattr(webhooks, "trust", lambda: context)
    with serving(certificate, says(200, "thanks")) as server:
        settings.OPTIN_WEBHOOK_PORTS = (443, server.listener.getsockname()[1])
        yield server


@pytest.fixture
def client(server: Server, file: File) -> Client:
    """A client with an endpoint for ``file``."""
    port = server.listener.getsockname()[1]
    endpoint, secret = endpoints.make(file, f"https://{HOST}:{port}/hook", origin=ORIGIN)
    return Client(endpoint, secret, server)
