"""S-50: what goes to an HTTP gateway, and what it says back, turns up nowhere else.

The other side of the wire is not trusted. It repeats the whole request, with number,
code and credentials, in each part of its answer; and it answers in bad ways too.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from optin.gateways.protocol import TIMEOUT
from tests.kit.server import running
from tests.logs.sentinels import ANNS, FAULTY, Scene

pytestmark = pytest.mark.django_db(transaction=True)

CREDENTIALS = {
    "path": "sentinel-gateway-path",
    "query": "sentinel-gateway-query",
    "authorization": "sentinel-gateway-authorization",
    "header": "sentinel-gateway-header",
    "body": "sentinel-gateway-body",
}
TEMPLATE = {
    "to": "{to}",
    "text": "{body}",
    "reference": "{reference}",
    "secret": CREDENTIALS["body"],
}


@dataclass(frozen=True)
class Text:
    """One request: its number, its code, and all its words in one line."""

    number: str
    code: str
    words: str


Answer = Callable[[Text], str]


def says(status: int, body: Callable[[Text], Any], **headers: str) -> Answer:
    """Answer with *status* and *body*; all else repeats the request."""

    def answer(text: Text) -> str:
        content = json.dumps(body(text))
        lines = [f"HTTP/1.1 {status} {text.words}", f"Content-Length: {len(content)}"]
        lines += [f"{name}: {text.words}" for name in ("X-Request", "Set-Cookie")]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", content])

    return answer


def echo(text: Text) -> Any:
    return {"messages": [{"id": "m-1"}], "error": text.words}


def under(made: Callable[[Text], object]) -> Answer:
    """Take the text, under an id that is *made* of it."""
    return says(200, lambda text: {"messages": [{"id": made(text)}]})


def too_late(text: Text) -> str:
    threading.Event().wait(TIMEOUT + 1)
    return text.words


# What the gateway answers, and how the row of the text tells of it.
ANSWERS: dict[str, tuple[Answer, str]] = {
    "taken": (says(200, echo), "m-1"),
    "taken under its number": (under(lambda text: text.number), "sent"),
    "taken under its number, with more": (under(lambda text: f"m-0{text.number[3:]}-1"), "sent"),
    "taken under its number, in groups": (
        under(lambda text: f"0{text.number[3:6]} {text.number[6:9]} {text.number[9:]}"),
        "sent",
    ),
    "taken under its code": (under(lambda text: text.code), "sent"),
    "taken under its code, with more": (under(lambda text: f"{text.code}-m"), "sent"),
    "taken under all of it": (under(lambda text: text.words), "sent"),
    "refused": (says(400, echo), "the gateway answered 400"),
    "moved": (says(307, echo, Location=f"/{CREDENTIALS['query']}"), "the gateway answered 307"),
    "no status": (lambda text: f"{text.words}\r\n\r\n", "gave no answer in HTTP (BadStatusLine)"),
    "no number for a status": (lambda text: f"HTTP/1.1 {text.words}\r\n\r\n", "BadStatusLine"),
    "two lengths": (
        lambda text: f"HTTP/1.1 200 OK\r\nContent-Length: 1, {text.code}\r\n\r\n{text.words}",
        "but not that it took the text",
    ),
    "bad chunks": (
        lambda text: f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{text.words}\r\n",
        "but not that it took the text",
    ),
    "nothing": (lambda text: "", "could not be reached"),
    "too late": (too_late, f"did not answer within {TIMEOUT} seconds"),
    "busy": (says(503, echo, **{"Retry-After": "1"}), "the gateway answered 503"),
}


@dataclass
class Wire:
    """A gateway on this machine. It keeps what it is sent, and answers what it is told."""

    server: ThreadingHTTPServer
    answer: Answer = ANSWERS["taken"][0]
    texts: list[Text] = field(default_factory=list)

    @property
    def settings(self) -> dict[str, str]:
        port = self.server.server_address[1]
        address = f"http://127.0.0.1:{port}/{CREDENTIALS['path']}"
        return {
            "OPTIN_GATEWAYS": "http",
            "OPTIN_FICTIONAL_NUMBERS": "yes",
            "OPTIN_GATEWAY_HTTP_URL": f"{address}?key={CREDENTIALS['query']}",
            "OPTIN_GATEWAY_HTTP_HEADERS": f"Authorization: Bearer {CREDENTIALS['authorization']}"
            f" || X-Key: {CREDENTIALS['header']}",
            "OPTIN_GATEWAY_HTTP_BODY": json.dumps(TEMPLATE),
            "OPTIN_GATEWAY_HTTP_ID": "messages.0.id",
        }


@pytest.fixture
def wire() -> Iterator[Wire]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
            body = json.loads(sent)
            words = f"{self.path} {dict(self.headers)} {sent}"
            text = Text(body["to"], body["text"].split()[0], words)
            gateway.texts.append(text)
            with suppress(OSError):  # the client hung up
                self.wfile.write(gateway.answer(text).encode())
            self.close_connection = True

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        gateway = Wire(server)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield gateway
        server.shutdown()


@pytest.fixture
def scene(tmp_path: Path, wire: Wire) -> Iterator[Scene]:
    limits = dict.fromkeys(["OPTIN_SENDS_PER_NUMBER", "OPTIN_SENDS_PER_USER"], "1000/600")
    with running(tmp_path, env=FAULTY | limits | wire.settings) as site:
        scene = Scene(site)
        for name, value in CREDENTIALS.items():
            scene.secrets.add(f"credential in the {name}", value)
        yield scene


def ask(scene: Scene, wire: Wire) -> Text:
    """Ask for a text; return what the gateway was sent."""
    scene.site.sql("DELETE FROM optin_gatewayhealth")
    before = len(wire.texts)
    answer = scene.call("ann", "opt-in-to-2fa", {"MobileNumber": ANNS})
    assert answer.status == 200, answer.text
    (text,) = wire.texts[before:]
    scene.know(text.code)
    return text


@pytest.mark.slow
def test_no_secret_comes_back_from_a_gateway(scene: Scene, wire: Wire) -> None:
    """S-50."""
    for name, (wire.answer, told) in ANSWERS.items():
        text = ask(scene, wire)
        # It was all there to be repeated.
        assert text.number == ANNS
        assert text.code in text.words
        assert all(value in text.words for value in CREDENTIALS.values()), name
        assert told in last_text(scene), name
        # In the order of the answers: the first that leaks is named.
        assert (name, scene.leaks()) == (name, {})


def last_text(scene: Scene) -> str:
    """All that is kept of the newest text."""
    return str(scene.site.rows("SELECT * FROM optin_smsmessage ORDER BY id DESC LIMIT 1"))
