"""Commands with which staff stop texts, open prefixes, and keep lists."""

from datetime import timedelta

import pytest
from django.core.management import CommandError

from optin.models import AuditEvent, Guard
from optin.origin import Face
from tests.kit.commands import run
from tests.kit.people import NOON, NUMBER

pytestmark = pytest.mark.django_db(transaction=True)

WRITTEN = "0491 570 156"
WHY = "--reason=Ticket 31. Jo"


@pytest.mark.parametrize(
    ("arguments", "kind", "covers", "lasts", "said"),
    [
        (
            ["lift_breaker", WRITTEN, "--minutes=90"],
            "lift",
            "prefix",
            timedelta(minutes=90),
            "The prefix is open until 2026-11-02 13:30 UTC.",
        ),
        (
            ["number", "deny", WRITTEN, "--days=2"],
            "deny",
            "number",
            timedelta(days=2),
            "The number ... 156 is on the deny list until 2026-11-04 12:00 UTC.",
        ),
        (
            ["number", "safe", NUMBER, "--prefix", "--days=1"],
            "safe",
            "prefix",
            timedelta(days=1),
            "The prefix is on the safe list until 2026-11-03 12:00 UTC.",
        ),
    ],
    ids=["lift", "deny", "safe"],
)
def test_an_entry_is_made_and_told(
    db: None, arguments: list[str], kind: str, covers: str, lasts: timedelta, said: str
) -> None:
    assert run(*arguments, WHY) == f"{said}\n"
    guard = Guard.objects.get()
    assert (guard.kind, guard.covers, guard.reason) == (kind, covers, "Ticket 31. Jo")
    assert guard.until == NOON + lasts
    event = AuditEvent.objects.get()
    assert (event.face, event.reason) == (Face.COMMAND, "Ticket 31. Jo")


def test_an_entry_is_taken_off(db: None) -> None:
    run("number", "deny", WRITTEN, "--days=2", WHY)
    assert run("number", "unlist", NUMBER, WHY) == "Taken off the list.\n"
    assert run("number", "unlist", NUMBER, WHY) == "It is on no list.\n"


def test_texts_are_stopped_and_allowed(db: None) -> None:
    said = [run("stop_texts", *end, WHY) for end in ([], [], ["--end"], ["--end"])]
    assert said == [
        "No text leaves any more.\n",
        "Texts were stopped already.\n",
        "Texts leave again.\n",
        "Texts were not stopped.\n",
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["stop_texts"],
        ["stop_texts", "--end"],
        ["number", "unlist", WRITTEN],
        ["number", "deny", WRITTEN, "--days=1"],
        ["number", "safe", WRITTEN, "--days=1"],
        ["lift_breaker", WRITTEN, "--minutes=1"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_reason_is_needed(db: None, arguments: list[str]) -> None:
    with pytest.raises(CommandError, match="Give a reason"):
        run(*arguments, "--reason= ")
    assert not Guard.objects.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["number", "deny", WRITTEN, "--days=0"],
        ["number", "deny", WRITTEN, "--days=367"],
        ["number", "safe", WRITTEN, "--days=99999999999"],
        ["lift_breaker", WRITTEN, "--minutes=-5"],
    ],
    ids=["none", "over-a-year", "absurd", "past"],
)
def test_a_time_is_from_a_minute_to_a_year(db: None, arguments: list[str]) -> None:
    with pytest.raises(CommandError, match=r"^Give a time from one minute to 366 days\.$"):
        run(*arguments, WHY)
    assert not Guard.objects.exists()


@pytest.mark.parametrize("number", ["", "12", "+61291570156"])
def test_a_number_is_a_mobile_number(db: None, number: str) -> None:
    for arguments in (["number", "deny", "--days=1"], ["lift_breaker", "--minutes=1"]):
        with pytest.raises(CommandError, match=r"^That is not a mobile number\.$"):
            run(*arguments, number, WHY)
