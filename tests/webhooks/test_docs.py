"""docs/events.md: its program works, and its table names what there is."""

import re
from typing import Any

import pytest

from optin.models import AuditEvent, WebhookEvent
from optin.models.webhooks import _NEWS
from tests.kit.server import ROOT
from tests.kit.world import World
from tests.webhooks.kit import Client, send

PAGE = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")


@pytest.mark.django_db(transaction=True)
def test_the_program_verifies_what_arrives(client: Client, world: World) -> None:
    world.guess(world.code())
    send()
    (request,) = client.server.requests
    seen: list[str] = []

    def is_new(message_id: str) -> bool:
        seen.append(message_id)
        return seen.count(message_id) == 1

    handled: list[tuple[str, dict[str, Any]]] = []
    known: dict[str, Any] = {
        "SECRET": client.secret,
        "is_new": is_new,
        "handle": lambda kind, data: handled.append((kind, data)),
    }
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(program, known)  # noqa: S102
    receive = known["receive"]

    assert receive(request.headers, request.body) == 204
    assert receive(request.headers, request.body) == 204
    assert [kind for kind, _ in handled] == ["number.activated"]
    assert receive(request.headers, request.body + b" ") == 400
    assert receive({}, request.body) == 400
    assert len(handled) == 1


def test_each_type_is_in_the_table() -> None:
    rows = re.findall(r"^\| `([a-z]+[.][a-z]+)` \|", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted(WebhookEvent.Kind)


def test_each_decision_that_is_told_is_one_of_the_trail() -> None:
    assert {kind for kind, _ in _NEWS} <= set(AuditEvent.Kind)


def test_it_is_short() -> None:
    assert len(PAGE.split()) < 500
