"""Commands for operators: what they do, what they refuse, and what they print last."""

import logging
from pathlib import Path

import pytest
import time_machine
from django.conf import LazySettings
from django.core import mail
from django.core.management import CommandError
from django.utils import timezone
from oauth2_provider.models import AccessToken, get_application_model

from optin import keys
from optin.gateways import SmsError
from optin.models import (
    AccessKey,
    AuditEvent,
    EmailChange,
    File,
    Membership,
    ProviderUser,
    Revocation,
    User,
)
from optin.models.messages import SmsMessage, State
from optin.operations import email_changes, revocations, sign_in
from optin.operations.factors import Standing
from optin.origin import Face
from tests.kit.commands import run
from tests.kit.people import NUMBER, ORIGIN
from tests.kit.phone import Phone
from tests.kit.trail import one_event
from tests.kit.world import World, nothing_happens, rows

pytestmark = pytest.mark.django_db(transaction=True)


def last_line(output: str) -> str:
    return output.rstrip("\n").split("\n")[-1]


@pytest.mark.parametrize(("verbosity", "lines"), [("1", 0), ("2", 1)])
def test_a_command_prints_its_line_of_the_ledger_if_asked(
    db: None,
    settings: LazySettings,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    verbosity: str,
    lines: int,
) -> None:
    """The ledger has it in any case."""
    caplog.set_level(logging.DEBUG, "optin.audit")  # of what is caught; back at the end
    logging.getLogger("optin.audit").setLevel(logging.INFO)
    settings.OPTIN_LEDGER = str(tmp_path / "ledger")
    run("create_person", "dora", "--email", "dora@example.com")
    run("deactivate_person", "dora", "--reason", "Ticket 1. Jo", "--verbosity", verbosity)
    assert len([one for one in caplog.messages if one.startswith("ledger ")]) == lines
    assert "outcome=deactivated" in (tmp_path / "ledger").read_text()


# -- files, members, keys ----------------------------------------------------------


def test_create_file_takes_the_next_id(file: File) -> None:
    assert last_line(run("create_file", "New Books")) == "778"
    assert File.objects.get(pk=778).name == "New Books"


def test_create_file_begins_with_one(db: None) -> None:
    assert last_line(run("create_file", "First")) == "1"


@pytest.mark.parametrize("file_id", [1, 2_147_483_647])
def test_create_file_takes_an_id(file: File, file_id: int) -> None:
    assert last_line(run("create_file", "New", "--id", str(file_id))) == str(file_id)


@pytest.mark.parametrize("file_id", ["0", "-1", "2147483648"])
def test_create_file_refuses_an_id_out_of_range(file: File, file_id: str) -> None:
    with pytest.raises(CommandError, match=r"^A FileId is from 1 to 2147483647\.$"):
        run("create_file", "New", f"--id={file_id}")


def test_create_file_refuses_an_id_that_is_taken(file: File) -> None:
    with pytest.raises(CommandError, match=r"^There is a file 777 already\.$"):
        run("create_file", "New", "--id", "777")
    assert File.objects.get().name == "Harbour Books"


@pytest.mark.parametrize("name", ["", "  ", "n" * 201], ids=["empty", "blank", "long"])
def test_create_file_refuses_a_name(db: None, name: str) -> None:
    with pytest.raises(CommandError, match=r"^A name has 1 to 200 characters\.$"):
        run("create_file", name)
    assert not File.objects.exists()


def test_create_file_refuses_an_id_after_the_last(db: None) -> None:
    File.objects.create(id=2_147_483_647, name="last")
    with pytest.raises(CommandError, match="A FileId is from 1"):
        run("create_file", "New")


def test_add_member(stranger: User, other_file: File) -> None:
    for _ in range(2):
        run("add_member", "ben", "888")
    assert Membership.objects.filter(user=stranger, file=other_file, active=True).count() == 1


def test_add_member_lets_somebody_in_again(user: User, file: File) -> None:
    Membership.objects.update(active=False)
    run("add_member", "ANN@example.com", "777")
    assert File.objects.open_to(user).get() == file


def test_create_access_key(user: User, file: File) -> None:
    """The key stands alone on the last line; only its digest is kept."""
    text = last_line(run("create_access_key", "ann", "777"))
    key = AccessKey.objects.get()
    assert len(text) >= 43
    assert " " not in text
    assert (key.digest, key.user, key.file) == (keys.sha256(text), user, file)
    assert text not in str(list(AccessKey.objects.values()))
    assert last_line(run("create_access_key", "ann", "777")) != text


@pytest.mark.parametrize("command", ["add_member", "create_access_key"])
@pytest.mark.parametrize(
    ("name", "file_id", "said"),
    [
        ("nobody", "777", r"^There is no user 'nobody'\.$"),
        ("", "777", r"^There is no user ''\.$"),
        ("ann", "999", r"^There is no file 999\.$"),
        ("ann", "99999999999999999999", r"^There is no file 99999999999999999999\.$"),
    ],
)
def test_unknown_names(user: User, command: str, name: str, file_id: str, said: str) -> None:
    with pytest.raises(CommandError, match=said):
        run(command, name, file_id)


def test_a_key_needs_a_membership(user: User, other_file: File) -> None:
    with pytest.raises(CommandError, match=r"may not act in file 888\.$"):
        run("create_access_key", "ann", "888")
    Membership.objects.create(user=user, file=other_file, active=False)
    with pytest.raises(CommandError, match="may not act"):
        run("create_access_key", "ann", "888")
    assert not AccessKey.objects.exists()


def test_a_key_needs_an_active_user(user: User) -> None:
    User.objects.update(is_active=False)
    with pytest.raises(CommandError, match="ann is not active"):
        run("create_access_key", "ann", "777")


def test_a_key_is_revoked_by_its_first_characters(user: User) -> None:
    text = run("create_access_key", "ann", "777").split()[-1]
    with one_event(AuditEvent.Kind.ACCESS_KEY, "revoked", face=Face.COMMAND):
        assert run("revoke_access_key", "ann", text[:6]).startswith("Revoked the key")
    assert AccessKey.objects.get().revoked_at is not None
    with pytest.raises(CommandError, match="has 0 such keys"):
        run("revoke_access_key", "ann", text[:6])


def test_a_key_that_is_not_told_apart_is_kept(user: User) -> None:
    for _ in range(2):
        run("create_access_key", "ann", "777")
    with pytest.raises(CommandError, match="has 2 such keys"):
        run("revoke_access_key", "ann", "")


# -- clients without a client id ---------------------------------------------------


def test_password_clients_are_off_until_enabled(db: None) -> None:
    """S-35."""
    assert sign_in.application() is None
    for _ in range(2):
        assert run("enable_password_clients").strip().endswith("is on.")
    assert sign_in.application()
    assert get_application_model().objects.count() == 1


def test_password_clients_off_ends_their_tokens(user: User) -> None:
    run("enable_password_clients")
    AccessToken.objects.create(
        user=user, application=sign_in.application(), token="t", expires=timezone.now()
    )
    for _ in range(2):
        assert run("enable_password_clients", "--off").strip().endswith("is off.")
    assert sign_in.application() is None
    assert not AccessToken.objects.exists()


# -- staff actions -----------------------------------------------------------------


@pytest.mark.parametrize("name", ["ann", "ANN", "ann@example.com"])
def test_unlock(world: World, name: str) -> None:
    world.lock()
    facts = {
        "face": Face.COMMAND,
        "actor_id": None,
        "reason": "lost phone",
        "user_id": world.user.pk,
    }
    with one_event(AuditEvent.Kind.UNLOCK, "ok", {"failures": 10}, **facts):
        assert run("unlock", name, "--reason", "lost phone") == "Unlocked ann.\n"
    assert world.failures == 0
    assert world.guess(world.code()).outcome == "ok"
    assert run("unlock", name, "--reason", "x") == "ann has no wrong codes to forget.\n"


def test_revoke_factor(active: ProviderUser) -> None:
    facts = {"face": Face.COMMAND, "reason": "recycled", "provider_user_id": active.pk}
    with one_event(AuditEvent.Kind.REVOKE, "ok", **facts):
        assert run("revoke_factor", "ann", "--reason=recycled").startswith("Removed")
    active.refresh_from_db()
    assert not active.confirmed


def test_revoke_factor_finds_none(world: World) -> None:
    with (
        one_event(AuditEvent.Kind.REVOKE, "not_opted_in"),
        pytest.raises(CommandError, match=r"^ann has no second factor\.$"),
    ):
        run("revoke_factor", "ann", "--reason", "x")


@pytest.mark.parametrize("command", ["unlock", "revoke_factor"])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ann"], "--reason"),
        (["ann", "--reason", "  "], "Give a reason"),
        (["ann", "--reason", "x" * 501], "at most 500 characters"),
        (["nobody", "--reason", "x"], "There is no user 'nobody'"),
    ],
    ids=["no-reason", "blank-reason", "long-reason", "nobody"],
)
def test_staff_actions_refused(
    active: ProviderUser, phone: Phone, command: str, arguments: list[str], said: str
) -> None:
    with nothing_happens(phone), pytest.raises(CommandError, match=said):
        run(command, *arguments)


# -- the outbox --------------------------------------------------------------------


def test_send_due(world: World) -> None:
    assert run("send_due") == "Sent 0.\n"
    world.phone.fail_with = SmsError("timed out")
    world.clock.shift(30)
    world.ask()
    world.phone.fail_with = None
    assert run("send_due") == "Sent 1.\n"
    assert SmsMessage.objects.latest("pk").state == State.SENT
    before = rows()
    assert run("send_due") == "Sent 0.\n"
    assert rows() == before


# -- revocations and new addresses that wait ---------------------------------------

NO_ADDRESS = "E-mail addresses: changed 0, called off 0.\n"


def test_revoke_due(active: ProviderUser, clock: time_machine.Traveller) -> None:
    revocations.plan(active.user, reason="lost", origin=ORIGIN)
    assert run("revoke_due") == "Carried out 0, called off 0.\n" + NO_ADDRESS
    clock.shift(86_400)
    with one_event(AuditEvent.Kind.REVOKE, "ok", face=Face.COMMAND, reason="lost"):
        assert run("revoke_due") == "Carried out 1, called off 0.\n" + NO_ADDRESS
    active.refresh_from_db()
    assert not active.confirmed
    assert run("revoke_due") == "Carried out 0, called off 0.\n" + NO_ADDRESS


def test_revoke_due_tells_what_was_called_off(
    active: ProviderUser, clock: time_machine.Traveller
) -> None:
    revocations.plan(active.user, reason="lost", origin=ORIGIN)
    User.objects.update(is_active=False)
    clock.shift(86_400)
    assert run("revoke_due") == "Carried out 0, called off 1.\n" + NO_ADDRESS
    active.refresh_from_db()
    assert active.confirmed


def test_revoke_due_changes_addresses(user: User, clock: time_machine.Traveller) -> None:
    standing = Standing(timezone.now())
    email_changes.ask(user, "new@example.org", standing=standing, origin=ORIGIN)
    email_changes.prove(user, EmailChange.objects.get(), standing=standing, origin=ORIGIN)
    clock.shift(86_400)
    said = "Carried out 0, called off 0.\nE-mail addresses: changed 1, called off 0.\n"
    with one_event(AuditEvent.Kind.EMAIL, "ok", face=Face.COMMAND):
        assert run("revoke_due") == said
    user.refresh_from_db()
    assert user.email == "new@example.org"


def test_revoke_factor_ends_what_waits(active: ProviderUser) -> None:
    revocations.plan(active.user, reason="lost", origin=ORIGIN)
    run("revoke_factor", "ann", "--reason", "seen")
    assert Revocation.objects.get().closed_as == Revocation.Closed.DONE


# -- what people are told ----------------------------------------------------------


def test_a_key_made_or_revoked_by_command_is_told_to_the_person(user: User) -> None:
    """Whoever typed it acts for the person: they must be able to ask why (S-39)."""
    text = last_line(run("create_access_key", "ann", "777"))
    run("revoke_access_key", "ann", text[:6])
    made, revoked = mail.outbox
    assert [made.to, revoked.to] == [["ann@example.com"]] * 2
    assert "made an access key" in made.body
    assert "An access key of your account" in revoked.body
    assert text not in f"{made.body}{revoked.body}"


def test_no_output_holds_a_number_or_a_code(world: World) -> None:
    said = [
        run("unlock", "ann", "--reason", "x"),
        run("send_due"),
        run("create_access_key", "ann", "777"),
    ]
    assert NUMBER[3:] not in "".join(said)
    assert world.code() not in "".join(said)
    assert ORIGIN.ip not in "".join(said)
