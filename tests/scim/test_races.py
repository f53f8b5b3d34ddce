"""Providers send many requests at once."""

from collections import Counter
from typing import Any

import pytest

from optin.models import AuditEvent, ExternalId, File, Membership, User
from optin.operations import people
from tests.kit.people import make_user
from tests.kit.races import at_once
from tests.scim.kit import OPERATOR, make_provider, patch

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]


def test_one_person_is_made_once(file: File) -> None:
    every, body = make_provider(), {"userName": "dora", "externalId": "7"}
    answers = at_once([lambda: every.send("POST", "/Users", body).status] * 8)
    assert Counter(answers) == {201: 1, 409: 7}
    assert User.objects.count() == ExternalId.objects.count() == 1
    assert AuditEvent.objects.filter(kind="person", outcome="created").count() == 1


def test_each_of_several_groups_gets_an_id_and_its_own_name() -> None:
    every, names = make_provider(), ["a", "b", "c", "d", "d", "d"]
    made = [
        lambda name=name: every.send("POST", "/Groups", {"displayName": name}).status
        for name in names
    ]
    assert Counter(at_once(made)) == {201: 4, 409: 2}


def test_changes_of_members_do_not_wait_for_each_other_for_ever(file: File) -> None:
    """Each takes the locks in one order, and all of it or nothing is done."""
    every, ids = make_provider(), [str(make_user(f"p{n}").pk) for n in range(6)]

    def add(order: list[str]) -> Any:
        members = [{"value": pk} for pk in order]
        change = patch({"op": "add", "path": "members", "value": members})
        return lambda: every.send("PATCH", f"/Groups/{file.pk}", change).status

    assert set(at_once([add(ids), add(ids[::-1])] * 4)) == {204}
    assert Membership.objects.filter(active=True).count() == 6


def test_who_was_deactivated_meanwhile_is_not_activated(file: File) -> None:
    """S-68: ``active: true`` is judged under the lock."""
    every, user = make_provider(), make_user("ann", file)
    change = patch({"op": "replace", "value": {"active": True}})
    assert every.send("DELETE", f"/Users/{user.pk}").status == 204
    people.activate(user, reason="back", origin=OPERATOR)
    calls: list[Any] = [lambda: every.send("PATCH", f"/Users/{user.pk}", change).status] * 6
    calls.append(lambda: people.deactivate(user, reason="left", origin=OPERATOR))
    assert set(at_once(calls)) <= {"ok", 200, 403}
    user.refresh_from_db()
    assert not user.is_active
