"""What a first view costs: the page and all that it loads, as it goes over the wire."""

import gzip
import re
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

STATIC = Path(__file__).resolve().parent.parent.parent / "optin" / "static"
COMPRESSED = sorted(STATIC.rglob("*.gz"))
BUDGET = 40 * 1024


@pytest.mark.parametrize("path", COMPRESSED, ids=lambda path: path.name)
def test_compressed_file_holds_what_its_source_holds(path: Path) -> None:
    """Else browsers get one and readers of the source another: ``gzip -9nk`` makes it again."""
    assert gzip.decompress(path.read_bytes()) == path.with_suffix("").read_bytes()


@pytest.mark.parametrize("debug", [True, False])
def test_style_sheet_goes_out_compressed(debug: bool, settings: Any) -> None:
    settings.DEBUG = debug
    (path,) = COMPRESSED
    response = Client().get(
        f"/static/{path.relative_to(STATIC).with_suffix('')}",
        headers={"accept-encoding": "gzip, br"},
    )
    assert response["Content-Encoding"] == "gzip"
    assert response["Content-Type"].startswith("text/css")
    assert b"".join(response.streaming_content) == path.read_bytes()  # type: ignore[attr-defined]


@pytest.mark.parametrize("address", ["/sign-in/", "/Help"])
def test_first_view_is_light(address: str) -> None:
    client = Client(headers={"accept-encoding": "gzip, br"})
    page = client.get(address)
    assert page.status_code == 200
    loaded = set(re.findall(r'(?:href|src)="(/static/[^"]+)"', page.content.decode()))
    assert len(loaded) == 4  # icon, script, two sheets
    weights = {address: len(page.content)}
    for asset in loaded:
        response = client.get(asset)
        assert response.status_code == 200
        weights[asset] = len(b"".join(response.streaming_content))  # type: ignore[attr-defined]
    assert sum(weights.values()) < BUDGET, weights
    script = next(weight for asset, weight in weights.items() if asset.endswith(".js"))
    assert script < 6 * 1024
