"""Leaves each page that tests without a browser show: ``pytest -p tests.browser.shown``."""

import json
import os
import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

FOLDER = "SHOWN_PAGES"


@pytest.fixture(scope="session", autouse=True)
def _leave_pages() -> Iterator[None]:
    request = Client.request

    def request_and_leave(client: Client, **asked: Any) -> Any:
        answer = request(client, **asked)
        if answer.templates and b"<main" in answer.content:
            leave(answer, Path(os.environ[FOLDER]))
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Client, "request", request_and_leave)
        yield


def leave(answer: Any, folder: Path) -> None:
    """Leave the page, if it is the longest of its shape."""
    page = {"html": answer.content.decode(), "policy": answer["Content-Security-Policy"]}
    name = answer.templates[0].name.removesuffix(".html").replace("/", "-")
    path = folder / f"{name}-{shape(page['html'])}.json"
    text = json.dumps(page)
    if not path.exists() or len(path.read_text()) < len(text):
        path.write_text(text)


def shape(html: str) -> str:
    """A short name of all kinds of tags in the main part of the page, whatever it says."""
    tags = re.findall("<[a-z][^>]*>", html[html.index("<main") : html.index("</main>")])
    kinds = {re.sub(r'(?!class|type)\b([\w-]+)="[^"]*"', r"\1", tag) for tag in tags}
    return sha256(repr(sorted(kinds)).encode()).hexdigest()[:8]
