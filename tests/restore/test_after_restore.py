"""After a restore: nothing that was used up, revoked, erased or refused since lives again."""

import gzip
import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.conf import LazySettings
from django.contrib.auth.tokens import default_token_generator
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.management import CommandError, call_command
from django.core.management.base import SystemCheckError
from django.test import Client
from django.utils import timezone
from oauth2_provider.models import AccessToken, get_application_model

from optin import codes, keys
from optin.audit import integrity, ledger, restores, seals
from optin.audit.ledger import Line
from optin.events import EVENTS, Ledger
from optin.management.commands import recording
from optin.messaging import delivery
from optin.models import (
    AccessKey,
    AuditEvent,
    AuditSeal,
    AuthenticatorApp,
    Canary,
    EmailChange,
    File,
    Guard,
    Membership,
    Notice,
    Passkey,
    PendingOtp,
    ProviderUser,
    Purpose,
    RecoveryCode,
    Revocation,
    ScimClient,
    SmsMessage,
    TrustedClient,
    User,
    WebhookEndpoint,
)
from optin.models.messages import State
from optin.operations import (
    authenticators,
    challenges,
    email_changes,
    erasure,
    invitations,
    lost_changes,
    lost_decisions,
    not_me,
    passwords,
    people,
    retention,
    revocations,
    send_controls,
    sign_in,
    staff,
    staff_actions,
    tenants,
    texts_end,
    webhooks,
)
from optin.operations.authenticators import Removal
from optin.operations.send_controls import Target
from optin.outcomes import By, CodeOutcome
from optin.phones import MobileNumber
from optin.runtime import logs
from tests.kit.authenticator import Authenticator
from tests.kit.commands import run
from tests.kit.people import ORIGIN, PASSWORD, make_user, number
from tests.kit.phone import Phone, wrong
from tests.kit.staff import make_staff
from tests.kit.tamper import remove, spoil_the_time
from tests.kit.trail import database_now
from tests.kit.world import PAGE, Person, proved
from tests.restore.backup import Backup

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

Clock = time_machine.Traveller
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Change:
    """Something that takes away what *lives*."""

    make: Callable[[], Any]
    lives: Callable[[], bool]


@dataclass
class Town:
    """People with all that can be taken away from somebody, one person for each change."""

    file: File
    phone: Phone
    clock: Clock
    people: int = 0

    def person(self, *kinds: By) -> Person:
        self.people += 1
        person = Person(make_user(f"p{self.people}", self.file), self.file, self.phone, self.clock)
        if By.TEXT in kinds:
            person.add_number(number(self.people))
        if By.APP in kinds:
            person.add_app()
        if By.RECOVERY in kinds:
            person.make_recovery_codes()
        return person

    # -- codes that are used up ----------------------------------------------------

    def texted_code(self) -> Change:
        person = self.person()
        row = person.name_number(number(901))
        code = self.phone.code()
        return Change(
            lambda: person.prove_number(row, code),
            lambda: PendingOtp.objects.open().filter(provider_user=row).exists(),
        )

    def recovery_code(self) -> Change:
        person = self.person(By.APP, By.RECOVERY)
        return Change(lambda: person.check(person.recovery[0]), lambda: person.left() == 10)

    def list_of_recovery_codes(self) -> Change:
        person = self.person(By.APP, By.RECOVERY)
        old = RecoveryCode.objects.filter(pk=authenticators.newest_recovery_code(person.user))
        return Change(person.make_recovery_codes, old.exists)

    def code_of_an_app(self) -> Change:
        person = self.person(By.APP)
        return Change(
            lambda: person.check(person.app_code()),
            lambda: bool(person.app and person.app.step_of(person.app_code(), timezone.now())),
        )

    def answer_of_a_passkey(self) -> Change:
        person = self.person()
        person.add_passkey()
        answer, asked_at = person.shown(), timezone.now()
        return Change(
            lambda: person.check(answer),
            User.objects.filter(pk=person.who.pk, passkey_challenge_at__lt=asked_at).exists,
        )

    # -- factors that are removed --------------------------------------------------

    def number_removed_by_a_client(self) -> Change:
        person = self.person(By.TEXT)
        return Change(
            lambda: person.turn_off(person.text(Purpose.OPT_OUT)), lambda: bool(person.number)
        )

    def app_removed(self) -> Change:
        person = self.person(By.TEXT, By.APP)
        self.clock.shift(60)
        return Change(
            lambda: person.turn_off(person.app_code(), Removal.APP), lambda: bool(person.app)
        )

    def passkey_removed(self) -> Change:
        """One of two, beside a number: the other ones stay."""
        person = self.person(By.TEXT)
        person.add_passkey("lost")
        lost = Passkey.objects.filter(user=person.who)
        lost = lost.filter(pk=lost.get().pk)
        person.keys = Authenticator()
        person.add_passkey("kept")
        return Change(
            lambda: remove_passkey(person, "lost"),
            lambda: lost.exists() or not Passkey.objects.filter(name="kept").exists(),
        )

    def number_replaced(self) -> Change:
        person = self.person(By.TEXT)
        old = ProviderUser.objects.filter(
            pk=person.number.pk if person.number else 0, confirmed=True, suspended_at=None
        )
        return Change(lambda: person.add_number(number(902)), old.exists)

    def app_replaced(self) -> Change:
        person = self.person(By.APP)
        old = AuthenticatorApp.objects.exclude(last_step=lost_changes.NO_STEP)
        old = old.filter(pk=person.app.pk if person.app else 0)
        self.clock.shift(60)
        return Change(person.add_app, old.exists)

    def factors_revoked(self) -> Change:
        person = self.person(By.TEXT, By.APP)
        person.add_passkey()
        return Change(lambda: revoke(person), lambda: bool(person.has))

    def number_suspended(self) -> Change:
        person = self.person(By.TEXT)
        return Change(person.suspend, lambda: not (person.number and person.number.suspended_at))

    def codes_disabled(self) -> Change:
        person = self.person(By.APP)
        person.fail_before(49)
        return Change(
            lambda: person.check(person.wrong(By.APP)), lambda: not person.user.otp_disabled_at
        )

    def programs_disabled(self) -> Change:
        """And the owner is not."""
        person = self.person(By.TEXT)
        guess = wrong(person.text(Purpose.OPT_OUT))
        User.objects.filter(pk=person.user.pk).update(program_failures=49)
        return Change(
            lambda: challenges.opt_out(person.user, person.file, guess, origin=ORIGIN),
            lambda: bool(not person.user.program_disabled_at or person.user.otp_disabled_at),
        )

    # -- accounts ------------------------------------------------------------------

    def person_erased(self) -> Change:
        user = self.person(By.TEXT).who
        return Change(
            lambda: erasure.erase(user, reason="asked", origin=ORIGIN),
            lambda: User.objects.filter(pk=user.pk, username=user.username).exists(),
        )

    def password_changed(self) -> Change:
        person = self.person()
        return Change(
            lambda: passwords.choose(
                person.user, "another long one", origin=PAGE, standing=proved(None)
            ),
            lambda: person.user.check_password(PASSWORD),
        )

    def invitation_used(self) -> Change:
        """Who chose a password by it can ask for a link to choose one again."""
        person = self.person()
        user = person.who
        user.set_unusable_password()
        user.save()
        invitations.invite(user, reason="Moving in. Jo", origin=ORIGIN)
        (link,) = re.findall(r"/password-reset/.*/(\S+)/", str(mail.outbox[-1].body))

        def choose() -> None:
            passwords.choose(person.user, "another long one", origin=PAGE, link=link)

        return Change(choose, lambda: not person.user.has_usable_password())

    def change_disowned(self) -> Change:
        person = self.person(By.TEXT)
        notice = Notice.objects.filter(user=person.who).latest("pk")
        return Change(
            lambda: not_me.disown(notice, PASSWORD, origin=PAGE), lambda: bool(person.number)
        )

    def number_closed_to_strangers(self) -> Change:
        person = self.person(By.TEXT)
        closed = Guard.objects.filter(
            kind=Guard.Kind.NOT_ME, key=person.number.number_digest if person.number else ""
        )
        return Change(
            lambda: not_me.shut_out(
                person.user, standing=proved(), origin=PAGE, keep_session=lambda user: None
            ),
            lambda: not closed.exists(),
        )

    def role_ended(self) -> Change:
        user = make_staff("support")
        return Change(
            lambda: staff.give_role(user, "", reason="left", origin=ORIGIN),
            lambda: User.objects.filter(pk=user.pk, is_staff=True).exists(),
        )

    def revocation_cancelled(self) -> Change:
        person = self.person(By.TEXT)
        revocations.plan(person.user, reason="asked", origin=ORIGIN)
        waits = Revocation.objects.open_of(person.user)
        return Change(
            lambda: revocations.cancel(waits.get(), origin=PAGE),
            lambda: waits.exists(),
        )

    def signed_in(self) -> Change:
        """A session and tokens, which nothing in the ledger tells of."""
        person = self.person()
        Session.objects.create(session_key="s" * 32, session_data="", expire_date=timezone.now())
        AccessToken.objects.create(user=person.who, token="t" * 32, expires=timezone.now() + DAY)

        def leave() -> None:
            Session.objects.all().delete()
            AccessToken.objects.all().delete()

        return Change(leave, lambda: Session.objects.exists() or AccessToken.objects.exists())

    # -- files, keys, clients ------------------------------------------------------

    def person_deactivated(self) -> Change:
        user = self.person().who
        return Change(
            lambda: people.deactivate(user, reason="left", origin=ORIGIN),
            lambda: User.objects.filter(pk=user.pk, is_active=True).exists(),
        )

    def password_given(self) -> Change:
        person = self.person()

        def give() -> None:
            """As ``changepassword`` does."""
            with recording(User, lambda user: people.record_password(user, origin=ORIGIN)):
                person.who.set_password("another long one")
                person.who.save()

        return Change(give, lambda: person.user.check_password(PASSWORD))

    def membership_ended(self) -> Change:
        user = self.person().who
        return Change(
            lambda: tenants.end_membership(user, self.file, origin=ORIGIN),
            lambda: Membership.objects.filter(user=user, active=True).exists(),
        )

    def management_ended(self) -> Change:
        user = self.person().who
        tenants.let_manage(user, self.file, manages=True, origin=ORIGIN)
        return Change(
            lambda: tenants.let_manage(user, self.file, manages=False, origin=ORIGIN),
            lambda: File.objects.managed_by(user).exists(),
        )

    def access_key_revoked(self) -> Change:
        user = self.person().who
        key, _text = AccessKey.objects.make(user, self.file, timezone.now())
        return Change(
            lambda: tenants.revoke_access_key(key, origin=ORIGIN),
            lambda: AccessKey.objects.filter(pk=key.pk, revoked_at=None).exists(),
        )

    def endpoint(self, made_by: User | None = None) -> WebhookEndpoint:
        now = timezone.now()
        secret = WebhookEndpoint.seal(WebhookEndpoint.new_secret(), self.file.pk)
        made = {"created_at": now, "due_at": now, "made_by": made_by}
        return WebhookEndpoint.objects.create(
            file=self.file, url="https://shop.example.com", secrets_encrypted=secret, **made
        )

    def endpoint_removed(self) -> Change:
        endpoint = self.endpoint()
        return Change(
            lambda: webhooks.remove(endpoint, origin=ORIGIN),
            WebhookEndpoint.objects.filter(pk=endpoint.pk).exists,
        )

    def endpoint_changed(self) -> Change:
        """The backup has the old address, which may be somebody else's by now."""
        row = self.endpoint()
        was_changed = AuditEvent.objects.filter(kind="webhook", data__endpoint=row.pk)
        on = WebhookEndpoint.objects.filter(pk=row.pk, off_at=None)
        return Change(
            lambda: webhooks.change(row, row.url, kinds=[], description="2", origin=ORIGIN),
            lambda: on.exists() and not was_changed.exists(),
        )

    def endpoint_disowned(self) -> Change:
        person = self.person()
        on = WebhookEndpoint.objects.filter(pk=self.endpoint(person.user).pk, off_at=None)
        return Change(
            lambda: not_me.shut_out(
                person.user, standing=proved(None), origin=PAGE, keep_session=lambda user: None
            ),
            on.exists,
        )

    def application_removed(self) -> Change:
        tenants.make_application("Shop", "", by_code=False, origin=ORIGIN)
        found = get_application_model().objects.filter(name="Shop")
        return Change(lambda: tenants.remove_application(found.get(), origin=ORIGIN), found.exists)

    def trust_in_an_application_ended(self) -> Change:
        tenants.make_application("Login", "", by_code=False, origin=ORIGIN)
        made = get_application_model().objects.get(name="Login")
        tenants.trust_application(made, trusted=True, reason="a login form", origin=ORIGIN)
        return Change(
            lambda: tenants.trust_application(made, trusted=False, reason="sold", origin=ORIGIN),
            TrustedClient.objects.filter(pk=made.pk).exists,
        )

    def provisioning_ended(self) -> Change:
        tenants.make_application("Entra", "", by_code=False, origin=ORIGIN)
        made = get_application_model().objects.get(name="Entra")
        tenants.let_provision(made, None, reason="a contract", origin=ORIGIN)
        return Change(
            lambda: tenants.end_provisioning(made, reason="sold", origin=ORIGIN),
            ScimClient.objects.filter(pk=made.pk).exists,
        )

    def password_clients_switched_off(self) -> Change:
        tenants.switch_password_clients(on=True, origin=ORIGIN)
        return Change(
            lambda: tenants.switch_password_clients(on=False, origin=ORIGIN),
            lambda: sign_in.application() is not None,
        )

    # -- texts ---------------------------------------------------------------------

    def number_denied(self) -> Change:
        return self._listed(Guard.Kind.DENY, Target.number(number(903)), send_controls.deny)

    def prefix_denied(self) -> Change:
        return self._listed(Guard.Kind.DENY, Target.prefix("+61491999999"), send_controls.deny)

    def prefix_no_longer_safe(self) -> Change:
        target = Target.prefix("+61491888888")
        send_controls.keep_safe(target, 30 * DAY, reason="ours", origin=ORIGIN)
        return Change(
            lambda: send_controls.unlist(target, reason="over", origin=ORIGIN),
            lambda: Guard.objects.filter(key=target.key).exists(),
        )

    def texts_without_end(self) -> Change:
        file = File.objects.create(id=701, name="Still by text")
        tomorrow = timezone.localdate() + DAY
        return Change(
            lambda: texts_end.set_day(file, tomorrow, reason="weak", origin=ORIGIN),
            File.objects.filter(pk=file.pk, texts_end_on=None).exists,
        )

    def texts_stopped_by_their_owner(self) -> Change:
        mobile = MobileNumber.stored(number(904))
        digest = ProviderUser.digest_of(mobile.e164)
        return Change(
            lambda: delivery.record_opt_out(mobile, True, timezone.now(), ORIGIN),
            lambda: not Guard.objects.has_opted_out(digest),
        )

    def all_texts_stopped(self) -> Change:
        """Last, because no text leaves after it."""
        return Change(
            lambda: send_controls.stop_texts(reason="attack", origin=ORIGIN),
            lambda: not Guard.objects.is_stopped(),
        )

    def _listed(self, kind: str, target: Target, put: Callable[..., Guard]) -> Change:
        return Change(
            lambda: put(target, 30 * DAY, reason="pumping", origin=ORIGIN),
            lambda: not Guard.objects.filter(kind=kind, key=target.key).exists(),
        )


CHANGES = [
    name for name in vars(Town) if not name.startswith("_") and name not in {"endpoint", "person"}
]
CHANGES = [name for name in CHANGES if callable(getattr(Town, name))]


@pytest.fixture
def ledgered(db: None, tmp_path: Path, settings: LazySettings) -> Path:
    settings.OPTIN_LEDGER = str(tmp_path / "ledger")
    Canary.objects.look()
    return tmp_path / "ledger"


Lost = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def lost(ledgered: Path, tmp_path: Path) -> Lost:
    """What is done in its block is lost: the database is restored to the moment before."""

    @contextmanager
    def lose() -> Iterator[None]:
        backup = Backup(tmp_path)
        yield
        backup.restore()

    return lose


@pytest.fixture
def town(file: File, phone: Phone, clock: Clock) -> Town:
    return Town(file, phone, clock)


def revoke(person: Person) -> None:
    staff_actions.revoke(person.user, reason="lost", origin=ORIGIN)


def remove_passkey(person: Person, name: str) -> None:
    pk = Passkey.objects.get(user=person.who, name=name).pk
    staff_actions.remove_passkey(person.user, passkey=pk, reason="lost", origin=ORIGIN)


def readiness(client: Client) -> tuple[int, str]:
    answer = client.get("/readyz")
    return answer.status_code, answer.content.decode().strip()


def test_nothing_lives_again(town: Town, client: Client, clock: Clock, lost: Lost) -> None:
    """S-55, G-08."""
    changes = {name: getattr(town, name)() for name in CHANGES}

    def living() -> list[str]:
        return [name for name, change in changes.items() if change.lives()]

    clock.shift(60)
    assert living() == CHANGES
    with lost():
        for change in changes.values():
            change.make()
        assert living() == []
        assert readiness(client) == (200, "ok")
    assert living() == CHANGES
    assert readiness(client) == (503, "restored")
    with pytest.raises(SystemCheckError, match=r"optin\.E303"):
        call_command("check")

    print(run("after_restore"))
    assert living() == []
    assert readiness(client) == (200, "ok")


def test_what_was_given_back_is_given_back(town: Town, lost: Lost) -> None:
    suspended, disabled = town.person(By.TEXT), town.person(By.APP)
    member, mobile = town.person().who, MobileNumber.stored(number(908))
    suspended.suspend()
    disabled.disable()
    tenants.end_membership(member, town.file, origin=ORIGIN)
    left = town.person().who
    people.deactivate(left, reason="left", origin=ORIGIN)
    delivery.record_opt_out(mobile, True, timezone.now(), ORIGIN)
    send_controls.stop_texts(reason="attack", origin=ORIGIN)
    texts_end.set_day(town.file, timezone.localdate() + 28 * DAY, reason="weak", origin=ORIGIN)
    now, closed = timezone.now(), Target.number(number(909))
    Guard.objects.close_to_strangers(closed.key, "909", now, now + timedelta(days=30))
    with lost():
        staff_actions.resume(suspended.user, reason="found", origin=ORIGIN)
        staff_actions.unlock(disabled.user, reason="called", origin=ORIGIN)
        tenants.add_member(member, town.file, origin=ORIGIN)
        people.activate(left, reason="back", origin=ORIGIN)
        delivery.record_opt_out(mobile, False, timezone.now(), ORIGIN)
        send_controls.allow_texts(reason="over", origin=ORIGIN)
        texts_end.set_day(town.file, None, reason="too early", origin=ORIGIN)
        send_controls.unlist(closed, reason="theirs", origin=ORIGIN)

    run("after_restore")
    assert suspended.number
    assert suspended.number.suspended_at is None
    assert disabled.user.otp_disabled_at is None
    assert Membership.objects.get(user=member).active
    assert User.objects.get(pk=left.pk).is_active
    assert File.objects.get(pk=town.file.pk).texts_end_on is None
    assert not Guard.objects.exists()


def test_what_waits_is_called_off(ledgered: Path, town: Town) -> None:
    """It may have left since the backup, or its owner may have cancelled it."""
    person = town.person(By.TEXT)
    revocations.plan(person.user, reason="asked", origin=ORIGIN)
    email_changes.ask(person.user, "new@example.org", standing=proved(By.TEXT), origin=ORIGIN)
    told = Notice.objects.filter(user=person.who, kind=Notice.Kind.ACTIVATED)
    told.update(state=State.QUEUED)
    SmsMessage.objects.update(state=State.SENDING)

    run("after_restore", "--force")
    off = [Notice.Kind.REVOKE_OFF, Notice.Kind.EMAIL_OFF]
    told_of_this = Notice.objects.filter(kind__in=off)
    assert [notice.user for notice in told_of_this] == [person.who, person.who]
    for waiting in (Notice.objects.exclude(pk__in=told_of_this), SmsMessage.objects.all()):
        assert not waiting.filter(state__in=[State.QUEUED, State.SENDING]).exists()
    assert Revocation.objects.get().closed_as == "restored"
    assert EmailChange.objects.get().closed_as == "restored"
    assert told.get().disowned_at


@pytest.mark.postgresql
def test_a_restore_shows_where_the_ledger_is_empty(
    ledgered: Path, town: Town, client: Client, lost: Lost
) -> None:
    """S-55. On a new machine, whose operator forgot ``after_restore``."""
    person = town.person(By.TEXT)
    assert readiness(client) == (200, "ok")
    with lost():
        revoke(person)
        ledgered.unlink()

    assert readiness(client) == (503, "restored")
    with pytest.raises(SystemCheckError, match=r"optin\.E303"):
        call_command("check")
    with pytest.raises(CommandError, match="another server or timeline"):
        run("after_restore")
    run("after_restore", "--force")
    assert readiness(client) == (200, "ok")


@pytest.mark.postgresql
def test_a_database_that_was_moved_has_lost_nothing(
    ledgered: Path, town: Town, client: Client, tmp_path: Path
) -> None:
    """Whoever moved it says so, and nobody has to sign in again."""
    person = town.person(By.TEXT)
    epoch = person.user.session_epoch
    assert readiness(client) == (200, "ok")
    Backup(tmp_path).restore()

    assert readiness(client) == (503, "restored")
    with pytest.raises(CommandError, match="--moved"):
        run("after_restore")
    run("after_restore", "--moved")
    assert readiness(client) == (200, "ok")
    assert person.user.session_epoch == epoch


# -- the audit trail ---------------------------------------------------------------


def check_trail(copies: list[str]) -> list[str]:
    """What ``verify_audit`` finds, with these copies of seals."""
    tally = integrity.Tally()
    found = [*integrity.verify(timezone.now(), tally), *integrity.verify_copies(copies, tally)]
    return [finding.text for finding in found]


def decide(person: Person, count: int) -> None:
    for _ in range(count):
        person.check(codes.new_recovery_code())
        person.fail_before(0)


def seal(clock: Clock) -> list[str]:
    """Seal what there is; return the copies of the new seals."""
    clock.shift(600)
    known = set(AuditSeal.objects.values_list("pk", flat=True))
    seals.seal(timezone.now())
    return [one.line() for one in AuditSeal.objects.exclude(pk__in=known)]


def test_the_trail_tells_of_the_gap(town: Town, clock: Clock, lost: Lost) -> None:
    """S-53. Events of all ages: sealed before the backup or after it, and lost with their seals."""
    person = town.person(By.APP)
    decide(person, 3)
    copies = seal(clock)
    decide(person, 2)
    with lost():
        decide(person, 2)
        copies += seal(clock)
        decide(person, 5)
        copies += seal(clock)
        assert len(copies) == 3
        decide(person, 1)
        clock.shift(3 * DAY)

    assert check_trail(copies) != []
    run("after_restore", "--force")
    decide(person, 4)
    copies += seal(clock)

    assert check_trail(copies) == []
    gap = AuditEvent.objects.get(kind="restore", outcome="begun").data
    assert not AuditEvent.objects.filter(pk__range=(gap["lost_from"], gap["lost_to"])).exists()

    decide(person, 2)
    gone = AuditEvent.objects.order_by("-pk")[1]
    remove(gone)  # the gap is no excuse for it
    assert f"event {gone.pk}: named by later events, but removed or replaced" in check_trail(copies)


# -- the ledger --------------------------------------------------------------------


def test_a_line_that_somebody_made_up_changes_nothing(
    ledgered: Path, town: Town, lost: Lost
) -> None:
    person = town.person(By.TEXT)
    with lost():
        erasure.erase(person.who, reason="asked", origin=ORIGIN)
    line = ledgered.read_text().splitlines()[-1]
    forged = line.replace("kind=erase", "kind=revoke")
    assert forged != line
    ledgered.write_text(f"{forged}\n{line[:-1]}\n")

    with pytest.raises(CommandError, match=r"^Nothing was done: "):
        run("after_restore")
    assert person.number


def test_lines_of_other_machines_and_of_logs_count(
    ledgered: Path,
    town: Town,
    client: Client,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    lost: Lost,
) -> None:
    person, other = town.person(By.TEXT), town.person(By.TEXT)
    with lost():
        revoke(person)
        ledgered.rename(tmp_path / "elsewhere")
        with caplog.at_level("INFO", logger="optin.audit"):
            revoke(other)
        log = tmp_path / "log"
        log.write_text("\n".join(json.dumps({"message": text}) for text in caplog.messages))
    ledgered.unlink()
    ledgered.touch()
    assert readiness(client) == (200, "ok")  # this machine knows of nothing

    run("after_restore", str(tmp_path / "elsewhere"), str(log))
    assert (person.has, other.has) == (set(), set())


def test_most_events_have_no_line_of_their_own(
    ledgered: Path, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = town.person(By.APP)
    ledgered.write_text("")
    for count in (4, 1):
        monkeypatch.setattr(ledger, "_marked_at", float("-inf"))
        decide(person, count)
    newest = AuditEvent.objects.latest("pk").pk
    lines = ledger.read(ledgered.read_text().splitlines())
    assert [(line.event_id, line.kind) for line in lines] == [(newest - 4, ""), (newest, "")]


def test_a_lost_event_of_any_kind_is_noticed(
    ledgered: Path,
    town: Town,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    lost: Lost,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Also if the database has given its id to another event meanwhile. The log names it."""
    person = town.person(By.APP)
    with lost():
        monkeypatch.setattr(ledger, "MARK_EVERY", 0.0)
        decide(person, 1)
        gone = AuditEvent.objects.latest("pk").pk
    decide(person, 2)
    assert readiness(client) == (503, "restored")
    assert f"from event {gone} at" in caplog.text
    # Lines of a service that goes on do not hide it, and other machines know.
    ledgered.unlink()
    decide(person, 1)
    assert readiness(client) == (503, "restored")

    run("after_restore")
    assert readiness(client) == (200, "ok")


def test_a_ledger_that_cannot_be_written_costs_no_decision(
    ledgered: Path, town: Town, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """One that cannot be read is told."""
    person = town.person(By.TEXT)
    ledgered.unlink()
    ledgered.mkdir()
    revoke(person)
    assert not person.has
    assert "the ledger could not be written: Is a directory" in caplog.text
    assert readiness(client) == (503, "ledger")


def test_a_line_of_another_release_stops_nothing(ledgered: Path, town: Town) -> None:
    town.person(By.TEXT)
    line = ledgered.read_text().splitlines()[-1]
    about = line.split()[1]
    for other in (f"{about}&colour=red", about.replace("at=", "time="), "event_id=x&at=1"):
        text = f"ledger {other} proof={ledger._proof(other)}"
        assert (Line.read(text) is not None) is ("colour" in other)
    # After a part of a line, for which the disk had no room.
    assert Line.read(f"{line[:100]}{line}")


def test_what_was_purged_is_not_lost(
    ledgered: Path, town: Town, client: Client, clock: Clock, settings: LazySettings
) -> None:
    settings.OPTIN_AUDIT_RETENTION = 30
    clock.move_to(database_now() - 40 * DAY)  # the triggers have their own time
    staff_actions.revoke(town.person(By.TEXT).user, reason="lost", origin=ORIGIN)
    seal(clock)
    clock.shift(40 * DAY)
    retention.purge(origin=ORIGIN)
    ledgered.write_text(ledgered.read_text().splitlines()[0])
    assert readiness(client) == (200, "ok")


# -- again, and again --------------------------------------------------------------


def test_it_may_be_stopped_in_the_middle(
    town: Town, client: Client, monkeypatch: pytest.MonkeyPatch, lost: Lost
) -> None:
    people = [town.person(By.APP, By.RECOVERY) for _ in range(3)]
    with lost():
        for person in people:
            person.check(person.recovery[0])
    carry_out, done = lost_decisions.carry_out, []

    def stop_at_the_second(line: Line, left: Any, *, origin: Any) -> str:
        done.append(line)
        if len(done) == 2:
            raise KeyboardInterrupt
        return carry_out(line, left, origin=origin)

    monkeypatch.setattr(lost_decisions, "carry_out", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        run("after_restore")
    assert readiness(client) == (503, "restored")
    monkeypatch.setattr(lost_decisions, "carry_out", carry_out)

    run("after_restore")
    assert [person.left() for person in people] == [9, 9, 9]
    assert AuditEvent.objects.filter(kind="restore", outcome="begun").count() == 1
    assert readiness(client) == (200, "ok")


def test_a_later_restore_leaves_alone_what_an_earlier_one_dealt_with(
    ledgered: Path, town: Town, client: Client, clock: Clock, tmp_path: Path
) -> None:
    person, other = town.person(By.TEXT), town.person(By.TEXT)
    first = Backup(tmp_path)
    revoke(person)
    first.restore()
    run("after_restore")
    clock.shift(60)
    person.add_number(number(905))
    second = Backup(tmp_path)
    revoke(other)
    second.restore()

    run("after_restore")
    assert (person.has, other.has) == ({By.TEXT}, set())
    assert readiness(client) == (200, "ok")


def test_what_the_backup_lacks_is_left_out(town: Town, lost: Lost) -> None:
    with lost():
        late = town.person(By.TEXT, By.RECOVERY)
        late.check(late.recovery[0])
        revoke(late)
    printed = run("after_restore").splitlines()
    assert "About accounts, keys or files that the backup lacks: 4" in printed
    assert printed[-1] == "The service may start."


def test_an_import_that_is_lost_must_be_repeated(
    town: Town, lost: Lost, tmp_path: Path, client: Client
) -> None:
    """S-55."""
    path = tmp_path / "people.jsonl"
    path.write_text('{"username": "dora"}\n{"username": "emil"}')
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with lost():
        run("import_people", str(path), "--reason=Moving in. Jo")
    printed = run("after_restore")
    told = f"2 people made and 0 changed, from the file with the SHA-256 {digest}"
    assert f"Import again: {told}" in printed
    assert not User.objects.filter(username="dora").exists()
    assert readiness(client) == (200, "ok")
    with pytest.raises(CommandError, match="Nothing was done"):
        run("after_restore")
    assert run("import_people", str(path), "--reason=Again. Jo").startswith("2 made")


def test_people_whose_new_factor_is_lost_are_named(town: Town, lost: Lost) -> None:
    person, changed = town.person(), town.person(By.TEXT)
    with lost():
        person.add_number(number(906))
        changed.add_number(number(907))
    ids = f"{person.who.pk}, {changed.who.pk}"
    assert f"These users have set up a second factor that is lost: {ids}" in run("after_restore")
    assert changed.check("0123456").outcome == "factor_disabled"  # it is still asked for


def test_a_forgotten_ledger_may_follow(
    ledgered: Path, town: Town, client: Client, clock: Clock, tmp_path: Path, lost: Lost
) -> None:
    """Then only its decisions are carried out, and nobody has to sign in again."""
    first, second = town.person(By.TEXT), town.person(By.TEXT)
    with lost():
        revoke(first)
        ledgered.rename(tmp_path / "elsewhere")
        revoke(second)
    run("after_restore")
    clock.shift(60)
    assert (first.has, second.has) == ({By.TEXT}, set())
    second.add_number(number(909))
    epoch = second.user.session_epoch

    kept = ledgered.read_text()
    ledgered.write_bytes((tmp_path / "elsewhere").read_bytes())
    assert readiness(client) == (503, "restored")  # a machine whose ledger was forgotten
    ledgered.write_text(kept)
    with gzip.open(tmp_path / "late.gz", "wb") as late:
        late.write((tmp_path / "elsewhere").read_bytes())
    printed = run("after_restore", str(tmp_path / "late.gz"))
    assert "Carried out again, revoke: 1" in printed
    assert (first.has, second.has) == (set(), {By.TEXT})
    assert second.user.session_epoch == epoch
    assert readiness(client) == (200, "ok")


# -- nobody is left less protected ---------------------------------------------------


def replace_and_resume(person: Person) -> None:
    person.add_number(number(910))
    person.suspend()
    staff_actions.resume(person.user, reason="found", origin=ORIGIN)


def revoke_and_add_an_app(person: Person) -> None:
    revoke(person)
    person.add_app()


def revoke_and_replace(person: Person) -> None:
    revoke(person)
    person.add_number(number(911))


def replace_and_verify_again(person: Person) -> None:
    person.add_number(number(912))
    person.clock.shift(60)
    person.add_number(OWN)


def revoke_and_verify_again(person: Person) -> None:
    revoke(person)
    person.clock.shift(60)
    person.add_number(OWN)


def opt_out_and_verify_again(person: Person) -> None:
    person.turn_off(person.text(Purpose.OPT_OUT))
    person.clock.shift(60)
    person.add_number(OWN)


OWN = number(1)
"""The number of the first person of a town."""


@pytest.mark.parametrize(
    ("change", "is_lost"),
    [
        (replace_and_resume, True),
        (revoke_and_add_an_app, True),
        (revoke_and_replace, True),
        (replace_and_verify_again, False),
        (revoke_and_verify_again, False),
        (opt_out_and_verify_again, False),
    ],
)
def test_who_had_a_factor_in_the_end_still_needs_one(
    town: Town, lost: Lost, change: Callable[[Person], None], is_lost: bool
) -> None:
    """The number of the backup asks for a code; if the factor is lost, no code opens it."""
    person = town.person(By.TEXT)
    with lost():
        town.clock.shift(60)
        change(person)
    assert (f"second factor that is lost: {person.who.pk}" in run("after_restore")) is is_lost
    assert person.number
    assert bool(person.number.suspended_at) is is_lost


def test_a_passkey_that_is_lost_leaves_the_old_one_and_it_opens_nothing(
    town: Town, lost: Lost
) -> None:
    """Else the password alone would be enough, or the key that was stolen."""
    person = town.person()
    person.add_passkey("stolen")
    stolen = person.keys
    with lost():
        person.keys = Authenticator()
        person.add_passkey("new")
        remove_passkey(person, "stolen")
    assert f"second factor that is lost: {person.who.pk}" in run("after_restore")
    person.keys = stolen
    assert person.check(person.shown()).outcome is CodeOutcome.PASSKEY_REFUSED
    assert person.has == {By.PASSKEY}


def test_codes_that_were_revoked_open_nothing_though_a_factor_stays(town: Town, lost: Lost) -> None:
    person = town.person(By.TEXT, By.RECOVERY)
    with lost():
        staff_actions.revoke(person.user, reason="stolen", origin=ORIGIN)
        person.add_number(number(913))
    run("after_restore")
    assert (person.has, person.left()) == ({By.TEXT}, 0)


def test_a_forgotten_ledger_gives_nothing_back_and_ends_no_texts(
    ledgered: Path, town: Town, clock: Clock, tmp_path: Path, lost: Lost
) -> None:
    """Staff may have decided anew meanwhile."""
    person, day = town.person(By.TEXT), timezone.localdate() + 28 * DAY
    person.suspend()
    with lost():
        staff_actions.resume(person.user, reason="found", origin=ORIGIN)
        texts_end.set_day(town.file, day, reason="weak", origin=ORIGIN)
        ledgered.rename(tmp_path / "late")
    run("after_restore", "--force")
    clock.shift(60)
    run("after_restore", str(tmp_path / "late"))
    assert person.number
    assert person.number.suspended_at
    assert File.objects.get(pk=town.file.pk).texts_end_on is None


@pytest.mark.parametrize("first", ["both", "the newer one"])
def test_a_factor_stays_whichever_ledger_comes_first(
    ledgered: Path, town: Town, clock: Clock, tmp_path: Path, first: str, lost: Lost
) -> None:
    """One machine removed the number, another one tells of the new one."""
    person = town.person(By.TEXT)
    with lost():
        revoke(person)
        ledgered.rename(tmp_path / "late")
        person.add_number(number(914))
    if first == "the newer one":
        run("after_restore")
        clock.shift(60)
    run("after_restore", str(tmp_path / "late"))
    assert person.number
    assert person.number.suspended_at


def test_each_line_passes_the_log(ledgered: Path) -> None:
    """Nothing in it is taken for a secret."""
    line = Line(1, timezone.now(), "a" * 64, keys.digest_key_id())
    told = [(k, o) for k, rows in EVENTS.items() for o in rows if rows[o].ledger is not Ledger.NO]
    for kind, outcome in told:
        kept = replace(line, kind=kind, outcome=outcome, user_id=7, number_digest="1" * 64)
        record = logging.makeLogRecord({"name": "optin.audit", "msg": kept.text()})
        written = logs.Line("json").format(record)
        for text in (written, written.replace("&", "\\u0026")):
            assert Line.read(text) == kept


def test_codes_that_a_thief_made_are_gone_after_a_change_was_disowned(
    town: Town, lost: Lost
) -> None:
    person = town.person(By.TEXT, By.APP)
    notice = Notice.objects.filter(user=person.who, kind=Notice.Kind.ACTIVATED).get()
    person.make_recovery_codes()
    with lost():
        not_me.disown(notice, PASSWORD, origin=PAGE)
        assert (person.has, person.left()) == ({By.APP}, 0)
    run("after_restore")
    assert (person.has, person.left()) == ({By.APP}, 0)


def test_an_address_that_was_put_back_stays_so(
    town: Town, lost: Lost, clock: time_machine.Traveller
) -> None:
    """Else links to a new password go to the thief again."""
    person = town.person(By.APP)
    own = person.user.email
    for address in ("b@thief.example.com", "c@thief.example.com"):
        email_changes.ask(person.user, address, standing=proved(), origin=PAGE)
        change = EmailChange.objects.open().get()
        email_changes.prove(person.user, change, standing=proved(), origin=PAGE)
        clock.shift(timedelta(days=1))
        email_changes.carry_out(origin=ORIGIN)
    told = Notice.objects.filter(user=person.who, kind=Notice.Kind.EMAIL_CHANGED).order_by("pk")
    with lost():
        not_me.disown(told[0], PASSWORD, origin=PAGE)
        assert person.user.email == own
    assert person.user.email == "c@thief.example.com"
    run("after_restore")
    assert person.user.email == own


def test_nobody_gets_a_role_by_a_line(town: Town, lost: Lost) -> None:
    """It may have been taken back on a machine whose ledger is not here."""
    user = town.person().who
    with lost():
        staff.give_role(user, "administrator", reason="new", origin=ORIGIN)
    run("after_restore")
    assert staff.role_of(User.objects.get(pk=user.pk)) == ""


def test_who_got_the_id_of_somebody_lost_is_let_alone(town: Town, lost: Lost) -> None:
    """So is an endpoint that got the id of a lost one."""
    with lost():
        person, endpoint = town.person().who, town.endpoint()
        old = person.pk, endpoint.pk
        erasure.erase(person, reason="asked", origin=ORIGIN)
        webhooks.remove(endpoint, origin=ORIGIN)
    town.clock.shift(60)
    User.objects.create(pk=person.pk, username="other", date_joined=timezone.now())
    assert (person.pk, town.endpoint().pk) == old
    assert "the backup lacks: 2" in run("after_restore")
    assert User.objects.get(pk=person.pk).username == "other"
    assert WebhookEndpoint.objects.exists()


def test_programs_tell_apart_who_got_the_id_of_somebody_lost(town: Town, lost: Lost) -> None:
    """S-35a: else a new person would open the lost one's account in each program."""
    with lost():
        before = town.person().user
        known_as = before.handle
    town.clock.shift(60)
    after = town.person().user
    assert after.pk == before.pk
    assert after.handle != known_as == before.handle


def test_a_file_that_is_a_sandbox_by_now_gets_no_member(town: Town, lost: Lost) -> None:
    """Its id was free after the restore, so somebody made another one with it."""
    user = town.person().who
    with lost():
        tenants.add_member(user, tenants.create_file(901, "Lost", origin=ORIGIN), origin=ORIGIN)
    file = tenants.create_file(901, "Sandbox", is_sandbox=True, origin=ORIGIN)
    assert run("after_restore").splitlines()[-1] == "The service may start."
    assert not Membership.objects.filter(file=file).exists()


def test_a_person_with_a_strange_name_is_erased_again(town: Town, lost: Lost) -> None:
    user = town.person().who
    User.objects.filter(pk=user.pk).update(first_name="Out", last_name="-")
    with lost():
        erasure.erase(user, reason="+", origin=ORIGIN)
    run("after_restore")
    assert User.objects.get(pk=user.pk).username == f"erased-{user.pk}"


def test_a_made_up_end_of_a_restore_changes_nothing(town: Town, client: Client, lost: Lost) -> None:
    """The role of the service may add rows, also one that nobody can read, and has no key."""
    person = town.person(By.TEXT)
    with lost():
        revoke(person)
    forged: dict[str, Any] = {"key_id": keys.digest_key_id(), "digest": "0" * 64, "face": "command"}
    forged |= {"kind": "restore", "data": {"lost_from": 1, "lost_to": 10**9}}
    AuditEvent.objects.bulk_create(
        AuditEvent(at=timezone.now(), outcome=outcome, **forged)
        for outcome in ("begun", "done", "done")
    )
    spoil_the_time(AuditEvent.objects.latest("pk"))
    assert not restores.gaps("done")
    assert readiness(client) == (503, "restored")
    run("after_restore")
    assert not person.has


def test_links_from_before_work_no_more(
    ledgered: Path, town: Town, clock: Clock, tmp_path: Path
) -> None:
    user = town.person().who
    link = default_token_generator.make_token(user)
    clock.shift(60)
    assert passwords.opens(user, link)
    run("after_restore", "--force")
    assert not passwords.opens(user, link)
    clock.shift(60)
    assert passwords.opens(user, default_token_generator.make_token(user))
