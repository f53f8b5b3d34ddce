"""The gateway ``http``, against a real server on this machine that may do anything."""

import json
import logging
import socket
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from django.conf import LazySettings
from django.utils import timezone

from optin import gateways
from optin.gateways import Fate, Http, Kannel, SmsError, Text
from optin.gateways.call import MAX_ANSWER, trust
from optin.messaging import delivery
from optin.models import File, SmsMessage, User
from optin.models.messages import State
from optin.operations import opt_ins
from optin.outcomes import SendOutcome
from tests.kit.certificates import Authority, tls
from tests.kit.gateways import made
from tests.kit.people import NUMBER, ORIGIN
from tests.kit.wire import (
    AWKWARD,
    BODY,
    CODE,
    KEY,
    REFERENCE,
    Answer,
    Server,
    hangs,
    in_5_seconds,
    no_call_is_left,
    says,
    trickles,
)

JSON = '{"to": "{to}", "from": "{sender}", "text": "{body}"}'


def gateway(server: Server, **changes: Any) -> Http:
    options: dict[str, Any] = {
        "url": server.url,
        "headers": [("Authorization", f"Bearer {KEY}")],
        "body": JSON,
        "sender": "Books",
        "id": "messages.0.id",
    }
    return made(Http, **options | changes)


def send(http: Http, **changes: Any) -> str:
    return http.send(Text(**{"to": NUMBER, "body": BODY, "reference": REFERENCE} | changes))


# -- what is sent ------------------------------------------------------------------


def test_a_text_is_one_post_with_the_headers_and_the_body_of_the_settings(server: Server) -> None:
    send(gateway(server, headers=[("authorization", f"Bearer {KEY}"), ("X-Account", "42")]))

    [request] = server.requests
    assert request.line == f"POST /send?key={KEY} HTTP/1.1"
    assert {name.lower(): value for name, value in request.headers.items()} == {
        "host": f"127.0.0.1:{server.listener.getsockname()[1]}",
        "authorization": f"Bearer {KEY}",
        "x-account": "42",
        "content-type": "application/json",
        "content-length": str(len(request.body)),
        "accept-encoding": "identity",
        "user-agent": "optin",
        "idempotency-key": REFERENCE,
    }
    assert json.loads(request.body) == {"to": NUMBER, "from": "Books", "text": BODY}


@pytest.mark.parametrize("text", AWKWARD)
def test_json_takes_any_text_as_it_is(server: Server, text: str) -> None:
    template = """
        {"messages": [{"to": ["{to}"], "text": "<{body}>", "n": 1, "t": true, "u": null}],
         "{to}": "{nothing} {{} {0} {to!r}"}
    """
    send(gateway(server, body=template), body=text)
    assert json.loads(server.requests[0].body) == {
        "messages": [{"to": [NUMBER], "text": f"<{text}>", "n": 1, "t": True, "u": None}],
        "{to}": "{nothing} {{} {0} {to!r}",
    }


@pytest.mark.parametrize("text", AWKWARD)
def test_a_form_takes_any_text_as_it_is(server: Server, text: str) -> None:
    form = [("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")]
    template = "to={to}&text={body}&from={sender}&ref=r-{reference}&empty="
    send(gateway(server, headers=form, body=template), body=text)

    [request] = server.requests
    assert request.headers["Content-Type"] == form[0][1]
    assert parse_qsl(request.body.decode(), keep_blank_values=True) == [
        ("to", NUMBER),
        ("text", text),
        ("from", "Books"),
        ("ref", f"r-{REFERENCE}"),
        ("empty", ""),
    ]


def test_no_proxy_and_no_password_come_from_the_environment(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password letmein\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    send(gateway(server, headers=[]))

    assert "Authorization" not in server.requests[0].headers


# -- what is answered --------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "fate"),
    [
        *[(status, Fate.REFUSED) for status in (400, 422, 499)],
        *[(status, Fate.TRY_ANOTHER) for status in (300, 307, 401, 404, 429, 503)],
        *[(status, Fate.UNKNOWN) for status in (409, 500, 599)],
    ],
)
def test_a_status_tells_what_became_of_the_text(server: Server, status: int, fate: Fate) -> None:
    """S-44. The reason holds the status alone: the answer could repeat number and code.

    And no redirect is followed.
    """
    server.answer = says(status, f"{NUMBER}: {BODY}", f"Location: {server.url}")
    with pytest.raises(SmsError) as caught:
        send(gateway(server))
    assert (str(caught.value), caught.value.fate) == (f"the gateway answered {status}", fate)
    assert server.connections == 1


@pytest.mark.parametrize(
    ("path", "answer", "theirs"),
    [
        ("messages.1.id", '{"messages": [{"id": "m-1"}, {"id": "m-2"}]}', "m-2"),
        ("id", '{"id": 4711}', "4711"),
        ("a.0", '{"a": {"0": "key"}}', "key"),
        ("", '{"id": "m-1"}', ""),
    ],
)
def test_the_id_is_read_from_where_a_setting_says(
    server: Server, path: str, answer: str, theirs: str
) -> None:
    server.answer = says(202, answer)
    assert send(gateway(server, id=path)) == theirs


@pytest.mark.parametrize(
    "answer",
    [
        b"\xff\xfe\x00",
        b"17",
        b'{"id": true}',
        b'{"id": ""}',
        b'{"error": "insufficient credit"}',
        b"[" * 60_000,
        b'{"id": "m-1", "x": "' + b"x" * MAX_ANSWER + b'"}',
    ],
    ids=lambda answer: repr(answer[:24]),
)
def test_without_the_id_that_a_setting_names_a_2xx_is_an_unknown_attempt(
    server: Server, answer: bytes
) -> None:
    server.answer = says(200, answer)
    assert not_taken(gateway(server, id="id"))


def not_taken(http: Http) -> bool:
    with pytest.raises(SmsError) as caught:
        send(http)
    assert str(caught.value) == "the gateway answered 200, but not that it took the text"
    return caught.value.fate is Fate.UNKNOWN


@pytest.mark.parametrize("answer", ["", "4: Bad"])
def test_without_kannels_own_words_a_2xx_is_an_unknown_attempt(server: Server, answer: str) -> None:
    kannel = made(Kannel, url=server.url, user="optin", password=KEY)
    text = Text(to=NUMBER, body=BODY, reference=REFERENCE)
    for words in ("0: Accepted for delivery", "3: Queued for later delivery"):
        server.answer = says(202, words)
        assert kannel.send(text) == ""
    server.answer = says(200, answer)
    with pytest.raises(SmsError, match=r"but not that it took the text$") as caught:
        kannel.send(text)
    assert caught.value.fate is Fate.UNKNOWN


@pytest.mark.parametrize("made", ['"nul \\u0000"', '"half \\ud800"', '"a sentence"'], ids=str)
def test_an_id_that_no_database_keeps_is_left_out(server: Server, made: str) -> None:
    """The text was taken: to send it again would be to send it twice."""
    server.answer = says(200, f'{{"id": {made}}}')
    assert send(gateway(server, id="id")) == ""


@pytest.mark.parametrize(
    ("taken", "right", "wrong"),
    [
        (("status", "ok"), '{"status": "ok"}', '{"status": "no credit"}'),
        (("messages.0.status", "0"), '{"messages": [{"status": 0}]}', '{"messages": []}'),
        (("sent", "true"), '{"sent": true}', '{"sent": false}'),
        (("error", ""), '{"error": null}', '{"error": {"code": 0}}'),
        (("error", ""), "{}", '{"error": "insufficient credit"}'),
        (("error", ""), '{"error": false}', "<html></html>"),
    ],
)
def test_a_setting_says_what_an_answer_has_if_the_text_was_taken(
    server: Server, taken: tuple[str, str], right: str, wrong: str
) -> None:
    http = gateway(server, id="", taken=taken)
    server.answer = says(200, right)
    assert send(http) == ""
    server.answer = says(200, wrong)
    assert not_taken(http)


def test_an_answer_without_end_is_left(server: Server) -> None:
    def answer(line: socket.socket) -> None:
        line.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(400):  # 400 MB
            line.sendall(b"x" * 2**20)
        pytest.fail("all of it was read")

    server.answer = answer
    began = time.perf_counter()
    assert not_taken(gateway(server))
    assert time.perf_counter() - began < 2


# -- what fails --------------------------------------------------------------------


def drips(line: socket.socket) -> None:
    """The status at once, and then a body without end."""
    line.sendall(b'HTTP/1.1 200 OK\r\n\r\n{"id": "')
    for _ in range(16):
        time.sleep(0.5)
        line.sendall(b"x")


@pytest.mark.slow
@pytest.mark.parametrize("answer", [hangs, trickles])
def test_a_slow_gateway_is_hung_up_on_after_5_seconds(server: Server, answer: Answer) -> None:
    """S-44: however slowly its bytes come; and nothing of the call is left."""
    server.answer = answer
    began = time.perf_counter()
    with pytest.raises(SmsError) as caught:
        send(gateway(server))
    assert in_5_seconds(began)
    assert str(caught.value) == "the gateway did not answer within 5 seconds"
    assert caught.value.fate is Fate.UNKNOWN
    assert no_call_is_left()


def test_a_2xx_whose_body_is_late_is_no_unknown_attempt(server: Server) -> None:
    """S-44: the next gateway would send the text a second time."""
    server.answer = drips
    text = Text(to=NUMBER, body=BODY, reference=REFERENCE, patience=0.5)
    kannel = made(Kannel, url=server.url, user="optin", password=KEY)
    for each in (gateway(server, id="id"), gateway(server, id=""), kannel):
        began = time.perf_counter()
        assert each.send(text) == ""
        assert time.perf_counter() - began < 2
    assert no_call_is_left()


@pytest.mark.slow
def test_a_name_that_takes_too_long_to_look_up_is_given_up(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And once it is found at last, nothing is sent any more."""
    found, real = threading.Event(), socket.getaddrinfo

    def slow(*args: Any, **kwargs: Any) -> Any:
        found.wait(20)
        return real(*args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    began = time.perf_counter()
    with pytest.raises(SmsError, match="within 5 seconds") as caught:
        send(gateway(server))
    assert in_5_seconds(began)
    assert caught.value.fate is Fate.TRY_ANOTHER
    found.set()
    assert no_call_is_left()
    assert server.requests == []


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("could not be reached", lambda line: None),
        ("gave no answer in HTTP", lambda line: line.sendall(b"220 mail.example.com\r\n")),
        (
            "gave no answer in HTTP",
            lambda line: line.sendall(b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 200 + b"\r\n"),
        ),
    ],
    ids=["nothing", "another-protocol", "many-headers"],
)
def test_what_is_no_answer_is_an_unknown_attempt(server: Server, said: str, answer: Answer) -> None:
    server.answer = answer
    with pytest.raises(SmsError, match=rf"^the gateway {said} \(\w+\)$") as caught:
        send(gateway(server))
    assert caught.value.fate is Fate.UNKNOWN


def test_a_gateway_that_is_away_may_be_tried_again(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(SmsError) as caught:
        send(gateway(server, url=f"http://127.0.0.1:{port}/{KEY}"))
    assert str(caught.value) == "the gateway could not be reached (ConnectionRefusedError)"
    assert caught.value.fate is Fate.TRY_ANOTHER


# -- TLS ---------------------------------------------------------------------------


@pytest.fixture
def authority(server: Server, tmp_path: Path) -> Path:
    """Its certificate. It alone vouches for the server."""
    authority = Authority(tmp_path)
    server.tls = tls(authority.certificate("gateway"))
    return authority.path


def test_a_certificate_that_nobody_vouches_for_is_refused(
    server: Server, authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S-44. Nor can the environment vouch for it."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority))
    monkeypatch.setenv("CURL_CA_BUNDLE", str(authority))
    with pytest.raises(SmsError) as caught:
        send(gateway(server))
    assert str(caught.value) == "the gateway could not be reached (its certificate is not valid)"
    assert (caught.value.fate, server.requests) == (Fate.TRY_ANOTHER, [])


def test_a_certificate_of_an_authority_of_ones_own_serves(
    server: Server, authority: Path, settings: LazySettings
) -> None:
    """S-44. Besides those of public ones."""
    settings.OPTIN_GATEWAY_CA = str(authority)
    assert len(trust().get_ca_certs()) > 100
    assert send(gateway(server)) == "m-1"


@pytest.mark.slow
def test_a_slow_handshake_is_hung_up_on_after_5_seconds(server: Server) -> None:
    server.deaf, server.answer = True, hangs
    began = time.perf_counter()
    with pytest.raises(SmsError, match="within 5 seconds") as caught:
        send(gateway(server, url=server.url.replace("http:", "https:")))
    assert in_5_seconds(began)
    assert caught.value.fate is Fate.TRY_ANOTHER
    assert no_call_is_left()


# -- secrets -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [says(200, KEY), says(400, BODY), says(302, b"", f"Location: /{KEY}"), lambda line: None],
    ids=["accepted", "refused", "redirected", "broken"],
)
def test_no_secret_is_told(
    server: Server, answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    """S-50: neither key, number nor code in a log, an error or a name."""
    server.answer = answer
    http = gateway(server)
    told = repr(http) + str(http)
    with caplog.at_level(logging.DEBUG):
        try:
            send(http)
        except SmsError as exc:
            told += f"{exc!r} {exc} {exc.__cause__!r} {exc.__context__!r}"
    told += caplog.text
    assert not [secret for secret in (KEY, NUMBER, NUMBER[3:], CODE) if secret in told]


# -- end to end --------------------------------------------------------------------


@pytest.fixture
def configured(server: Server, settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The service sends through ``server``."""
    settings.DEBUG = True  # the server speaks http
    settings.OPTIN_GATEWAYS = ("http",)
    settings.OPTIN_GATEWAY_HTTP_URL = server.url
    settings.OPTIN_GATEWAY_HTTP_BODY = JSON
    settings.OPTIN_GATEWAY_HTTP_ID = "id"
    # The real one, not the phone of the tests.
    monkeypatch.setattr(gateways, "for_region", lambda region: [gateways.make("http")])
    server.answer = says(202, '{"id": "m-1"}')
    return server


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_hanging_gateway_delays_the_person_5_seconds_and_loses_no_text(
    configured: Server, user: User, file: File
) -> None:
    """S-44, S-64. The second attempt has the same reference."""
    accepts, configured.answer = configured.answer, hangs
    began = time.perf_counter()
    assert opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN).outcome is SendOutcome.SENT
    assert time.perf_counter() - began < 7  # 6, and one for a busy machine
    message = SmsMessage.objects.get()
    assert (message.state, message.reason) == (
        State.QUEUED,
        "the gateway did not answer within 5 seconds",
    )

    configured.answer = accepts
    assert delivery.send_due(timezone.now()) == 1

    message.refresh_from_db()
    assert (message.state, message.gateway_message_id, message.tries) == (State.SENT, "m-1", 2)
    first, second = configured.requests
    assert first.body == second.body
    keys = {request.headers["Idempotency-Key"] for request in configured.requests}
    assert keys == {message.reference}
