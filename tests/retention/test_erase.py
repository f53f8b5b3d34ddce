"""Erasing a person leaves no name and no number, and a valid audit trail (S-55)."""

import json
from contextlib import nullcontext
from typing import Any
from unittest.mock import Mock

import pytest
import time_machine
from django.apps import apps
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import Group
from django.contrib.sessions.models import Session
from django.core.management import CommandError
from django.db import models
from oauth2_provider.models import get_application_model, get_grant_model

from optin.audit import integrity, seals
from optin.errors import TellingReason, UnfitReason
from optin.models import (
    AccessKey,
    AuditEvent,
    AuthenticatorApp,
    File,
    Guard,
    ProposedNumber,
    ProviderUser,
    Purpose,
    RecoveryCode,
    ScimEnd,
    User,
)
from optin.operations import (
    challenges,
    email_changes,
    erasure,
    opt_ins,
    revocations,
    sign_in,
    staff_actions,
)
from optin.operations.factors import Standing
from optin.origin import Face, Origin
from optin.outcomes import By, StaffOutcome
from optin.web.session_store import SessionStore, row_of
from tests.kit import grants
from tests.kit.commands import run
from tests.kit.people import NUMBER, ORIGIN, OTHER_NUMBER, make_user
from tests.kit.phone import Phone, wrong
from tests.kit.stored import COMMAND, app_of, everything, now, number_of, rows

pytestmark = pytest.mark.django_db(transaction=True)

NAME, EMAIL = "maximiliane", "max.muster@example.org"
FROM = Origin(Face.TOKEN, ip="192.0.2.1", user_agent="curl/8")
# However a number may be written.
TRACES = (NAME, EMAIL, "Vorname", "Nachname", NUMBER, NUMBER[1:], "0491570156", "491 570 156")
REASON = "Ticket 20. Jo"


@pytest.fixture
def person(file: File, other_file: File, phone: Phone, password_clients: None) -> User:
    """Somebody who has all that one can have, and used it."""
    user = make_user(NAME, file, other_file)
    user.email, user.first_name, user.last_name = EMAIL, "Vorname", "Nachname"
    user.proved_email = EMAIL
    user.is_staff = True
    user.last_login = now()
    user.save()
    user.groups.add(Group.objects.get_or_create(name="support")[0])
    AccessKey.objects.make(user, file, now(), NAME)
    opt_ins.opt_in(user, file, OTHER_NUMBER, origin=ORIGIN)
    opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)
    row = ProviderUser.objects.get(last_three=NUMBER[-3:])
    opt_ins.verify_opt_in(user, file, row.pk, wrong(phone.code()), origin=ORIGIN)
    opt_ins.verify_opt_in(user, file, row.pk, phone.code(), origin=ORIGIN)
    client = sign_in.application()
    assert client
    grants.ask(EMAIL, origin=FROM)
    tokens = grants.tokens(EMAIL, phone.code(), origin=FROM)
    grants.refresh(tokens.refresh_token, origin=FROM)
    get_grant_model().objects.create(
        user=user, application=client, code="c", expires=now(), redirect_uri="https://a.example"
    )
    for held in ({SESSION_KEY: str(user.pk)}, {"half": {"user": user.pk, "at": 0}}):
        session = SessionStore()
        session.update(held)
        session.save()
    app_of(user, now())
    app_of(user, now(), confirmed=True, verified_at=now())
    RecoveryCode.objects.replace(user, ["A" * 16, "B" * 16], now())
    page = Origin(Face.WEB, ip="192.0.2.1", session="one")
    user.refresh_from_db()
    challenges.check(user, Purpose.SIGN_IN, "000000", origin=page)
    revocations.plan(user, reason="lost the phone", origin=COMMAND)
    just_now = Standing(now(), now(), By.APP)
    ProposedNumber.of(user, NUMBER, "import", now()).save()
    ScimEnd.objects.create(application=client, user=user)
    email_changes.ask(user, "ann.new@example.org", standing=just_now, origin=page)
    return user


def erase(user: User, reason: str = REASON) -> StaffOutcome:
    return erasure.erase(user, reason=reason, origin=COMMAND)


def found(traces: tuple[str, ...] = TRACES) -> set[str]:
    """The tables and columns that hold one of *traces*, in any case and writing."""
    return {
        f"{table}.{column}"
        for table, row in everything()
        for column, value in row.items()
        if any(trace.lower() in written(value).lower() for trace in traces)
    }


def written(value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return bytes(value).decode(errors="replace") if isinstance(value, memoryview) else str(value)


def belongings(user: User) -> dict[str, int]:
    """How many rows of each model point at *user*."""
    counts = {
        f"{model.__name__}.{field.name}": model._default_manager.filter(
            **{field.name: user}
        ).count()
        for model in apps.get_models(include_auto_created=True)
        for field in model._meta.concrete_fields
        if isinstance(field, models.ForeignKey) and field.related_model is User
    }
    return {name: count for name, count in counts.items() if count}


# -- nothing is left ---------------------------------------------------------------


def test_nothing_that_names_the_person_is_left(person: User) -> None:
    """S-55: in no column of any table. A nameless row stays, so the id is never another's."""
    assert {"optin_user.username", "optin_user.email", "optin_user.proved_email"} <= found()
    joined = person.date_joined
    epoch = User.objects.get(pk=person.pk).session_epoch

    assert erase(person) is StaffOutcome.OK

    assert found() == set()
    left = User.objects.get(pk=person.pk)
    assert left.username == f"erased-{person.pk}"
    assert (left.email, left.first_name, left.last_name) == ("", "", "")
    assert (left.is_active, left.is_staff, left.is_superuser) == (False, False, False)
    assert left.last_login is None
    assert not left.has_usable_password()
    assert left.session_epoch > epoch
    assert (left.last_attempt, left.last_attempt_as, left.last_attempt_at) == ("", "", None)
    assert left.otp_failures == 1  # the counts stay
    assert left.date_joined == joined


def test_nothing_that_the_person_had_is_left(person: User) -> None:
    """S-55: numbers (ciphertext too), codes, texts, mails, keys, tokens, memberships."""
    ciphertexts = (
        *ProviderUser.objects.values_list("number_encrypted", flat=True),
        *AuthenticatorApp.objects.values_list("secret_encrypted", flat=True),
        *RecoveryCode.objects.values_list("digest", flat=True),
        *ProposedNumber.objects.values_list("number_encrypted", flat=True),
        User.objects.get(pk=person.pk).last_attempt,
    )
    assert len(set(ciphertexts) - {""}) == 8
    assert len({name.partition(".")[0] for name in belongings(person)}) == 16

    erase(person)

    assert belongings(person) == {}
    assert found(ciphertexts) == set()
    assert not Session.objects.exists()
    left = {name for name, stored in rows().items() if stored}
    assert left <= {
        "Application",
        "ContentType",
        "File",
        "Group",
        "Group_permissions",
        "Permission",
        "SendCounter",
        "User",
        "WebhookEvent",  # without their ids
    }


def test_what_is_others_stays(person: User, stranger: User, file: File) -> None:
    application = get_application_model().objects.create(
        name="Payroll",
        user=person,
        client_type="confidential",
        authorization_grant_type="client-credentials",
    )
    AccessKey.objects.make(stranger, file, now())
    session = SessionStore()
    session[SESSION_KEY] = str(stranger.pk)
    session["tries"] = person.pk
    session["half"] = {"user": stranger.pk, "at": person.pk}
    session.save()
    opt_ins.opt_in(stranger, file, "+61491570158", origin=ORIGIN)
    before = belongings(stranger)

    erase(person)

    assert belongings(stranger) == before
    assert Session.objects.get().pk == row_of(session.session_key)
    application.refresh_from_db()
    assert application.user is None
    assert stranger == User.objects.by_login("ben")
    assert File.objects.count() == 2


@pytest.mark.parametrize(("shared", "digits"), [(False, ""), (True, NUMBER[-3:])])
def test_of_a_stop_the_digest_alone_is_left(
    person: User, stranger: User, file: File, shared: bool, digits: str
) -> None:
    """It goes on for whoever gets the number; with its digits, while somebody else has it."""
    digest = ProviderUser.digest_of(NUMBER)
    assert Guard.objects.opt_out(digest, NUMBER[-3:], now())
    assert Guard.objects.opt_out(ProviderUser.digest_of("+61491570158"), "158", now())
    if shared:
        number_of(stranger, file, NUMBER, now())
    erase(person)
    assert Guard.objects.get(key=digest).last_three == digits
    assert Guard.objects.exclude(key=digest).get().last_three == "158"


# -- what stays --------------------------------------------------------------------


def test_the_audit_trail_stays_as_it_was(person: User, clock: time_machine.Traveller) -> None:
    """S-53, S-55: the same events, each proves itself, and the seals hold."""
    clock.shift(600)
    seals.seal(now())
    before = rows(AuditEvent)["AuditEvent"]
    assert len(before) >= 7

    erase(person)

    after = rows(AuditEvent)["AuditEvent"]
    assert after[:-1] == before
    assert all(event.digest == event.content_digest() for event in AuditEvent.objects.all())
    assert list(integrity.verify(now(), integrity.Tally())) == []
    event = AuditEvent.objects.latest("pk")
    assert (event.kind, event.outcome, event.face) == ("erase", "ok", "command")
    assert (event.user_id, event.reason) == (person.pk, REASON)
    assert {name: event.data[name] for name in ("ProviderUser", "RecoveryCode", "Session")} == {
        "ProviderUser": 2,
        "RecoveryCode": 2,
        "Session": 2,
    }
    assert event.data["AuthenticatorApp"] == 2
    assert (event.number_digest, event.last_three) == ("", "")


# -- again, and asked ---------------------------------------------------------------


def deactivate(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def test_again_takes_what_came_meanwhile(person: User, file: File) -> None:
    """Whatever brought it. Without that, nothing changes, and this is told."""
    erase(person)
    before = rows()
    assert erase(person) is StaffOutcome.UNCHANGED
    assert rows() == before
    assert AuditEvent.objects.latest("pk").outcome == "unchanged"

    number_of(person, file, NUMBER, now())
    erase(person)
    assert belongings(person) == {}


def test_staff_may_still_release_the_number_of_somebody_deactivated(person: User) -> None:
    deactivate(person)
    assert staff_actions.revoke(person, reason="try", origin=ORIGIN) is StaffOutcome.OK


def test_somebody_may_be_called_like_that(person: User) -> None:
    make_user(f"Erased-{person.pk}")
    erase(person)
    left = User.objects.get(pk=person.pk)
    assert left.username.startswith(f"erased-{person.pk}-")
    assert erase(person) is StaffOutcome.UNCHANGED


def test_a_reason_must_fit_and_not_name_the_person(person: User) -> None:
    """It stays in the trail."""
    before = rows(), rows(AuditEvent)
    for reason in (
        f"{NAME} asked for it",
        f"asked from {EMAIL.upper()}.",
        "Frau Nachname, by phone",
    ):
        with pytest.raises(TellingReason):
            erase(person, reason)
    for reason in ("  ", "r" * 501):
        with pytest.raises(UnfitReason):
            erase(person, reason)
    assert (rows(), rows(AuditEvent)) == before


def test_all_or_nothing(person: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """S-52: without its event it does not happen."""

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError("disk full")

    before = rows()
    monkeypatch.setattr(AuditEvent.objects, "record", fail)
    with pytest.raises(OSError, match="disk full"):
        erase(person)
    assert rows() == before


# -- the command -------------------------------------------------------------------


def test_the_command_takes_a_name_an_address_or_an_id(person: User, stranger: User) -> None:
    """The id is all that is left of a name in a list of ids, or of one in the trail."""
    same = f"{person.pk}"
    User.objects.filter(pk=stranger.pk).update(username=same)  # not whom the id means
    told = [
        run("person", "erase", who, "--reason", REASON, "--yes")
        for who in (EMAIL, f"erased-{person.pk}", f"id:{same}")
    ]
    assert told == ["Erased.\n", "Erased again.\n", "Erased again.\n"]
    assert found() == set()
    assert User.objects.by_login(same)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([NAME, "--reason", REASON], "say --yes"),
        (["id:0", "--reason", REASON, "--yes"], "There is no such account"),
        ([NAME, "--reason", " ", "--yes"], "nothing was entered"),
        ([NAME, "--reason", f"for {NAME}", "--yes"], "Leave the name"),
    ],
)
def test_what_the_command_refuses(person: User, arguments: list[str], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        run("person", "erase", *arguments)
    assert User.objects.by_login(NAME)


@pytest.mark.parametrize(("answer", "erased"), [("yes", True), ("", False), ("y", False)])
def test_the_command_asks_at_a_terminal(
    person: User, monkeypatch: pytest.MonkeyPatch, answer: str, erased: bool
) -> None:
    asked = Mock(return_value=answer)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", asked)
    with nullcontext() if erased else pytest.raises(CommandError, match="Nothing was done"):
        run("person", "erase", NAME, "--reason", REASON)
    asked.assert_called_once()
    assert NAME in asked.call_args.args[0]
    assert bool(User.objects.by_login(NAME)) is not erased


def test_every_model_that_points_at_a_person_is_known() -> None:
    """A new one must be looked at here: what is it worth when its person is gone?"""
    pointing = {relation.related_model.__name__ for relation in User._meta.related_objects}
    assert pointing == {
        "AccessKey",
        "AccessToken",
        "Application",  # stays, without an owner
        "AuthenticatorApp",
        "DeviceGrant",
        "EmailChange",  # goes, with both addresses
        "ExternalId",
        "Grant",
        "IDToken",
        "IdempotencyKey",
        "KnownNetwork",
        "LogEntry",  # of the admin, which writes none; goes
        "Membership",
        "Notice",
        "Passkey",
        "ProposedNumber",
        "ProviderUser",
        "RecoveryCode",
        "RefreshToken",
        "Revocation",  # one that waits too: there is nobody to be let in
        "ScimEnd",
        "SessionOwner",
    }
