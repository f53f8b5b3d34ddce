"""Providers send many requests at once."""

from collections import Counter
from threading import Event
from typing import Any

import pytest

from optin.models import AuditEvent, ExternalId, File, User
from optin.operations import people, tenants
from tests.kit.people import make_user
from tests.kit.races import at_once, waiting
from tests.kit.scim import OPERATOR, make_provider, patch
from tests.kit.server import until

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


def test_a_user_name_is_not_the_address_of_somebody_else(file: File) -> None:
    """S-68: no constraint of the database says so."""
    every = make_provider()

    def make(body: dict[str, Any]) -> Any:
        return lambda: every.send("POST", "/Users", body).status

    for n in range(15):
        address = {"emails": [{"value": f"v{n}@example.com"}]}
        bodies = {"userName": f"v{n}@example.com"}, {"userName": f"w{n}", **address}
        assert Counter(at_once([make(body) for body in bodies])) == {201: 1, 409: 1}


@pytest.mark.parametrize(
    ("module", "step", "decide"),
    [(people, "set_active", "deactivate"), (tenants, "let_in", "end_membership")],
)
def test_what_staff_decide_meanwhile_stays(
    module: Any,
    step: str,
    decide: str,
    file: File,
    other_file: File,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """S-68: ``active: true`` is judged and done under the lock, and so is what staff do."""
    one, user = make_provider(file), make_user("ann", file)
    if decide == "end_membership":
        tenants.add_member(user, other_file, origin=OPERATOR)

    def change(active: bool) -> Any:
        body = patch({"op": "replace", "value": {"active": active}})
        return one.send("PATCH", f"/Users/{user.pk}", body)

    assert change(False).status == 200
    real, reached, decided = getattr(module, step), Event(), Event()

    def slow(person: User, to: Any, *args: Any, **more: Any) -> None:
        if to is not False:  # by SCIM
            reached.set()
            until(lambda: decided.is_set() or waiting() > 0)
        real(person, to, *args, **more)

    def by_staff() -> None:
        reached.wait(30)
        if decide == "deactivate":
            people.deactivate(user, reason="left", origin=OPERATOR)
        else:
            tenants.end_membership(user, file, origin=OPERATOR)
        decided.set()

    monkeypatch.setattr(module, step, slow)
    at_once([lambda: change(True), by_staff])
    user.refresh_from_db()
    assert not (user.is_active and File.objects.open_to(user).filter(pk=file.pk).exists())
