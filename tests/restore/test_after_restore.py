"""After a restore: the service does not start before all that is short-lived was ended."""

from datetime import timedelta
from pathlib import Path

import pytest
import time_machine
from django.conf import LazySettings
from django.contrib.auth.tokens import default_token_generator
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import Client
from django.utils import timezone
from oauth2_provider.models import AccessToken

from optin import checks
from optin.audit import restores, seals
from optin.models import (
    AuditEvent,
    Canary,
    EmailChange,
    File,
    IdempotencyKey,
    Notice,
    Passkey,
    PendingOtp,
    RecoveryCode,
    User,
)
from optin.models.messages import State, Unsent
from optin.operations import email_changes, passwords, people
from optin.outcomes import By, CodeOutcome
from tests.kit.commands import run
from tests.kit.people import ORIGIN, make_user, number
from tests.kit.phone import Phone
from tests.kit.world import PAGE, Person, proved
from tests.restore.backup import Backup

pytestmark = [pytest.mark.django_db(transaction=True)]


@pytest.fixture
def newest(settings: LazySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the newest event, which each event is written to."""
    monkeypatch.setattr(restores, "EVERY", 0.0)
    settings.OPTIN_NEWEST_EVENT = str(tmp_path / "newest-event")
    return tmp_path / "newest-event"


@pytest.fixture
def person(file: File, phone: Phone, clock: time_machine.Traveller) -> Person:
    return Person(make_user("pat", file), file, phone, clock)


def decide() -> None:
    people.deactivate(User.objects.get(username="pat"), reason="Ticket", origin=ORIGIN)


def found() -> list[str]:
    return [str(one.id) for one in checks.check_restored()]


def test_a_forgotten_after_restore_is_refused(
    newest: Path, person: Person, client: Client, tmp_path: Path
) -> None:
    person.add_app()
    backup = Backup(tmp_path)
    decide()
    assert int(newest.read_text()) == restores.newest_here()
    backup.restore()

    with pytest.raises(SystemCheckError, match="older than the newest event"):
        call_command("check")
    assert client.get("/readyz").content == b"restored\n"
    assert "The service may start." in run("after_restore")

    assert found() == []
    assert client.get("/readyz").status_code == 200
    assert int(newest.read_text()) == restores.newest_here()
    assert ": 0 findings, 0 not to be checked." in run("verify_audit", "--seal")


def test_other_machines_may_start_then(newest: Path, person: Person, tmp_path: Path) -> None:
    """They have seen other events, and some of them newer ones."""
    person.add_app()
    backup = Backup(tmp_path)
    decide()
    other = int(newest.read_text()) + 1000
    backup.restore()
    newest.unlink()
    run("after_restore")
    newest.write_text(f"{other}\n")
    assert found() == []
    assert (seals.drawn() or 0) > other


@pytest.mark.parametrize("text", [None, "", "one", "\u00e9"])
def test_a_file_that_says_nothing_refuses_nothing_and_is_named(
    newest: Path, person: Person, client: Client, text: str | None
) -> None:
    decide()
    newest.unlink()
    if text is not None:
        newest.write_text(text, encoding="utf-8")
    Canary.objects.look()
    assert found() == ["optin.W215"]
    assert client.get("/readyz").status_code == 200
    people.activate(person.user, reason="Ticket", origin=ORIGIN)
    assert found() == []


def test_a_file_that_cannot_be_written_costs_no_decision(
    newest: Path, person: Person, caplog: pytest.LogCaptureFixture
) -> None:
    newest.mkdir()
    decide()
    assert not User.objects.get(username="pat").is_active
    assert "could not be written" in caplog.text
    assert found() == ["optin.W215"]


def test_a_database_without_events_is_no_finding(newest: Path) -> None:
    assert found() == []


def test_no_lower_number_is_written(newest: Path, person: Person) -> None:
    decide()
    before = newest.read_text()
    restores.write(1)
    assert newest.read_text() == before


def test_nothing_short_lived_lives_again(
    person: Person, client: Client, phone: Phone, clock: time_machine.Traveller
) -> None:
    person.add_app()
    person.make_recovery_codes()
    person.name_number(number(901))
    user = person.user
    client.force_login(user)
    AccessToken.objects.create(
        user=user, token="token", expires=timezone.now() + timedelta(hours=1), scope="2fa"
    )
    email_changes.ask(user, "new@example.com", standing=proved(), origin=PAGE)
    Notice.objects.filter(user=user).update(state=State.QUEUED)
    IdempotencyKey.objects.create(
        digest="d",
        body_digest="b",
        user=user,
        request_id="r",
        answer={},
        answered_at=timezone.now(),
    )
    code, link = person.app_code(), default_token_generator.make_token(user)
    epoch = User.objects.get(pk=user.pk).session_epoch
    clock.shift(timedelta(seconds=2))

    run("after_restore")

    for model in (Session, AccessToken, IdempotencyKey):
        assert not model._default_manager.exists(), model
    assert not PendingOtp.objects.open().exists()
    assert not EmailChange.objects.open().exists()
    assert User.objects.get(pk=user.pk).session_epoch == epoch + 1
    assert Notice.objects.filter(user=user, reason=Unsent.RESTORED).exists()
    assert not passwords.opens(User.objects.get(pk=user.pk), link)
    assert person.check(code).outcome is not CodeOutcome.OK
    event = AuditEvent.objects.filter(kind=AuditEvent.Kind.RESTORE).get()
    assert event.outcome == "done"
    assert event.data["ended"]["codes"] == 1


def test_keys_factors_and_recovery_codes_stay(person: Person) -> None:
    person.add_app()
    person.add_number(by=By.APP)
    person.make_recovery_codes()
    left = (person.has, person.left(), Passkey.objects.count(), RecoveryCode.objects.count())
    run("after_restore")
    assert left == (
        person.has,
        person.left(),
        Passkey.objects.count(),
        RecoveryCode.objects.count(),
    )
