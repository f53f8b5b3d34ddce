"""What a first view costs: the page and all that it loads, as it goes over the wire."""

import gzip
import re
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

STYLE = "optin/static/optin/style.css"
BUDGET = 28 * 1024


def load(address: str, **headers: str) -> tuple[Any, bytes]:
    response: Any = Client().get(address, headers=headers)
    return response, b"".join(response.streaming_content)


def test_style_sheet_goes_out_compressed() -> None:
    """To who asks for that; and only once, if it has not changed."""
    source = (Path(__file__).resolve().parent.parent.parent / STYLE).read_bytes()
    address = STYLE.removeprefix("optin")
    plain, body = load(address)
    assert (body, plain.get("Content-Encoding")) == (source, None)
    packed, body = load(address, accept_encoding="gzip, br")
    assert (gzip.decompress(body), packed["Content-Encoding"]) == (source, "gzip")
    assert "Content-Length" not in packed
    for response in (plain, packed):
        assert "ETag" not in response  # ranges of the two must not be joined
        assert "Accept-Encoding" in response["Vary"]
        assert response["Content-Type"].startswith("text/css")
    again, body = load(address, accept_encoding="gzip", if_modified_since=packed["Last-Modified"])
    assert (again.status_code, body) == (304, b"")
    part, body = load(address, accept_encoding="gzip", range="bytes=0-9")
    assert (part.status_code, body, part.get("Content-Encoding")) == (206, source[:10], None)


@pytest.mark.parametrize(("address", "files"), [("/sign-in/", 4), ("/Help", 5)])
def test_first_view_is_light(address: str, files: int) -> None:
    client = Client(headers={"accept-encoding": "gzip, br"})
    page = client.get(address)
    assert page.status_code == 200
    loaded = set(re.findall(r'(?:href|src)="(/static/[^"]+)"', page.content.decode()))
    assert len(loaded) == files  # icon, script, sheets
    weights = {address: len(page.content)}
    for asset in loaded:
        response, body = load(asset, accept_encoding="gzip")
        assert response.status_code == 200
        weights[asset] = len(body)
    assert sum(weights.values()) < BUDGET, weights
