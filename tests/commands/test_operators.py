"""Commands for operators: what they do, what they refuse, and what they print last.

What an operation decides is proved in ``tests/domain``; here each command calls the right one.
"""

from typing import Any

import pytest
import time_machine
from django.core import mail
from django.core.management import CommandError, get_commands, load_command_class
from django.utils import timezone

from optin import actions, keys
from optin.gateways import SmsError
from optin.management.commands import GroupCommand
from optin.models import AccessKey, AuditEvent, EmailChange, File, Guard, ProviderUser, User
from optin.models.messages import SmsMessage, State
from optin.operations import email_changes, revocations
from optin.operations.factors import Standing
from optin.origin import Face
from optin.support import statistics
from tests.kit.commands import run
from tests.kit.people import NUMBER, ORIGIN
from tests.kit.phone import Phone
from tests.kit.trail import one_event
from tests.kit.world import World, nothing_happens, rows

pytestmark = pytest.mark.django_db(transaction=True)

Kind = AuditEvent.Kind
WHY = "--reason=Ticket 31. Jo"
WRITTEN = "0491 570 156"


# -- each act ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "said", "kind", "outcome"),
    [
        ("person create dora --email dora@example.com", "Made dora", Kind.PERSON, "created"),
        ("person unlock ANN@example.com", "Unlocked.", Kind.UNLOCK, "ok"),
        ("person revoke-factor ann", "All second factors were", Kind.REVOKE, "ok"),
        ("file create Shop --id 1", "File 1 was made.", Kind.FILE, "created"),
        ("file add-member ben 777", "Added.", Kind.MEMBER, "added"),
        ("password_clients on", "/authorisation/ is on.", Kind.PASSWORD_CLIENTS, "on"),
        ("password_clients off", "/authorisation/ is off.", Kind.PASSWORD_CLIENTS, "off"),
        ("texts stop", "Stopped.", Kind.STOP, "ok"),
        ("texts allow", "They were not stopped.", Kind.STOP, "unchanged"),
        ("number allow", "Nobody answered STOP", Kind.NO_TEXTS, "unchanged"),
    ],
)
def test_an_act_says_what_it_did(
    active: ProviderUser, stranger: User, act: str, said: str, kind: AuditEvent.Kind, outcome: str
) -> None:
    User.objects.filter(username="ann").update(otp_failures=10)
    subject, name, *arguments = act.split()
    number = [NUMBER] if subject == "number" else []
    needs_reason = subject in {"number", "texts"} or name in {
        "deactivate",
        "unlock",
        "revoke-factor",
    }
    reason = [WHY] if needs_reason else []
    facts: dict[str, Any] = {
        "face": Face.COMMAND,
        "actor_id": None,
        **({"reason": WHY[9:]} if reason else {}),
    }
    with one_event(kind, outcome, **facts):
        assert said in run(subject, name, *arguments, *number, *reason)


@pytest.mark.parametrize(
    ("act", "kind", "covers", "said"),
    [
        (["texts", "lift-breaker", "--hours=2"], "lift", "prefix", "open until 2026-11-03 01:00"),
        (["number", "deny", "--days=2"], "deny", "number", "deny list until 2026-11-04 23:00"),
        (["number", "safe", "--prefix"], "safe", "prefix", "safe list until 2026-12-02 23:00"),
    ],
)
def test_an_entry_lasts_until_the_time_that_is_told(
    db: None, act: list[str], kind: str, covers: str, said: str
) -> None:
    assert said in run(*act, WRITTEN, WHY)
    guard = Guard.objects.get()
    assert (guard.kind, guard.covers, guard.reason) == (kind, covers, "Ticket 31. Jo")


def test_a_person_is_let_in_again_by_id(user: User) -> None:
    User.objects.update(is_active=False)
    with one_event(Kind.PERSON, "activated", user_id=user.pk):
        assert run("person", "activate", f"id:{user.pk}", WHY) == "Active again.\n"
    assert run("person", "activate", "ann", WHY) == "Active already.\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["person", "unlock", "ann"], "--reason"),
        (["person", "unlock", "ann", "--reason= "], "Give a reason|nothing was entered"),
        (["person", "unlock", "nobody", WHY], "no such account"),
        (["person", "unlock", "id:999999", WHY], "no such account"),
        (["person", "create", "dora", "--email=dora"], "valid email"),
        (["file", "create", "New", "--id=0"], "greater than or equal to 1"),
        (["file", "add-member", "ann", "999"], "no such file"),
        (["access_key", "create", "ann", "888"], "may not act in this file"),
        (["access_key", "revoke", "ann", "abcdef"], "has 0 such keys"),
        (["number", "deny", "12", WHY], "not a mobile number"),
        (["texts", "lift-breaker", WRITTEN, "--hours=0", WHY], "^--hours: .* or equal to 1"),
    ],
)
def test_a_refusal_is_an_error(
    active: ProviderUser, other_file: File, phone: Phone, arguments: list[str], said: str
) -> None:
    with nothing_happens(phone), pytest.raises(CommandError, match=said):
        run(*arguments)


def test_what_could_not_be_done_is_an_error(user: User) -> None:
    with (
        one_event(Kind.REVOKE, "not_opted_in"),
        pytest.raises(CommandError, match="no such second factor"),
    ):
        run("person", "revoke-factor", "ann", WHY)


def test_each_action_with_a_command_is_there() -> None:
    named = {each.command for each in actions.EVERY if each.command}
    groups = {
        name: load_command_class(app, name)
        for name, app in get_commands().items()
        if app == "optin"
    }
    acts = {
        f"{name} {act}"
        for name, group in groups.items()
        if isinstance(group, GroupCommand)
        for act in group.acts
    }
    assert named <= acts


# -- what stands alone on the last line ----------------------------------------------


def last_line(output: str) -> str:
    return output.rstrip("\n").split("\n")[-1]


def test_a_new_file_takes_the_next_id(db: None) -> None:
    for file_id in ("1", "2"):
        assert last_line(run("file", "create", "New Books")) == file_id
    assert File.objects.get(pk=2).name == "New Books"


def test_an_access_key(user: User, file: File) -> None:
    """Only its digest is kept. The person is told, as whoever has it acts for them (S-39)."""
    text, other = (last_line(run("access_key", "create", "ann", "777")) for _ in range(2))
    key = AccessKey.objects.first()
    assert key
    assert len(text) >= 43
    assert " " not in text != other
    assert (key.digest, key.user, key.file) == (keys.sha256(text), user, file)
    assert text not in str(list(AccessKey.objects.values()))

    with pytest.raises(CommandError, match="nothing was entered"):
        run("access_key", "revoke", "ann", "")
    with one_event(Kind.ACCESS_KEY, "revoked", face=Face.COMMAND):
        assert run("access_key", "revoke", "ann", text) == "The key was revoked.\n"
    key.refresh_from_db()
    assert key.revoked_at
    made, _, revoked = mail.outbox
    assert made.to == revoked.to == ["ann@example.com"]
    assert "made an access key" in made.body
    assert "An access key of your account" in revoked.body
    assert text not in f"{made.body}{revoked.body}"


def test_no_output_holds_a_number_or_a_code(world: World) -> None:
    said = run("person", "unlock", "ann", WHY) + run("send_due")
    said += run("access_key", "create", "ann", "777")
    for secret in (NUMBER[3:], world.code(), ORIGIN.ip):
        assert secret not in said


# -- what is due ---------------------------------------------------------------------


def test_send_due_sends_what_waits(world: World) -> None:
    assert run("send_due").startswith("Sent 0.\n")
    world.phone.fail_with = SmsError("timed out")
    world.clock.shift(30)
    world.ask()
    world.phone.fail_with = None
    assert run("send_due").startswith("Sent 1.\n")
    assert SmsMessage.objects.latest("pk").state == State.SENT
    before = rows()
    run("send_due")
    assert rows() == before


def test_send_due_does_what_is_due(
    active: ProviderUser, stranger: User, clock: time_machine.Traveller
) -> None:
    """Removals, and new addresses."""
    revocations.plan(active.user, reason="lost", origin=ORIGIN)
    standing = Standing(timezone.now())
    email_changes.ask(stranger, "new@example.org", standing=standing, origin=ORIGIN)
    change = EmailChange.objects.get()
    email_changes.prove(stranger, change, standing=standing, origin=ORIGIN)
    assert "carried out 0, called off 0" in run("send_due")
    clock.shift(86_400)
    said = run("send_due")
    assert "carried out 1, called off 0" in said
    assert "Email addresses: changed 1, called off 0." in said
    active.refresh_from_db()
    assert not active.confirmed
    assert User.objects.get(pk=stranger.pk).email == "new@example.org"


def test_a_step_that_fails_stops_no_other(
    db: None, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError("broken")

    counted: list[object] = []
    monkeypatch.setattr(revocations, "carry_out", lambda origin: fail())
    monkeypatch.setattr(statistics, "roll_up", counted.append)
    with pytest.raises(CommandError, match=r"^Not done, see the log: removals\.$"):
        run("send_due")
    assert counted
