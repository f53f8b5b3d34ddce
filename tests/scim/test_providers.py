"""The requests that identity providers document for their provisioning, one after the other."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.kit.scim import make_provider

pytestmark = pytest.mark.django_db(transaction=True)

FOLDER = Path(__file__).parent


@pytest.mark.parametrize("provider", ["entra", "okta"])
def test_what_a_provider_sends_has_the_documented_answer(provider: str) -> None:
    """S-67."""
    ours, known = make_provider(), dict[str, str]()
    for step in json.loads((FOLDER / f"{provider}.json").read_text()):
        step = _filled(step, known)
        method, _, path = step["send"].partition(" ")
        answer = ours.send(method, quote(path, safe="/?&="), step.get("body"))
        assert answer.status == step["status"], (step["says"], answer.text)
        body = answer.json if answer.text else {}
        assert _part(body, step.get("has", {})) == step.get("has", {}), step["says"]
        assert not body.keys() & set(step.get("lacks", ())), step["says"]
        if "keep" in step:
            known[step["keep"]] = body["id"]
            assert answer.headers["Location"] == body["meta"]["location"]


def _filled(step: Any, known: dict[str, str]) -> Any:
    text = json.dumps(step)
    for name, pk in known.items():
        text = text.replace(f"{{{name}}}", pk)
    return json.loads(text)


def _part(body: Any, wanted: Any) -> Any:
    """Return of *body* only what *wanted* has, too."""
    if isinstance(wanted, dict) and isinstance(body, dict):
        return {name: _part(body.get(name), each) for name, each in wanted.items()}
    if isinstance(wanted, list) and isinstance(body, list) and len(body) == len(wanted):
        return [_part(one, each) for one, each in zip(body, wanted, strict=True)]
    return body
