"""What stands for Kannel and the phones behind it: takes each text, and remembers it."""

import re
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Thread
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from deploy.ha.drills.machines import BRIDGE

PORT = 13013


class Text(NamedTuple):
    at: float
    """``time.monotonic``"""
    reference: str
    """The service's name for it: the same if it is sent again."""
    body: str
    sender: str
    """The address of the machine that handed it over."""

    @property
    def code(self) -> str:
        found = re.match("[0-9]+", self.body)
        assert found, self.body
        return found[0]


class Gateway:
    """Listens as ``sendsms`` of Kannel does."""

    def __init__(self, host: str = BRIDGE, port: int = PORT) -> None:
        """Listen at once. With *port* 0, the system chooses one."""
        self._arrived = Condition()
        self._texts: dict[str, list[Text]] = defaultdict(list)
        self._copies: dict[str, list[Text]] = defaultdict(list)
        self._server = ThreadingHTTPServer((host, port), self._handler())
        self.port: int = self._server.server_address[1]
        self._server.daemon_threads = True
        Thread(target=self._server.serve_forever, daemon=True).start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        take = self._take

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                query = parse_qs(urlsplit(self.headers["X-Kannel-DLR-Url"]).query)
                sender = self.client_address[0]
                text = Text(time.monotonic(), query["reference"][0], body, sender)
                take(self.headers["X-Kannel-To"], text)
                self.send_response(202)
                self.end_headers()
                self.wfile.write(b"0: Accepted for delivery")

            def log_message(self, format: str, *args: object) -> None:
                """Write no log: texts hold codes."""

        return Handler

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _take(self, number: str, text: Text) -> None:
        with self._arrived:
            self._texts[number].append(text)
            self._copies[text.reference].append(text)
            self._arrived.notify_all()

    def senders(self, since: float) -> set[str]:
        """The addresses from which texts came since then."""
        with self._arrived:
            copies = [text for copies in self._copies.values() for text in copies]
        return {text.sender for text in copies if text.at > since}

    def wait(self, number: str, body: str, timeout: float) -> Text | None:
        """Return the newest text to *number* whose body contains *body*."""

        def newest() -> Text | None:
            return next((t for t in reversed(self._texts[number]) if body in t.body), None)

        with self._arrived:
            self._arrived.wait_for(newest, timeout)
            return newest()

    def sent_again(self, since: float, until: float) -> list[list[Text]]:
        """Return the copies of each text that came more than once, the first time within."""
        with self._arrived:
            return [
                [*copies]
                for copies in self._copies.values()
                if len(copies) > 1 and since <= copies[0].at < until
            ]
