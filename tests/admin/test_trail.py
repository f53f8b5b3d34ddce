"""A look at the trail while others write to it (P-22)."""

from datetime import timedelta
from typing import Any

import pytest

from optin.audit.search import Search
from tests.kit.people import NOON
from tests.kit.trail import tell

pytestmark = pytest.mark.django_db(transaction=True)

FACTS = {"kind": "check", "outcome": "ok"}


def write(count: int) -> list[int]:
    return [tell("check", at=NOON, user_id=1).pk for _ in range(count)]


@pytest.mark.parametrize("before", [4, 5, 6, 12], ids="{} events before".format)
@pytest.mark.parametrize(
    ("facts", "days"),
    [(FACTS, {}), ({}, {"first": NOON - timedelta(days=1)})],
    ids=["facts", "days"],
)
def test_what_is_written_during_a_look_puts_nothing_out_of_it(
    monkeypatch: pytest.MonkeyPatch, facts: dict[str, str], days: dict[str, Any], before: int
) -> None:
    """Each statement sees what was written until then: the second one more than the first."""
    monkeypatch.setattr("optin.audit.search.LOOKED_AT", 5)
    old = write(before)
    reach = Search._reach
    writes = [2]

    def reach_and_write(search: Search, *args: Any) -> int | None:
        found = reach(search, *args)
        write(writes.pop() if writes else 0)
        return found

    monkeypatch.setattr(Search, "_reach", reach_and_write)
    seen = [event.pk for batch in Search(facts, **days).all(50) for event in batch]
    assert [pk for pk in seen if pk in old] == sorted(old, reverse=True)
    assert len(seen) == len(set(seen))
