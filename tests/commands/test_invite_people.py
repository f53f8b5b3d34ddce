"""Invitations: who gets one, what its link is good for, what happens when mails fail (S-38a)."""

import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from functools import partial
from html import unescape
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import pytest
import time_machine
from django.contrib.auth.models import Permission
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from optin.messaging import delivery
from optin.models import AuditEvent, File, Membership, Notice, ProviderUser, User
from optin.operations import erasure, invitations, passwords, people, restore
from optin.origin import Face, Origin
from optin.outcomes import InviteOutcome
from tests.commands.rows import BCRYPT
from tests.kit.browser import NEW_PASSWORD, Browser
from tests.kit.commands import run
from tests.kit.people import NUMBER, ORIGIN, make_user
from tests.kit.phone import Phone
from tests.kit.server import ROOT, own_process, until
from tests.kit.staff import ask, browser_of, give_app, make_staff
from tests.kit.stored import number_of
from tests.kit.trail import newest_event, one_event
from tests.kit.world import nothing_happens

pytestmark = pytest.mark.django_db(transaction=True)

Kind = AuditEvent.Kind
WHY = "--reason=Moving in. Jo"
DAY = timedelta(days=1)
Clock = time_machine.Traveller


def brought(name: str, file: File, **fields: Any) -> User:
    """Somebody whom an import made, without a password."""
    person = User(username=name, email=f"{name}@example.com")
    person.set_unusable_password()
    for field, value in fields.items():
        setattr(person, field, value)
    person.save()
    Membership.objects.create(user=person, file=file)
    return person


def invite(*options: str, status: int = 0) -> Any:
    """Run the command; return its summary."""
    out = StringIO()
    with pytest.raises(CommandError) if status else nullcontext() as stopped:
        call_command(
            "invite_people", "--file=777", WHY, "--json", *options, stdout=out, stderr=StringIO()
        )
    assert not stopped or stopped.value.returncode == status
    return json.loads(out.getvalue())


def link_of(person: User) -> str:
    """Return the path of the link in the newest mail to *person*."""
    (newest,) = [each for each in mail.outbox if each.to == [person.email]][-1:]
    return str(re.findall(r"https://2fa\.example\.com(/password-reset/\S+)", str(newest.body))[0])


def status(path: str) -> int:
    return Browser().go(path).status


# -- from the mail to the second factor ----------------------------------------------


def test_from_the_mail_to_the_opt_in(file: File) -> None:
    """S-38a."""
    browser = Browser()
    dora = brought("dora", file, language="de")
    with one_event(Kind.INVITATION, "ok", user_id=dora.pk, file_id=777, reason="Moving in. Jo"):
        assert invite()["invited"] == 1
    assert newest_event().data["ran_by"]
    assert (mail.outbox[0].to, Notice.objects.get().language) == (["dora@example.com"], "de")
    path = link_of(dora)
    for _each in range(2):  # a look changes nothing, such as that of a scanner of mails
        browser.go(path)
    browser.send(new_password1=NEW_PASSWORD, new_password2=NEW_PASSWORD)
    assert browser.path == "/sign-in/"
    events = AuditEvent.objects.filter(user_id=dora.pk).order_by("pk")
    assert [(e.kind, e.outcome) for e in events] == [("invitation", "ok"), ("invitation", "used")]
    browser.send(username="dora", password=NEW_PASSWORD)
    assert browser.path == "/account/two-factor/"
    assert status(path) == 404


def test_who_has_a_password_is_led_to_the_sign_in(user: User) -> None:
    browser = Browser()
    invite()
    (path,) = re.findall(r"https://2fa\.example\.com(/sign-in/\S+)", str(mail.outbox[0].body))
    browser.go(path)
    browser.send(username="ann", password="correct horse battery")
    assert browser.path == "/account/two-factor/"
    assert "/password-reset/" not in mail.outbox[0].body
    assert "sign in with your password" in mail.outbox[0].body


def test_the_mail_says_that_the_password_of_the_old_system_works(file: File) -> None:
    brought("dora", file, password=f"imported{BCRYPT}")
    invite()
    (said,) = mail.outbox
    assert "the password that you have used until\nnow" in said.body
    assert "https://2fa.example.com/sign-in/?next=/account/two-factor/\n" in said.body
    assert "\n\n\n" not in said.body


def test_who_has_a_number_from_the_old_system_enters_its_code(file: File, phone: Phone) -> None:
    """S-30. The link signs nobody in, and the mail asks for no second factor."""
    dora, now = brought("dora", file), timezone.now()
    number_of(dora, file, NUMBER, now, confirmed=True, verified_at=now, taken_over_at=now)
    browser = Browser()
    invite()
    assert "two-factor" not in f"{mail.outbox[0].subject} {mail.outbox[0].body}"
    browser.go(link_of(dora))
    browser.send(new_password1=NEW_PASSWORD, new_password2=NEW_PASSWORD)
    browser.send(username="dora", password=NEW_PASSWORD)
    assert browser.path == "/sign-in/code/"
    assert [to for to, _ in phone.messages] == [NUMBER]


# -- what a link is good for ---------------------------------------------------------


def _deactivated(clock: Clock, person: User) -> None:
    people.deactivate(person, reason="Ticket 1. Jo", origin=ORIGIN)
    people.activate(person, reason="Ticket 1. Jo", origin=ORIGIN)


def _now_with(**fields: object) -> Callable[[Clock, User], object]:
    return lambda clock, person: User.objects.filter(pk=person.pk).update(**fields)


ENDINGS: dict[str, Callable[[Clock, User], object]] = {
    "seven days": lambda clock, person: clock.shift(7 * DAY),
    "a newer one": lambda clock, person: invitations.invite(person, reason="Jo", origin=ORIGIN),
    "deactivated": _deactivated,
    "restored": lambda clock, person: restore.after_restore(origin=ORIGIN),
    "a password": _now_with(password="pbkdf2$x"),
    "another address": _now_with(email="d@example.org"),
    "staff": _now_with(is_staff=True),
    "superuser": _now_with(is_superuser=True),
    "erased": lambda clock, person: erasure.erase(person, reason="Ticket 1. Jo", origin=ORIGIN),
}


@pytest.mark.parametrize("then", ENDINGS.values(), ids=ENDINGS)
def test_a_link_ends(then: Callable[[Clock, User], object], file: File, clock: Clock) -> None:
    """S-38a."""
    dora = brought("dora", file)
    invite()
    path = link_of(dora)
    clock.shift(7 * DAY - timedelta(seconds=1))
    assert status(path) == 200
    clock.shift(-timedelta(days=6))
    then(clock, dora)
    assert status(path) == 404


def test_a_link_is_of_one_person_and_tells_strangers_nothing(file: File, user: User) -> None:
    """S-38a. Whoever makes one up reads the same for everybody."""
    dora, emil = brought("dora", file), brought("emil", file)
    invite()
    path, other = link_of(dora), link_of(emil)
    _, _, uid, token, _ = path.split("/")
    _, _, other_uid, _, _ = other.split("/")
    assert status(f"/password-reset/{other_uid}/{token}/") == 404
    made_up = [f"/password-reset/{each}/{token[:-1]}x/" for each in (uid, "MQ", "OTk5", "-")]
    pages = {re.sub("[0-9a-f]{32}", "", Browser().go(each).text) for each in made_up}
    assert len(pages) == 1


def test_who_has_no_password_asks_for_a_link(file: File, clock: Clock) -> None:
    """S-38, S-38a. As everybody does who forgot theirs: an invitation ends, or there was none."""
    dora, browser = brought("dora", file), Browser()

    def asked() -> int:
        browser.go("/password-reset/")
        browser.send(email=dora.email)
        return len(mail.outbox)

    assert asked() == 1
    invite()
    clock.shift(8 * DAY)
    assert asked() == 3
    User.objects.update(is_staff=True)
    assert status(link_of(dora)) == 404
    User.objects.update(is_staff=False)
    browser.go(link_of(dora))
    browser.send(new_password1=NEW_PASSWORD, new_password2=NEW_PASSWORD)
    assert User.objects.get(pk=dora.pk).check_password(NEW_PASSWORD)


# -- who is invited ------------------------------------------------------------------


def test_who_is_left_out_is_counted(
    file: File, other_file: File, active: Any, phone: Phone
) -> None:
    """S-38a. ``ann`` has two-factor sign-in on."""
    brought("dora", file)
    people = {
        "staff": brought("emil", file, is_staff=True),
        "test_account": brought("fritz", file, is_test=True),
        "deactivated": brought("gina", file, is_active=False),
        "no_address": brought("hans", file, email=""),
        "erased": brought("ines", file),
        "not_a_member": brought("jan", file),
        "two_factor_on": active.user,
    }
    brought("kim", other_file)
    give_app(brought("lea", file))  # nor can she sign in without a password
    erasure.erase(people["erased"], reason="Ticket 1. Jo", origin=ORIGIN)
    Membership.objects.create(user=people["erased"], file=file)
    Membership.objects.filter(user=people["not_a_member"]).update(active=False)
    with nothing_happens(phone):
        told = invite("--dry-run")
    done = invite()
    assert told["not_invited"] == done["not_invited"] == dict.fromkeys(people, 1)
    assert (told["invited"], done["invited"], done["left"]) == (2, 2, 0)
    invited = [each.to[0] for each in mail.outbox if "Choose" in each.subject]
    assert invited == ["dora@example.com", "lea@example.com"]
    with nothing_happens(phone):
        assert invite()["not_invited"]["invited_before"] == 2


def test_again_reminds_those_whose_link_is_too_old(file: File, clock: Clock) -> None:
    brought("dora", file)
    invite()
    clock.shift(7 * DAY - timedelta(seconds=1))
    assert invite("--again")["invited"] == 0
    clock.shift(1)
    assert (invite()["invited"], invite("--again")["invited"]) == (0, 1)


def test_nobody_is_invited_more_than_three_times_a_day(file: File, clock: Clock) -> None:
    dora = brought("dora", file)
    ask_for = partial(invitations.invite, dora, reason="Ticket 1. Jo", origin=ORIGIN)
    for _each in range(3):
        clock.shift(1)
        assert ask_for() is InviteOutcome.OK
    clock.shift(DAY - timedelta(seconds=3))
    assert ask_for() is InviteOutcome.INVITATION_LIMIT
    clock.shift(2)
    assert ask_for() is InviteOutcome.OK


def test_whose_address_an_import_corrects_is_invited_again(file: File, tmp_path: Path) -> None:
    brought("dora", file)
    invite()
    corrected = {"username": "dora", "email": "dora@example.org", "files": [777]}
    path = tmp_path / "people.jsonl"
    path.write_text(json.dumps(corrected))
    run("import_people", str(path), "--update", WHY)
    assert invite()["invited"] == 1


def test_nobody_is_invited_into_a_file_that_is_no_more(file: File) -> None:
    dora = brought("dora", file)
    for how in ({"active": False}, {"is_sandbox": True}):
        File.objects.filter(pk=file.pk).update(**{"active": True, "is_sandbox": False, **how})
        ask_for = partial(invitations.invite, dora, reason="Ticket 1. Jo", origin=ORIGIN)
        assert ask_for() is InviteOutcome.NOT_A_MEMBER
        assert invite()["not_invited"] == {"not_a_member": 1}
    assert not mail.outbox


def test_staff_invite_nobody_who_may_do_more_than_they(file: File) -> None:
    """S-37. Such as a member of staff who left, and keeps a permission."""
    dora = brought("dora", file)
    dora.user_permissions.add(Permission.objects.get(codename="delete_session"))
    origin = Origin(Face.ADMIN, actor_id=make_staff("administrator").pk)
    outcome = invitations.invite(dora, reason="Ticket 1. Jo", origin=origin)
    assert outcome is InviteOutcome.OUT_OF_REACH
    assert not mail.outbox


# -- when mails fail -----------------------------------------------------------------


def _away(*args: Any) -> NoReturn:
    raise ConnectionRefusedError


def test_without_a_mail_server_nobody_is_invited(
    file: File, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    brought("dora", file)
    monkeypatch.setattr(EmailBackend, "open", _away)
    with nothing_happens(phone):
        assert invite(status=3)["left"] == 1


def test_it_stops_once_mails_fail_and_goes_on(
    file: File, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """S-38a. What was made leaves later; the others are invited by the next run."""
    for n in range(9):
        brought(f"person-{n}", file)
    send = EmailBackend.send_messages

    def send_two(server: EmailBackend, letters: Any) -> Any:
        return send(server, letters) if len(mail.outbox) < 2 else _away()

    with monkeypatch.context() as broken:
        broken.setattr(EmailBackend, "send_messages", send_two)
        done = invite(status=3)
    assert (done["invited"], done["left"], len(mail.outbox)) == (5, 4, 2)
    delivery.send_due(timezone.now())
    assert invite()["invited"] == 4
    assert sorted(each.to[0] for each in mail.outbox) == [
        f"person-{n}@example.com" for n in range(9)
    ]


def test_whose_mail_never_left_is_invited_again_and_last(file: File, clock: Clock) -> None:
    dora = brought("dora", file)
    invite()
    Notice.objects.update(state="failed", reason="TimeoutError")
    emil = brought("emil", file)
    clock.shift(1)
    assert invitations.plan(file).due == [emil.pk, dora.pk]
    assert invite()["invited"] == 2


def test_mails_that_nobody_sends_are_noticed(
    file: File, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """Those that are made still leave later, but not to somebody who was deactivated."""
    dora, emil = brought("dora", file), brought("emil", file)
    monkeypatch.setattr(delivery.postman, "submit", lambda work: True)
    monkeypatch.setattr(invitations, "PATIENCE", 0.0)
    assert invite(status=3)["invited"] == 2
    _deactivated(clock, dora)
    clock.shift(1)
    invitations.invite(emil, reason="Again. Jo", origin=ORIGIN)
    delivery.send_due(timezone.now())
    assert [each.to for each in mail.outbox] == [[emil.email]]  # once: the newer one


def test_mails_leave_at_the_pace_of_all_runs(
    file: File, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    began = timezone.now()
    monkeypatch.setattr(time, "sleep", lambda seconds: clock.shift(seconds))
    for n in range(2):
        brought(f"person-{n}", file)
    invite("--limit=200/h")
    brought("person-2", file)
    invite("--limit=200/h")
    left = Notice.objects.order_by("pk").values_list("created_at", flat=True)
    assert [round((at - began).total_seconds()) for at in left] == [0, 18, 36]


@pytest.mark.slow
@pytest.mark.postgresql
def test_two_at_once_that_are_killed_and_run_again_invite_each_once(
    file: File, clock: Clock, tmp_path: Path
) -> None:
    """S-38a. They keep one pace between them."""
    for n in range(60):
        brought(f"person-{n}", file)
    options = ["invite_people", "--file=777", WHY, "--limit=1200/m"]
    command, env = [sys.executable, "manage.py", *options], own_process(tmp_path)

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL)

    def more_than(count: int) -> Callable[[], bool]:
        return lambda: invited.count() > count

    invited = Notice.objects.order_by("created_at").values_list("created_at", flat=True)
    for _each in range(2):
        before, both = invited.count(), [start(), start()]
        until(more_than(before), 30)
        time.sleep(random.uniform(0, 0.5))
        for process in both:
            process.kill()
            process.wait()
    assert 0 < invited.count() < 60
    with start() as one, start() as other:
        assert (one.wait(), other.wait()) == (0, 0)
    clock.move_to(invited[59] + timedelta(minutes=5))
    delivery.send_due(timezone.now())  # what was killed between the two
    assert Notice.objects.filter(state="sent").values("user").distinct().count() == 60
    assert invited.count() == AuditEvent.objects.filter(kind=Kind.INVITATION).count() == 60
    gaps = [later - at for at, later in pairwise(invited)]
    assert min(gaps) >= timedelta(milliseconds=49)


# -- what staff see and do -----------------------------------------------------------


def test_staff_invite_the_members_and_see_how_far_they_are(file: File, active: Any) -> None:
    dora = brought("dora", file)
    brought("emil", file, email="")
    make_user("fritz", file)
    staff = browser_of("administrator")
    page = staff.get("/admin/optin/file/777/change/").content.decode()
    for said in ("4 members", "4 not invited", "3 without two-factor sign-in"):
        assert said in page
    page = ask(staff, "optin/file/777/invite/", reason="Moving in. Jo")
    assert "Invited by email: 2." in page
    assert "2 not invited" in page
    listed = staff.get("/admin/optin/membership/?file_id=777&how_far=not_password").content.decode()
    assert ("dora" in listed, "fritz" in listed) == (True, False)
    address = f"/admin/optin/user/{dora.pk}/"
    head = staff.get(f"{address}change/").content.decode()
    assert "its link was not used" in head
    assert "Send an invitation" in head
    passwords.choose(
        User.objects.get(pk=dora.pk), NEW_PASSWORD, origin=ORIGIN, link=link_of(dora).split("/")[3]
    )
    assert "its link was used" in staff.get(f"{address}change/").content.decode()
    assert "on its way" in ask(staff, f"optin/user/{dora.pk}/invite/", reason="Ticket 1. Jo")
    active_page = staff.get(f"/admin/optin/user/{active.user_id}/change/").content.decode()
    assert "Send an invitation" not in active_page


def test_deactivated_members_are_counted_apart(file: File, active: ProviderUser) -> None:
    """Each count leads to as many members; what there is none of is left out."""
    brought("dora", file)
    make_user("fritz", file)
    User.objects.exclude(username="fritz").update(is_active=False)
    staff = browser_of("administrator")
    page = staff.get("/admin/optin/file/777/change/").content.decode()
    counts = re.findall(r'href="([^"]*how_far=(\w+))">(\d+) ', page)
    assert {name: int(count) for _, name, count in counts} == {
        "members": 1,
        "not_invited": 1,
        "not_two_factor": 1,
    }
    for address, _, count in counts:
        listed = staff.get(unescape(address)).content.decode()
        assert listed.count('class="field-account"') == int(count), address


def test_members_are_counted_and_listed_in_as_many_statements_as_one(file: File) -> None:
    staff = browser_of("administrator")
    staff.get("/admin/optin/file/777/change/")  # reads once what each process keeps
    statements = []
    for count in (1, 8):
        for n in range(count):
            brought(f"person-{count}-{n}", file)
        for address in ("file/777/change/", "membership/?file_id=777&how_far=not_invited"):
            with CaptureQueriesContext(connection) as counted:
                staff.get(f"/admin/optin/{address}")
            statements.append(len(counted))
    assert statements[:2] == statements[2:]


def test_who_stops_it_is_told_that_it_goes_on(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    brought("dora", file)

    def stopped(*_arguments: Any, **_options: Any) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(invitations, "_invite", stopped)
    told = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("invite_people", "--file=777", WHY, stdout=StringIO(), stderr=told)
    assert (ended.value.code, told.getvalue()) == (3, "Stopped. Run it again to go on.\n")


def test_a_dry_run_says_how_long_it_takes(file: File) -> None:
    for name in ("dora", "emil"):
        brought(name, file)
    assert run("invite_people", "--file=777", WHY, "--dry-run").startswith("2 to invite\n")
    told = run("invite_people", "--file=777", WHY, "--dry-run", "--limit=1/h")
    assert told.startswith("2 to invite, in 2.0 hours\n")


def test_a_command_invites_one_person(file: File, active: ProviderUser) -> None:
    brought("dora", file)
    assert "on its way" in run("person", "invite", "dora", WHY)
    with pytest.raises(CommandError, match="two factor on"):
        run("person", "invite", "ann", WHY)
