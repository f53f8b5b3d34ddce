"""docs/events.md, ``/Help`` and ``/schema/`` tell the same of events, and what is so."""

import json
import re
from pathlib import Path

import pytest
from django.utils import timezone
from jsonschema import Draft202012Validator

from optin.api import schema
from optin.api.webhooks import sample
from optin.models import WebhookEvent
from optin.operations.webhooks import TESTS, send_test
from tests.kit.documents import CLIENTS
from tests.kit.pasting import blocks, paste, pattern, service
from tests.kit.people import ORIGIN
from tests.kit.server import ROOT
from tests.kit.world import World
from tests.webhooks.kit import Client, send

PAGE = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")


def test_the_sample_is_that_of_the_help() -> None:
    (shown,) = re.findall(r"^    (\{\"type\":.+?)\n\n", PAGE, re.MULTILINE | re.DOTALL)
    assert json.loads(shown) == json.loads(sample()[1])


@pytest.mark.django_db(transaction=True)
def test_what_is_sent_is_as_the_schema_describes_it(client: Client, world: World) -> None:
    world.guess(world.code())
    for kind in WebhookEvent.Kind:
        WebhookEvent.objects.create(
            message_id=WebhookEvent.new_id(),
            file=world.file,
            kind=kind,
            at=timezone.now(),
            endpoint=client.endpoint if kind == WebhookEvent.Kind.TEST else None,
        )
    send()
    for kind in TESTS:
        send_test(client.endpoint, kind, origin=ORIGIN)
    send()

    requests = client.server.requests
    assert [each["type"] for each in client.received()] == [
        "endpoint.test",
        "number.activated",
        *(kind for kind in WebhookEvent.Kind if kind != WebhookEvent.Kind.TEST),
        *TESTS,
    ]
    document = schema.document()
    for request in requests:
        body = json.loads(request.body)
        described = document["webhooks"][body["type"]]["post"]
        content = described["requestBody"]["content"][request.headers["Content-Type"]]
        validator = Draft202012Validator(
            {**content["schema"], "unevaluatedProperties": False},
            format_checker=Draft202012Validator.FORMAT_CHECKER,
        )
        validator.validate(body)
        properties = content["schema"]["properties"]["data"]["properties"]
        assert list(body["data"]) == list(properties)
        named = {each["name"] for each in described["parameters"]}
        assert named == {name for name in request.headers if name.startswith("webhook-")}


@pytest.mark.slow
def test_the_lines_to_read_events_answer_as_printed(tmp_path: Path) -> None:
    before = blocks(CLIENTS.partition("## JSON and XML")[0])
    ((text, answer),) = blocks(PAGE.partition("## Reading the events")[2])
    with service(tmp_path) as base:
        done = paste([*(lines for lines, _ in before), text], base, tmp_path)
    output = re.sub(r"\s+", "", done.stdout.rpartition("@@@\n")[2])
    assert pattern(answer, base).fullmatch(output), f"{output}\n{done.stderr}"
