"""The vendor's compiled .NET client, which nobody will change, by a program with its habits."""

from collections.abc import Callable, Iterator
from pathlib import Path

from tests.clients.people import PASSWORD
from tests.clients.programs import CODE_PROMPT, Service, run
from tests.kit.phone import wrong


def test_a_client_of_the_vendor_needs_only_another_address(
    service: Service, mono: Callable[[Path], list[str]]
) -> None:
    """From the opt-in through 25 days with one refresh token to the opt-out."""
    person = next(service.people)

    def codes() -> Iterator[str]:
        yield wrong(service.code(person, nth=1))
        for nth in (1, 2, 3):
            yield service.code(person, nth=nth)

    def days() -> Iterator[str]:
        while True:
            service.pass_days(5)
            yield ""

    command = mono(Path(__file__).parent / "SdkClient.cs")
    login = [person.access_key, person.name, PASSWORD, person.number]
    replies = {CODE_PROMPT: codes(), "Let 5 days pass:": days()}
    done = run([*command, f"{service.url}/", service.file_id, *login], {}, replies)

    assert done.errors == ""
    assert done.lines[-1] == "Done."
    assert service.days == 25
