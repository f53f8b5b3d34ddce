"""People from another system: what comes in, what is refused, and what a second run does."""

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher, check_password, make_password
from django.core import mail
from django.core.management import CommandError, call_command
from django.utils import timezone

from optin import keys
from optin.conf import Conf
from optin.models import (
    AccessKey,
    AuditEvent,
    ExternalId,
    File,
    Guard,
    Membership,
    ProposedNumber,
    ProviderUser,
    User,
    WebhookEvent,
)
from optin.operations import erasure, imports, opt_ins
from optin.web import activity
from tests.commands import rows
from tests.commands.rows import BAD, BCRYPT, KEY
from tests.kit import grants
from tests.kit.commands import run
from tests.kit.people import NUMBER, ORIGIN, OTHER_NUMBER, make_user
from tests.kit.phone import Phone, wrong
from tests.kit.server import ROOT, own_process
from tests.kit.stored import number_of
from tests.kit.trail import newest_event, one_event
from tests.kit.world import nothing_happens

pytestmark = pytest.mark.django_db(transaction=True)

Kind = AuditEvent.Kind
WHY = "--reason=Moving in. Jo"
DORA = {
    "external_id": "00042",
    "username": "dora",
    "email": "dora@example.com",
    "language": "de",
    "active": True,
    "password": BCRYPT,
    "files": [777],
    "manages": [777],
    "access_keys": [f"777:{KEY}"],
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PBKDF2PasswordHasher, "iterations", 5_000)


@pytest.fixture
def bring(tmp_path: Path, file: File) -> Any:
    """Import some rows; return the summary."""

    def bring(*people: Any, options: tuple[str, ...] = (), status: int = 0) -> Any:
        path, rejects = tmp_path / "people.jsonl", tmp_path / "rejects"
        lines = [each if isinstance(each, str) else json.dumps(each) for each in people]
        path.write_text("\n".join(lines), encoding="utf-8")
        out = io.StringIO()
        arguments = (str(path), WHY, "--json", f"--rejects={rejects}", *options)
        with pytest.raises(SystemExit) if status else nullcontext() as refused:
            call_command("import_people", *arguments, stdout=out, stderr=io.StringIO())
        assert not refused or refused.value.code == status
        found = rejects.read_text(encoding="utf-8").splitlines()
        return SimpleNamespace(**json.loads(out.getvalue()), faults=[*map(json.loads, found)])

    return bring


@contextmanager
def told(outcome: str, **facts: Any) -> Iterator[None]:
    """Assert that one event about a person is added, and the one of the import."""
    before = AuditEvent.objects.count()
    yield
    event, whole = AuditEvent.objects.order_by("pk")[before:]
    assert (event.kind, event.outcome, whole.outcome) == (Kind.PERSON, outcome, "import_ended")
    assert {name: getattr(event, name) for name in facts} == facts
    assert (event.data["sha256"], event.data["ran_by"]) == (
        whole.data["sha256"],
        whole.data["ran_by"],
    )


def meanwhile(happens: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let something happen between the look at a batch and its writing."""
    stored = imports._stored
    monkeypatch.setattr(imports, "_stored", lambda *people: (happens(), stored(*people))[1])


def counts(done: Any) -> tuple[int, int, int, int]:
    return done.made, done.changed, done.unchanged, done.refused


# -- coming in -----------------------------------------------------------------------


def test_a_person_comes_in_with_all_that_the_row_says(bring: Any, file: File) -> None:
    with told("imported", reason="Moving in. Jo"):
        assert counts(bring(DORA)) == (1, 0, 0, 0)
    dora = User.objects.get(username="dora")
    assert (dora.email, dora.is_active, dora.external.text) == ("dora@example.com", True, "00042")
    assert dora.language == "de"
    assert check_password("my password", dora.password)
    assert Membership.objects.get(user=dora, file=file).manages
    assert AccessKey.objects.get(user=dora).digest == keys.sha256(KEY)
    said = AuditEvent.objects.get(outcome="imported").data
    assert said["files"] == [777]
    assert said["access_keys"] == [AccessKey.objects.get().pk]
    assert len(said["sha256"]) == 64
    assert said["ran_by"]
    assert not mail.outbox


def test_a_second_run_changes_nothing(bring: Any, phone: Phone) -> None:
    emil = {"username": "emil"}
    bring(DORA, emil)
    User.objects.filter(username="dora").update(password=make_password("one of today"))
    with nothing_happens(phone):
        assert counts(bring(DORA, emil)) == (0, 0, 2, 0)
        assert counts(bring(DORA, emil, options=("--update",))) == (0, 0, 2, 0)


def test_a_dry_run_says_the_same_and_writes_nothing(bring: Any, phone: Phone) -> None:
    people = (DORA, {"username": "emil", "email": "no address"}, {"username": "DORA"})
    with nothing_happens(phone):
        told = bring(*people, options=("--dry-run",), status=3)
    done = bring(*people, status=3)
    assert counts(told) == counts(done) == (1, 0, 0, 2)
    assert told.faults == done.faults


def test_csv_from_standard_input_says_the_same_as_json(
    bring: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "\ufeffexternal_id,username,email,language,active,password,files,manages,access_keys\r\n"
        f'00042,dora,dora@example.com,de-AT,yes,{BCRYPT},777,777,"777:{KEY}"\r\n'
        ",emil,,,,,,,\r\n"
    )
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))
    assert run("import_people", "-", "--format=csv", WHY).startswith("2 made, 0 changed")
    assert counts(bring(DORA, {"username": "emil"})) == (0, 0, 2, 0)


def test_all_rows_of_many_batches_come_in(bring: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optin.management.commands.import_people.BATCH", 2)
    people = [{"username": f"person-{n}", "external_id": str(n)} for n in range(5)]
    same_name = {"username": "PERSON-0"}
    told = bring(*people, same_name, options=("--dry-run",), status=3)
    assert (counts(told), told.faults[0]["line"]) == ((5, 0, 0, 1), 6)
    assert counts(bring(*people)) == (5, 0, 0, 0)
    assert counts(bring(*people, people[0], {"username": "PERSON-3"}, status=3)) == (0, 0, 5, 2)


# -- numbers -------------------------------------------------------------------------


def test_the_summary_counts_second_factors_apart(
    tmp_path: Path, file: File, other_file: File
) -> None:
    """A dry run says the same, the second run that nothing was done."""
    path = tmp_path / "people.jsonl"
    proposed = {"username": "emil", "number": OTHER_NUMBER}
    path.write_text(f"{json.dumps(TRUSTED)}\n{json.dumps(proposed)}")
    said = "0 refused; numbers: 1 second factors at once, 1 proposed"
    command = ("import_people", str(path), WHY, *TRUST)
    assert said in run(*command, "--dry-run")
    assert said in run(*command)
    assert run(*command) == "0 made, 0 changed, 2 unchanged, 0 refused\n"
    ProviderUser.objects.all().delete()
    ProposedNumber.objects.all().delete()
    assert f"2 changed, 0 unchanged, {said}" in run(*command, "--update")


def test_a_number_is_proposed_and_no_text_leaves(bring: Any, phone: Phone) -> None:
    dora = {**DORA, "number": "0491 570 156"}
    bring(dora)
    user = User.objects.get()
    assert user.proposed.is_of(NUMBER)
    assert (user.proposed.last_three, user.proposed.source) == ("156", "import")
    assert AuditEvent.objects.get(outcome="imported").data["proposed"]
    assert counts(bring(dora)) == (0, 0, 1, 0)
    dora["number"] = "+61 491 570 157"
    assert bring(dora, status=4).faults[0]["field"] == "number"
    assert counts(bring(dora, options=("--update",))) == (0, 1, 0, 0)
    assert User.objects.get().proposed.is_of(OTHER_NUMBER)
    assert not ProviderUser.objects.exists()
    assert not phone.messages


def test_a_second_factor_is_left_alone(bring: Any, user: User, active: ProviderUser) -> None:
    assert counts(bring({"username": user.username, "number": OTHER_NUMBER})) == (0, 0, 1, 0)
    assert not ProposedNumber.objects.exists()


TRUSTED = {
    **DORA,
    "files": [888, 777],
    "number": NUMBER,
    "number_verified_at": "2024-05-31T09:30:00+10:00",
    "number_verified_by": "a code by text message",
    "client_reference": "debtor-42",
}
TRUST = ("--trust-numbers",)


@pytest.fixture
def trusted(bring: Any, other_file: File, phone: Phone) -> ProviderUser:
    """The number of Dora, taken over."""
    assert counts(bring(TRUSTED, options=TRUST)) == (1, 0, 0, 0)
    return ProviderUser.objects.get()


def test_a_trusted_number_is_active_on_the_word_of_the_operator(
    trusted: ProviderUser, phone: Phone
) -> None:
    """S-56. It belongs to the first file of the row."""
    assert trusted.confirmed
    assert not trusted.is_proved
    assert (trusted.open_number(), trusted.last_three) == (NUMBER, "156")
    assert trusted.taken_over_at == datetime(2024, 5, 30, 23, 30, tzinfo=UTC)
    assert (trusted.file_id, trusted.client_reference) == (888, "debtor-42")
    event = AuditEvent.objects.get(outcome="imported")
    assert event.data["taken_over"] == {
        "at": "2024-05-30T23:30:00+00:00",
        "by": "a code by text message",
    }
    assert (event.provider_user_id, event.last_three) == (trusted.pk, "156")
    (line,), _ = activity.lines([event], 1)
    assert line.what == "Mobile number taken over from another system (•••156)"
    assert not ProposedNumber.objects.exists()
    assert not phone.messages
    assert not mail.outbox
    assert not WebhookEvent.objects.exists()


def test_sign_in_with_it_texts_a_code(
    trusted: ProviderUser, phone: Phone, password_clients: None
) -> None:
    """S-56. By a token call, with the old password. Its code proves the number."""

    def ask(code: str) -> tuple[str, bool]:
        answer = grants.ask("dora", code, password="my password")
        return answer.outcome, ProviderUser.objects.get().is_proved

    assert ask("") == ("2fa_code_required", False)
    assert ask(wrong(phone.code())) == ("invalid_code", False)
    assert ask(phone.code()) == ("issued", True)
    assert [to for to, _ in phone.messages] == [NUMBER]


def test_a_second_run_with_trusted_numbers_changes_nothing(
    bring: Any, trusted: ProviderUser, phone: Phone
) -> None:
    with nothing_happens(phone):
        for options in (TRUST, (*TRUST, "--update"), ("--update",)):
            assert counts(bring(TRUSTED, options=options)) == (0, 0, 1, 0)


def test_another_number_does_not_replace_the_one_that_was_taken_over(
    bring: Any, trusted: ProviderUser, phone: Phone
) -> None:
    """The row is refused, until a code showed which one is right."""
    other = {**TRUSTED, "number": OTHER_NUMBER}
    with nothing_happens(phone):
        assert bring(other, options=(*TRUST, "--update"), status=4).faults[0]["field"] == "number"
    ProviderUser.objects.update(taken_over_at=None)
    with nothing_happens(phone):
        assert counts(bring(other, options=(*TRUST, "--update"))) == (0, 0, 1, 0)


def test_without_the_word_of_the_operator_it_is_proposed(bring: Any, other_file: File) -> None:
    """Later it becomes active: she has not signed in here yet."""
    bring(TRUSTED)
    assert User.objects.get().proposed.is_of(NUMBER)
    assert bring(TRUSTED, options=TRUST, status=4).faults[0]["field"] == "number"
    with told("import_changed"):
        assert counts(bring(TRUSTED, options=(*TRUST, "--update"))) == (0, 1, 0, 0)
    assert ProviderUser.objects.get().confirmed
    assert not ProposedNumber.objects.exists()


def test_whoever_signed_in_here_decides_about_the_number(bring: Any, other_file: File) -> None:
    bring({**DORA, "files": [888, 777]})
    User.objects.update(password=make_password("one of today"))
    for times in (1, 0):
        assert counts(bring(TRUSTED, options=(*TRUST, "--update"))) == (0, times, 1 - times, 0)
    assert not ProviderUser.objects.exists()
    assert User.objects.get().proposed.is_of(NUMBER)


@pytest.mark.parametrize("is_there", [False, True])
def test_whoever_is_inactive_keeps_no_number_from_its_owner(
    bring: Any, other_file: File, is_there: bool
) -> None:
    """S-56. It is proposed, for when they are activated."""
    row = {**TRUSTED, "active": False}
    if is_there:
        bring({**DORA, "files": [888, 777]})
        User.objects.update(is_active=False)
        row["active"] = None
    bring(row, options=(*TRUST, "--update"))
    assert not ProviderUser.objects.exists()
    assert User.objects.get().proposed.is_of(NUMBER)
    assert counts(bring(row, options=(*TRUST, "--update"))) == (0, 0, 1, 0)


def test_a_number_whose_opt_in_a_client_began_is_taken_over(
    bring: Any, other_file: File, phone: Phone
) -> None:
    bring({**DORA, "files": [888, 777]})
    dora = User.objects.get()
    begun = opt_ins.opt_in(dora, other_file, NUMBER, origin=ORIGIN).provider_user_id
    assert begun
    assert counts(bring(TRUSTED, options=(*TRUST, "--update"))) == (0, 1, 0, 0)
    taken = ProviderUser.objects.get()
    assert (taken.pk, taken.confirmed, taken.is_proved) == (begun, True, False)
    late = opt_ins.verify_opt_in(dora, other_file, begun, phone.code(), origin=ORIGIN)
    assert late.outcome == "already_verified"


def test_a_number_of_somebody_else_is_refused(
    bring: Any, other_file: File, active: ProviderUser, phone: Phone
) -> None:
    with nothing_happens(phone):
        done = bring(TRUSTED, options=TRUST, status=4)
    assert [(each["field"], each["reason"]) for each in done.faults] == [
        ("number", "is active for somebody else")
    ]
    assert NUMBER not in json.dumps(done.faults)


@pytest.mark.parametrize("kind", [Guard.Kind.DENY, Guard.Kind.OPTED_OUT, Guard.Kind.NOT_ME])
def test_a_number_that_gets_no_texts_is_refused(bring: Any, other_file: File, kind: str) -> None:
    """S-56. As a second factor, it would keep the person out."""
    until = None if kind == Guard.Kind.OPTED_OUT else timezone.now() + timedelta(days=1)
    Guard.objects.create(
        kind=kind,
        covers=Guard.Covers.NUMBER,
        key=ProviderUser.digest_of(NUMBER),
        last_three="156",
        made_at=timezone.now(),
        until=until,
    )
    (fault,) = bring(TRUSTED, options=TRUST, status=4).faults
    assert (fault["field"], fault["reason"][:17]) == ("number", "gets no texts her")
    bring(TRUSTED)
    assert ProposedNumber.objects.exists()


def test_a_number_that_an_earlier_row_has_is_refused(bring: Any, other_file: File) -> None:
    again = {"username": "emil", **{k: v for k, v in TRUSTED.items() if "number" in k}}
    done = bring(TRUSTED, {**again, "files": [888]}, options=TRUST, status=3)
    assert [(each["line"], each["field"]) for each in done.faults] == [(2, "number")]


def test_a_number_that_somebody_verifies_meanwhile_is_refused(
    bring: Any, other_file: File, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S-02. The index decides; the other rows of the batch go in."""

    def verifies() -> None:
        moment = timezone.now()
        if not ProviderUser.objects.exists():
            number_of(user, other_file, NUMBER, moment, confirmed=True, verified_at=moment)

    meanwhile(verifies, monkeypatch)
    done = bring(TRUSTED, {"username": "emil"}, options=TRUST, status=3)
    assert counts(done) == (1, 0, 0, 1)
    assert done.numbers == {"second_factors": 0, "proposed": 0}
    assert (done.faults[0]["line"], done.faults[0]["field"]) == (1, "number")


# -- who is there already ------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "name", "outcome"),
    [
        ({"email": "new@example.com"}, "email", "import_changed"),
        ({"username": "Dora"}, "username", "import_changed"),
        ({"language": "EN"}, "language", "import_changed"),
        ({"active": False}, "active", "deactivated"),
        ({"files": [777, 778], "manages": [778]}, "files", "import_changed"),
        ({"files": [777, 778], "manages": None}, "files", "import_changed"),
        ({"username": "theodora", "email": None}, "username", "import_changed"),
        ({"access_keys": [f"777:{KEY[::-1]}"]}, "access_keys", "import_changed"),
    ],
)
def test_what_differs_is_changed_only_if_asked(
    bring: Any, other_file: File, change: dict[str, Any], name: str, outcome: str
) -> None:
    File.objects.get_or_create(pk=778, defaults={"name": "Another"})
    bring(DORA)
    assert bring(DORA | change, status=4).faults[0]["field"] == name
    with told(outcome):
        assert counts(bring(DORA | change, options=("--update",))) == (0, 1, 0, 0)
    assert counts(bring(DORA | change)) == (0, 0, 1, 0)
    said = DORA | change
    dora = User.objects.get()
    assert dora.email == (said["email"] or "dora@example.com")
    managed = dora.memberships.filter(manages=True).values_list("file_id", flat=True)
    assert list(managed) == ([777] if said["manages"] is None else said["manages"])


@pytest.mark.parametrize(
    ("table", "done", "change", "field"),
    [
        (User, {"is_active": False}, {}, "active"),
        (User, {"password": make_password("x")}, {"email": "new@example.com"}, "email"),
        (Membership, {"active": False}, {}, "files"),
    ],
)
def test_what_was_decided_here_stays(
    bring: Any, phone: Phone, table: Any, done: Any, change: Any, field: str
) -> None:
    bring(DORA)
    table.objects.update(**done)
    with nothing_happens(phone):
        refused = bring(DORA | change, options=("--update",), status=4)
    assert refused.faults[0]["field"] == field


def test_two_rows_do_not_become_one_person(bring: Any) -> None:
    """The first one renames her, the second one has her old name."""
    bring(DORA)
    stranger = {"username": "dora", "email": "other@example.com"}
    done = bring({**DORA, "username": "dora2"}, stranger, options=("--update",), status=3)
    assert [fault["line"] for fault in done.faults] == [2]
    assert User.objects.get().email == "dora@example.com"


def test_a_fast_hash_and_a_key_by_its_digest(bring: Any, file: File) -> None:
    fast = "md5$0123456789abcdef$e5afed7de5d6843f3d3bf36a4b2c42ca"
    key = f"777:sha256:{keys.sha256(KEY)}"
    bring({**DORA, "password": fast, "access_keys": [key]})
    assert check_password("my password", User.objects.get().password)
    kept = AccessKey.objects.get()
    assert (kept.digest, kept.prefix) == (keys.sha256(KEY), keys.sha256(KEY)[:6])
    assert counts(bring({"username": "emil", "password": "!none"})) == (1, 0, 0, 0)
    assert not User.objects.get(username="emil").has_usable_password()


def test_a_password_of_the_service_stays(bring: Any) -> None:
    dora, emil = make_user("dora"), make_user("emil")
    own = dora.password
    emil.set_unusable_password()
    emil.save()
    people = [{"username": name, "password": BCRYPT} for name in ("dora", "emil")]
    assert counts(bring(*people, options=("--update",))) == (0, 1, 1, 0)
    dora.refresh_from_db()
    emil.refresh_from_db()
    assert dora.password == own
    assert check_password("my password", emil.password)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (BCRYPT, BCRYPT.replace("abcd", "efgh")),
        ("{SHA}ovj3+hlaCAoipokEHaqPIET58zY=", "{SHA}avj3+hlaCAoipokEHaqPIET58zY="),
        ("{SHA}ovj3+hlaCAoipokEHaqPIET58zY=", BCRYPT),
    ],
)
def test_an_update_replaces_the_password_of_who_has_not_signed_in(
    bring: Any, first: str, second: str
) -> None:
    """They changed it in the old system meanwhile. The first sign-in here ends that."""
    people = [{"username": "dora", "password": password} for password in (first, second)]
    bring(people[0])
    before = User.objects.get().password
    assert counts(bring(people[0], options=("--update",))) == (0, 0, 1, 0)
    with told("import_changed"):
        assert counts(bring(people[1], options=("--update",))) == (0, 1, 0, 0)
    assert User.objects.get().password != before
    assert counts(bring(people[1], options=("--update",))) == (0, 0, 1, 0)
    User.objects.update(password=make_password("x"))
    assert counts(bring(people[0], options=("--update",))) == (0, 0, 1, 0)


def test_an_update_gives_the_external_id_to_whoever_has_none(bring: Any) -> None:
    dora = make_user("dora")
    assert bring(DORA, status=4).faults[0]["field"] == "external_id"
    assert counts(bring(DORA, options=("--update",))) == (0, 1, 0, 0)
    assert ExternalId.objects.get(user=dora).text == "00042"
    other = {**DORA, "external_id": "00043", "email": None, "access_keys": []}
    assert bring(other, options=("--update",), status=4).faults[0]["field"] == "username"


def test_staff_test_accounts_and_erased_people_are_left_alone(bring: Any, phone: Phone) -> None:
    User.objects.filter(pk=make_user("ann-staff").pk).update(is_staff=True)
    User.objects.filter(pk=make_user("ben-test").pk).update(is_test=True)
    erased = make_user("cleo")
    erasure.erase(erased, reason="Ticket 1. Jo", origin=ORIGIN)
    people = [
        {"username": name, "active": True}
        for name in ("ann-staff", "ben-test", f"erased-{erased.pk}", "Erased-0")
    ]
    with nothing_happens(phone):
        done = bring(*people, options=("--update",), status=4)
    assert {fault["reason"] for fault in done.faults} == {
        "is staff, a test account, or an erased person",
        "It must not begin with erased-",
    }


def test_who_is_written_by_somebody_else_meanwhile_is_refused(
    bring: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other rows of the batch go in."""
    meanwhile(lambda: User.objects.get_or_create(username="Emil"), monkeypatch)
    people = [{"username": name} for name in ("dora", "emil", "fritz")]
    done = bring(*people, status=3)
    assert counts(done) == (2, 0, 0, 1)
    assert (done.faults[0]["line"], done.faults[0]["field"]) == (2, "username")


# -- what is wrong -------------------------------------------------------------------


NUMBERED = {
    "files": [777],
    "number": NUMBER,
    "number_verified_at": "2024-05-31",
    "number_verified_by": "text",
}
BAD_NUMBERS: list[tuple[Any, str]] = [
    ({"number_verified_at": "2024-05-31"}, "number_verified_at"),
    ({"number_verified_by": "text"}, "number_verified_by"),
    ({"client_reference": "debtor-42"}, "client_reference"),
    ({"number": NUMBER, "number_verified_by": "text"}, "number_verified_at"),
    ({"number": NUMBER, "number_verified_at": "2024-05-31"}, "number_verified_by"),
    ({**NUMBERED, "number_verified_at": "31.5.2024"}, "number_verified_at"),
    ({**NUMBERED, "number_verified_at": 1717145400}, "number_verified_at"),
    ({**NUMBERED, "number_verified_at": "0001-01-01T00:00:00+10:00"}, "number_verified_at"),
    ({**NUMBERED, "number_verified_at": "2100-01-01"}, "number_verified_at"),
    ({**NUMBERED, "number_verified_by": " "}, "number_verified_by"),
    ({**NUMBERED, "number_verified_by": "x" * 65}, "number_verified_by"),
    ({**NUMBERED, "client_reference": "two words"}, "client_reference"),
    ({**NUMBERED, "files": []}, "files"),
]


def test_each_bad_row_is_named_and_the_good_ones_go_in(bring: Any, file: File) -> None:
    rows.prepare()
    bad_ones = [*BAD, *BAD_NUMBERS]
    people: list[Any] = []
    for n, (bad, _) in enumerate(bad_ones):
        row: Any = bad if isinstance(bad, str) else {"username": f"bad-{n}", **bad}
        people += [{"username": f"good-{n}"}, row if bad else {}]
    done = bring(*people, options=TRUST, status=3)
    named = [(fault["line"], fault["field"]) for fault in done.faults]
    assert named == [(2 * n + 2, field) for n, (_, field) in enumerate(bad_ones)]
    assert done.made == len(bad_ones)
    assert all(fault["reason"] for fault in done.faults)
    for secret in ("correct horse", KEY, "TAKEN@"):
        assert secret not in json.dumps(done.faults)


@pytest.mark.parametrize(
    "again",
    [
        {"username": "Dora"},
        {"username": "d2", "external_id": "00042"},
        {"username": "d2", "email": "DORA@example.com"},
        {"username": "d2", "files": [777], "access_keys": [f"777:{KEY}"]},
    ],
)
def test_what_an_earlier_row_has_is_refused(bring: Any, again: dict[str, Any]) -> None:
    done = bring(DORA, again, status=3)
    (fault,) = done.faults
    assert (fault["line"], fault["reason"]) == (2, "is in line 1 already")


def test_all_mistakes_of_a_row_are_named_at_once(bring: Any, file: File) -> None:
    bring(DORA)
    User.objects.update(is_active=False)
    rows = [
        {"email": "nowhere", "files": [0], "active": "perhaps", "password": "secret"},
        {"username": "dora", "active": True, "files": [779]},
        {"username": "emil", "email": DORA["email"], "files": [779]},
        {"username": "emil", "manages": [777], "client_reference": "a"},
    ]
    done = bring(*rows, status=4)
    assert done.refused == 4
    named = [[each["field"] for each in done.faults if each["line"] == n] for n in (1, 2, 3, 4)]
    assert named == [
        ["active", "email", "files", "password", "username"],
        ["active", "files"],
        ["email", "files"],
        ["client_reference", "manages"],
    ]


@pytest.mark.parametrize(
    ("number", "said"),
    [
        ("02 9374 4000", "is the number of a landline"),
        ("0061 412 000 112", "has too many digits: with a country, it begins with +"),
        ("12345", "has too few digits"),
        ("4.12E+08", "is no mobile number such as 0491 570 156. Spreadsheets make 4.9E+08 of one"),
    ],
)
def test_an_unfit_number_is_told_why(bring: Any, number: str, said: str) -> None:
    (fault,) = bring({"username": "dora", "number": number}, status=4).faults
    assert fault["reason"] == said


def test_a_number_that_nobody_has_is_told(bring: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of the message above is one."""
    monkeypatch.setattr(Conf, "takes_fiction", False)
    (fault,) = bring({"username": "dora", "number": NUMBER}, status=4).faults
    assert "films and books" in fault["reason"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"username,nickname\ndora,dodo\n", "Column 2 does not"),
        (b"username,username\ndora,dora\n", "Column 2 does not"),
        (b"42,dora,secret\n", "Column 1 does not"),
        (b"\ndora\n", "Column 1 does not"),
    ],
)
def test_a_csv_file_that_is_none_is_refused(tmp_path: Path, text: bytes, said: str) -> None:
    path = tmp_path / "people.csv"
    path.write_bytes(text)
    with pytest.raises(CommandError, match=said) as refused:
        run("import_people", str(path), WHY)
    assert "secret" not in str(refused.value)
    assert not User.objects.exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"username\ndora,more\n", "line 2: has more or fewer cells"),
        (b"username,email\ndora\n", "line 2: has more or fewer cells"),
        (b"username\nd\xf6ra\n", "line 2: is not in UTF-8: try iconv"),
        (b'username\n"dora"x\n', "line 2: is no CSV"),
        (b'username\n"dora\n', "line 2: is no CSV"),
        (b"username,active,email\n two words ,perhaps,d@example.com\n", "line 2: active is"),
    ],
)
def test_a_bad_line_of_csv_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: bytes, said: str
) -> None:
    path = tmp_path / "people.csv"
    path.write_bytes(text)
    with pytest.raises(SystemExit) as refused:
        call_command("import_people", str(path), WHY)
    assert refused.value.code == 4
    out, told = capsys.readouterr()
    assert said in told
    assert out.endswith("1 refused\n")  # a row with two mistakes is one
    assert not User.objects.exists()


@pytest.mark.parametrize("comma", [";", "\t"])
def test_a_spreadsheet_may_write_other_commas(tmp_path: Path, file: File, comma: str) -> None:
    """And blanks around cells."""
    path = tmp_path / "people.csv"
    cells = ("username", "access_keys", "files\n dora ", f'"777:a,b;{"x" * 22}"', "777")
    path.write_text(comma.join(cells))
    assert run("import_people", str(path), WHY).startswith("1 made")
    assert User.objects.get().username == "dora"
    assert AccessKey.objects.get().digest == keys.sha256("a,b;" + "x" * 22)


def test_a_bad_line_of_csv_takes_no_other_with_it(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text('username,email\n"dora,d@example.com\nemil,e@example.com\n')
    with pytest.raises(SystemExit):
        run("import_people", str(path), WHY)
    assert User.objects.get().username == "emil"


def test_without_a_file_or_a_reason_nothing_begins(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="none cannot be opened: No such file"):
        run("import_people", str(tmp_path / "none"), WHY)
    path = tmp_path / "people.jsonl"
    path.write_text(json.dumps({"username": "dora"}))
    with pytest.raises(CommandError, match="reason"):
        run("import_people", str(path), "--reason= ")
    with pytest.raises(CommandError, match="file of people itself"):
        run("import_people", str(path), WHY, f"--rejects={path}")
    assert path.read_text()
    with pytest.raises(CommandError, match="No such file"):
        run("export_people", str(tmp_path / "no" / "folder"), WHY)
    assert not AuditEvent.objects.exists()
    assert not User.objects.exists()


# -- written out ---------------------------------------------------------------------


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_what_was_written_out_and_read_again_is_equal(
    bring: Any, tmp_path: Path, file: File, form: str
) -> None:
    emil = {"username": "\u00e9mil", "active": False}
    formula = {"external_id": "'=1;\"@A1", "username": "-fay", "email": "=f@example.com"}
    bring(DORA, emil, formula)
    User.objects.filter(pk=make_user("ann-staff").pk).update(is_staff=True)
    User.objects.filter(pk=make_user("root").pk).update(is_superuser=True)
    User.objects.filter(pk=make_user("ben-test").pk).update(is_test=True)
    erasure.erase(make_user("cleo"), reason="Ticket 1. Jo", origin=ORIGIN)
    first, second = tmp_path / f"first.{form}", tmp_path / f"second.{form}"
    first.touch(0o644)
    with one_event(Kind.PERSON, "exported", reason="Moving in. Jo"):
        run("export_people", str(first), WHY)
    assert first.stat().st_mode & 0o777 == 0o600
    text = first.read_text(encoding="utf-8")
    for name in ("dora", "\u00e9mil"):
        assert name in text
    for absent in ("ann-staff", "root", "ben-test", "erased", BCRYPT, KEY[:6]):
        assert absent not in text
    assert (form == "csv") is (",'-fay,'=f@example.com," in text)
    AccessKey.objects.all().delete()
    User.objects.all().delete()
    run("import_people", str(first), WHY)
    run("export_people", str(second), WHY)
    assert second.read_bytes() == first.read_bytes()


def test_numbers_are_written_out_only_if_asked_for(
    bring: Any, tmp_path: Path, trusted: ProviderUser, other_file: File
) -> None:
    """Read again on the word of the operator, they are equal."""
    bring({"username": "emil", "number": OTHER_NUMBER})
    proved = number_of(make_user("fritz", other_file), other_file, OTHER_NUMBER, timezone.now())
    ProviderUser.objects.filter(pk=proved.pk).update(confirmed=True, verified_at=timezone.now())
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    run("export_people", str(first), WHY)
    assert NUMBER not in first.read_text()
    with one_event(Kind.PERSON, "exported"):
        run("export_people", str(first), WHY, "--numbers")
    assert newest_event().data["numbers"] is True
    dora, emil, fritz = map(json.loads, first.read_text().splitlines())
    assert {name: dora[name] for name in TRUSTED if "number" in name} == {
        **{name: value for name, value in TRUSTED.items() if "number" in name},
        "number_verified_at": "2024-05-30T23:30:00+00:00",
    }
    assert (dora["files"], dora["client_reference"]) == ([888, 777], "debtor-42")
    assert (emil["number"], emil["number_verified_at"]) == (OTHER_NUMBER, None)
    assert fritz["number_verified_by"] == "a code by text message"
    AccessKey.objects.all().delete()
    User.objects.all().delete()
    run("import_people", str(first), WHY, "--trust-numbers")
    run("export_people", str(second), WHY, "--numbers")
    assert second.read_bytes() == first.read_bytes()
    Membership.objects.filter(user__username="dora", file=other_file).update(active=False)
    run("export_people", str(second), WHY, "--numbers")
    assert "debtor-42" not in second.read_text()  # of a client of that file
    ProviderUser.objects.update(suspended_at=timezone.now())
    run("export_people", str(second), WHY, "--numbers")
    assert NUMBER not in second.read_text()


# -- stopped -------------------------------------------------------------------------


def test_whoever_stops_it_reads_that_it_goes_on(
    bring: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("optin.management.commands.import_people.BATCH", 1)
    bring_in = imports.bring_in

    def stopped(people: Any, run: Any) -> Any:
        if User.objects.exists():
            raise KeyboardInterrupt
        return bring_in(people, run)

    people = [{"username": name} for name in ("dora", "emil")]
    path = tmp_path / "people.jsonl"
    path.write_text("\n".join(map(json.dumps, people)))
    monkeypatch.setattr(imports, "bring_in", stopped)
    with pytest.raises(SystemExit, match="Run it again"):
        run("import_people", str(path), WHY)
    monkeypatch.setattr(imports, "bring_in", bring_in)
    assert AuditEvent.objects.latest("pk").data["made"] == 1
    assert counts(bring(*people)) == (1, 0, 1, 0)


@pytest.mark.slow
@pytest.mark.postgresql
def test_killed_at_any_moment_and_run_again_it_ends_as_one_run(tmp_path: Path) -> None:
    rows.prepare()
    path, rejects = tmp_path / "people.jsonl", tmp_path / "rejects"
    good, faults = rows.write(path, 3_000, len(BAD))
    command = [sys.executable, "manage.py", "import_people", str(path), WHY]

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*command, f"--rejects={rejects}"],
            cwd=ROOT,
            env=own_process(tmp_path),
            stdout=subprocess.DEVNULL,
        )

    assert rows.kill(start, 3_000, 20) > 10
    with start() as last:
        assert last.wait() == 3
    rows.check(good)
    assert rows.named(rejects) == faults
