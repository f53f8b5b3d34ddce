"""Nothing is sent to this machine, its network, or a cloud's metadata, whatever an address says."""

import socket
import time
from contextlib import closing
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django import Settings

from optin.errors import TooManyEndpoints, UnfitEndpoint
from optin.gateways import call
from optin.messaging import webhooks
from optin.models import File, WebhookEndpoint
from optin.operations import webhooks as endpoints
from optin.runtime import outside
from optin.runtime.lines import Line, NoAnswer
from tests.kit.certificates import Authority
from tests.kit.people import ORIGIN
from tests.kit.wire import hangs, says, serving, trickles
from tests.webhooks.kit import HOST, Client, Names, happen, send

pytestmark = pytest.mark.django_db(transaction=True)


HOME = [
    *("http://127.0.0.1:8099/", "http://localhost:8099/hook", "https://LOCALHOST:8443/"),
    *("http://[::1]:8099/", "http://[::1]/", "https://127.0.0.1/", "https://localhost/"),
]
"""Of this machine: only a development start calls them."""

BAD_URLS = [
    *("http://hooks.example.com/", "ftp://hooks.example.com/", "//hooks.example.com/"),
    *("https://", "https:///hook", "https://localhost./", "http://10.0.0.1/", "http://127.1/"),
    *(
        "http://127.0.0.2/",
        "ftp://localhost/",
        "http://user@localhost/",
        "https://127.1/",
        "https://127.0.0.1./",
        "https://2130706433/",
    ),
    *("https://0x7f000001/", "https://0x7f.0.0.1/", "https://0177.0.0.1/"),
    *("https://017700000001/", "https://127.0.0.0x1/", "https://0/", "https://10.0.0.1/"),
    *("https://169.254.169.254/latest/meta-data/", "https://[::1%25lo]/", "https://[::]/"),
    *("https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/", "https://[fe80::1%25eth0]/"),
    *("https://[64:ff9b::7f00:1]/", "https://[2002:7f00:1::]/"),
    *("https://user@hooks.example.com/", "https://user:secret@hooks.example.com/"),
    *("https://hooks.example.com@127.0.0.1/", "https://hooks.example.com\\@127.0.0.1/"),
    *(f"https://hooks.example.com:{port}/" for port in ("22", "80", "8443", "0", "99999", "x")),
    *("https://hooks.example.com/#part", "https://hooks.example.com\n.evil.example/"),
    *("https://hooks.example.com /", "https://hooks.ex\u00e4mple.com/"),
    *("https://1\u20e3.example.com/", "https://hooks%2eexample.com/"),
    *("https://-hooks.example.com/", "https://hooks..example.com/", "https://hooks.example.com./"),
    f"https://{'a' * 64}.example.com/",
    f"https://{HOST}/{'a' * outside.MAX_URL}",  # the column would not hold it
]
"""Refused by how they look. Nothing is resolved for them."""

NOT_PUBLIC = [
    *("0.0.0.0", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.2"),  # noqa: S104
    *("127.255.255.254", "168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255"),
    *("192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1"),
    *("203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"),
    *("64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "3fff::1"),
    *("3fff:fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%lo"),
    *("fec0::1", "ff02::1"),
]
PUBLIC = ["8.8.8.8", "172.15.255.255", "172.32.0.1", "2606:4700::1111", "2a00:1450::1"]


def stored(file: File, url: str) -> WebhookEndpoint:
    """An endpoint that was not checked, as somebody could write it into the database."""
    now = timezone.now()
    secret = WebhookEndpoint.seal(WebhookEndpoint.new_secret(), file.pk)
    endpoint = WebhookEndpoint.objects.create(
        file=file, url=url, secrets_encrypted=secret, created_at=now, due_at=now
    )
    happen(file)
    return endpoint


def reason(endpoint: WebhookEndpoint) -> str:
    """Why the one attempt at *endpoint* had no answer."""
    (made,) = endpoint.tries.all()
    assert made.status == 0
    return made.reason


def test_refused_by_how_it_looks(file: File, names: Names) -> None:
    for url in BAD_URLS + HOME:
        with pytest.raises(UnfitEndpoint):
            endpoints.make(file, url, origin=ORIGIN)
    assert not names.asked


@pytest.mark.parametrize("url", BAD_URLS[::9] + HOME)
def test_how_it_looks_is_looked_at_again(file: File, names: Names, url: str) -> None:
    endpoint = stored(file, url)
    assert send() == 0
    assert reason(endpoint).startswith(("The address", "The port"))
    assert not names.asked


def test_where_it_leads_is_checked() -> None:
    assert not any(map(outside.is_public, NOT_PUBLIC))
    assert all(map(outside.is_public, PUBLIC))


@pytest.mark.parametrize("address", NOT_PUBLIC[::9])
def test_nothing_is_sent_where_one_address_is_not_public(
    file: File, names: Names, address: str
) -> None:
    names.known[HOST] = ["8.8.8.8", address]
    endpoint = stored(file, f"https://{HOST}/")
    assert send() == 0
    assert reason(endpoint) == "the host name has an address that is not public"


def test_a_name_without_an_address_is_named(file: File, names: Names) -> None:
    names.known[HOST] = []
    endpoint = stored(file, f"https://{HOST}/")
    send()
    assert reason(endpoint) == "the host name has no address"


def test_a_name_that_leads_elsewhere_after_the_check(
    client: Client, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection goes to the address that was checked: the name is asked once."""
    connected: list[object] = []
    connect = socket.create_connection

    def noted(address: tuple[str, int], *args: object) -> socket.socket:
        connected.append(address[0])
        return connect(address, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "create_connection", noted)
    names.asked.clear()
    names.then = lambda: names.known.update({HOST: ["10.0.0.1"]})
    client.happen()

    assert send() == 1

    assert names.asked == [HOST]
    assert connected == ["127.0.0.1"]


def test_the_certificate_must_be_that_of_the_name(client: Client, names: Names) -> None:
    names.known["other.example.com"] = ["127.0.0.1"]
    other = client.endpoint.url.replace(HOST, "other.example.com")
    client.endpoint.delete()
    endpoint = stored(client.endpoint.file, other)
    assert send() == 0
    assert reason(endpoint) == "the endpoint could not be reached (its certificate is not valid)"
    assert not client.server.requests


def test_a_certificate_of_nobody_is_refused(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "trust", call.public_trust)
    client.happen()
    assert send() == 0
    assert "its certificate is not valid" in reason(client.endpoint)


@pytest.mark.parametrize("answer", [hangs, trickles])
@pytest.mark.slow
def test_an_attempt_ends_after_5_seconds(client: Client, answer: object) -> None:
    client.server.answer = answer  # type: ignore[assignment]
    client.happen()
    assert send() == 0
    assert reason(client.endpoint) == "the endpoint did not answer within 5 seconds"


@pytest.mark.slow
def test_a_slow_resolver_ends_after_5_seconds(client: Client, names: Names) -> None:
    names.then = lambda: time.sleep(8)
    client.happen()
    assert send() == 0
    assert reason(client.endpoint) == "the endpoint did not answer within 5 seconds"


def test_of_a_long_answer_little_is_read(client: Client) -> None:
    sent: list[int] = []

    def floods(line: socket.socket) -> None:
        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        for _ in range(10_000):
            line.sendall(b"x" * 10_000)
            sent.append(10_000)

    client.server.answer = floods
    client.happen()
    assert send() == 1
    (made,) = client.tries
    assert made.answer == "x" * 200
    assert sum(sent) < 20_000_000


def test_the_port_must_be_allowed_when_it_is_sent(client: Client, settings: Settings) -> None:
    settings.OPTIN_WEBHOOK_PORTS = (443,)
    client.happen()
    assert send() == 0
    assert reason(client.endpoint) == "The port must be one of: 443."


# -- a development start -----------------------------------------------------------


@pytest.fixture
def development(settings: Settings) -> None:
    settings.DEBUG = True


@pytest.mark.usefixtures("development")
def test_in_development_this_machine_is_fit_and_nothing_else(names: Names) -> None:
    assert [outside.fault(url) for url in HOME] == [""] * len(HOME)
    assert all(map(outside.fault, BAD_URLS))
    names.known[HOST] = ["127.0.0.2"]
    with pytest.raises(outside.NotPublic):
        outside.addresses(HOST, 443)


def test_in_production_this_machine_has_no_name() -> None:
    with pytest.raises(outside.NotPublic):
        outside.addresses("localhost", 443)


@pytest.mark.usefixtures("development")
def test_in_development_an_event_arrives_at_home(file: File) -> None:
    with serving(None, says(204)) as server:
        endpoint = stored(file, server.url)
        assert send() == 1
    assert endpoint.tries.get().status == 204


def test_an_ipv6_address_without_a_port_is_called_whole() -> None:
    called: list[tuple[str, int]] = []

    def dial(host: str, port: int, patience: float) -> socket.socket:
        called.append((host, port))
        raise OSError

    line = Line("http://[::1]/", webhooks.trust(), who="", patience=1, excerpt=0, dial=dial)
    with closing(line), pytest.raises(NoAnswer):
        line.post({}, b"")
    assert called == [("::1", 80)]


@pytest.mark.usefixtures("development")
def test_in_development_an_own_authority_is_believed(
    file: File, authority: Authority, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(certificate, says(204)) as server:
        endpoint = stored(file, server.url)
        assert send() == 0
        assert "its certificate is not valid" in reason(endpoint)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
        endpoints.send_test(endpoint, origin=ORIGIN)
        assert send() == 2  # what failed comes after the test


def test_only_public_authorities_are_believed(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    assert webhooks.trust() is call.public_trust()


def test_a_file_has_at_most_five(file: File, names: Names) -> None:
    for _ in range(5):
        endpoints.make(file, f"https://{HOST}/", origin=ORIGIN)
    with pytest.raises(TooManyEndpoints):
        endpoints.make(file, f"https://{HOST}/", origin=ORIGIN)
