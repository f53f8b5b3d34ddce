"""The programs of docs/clients: in each language, what they print and how they end."""

import re
from collections.abc import Iterator
from dataclasses import replace

import requests

from conformance.wire import Request, Wire
from tests.clients.people import PASSWORD, Person
from tests.clients.programs import CODE_PROMPT, Done, Service, run
from tests.kit.phone import wrong
from tests.kit.proxy import Forward, Reply, proxying


def opt_in(command: list[str], service: Service, person: Person, **login: str) -> Done:
    """Run a program for a person who mistypes the first code."""

    def codes() -> Iterator[str]:
        yield wrong(service.code(person, nth=1))
        for nth in (1, 2, 3):
            yield service.code(person, nth=nth)

    env = {"API_URL": service.url, "API_FILE_ID": service.file_id, **login}
    done = run([*command, person.number], env, {CODE_PROMPT: codes()})
    # Python and C# write a boolean with a capital letter.
    return replace(done, lines=[line.replace("True", "true") for line in done.lines])


def test_a_password_serves_for_the_whole_way(command: list[str], service: Service) -> None:
    """The second refresh follows the sign-in that is due once two-factor is on."""
    person = next(service.people)

    done = opt_in(command, service, person, API_USER=person.name, API_PASSWORD=PASSWORD)

    assert done.errors == ""
    assert done.lines == [
        "Signed in.",
        "Ping: true",
        CODE_PROMPT,
        "The code is not right.",
        CODE_PROMPT,
        "Two-factor authentication is on.",
        CODE_PROMPT,
        "Signed in.",
        "Refreshed.",
        CODE_PROMPT,
        "Two-factor authentication is off.",
    ]
    assert done.status == 0


def test_an_access_key_serves_without_a_token(command: list[str], service: Service) -> None:
    person = next(service.people)

    done = opt_in(command, service, person, API_KEY=person.access_key)

    assert done.errors == ""
    assert done.lines == [
        "Ping: true",
        CODE_PROMPT,
        "The code is not right.",
        CODE_PROMPT,
        "Two-factor authentication is on.",
        CODE_PROMPT,
        "Two-factor authentication is off.",
    ]
    assert done.status == 0


def test_lost_answers_are_asked_for_again(command: list[str], service: Service) -> None:
    """Of each call that takes an ``Idempotency-Key``. No further text is sent."""
    person = next(service.people)
    lost: set[str] = set()

    def lose_first(request: Request, forward: Forward) -> Reply:
        reply = forward(request)
        headers = {name.lower(): text for name, text in request.headers.items()}
        key = headers.get("idempotency-key", "")
        if key and key not in lost:
            lost.add(key)
            raise ConnectionAbortedError
        return reply

    with proxying() as proxy:
        proxy.service, proxy.alter = Wire(service.url), lose_first
        done = opt_in(command, service, person, API_KEY=person.access_key, API_URL=proxy.base_url)

    assert done.errors == ""
    assert done.lines[-1] == "Two-factor authentication is off."
    assert len(lost) == 3
    assert len(service.site.texts(person.number)) == 2


def test_a_refusal_is_told_with_its_code_and_its_wait(command: list[str], service: Service) -> None:
    """The number has just been texted, so the next text must wait."""
    person = next(service.people)
    query = {"FileId": service.file_id, "WsAccessKey": person.access_key}
    call = f"{service.url}/User/opt-in-to-2fa"
    requests.post(call, params=query, json={"MobileNumber": person.number}, timeout=30)

    done = opt_in(command, service, person, API_KEY=person.access_key)

    assert re.fullmatch(r"send_limit: .+ \(wait [1-9]\d* s\)\n", done.errors)
    assert done.status == 1


def test_a_refusal_of_a_token_call_is_told(command: list[str], service: Service) -> None:
    person = next(service.people)

    done = opt_in(command, service, person, API_USER=person.name, API_PASSWORD="guessed")

    assert re.fullmatch(r"invalid_grant: .+\n", done.errors)
    assert done.status == 1
