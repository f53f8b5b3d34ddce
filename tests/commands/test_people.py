"""Commands of Django and of packages, which the trail records, and the end of a trial."""

import getpass
from collections.abc import Callable, Iterator

import pytest
from django.conf import LazySettings
from django.core import mail
from django.core.management import CommandError
from django.utils import timezone
from oauth2_provider.models import get_application_model

from optin import checks
from optin.models import AuditEvent, File, ProviderUser, Purpose, User
from optin.models.audit import AuditEventQuerySet
from optin.models.factors import has_active_factor
from optin.operations import challenges, opt_ins, passwords
from optin.origin import Face
from tests.kit.apps import add_passkey, set_up_app
from tests.kit.commands import run
from tests.kit.people import NUMBER, ORIGIN, PASSWORD
from tests.kit.phone import Phone
from tests.kit.trail import newest_event, one_event
from tests.kit.world import nothing_happens

pytestmark = pytest.mark.django_db(transaction=True)

Kind = AuditEvent.Kind

NEW_PASSWORD = "a long one that is new"


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody types this password whenever one is asked for."""
    monkeypatch.setattr(getpass, "getpass", lambda prompt="": NEW_PASSWORD)


@pytest.fixture
def no_trail(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No event can be written."""

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError("no event")

    with monkeypatch.context() as patch:
        patch.setattr(AuditEventQuerySet, "record", fail)
        yield


def may_enter(name: str, password: str) -> bool:
    with passwords.trying(name, password, origin=ORIGIN) as tried:
        return tried.factors is not None


# -- commands of Django and of packages ---------------------------------------------


def createsuperuser() -> str:
    return run("createsuperuser", "--noinput", "--username", "root", "--email", "root@example.com")


def createapplication() -> str:
    return run("createapplication", "confidential", "client-credentials", "--name", "Reports")


def changepassword() -> str:
    return run("changepassword", "ann")


def test_createsuperuser(db: None) -> None:
    with one_event(Kind.PERSON, "created", face=Face.COMMAND, data={"superuser": True}):
        assert "created successfully" in createsuperuser()
    assert newest_event().user_id == User.objects.get(username="root").pk


def test_changepassword(user: User, typed: None) -> None:
    with one_event(Kind.PASSWORD, "set", face=Face.COMMAND, user_id=user.pk):
        assert "changed successfully" in changepassword()
    assert may_enter("ann", NEW_PASSWORD)
    assert mail.outbox == []  # she has never signed in
    User.objects.update(last_login=timezone.now())
    changepassword()
    (message,) = mail.outbox
    assert message.to == ["ann@example.com"]


def test_createapplication(db: None) -> None:
    with one_event(Kind.APPLICATION, "made", face=Face.COMMAND):
        assert "created successfully" in createapplication()
    made = get_application_model().objects.get(name="Reports")
    assert newest_event().data == {"application": made.pk}


@pytest.mark.parametrize("command", [createsuperuser, changepassword, createapplication])
def test_nothing_is_done_that_cannot_be_recorded(
    user: User, phone: Phone, typed: None, no_trail: None, command: Callable[[], str]
) -> None:
    with nothing_happens(phone), pytest.raises(OSError, match="no event"):
        command()
    user.refresh_from_db()
    assert user.check_password(PASSWORD)


@pytest.mark.parametrize("command", [changepassword, createapplication])
def test_what_is_saved_later_is_not_recorded_as_of_the_command(
    user: User, typed: None, command: Callable[[], str]
) -> None:
    command()
    events = AuditEvent.objects.count()
    user.save()
    get_application_model().objects.create(name="Another")
    assert AuditEvent.objects.count() == events


# -- the end of a trial --------------------------------------------------------------


@pytest.fixture
def trial(user: User, file: File, settings: LazySettings, phone: Phone) -> ProviderUser:
    """A number of staff that was verified while the simulator was the gateway; now it is not."""
    phone.name = "simulator"
    User.objects.filter(pk=user.pk).update(is_staff=True)
    sent = opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)
    assert sent.provider_user_id
    opt_ins.verify_opt_in(user, file, sent.provider_user_id, phone.code(), origin=ORIGIN)
    phone.name = "phone"
    settings.OPTIN_GATEWAYS, settings.OPTIN_FICTIONAL_NUMBERS = ("http",), "auto"
    return ProviderUser.objects.get(confirmed=True)


def test_a_number_of_a_trial_gets_no_text_at_a_real_gateway(
    trial: ProviderUser, phone: Phone
) -> None:
    """S-30. The service does not start, and one that runs sends nothing to a number for fiction."""
    texts = len(phone.messages)
    assert [one.id for one in checks.check_trial()] == ["optin.E305"]
    challenges.challenge(trial.user, Purpose.SIGN_IN, origin=ORIGIN)
    assert len(phone.messages) == texts
    assert has_active_factor(trial.user)


def test_the_end_of_a_trial_removes_passkeys_of_another_host(trial: ProviderUser) -> None:
    """Nobody could sign in with them."""
    add_passkey(trial.user, rp_id="trial.example.com")
    assert "They sign in with the password" in run("person", "end-trial")
    assert not has_active_factor(trial.user)


def test_the_end_of_a_trial_removes_the_numbers(trial: ProviderUser) -> None:
    """But no authenticator app: its codes were real ones."""
    set_up_app(trial.user)
    assert run("person", "end-trial") == "ann: the number of the trial was removed.\n"
    trial.refresh_from_db()
    assert not trial.confirmed
    assert has_active_factor(trial.user)
    told = newest_event()
    assert (told.kind, told.face) == (Kind.REVOKE, Face.COMMAND)
    assert checks.check_trial() == []
    assert run("person", "end-trial") == ""


def test_a_trial_that_goes_on_does_not_end(db: None, settings: LazySettings) -> None:
    settings.OPTIN_GATEWAYS = ("simulator",)
    with pytest.raises(CommandError, match="The trial goes on"):
        run("person", "end-trial")
