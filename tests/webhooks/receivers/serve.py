"""Serve the Python program of the page: python serve.py PORT."""

import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any


def is_new(message_id: str) -> bool:
    path = Path(message_id)
    was_there = path.exists()
    path.touch()
    return not was_there


def handle(kind: str, data: dict[str, Any]) -> None:
    with Path("handled").open("a", encoding="utf-8") as handled:
        handled.write(f"{kind}\n")


page: dict[str, Any] = {"SECRET": os.environ["SECRET"], "is_new": is_new, "handle": handle}
exec(Path("page.py").read_text(encoding="utf-8"), page)  # noqa: S102


class Hook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers["content-length"]))
        self.send_response(page["receive"](headers, body))
        self.end_headers()


HTTPServer(("127.0.0.1", int(sys.argv[1])), Hook).serve_forever()
