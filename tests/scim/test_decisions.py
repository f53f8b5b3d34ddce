"""What an identity provider may decide, and what stays (S-68)."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from oauth2_provider.models import AccessToken

from optin.models import (
    AuditEvent,
    ExternalId,
    File,
    Membership,
    Notice,
    ProposedNumber,
    ProviderUser,
    RefusalCount,
    ScimClient,
    User,
)
from optin.operations import email_changes, people, provisioning, tenants
from tests.kit.clients import Api, bearer
from tests.kit.commands import run
from tests.kit.people import NUMBER, OTHER_NUMBER, make_user
from tests.kit.scim import OPERATOR, Provider, make_provider, patch
from tests.kit.world import notices

pytestmark = pytest.mark.django_db(transaction=True)


def active(is_so: bool) -> dict[str, Any]:
    return patch({"op": "replace", "value": {"active": is_so}})


def key_status(key: str) -> int:
    api = Api(key=key)
    return api.ping(query=api.query()).status


def trail() -> list[tuple[str, str, str]]:
    """Kind, outcome and client of each event by SCIM."""
    events = AuditEvent.objects.filter(client__startswith="app:").order_by("pk")
    return [(each.kind, each.outcome, each.client) for each in events]


@pytest.fixture
def one(file: File) -> Provider:
    return make_provider(file, "one")


@pytest.fixture
def every(db: None) -> Provider:
    return make_provider(None, "every")


# -- active ------------------------------------------------------------------------


def test_inactive_ends_tokens_sessions_and_keys(
    user: User, access_key: str, every: Provider
) -> None:
    """S-68: as ``people.deactivate``; who was deactivated by SCIM may be let in again by it."""
    token, epoch = bearer(user), user.session_epoch
    assert every.send("PATCH", f"/Users/{user.pk}", active(False)).json["active"] is False
    assert Api(token=token).ping().status == key_status(access_key) == 401
    user.refresh_from_db()
    assert not user.is_active
    assert user.session_epoch > epoch
    assert not AccessToken.objects.filter(user=user).exists()

    assert every.send("PATCH", f"/Users/{user.pk}", active(True)).json["active"] is True
    assert Api(token=token).ping().status == 401
    assert key_status(access_key) == 200
    client = f"app:{every.application.pk}"
    assert trail() == [("person", "deactivated", client), ("person", "activated", client)]


@pytest.mark.parametrize("how", ["active", "delete", "group"])
def test_of_who_belongs_to_other_files_only_the_membership_ends(
    how: str, user: User, access_key: str, file: File, other_file: File, one: Provider
) -> None:
    """S-68."""
    tenants.add_member(user, other_file, origin=OPERATOR)
    if how == "group":
        member = f'members[value eq "{user.pk}"]'
        one.send("PATCH", "/Groups/777", patch({"op": "remove", "path": member}))
    else:
        one.send(*(("DELETE", f"/Users/{user.pk}") if how == "delete" else
                   ("PATCH", f"/Users/{user.pk}", active(False))))  # fmt: skip
    user.refresh_from_db()
    assert user.is_active
    assert list(File.objects.open_to(user)) == [other_file]
    assert key_status(access_key) == 403
    again = one.send("PATCH", f"/Users/{user.pk}", active(True))
    assert again.status == (404 if how == "delete" else 200)
    assert File.objects.open_to(user).filter(pk=file.pk).exists() == (how != "delete")


def test_what_staff_decided_stays(user: User, other_file: File, one: Provider) -> None:
    """S-68."""
    path = f"/Users/{user.pk}"
    why: dict[str, Any] = {"reason": "left", "origin": OPERATOR}
    people.deactivate(user, **why)
    assert one.send("PATCH", path, active(True)).status == 403
    people.activate(user, **why)
    assert one.send("PATCH", path, active(False)).status == 200
    assert people.deactivate(user, **why) == "ok"
    assert people.deactivate(user, **why) == "unchanged"
    assert one.send("PATCH", path, active(True)).status == 403
    assert one.send("PUT", path, {"userName": user.username, "active": True}).status == 403
    assert one.send("PUT", path, {"userName": user.username}).status == 200
    user.refresh_from_db()
    assert not user.is_active

    # The same of a membership.
    people.activate(user, **why)
    tenants.add_member(user, other_file, origin=OPERATOR)
    assert one.send("PATCH", path, active(False)).status == 200
    tenants.end_membership(user, File.objects.get(pk=777), origin=OPERATOR)
    assert one.send("PATCH", path, active(True)).status == 404


def test_what_an_import_decided_stays(user: User, every: Provider, tmp_path: Path) -> None:
    """S-68."""
    assert every.send("PATCH", f"/Users/{user.pk}", active(False)).status == 200
    path = tmp_path / "people.jsonl"
    path.write_text(json.dumps({"username": user.username, "active": False}))
    for changed in (1, 0):
        said = run("import_people", str(path), "--update", "--reason", "left", "--json")
        assert json.loads(said)["changed"] == changed
    assert every.send("PATCH", f"/Users/{user.pk}", active(True)).status == 403


def test_two_applications_lock_nobody_out(user: User, other_file: File, one: Provider) -> None:
    """S-68: one ended the membership, and the other the account, of which it was the last."""
    tenants.add_member(user, other_file, origin=OPERATOR)
    two, path = make_provider(other_file, "two"), f"/Users/{user.pk}"
    assert one.send("PATCH", path, active(False)).status == 200
    assert two.send("PATCH", path, active(False)).status == 200
    assert one.send("PATCH", path, active(True)).status == 403
    assert two.send("PATCH", path, active(True)).status == 200
    assert list(File.objects.open_to(user)) == [other_file]
    assert one.send("PATCH", path, active(True)).status == 200
    assert File.objects.open_to(user).count() == 2


def test_one_application_does_not_undo_what_another_did(
    user: User, one: Provider, every: Provider
) -> None:
    """S-68."""
    assert every.send("PATCH", f"/Users/{user.pk}", active(False)).status == 200
    assert one.send("PATCH", f"/Users/{user.pk}", active(True)).status == 403


def test_delete_deactivates(user: User, every: Provider) -> None:
    """S-68: nothing is erased, and the application does not see the person any more."""
    path, name = f"/Users/{user.pk}", user.username
    answer = every.send("DELETE", path)
    assert (answer.status, answer.text) == (204, "")
    assert every.send("GET", path).status == every.send("DELETE", path).status == 404
    again = every.send("POST", "/Users", {"userName": name})
    assert (again.status, "An administrator must activate them" in again.json["detail"]) == (
        409,
        True,
    )
    user.refresh_from_db()
    assert (user.is_active, user.username, user.email) == (False, name, "ann@example.com")

    people.activate(user, reason="back", origin=OPERATOR)
    assert every.send("GET", path).json["active"] is True


# -- names and addresses -----------------------------------------------------------


def new_address(text: str) -> dict[str, Any]:
    return patch({"op": "replace", "path": 'emails[type eq "work"].value', "value": text})


def test_it_does_not_take_over_who_signs_in_here_or_elsewhere(
    user: User, other_file: File, one: Provider
) -> None:
    """S-68: the password of ``user`` is their own; that of others is not, or not yet."""
    fresh = one.send("POST", "/Users", {"userName": "fresh", "externalId": "1"}).json["id"]
    assert one.send("PATCH", f"/Users/{fresh}", new_address("fresh@example.com")).status == 200
    tenants.add_member(User.objects.get(pk=fresh), other_file, origin=OPERATOR)
    for pk in (user.pk, fresh):
        for change in (
            new_address("attacker@example.com"),
            patch({"op": "replace", "path": "userName", "value": "attacker"}),
            patch({"op": "remove", "path": "emails"}),
            patch({"op": "replace", "path": "externalId", "value": "x"}),
        ):
            assert one.send("PATCH", f"/Users/{pk}", change).status == 403
    assert set(User.objects.values_list("email", flat=True)) == {
        *("ann@example.com", "fresh@example.com")
    }


@pytest.mark.parametrize(
    "row", [{"external_id": "A-17", "username": "carol"}, {"username": "boss"}]
)
def test_whom_it_named_gets_no_rights_elsewhere(
    row: dict[str, str],
    file: File,
    other_file: File,
    one: Provider,
    every: Provider,
    tmp_path: Path,
) -> None:
    """S-67: nobody takes its people for those of other files; it may name them as it likes."""
    brought = make_user("brought", file)
    User.objects.filter(pk=brought.pk).update(password="!")
    body = {"userName": "boss", "externalId": "A-17"}
    made = User.objects.get(pk=one.send("POST", "/Users", {"userName": "x"}).json["id"])
    for person in (brought, made):
        User.objects.filter(username="boss").delete()
        assert one.send("PUT", f"/Users/{person.pk}", body).status == 200
        path = tmp_path / "people.jsonl"
        path.write_text(json.dumps({**row, "files": [888], "manages": [888]}))
        with pytest.raises(SystemExit):
            run("import_people", str(path), "--update", "--reason", "move")
        add = patch({"op": "add", "path": "members", "value": [{"value": str(person.pk)}]})
        assert every.send("PATCH", "/Groups/888", add).status == 403
        assert not other_file.memberships.exists()


def test_the_old_address_is_told(user: User, every: Provider) -> None:
    """S-68: an application for all files may; the mail has the link to take it back."""
    answer = every.send("PATCH", f"/Users/{user.pk}", new_address("new@example.com"))
    assert answer.json["emails"] == [{"value": "new@example.com", "type": "work"}]
    assert notices(user) == [Notice.Kind.EMAIL_CHANGED]
    change = user.email_changes.get()
    assert (change.old_address, change.new_address) == ("ann@example.com", "new@example.com")
    event = AuditEvent.objects.get(outcome="provisioned")
    assert event.data == {"changed": ["email"]}


def test_the_way_back_cannot_be_taken_away(user: User, every: Provider) -> None:
    """S-68: nor can it mail to any number of addresses."""
    path = f"/Users/{user.pk}"
    assert every.send("PATCH", path, patch({"op": "remove", "path": "emails"})).status == 403
    answers = [every.send("PATCH", path, new_address(f"{n}@example.com")) for n in range(6)]
    assert [each.status for each in answers] == [200] * 5 + [429]
    assert int(answers[5].headers["Retry-After"]) > 0
    assert len(notices(user)) == 5
    assert every.send("PATCH", path, active(False)).status == 200
    user.refresh_from_db()
    first = user.email_changes.order_by("pk")[0]
    assert email_changes.put_back(user, first)
    assert user.email == "ann@example.com"


def test_a_new_address_was_not_invited_yet(user: User, every: Provider) -> None:
    """S-38a."""
    User.objects.filter(pk=user.pk).update(password="!", invited_at=user.date_joined)
    every.send("PATCH", f"/Users/{user.pk}", new_address("new@example.com"))
    assert User.objects.get(pk=user.pk).invited_at is None


@pytest.mark.parametrize(
    "body",
    [
        {"userName": "ANN"},
        {"userName": "ann@example.com"},
        {"userName": "zoe", "emails": [{"value": "Ann@Example.com", "type": "work"}]},
        {"userName": "zoe", "emails": [{"value": "ann"}]},
        {"userName": "zoe", "externalId": "42"},
    ],
)
def test_two_people_never_share_a_name(body: dict[str, Any], user: User, one: Provider) -> None:
    ExternalId.objects.create(user=user, text="42")
    answer = one.send("POST", "/Users", body)
    taken = body.get("emails") != [{"value": "ann"}]
    assert (answer.status, answer.json["scimType"]) == (
        (409, "uniqueness") if taken else (400, "invalidValue")
    )
    [*_, field] = body  # the last one is taken
    assert not taken or answer.json["detail"].startswith(f"Somebody else has this {field}")
    assert User.objects.count() == 1
    assert [outcome for _, outcome, _ in trail()] == ["in_use"] * taken


# -- people, groups, numbers -------------------------------------------------------


def test_a_new_person_has_no_password_and_is_in_the_file(file: File, one: Provider) -> None:
    """S-68: the trail has an event for each change, with names of fields and no values."""
    body = {
        "userName": "dora",
        "externalId": "7",
        "password": "correct horse",
        "emails": [{"value": "dora@example.com", "type": "work", "primary": True}],
        "phoneNumbers": [{"value": NUMBER, "type": "mobile"}],
        "isStaff": True,
        "roles": [{"value": "superuser"}],
        "groups": [{"value": "888"}],
    }
    answer = one.send("POST", "/Users", body)
    assert answer.status == 201
    assert not answer.json.keys() & {"password", "phoneNumbers", "roles"}
    dora = User.objects.get(username="dora")
    assert not dora.has_usable_password()
    assert not dora.is_staff
    assert not dora.is_superuser
    assert list(File.objects.open_to(dora)) == [file]
    client = f"app:{one.application.pk}"
    assert trail() == [
        ("person", "created", client),
        ("member", "added", client),
        ("person", "provisioned", client),
    ]
    said = str([each.data for each in AuditEvent.objects.all()])
    assert "dora" not in said
    assert NUMBER[3:] not in said


def test_a_number_is_proposed_and_never_a_factor(user: User, every: Provider) -> None:
    """S-67: and never told again."""
    path = f"/Users/{user.pk}"
    mobile = 'phoneNumbers[type eq "mobile"].value'
    for value, kept in ((NUMBER, True), ("+3", True), ("+61298765432", True)):
        answer = every.send("PATCH", path, patch({"op": "add", "path": mobile, "value": value}))
        assert (answer.status, ProposedNumber.objects.count()) == (200, kept)
        assert "phoneNumbers" not in answer.json
    assert not ProviderUser.objects.exists()
    assert every.send("PATCH", path, active(True)).status == 200
    assert ProposedNumber.objects.count() == 1
    assert every.send("PATCH", path, patch({"op": "remove", "path": "phoneNumbers"})).status == 200
    assert not ProposedNumber.objects.exists()


def test_the_number_that_an_import_proposed_stays(user: User, every: Provider) -> None:
    proposed = ProposedNumber.of(user, NUMBER, ProposedNumber.Source.IMPORT, timezone.now())
    proposed.save(force_insert=True)
    mobile = 'phoneNumbers[type eq "mobile"].value'
    for change in (
        {"op": "replace", "path": mobile, "value": OTHER_NUMBER},
        {"op": "remove", "path": "phoneNumbers"},
    ):
        assert every.send("PATCH", f"/Users/{user.pk}", patch(change)).status == 200
        assert ProposedNumber.objects.get().is_of(NUMBER)


def test_what_a_provider_learns_of_others_is_recorded(
    user: User, other_file: File, every: Provider
) -> None:
    """S-67. One event in an hour, and a count, without what was tried."""
    one = make_provider(other_file, "one")
    for body in ({"userName": user.username}, {"userName": "a", "emails": [{"value": user.email}]}):
        assert one.send("POST", "/Users", body).status == 409
    event = AuditEvent.objects.get(outcome="in_use")
    client = f"app:{one.application.pk}"
    assert (event.client, event.user_id, event.data) == (client, None, {})
    assert RefusalCount.objects.get().count == 2


def test_other_letters_are_no_other_address(user: User, every: Provider) -> None:
    """Else each synchronization would tell the old address of a change."""
    body = {"userName": user.username, "emails": [{"value": user.email.upper()}]}
    answer = every.send("PUT", f"/Users/{user.pk}", body)
    assert (answer.status, answer.json["emails"][0]["value"]) == (200, user.email)
    assert not Notice.objects.exists()


def test_no_two_files_get_one_name(file: File, every: Provider) -> None:
    """People would take one for the other. Providers find a group by its name, too."""
    File.objects.create(pk=778, name="Another")
    for method, path in (("POST", "/Groups"), ("PUT", "/Groups/778")):
        answer = every.send(method, path, {"displayName": file.name})
        assert (answer.status, answer.json["scimType"]) == (409, "uniqueness")
    assert every.send("PUT", "/Groups/778", {"displayName": "Another"}).status == 200


def test_one_request_locks_no_more_than_some_members(file: File, every: Provider) -> None:
    number = provisioning.MAX_CHANGES + 1
    people = User.objects.bulk_create(User(username=f"m{n}") for n in range(number))
    Membership.objects.bulk_create(Membership(user=each, file=file) for each in people)
    answer = every.send("PATCH", "/Groups/777", patch({"op": "remove", "path": "members"}))
    assert (answer.status, answer.json["scimType"]) == (400, "invalidValue")
    assert Membership.objects.filter(file=file, active=True).count() == number


def test_a_group_is_a_file(user: User, file: File, every: Provider) -> None:
    """Members come and go together; a file in use is not deleted."""
    ben = make_user("ben")
    change = patch(
        {"op": "add", "path": "members", "value": [{"value": str(ben.pk)}]},
        {"op": "remove", "path": f'members[value eq "{user.pk}"]'},
    )
    assert every.send("PATCH", "/Groups/777", change).status == 204
    group = every.send("GET", "/Groups/777").json
    assert [each["value"] for each in group["members"]] == [str(ben.pk)]
    assert not File.objects.open_to(user).exists()
    assert every.send("DELETE", "/Groups/777").status == 403
    for value in ([], [{"value": str(user.pk)}]):
        remove = patch({"op": "remove", "path": "members", "value": value})
        assert every.send("PATCH", "/Groups/777", remove).status == 204
    assert every.send("GET", "/Groups/777").json["members"] == group["members"]
    # All or nothing.
    both = [{"value": str(user.pk)}, {"value": "99"}]
    add = patch({"op": "add", "path": "members", "value": both})
    assert every.send("PATCH", "/Groups/777", add).json["scimType"] == "invalidValue"
    assert list(Membership.objects.filter(active=True).values_list("user", flat=True)) == [ben.pk]

    made = every.send("POST", "/Groups", {"displayName": "New", "members": both[:1]})
    assert list(File.objects.open_to(user)) == [File.objects.get(pk=int(made.json["id"]))]


def test_a_file_that_another_application_is_for_is_not_deleted(every: Provider) -> None:
    """S-68."""
    pk = every.send("POST", "/Groups", {"displayName": "New"}).json["id"]
    make_provider(File.objects.get(pk=pk), "one")
    assert every.send("DELETE", f"/Groups/{pk}").status == 403
    tenants.end_provisioning(
        ScimClient.objects.get(file=pk).application, reason="x", origin=OPERATOR
    )
    assert every.send("DELETE", f"/Groups/{pk}").status == 204
    assert every.send("GET", f"/Groups/{pk}").status == 404
    again = every.send("POST", "/Groups", {"displayName": "New"})
    assert (again.status, again.json["id"]) == (201, str(int(pk) + 1))


def test_who_is_deactivated_is_in_no_group_of_one_file(user: User, one: Provider) -> None:
    """There, to be active and to be a member is the same."""
    people.deactivate(user, reason="left", origin=OPERATOR)
    assert "members" not in one.send("GET", "/Groups/777").json
    add = patch({"op": "add", "path": "members", "value": [{"value": str(user.pk)}]})
    assert one.send("PATCH", "/Groups/777", add).status == 403
    assert one.send("DELETE", f"/Users/{user.pk}").status == 204
    assert trail() == [("person", "provisioned", f"app:{one.application.pk}")]
