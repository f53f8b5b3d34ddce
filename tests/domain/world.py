"""Words for the tests of the domain: what there is, what happens, what was recorded."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import time_machine
from django.apps import apps
from django.db import connection
from django.utils import timezone

from optin.audit import repeats
from optin.models import (
    AuditEvent,
    File,
    Notice,
    PendingOtp,
    ProviderUser,
    Purpose,
    RefusalCount,
    User,
)
from optin.operations import challenges, opt_ins
from optin.operations.sending import Sending
from optin.operations.verification import Verification
from tests.conftest import NUMBER, ORIGIN, Phone, wrong

MODELS = [
    apps.get_model(label)
    for label in (
        "optin.User",
        "optin.ProviderUser",
        "optin.PendingOtp",
        "optin.AuthenticatorApp",
        "optin.RecoveryCode",
        "optin.AccessKey",
        "optin.SmsMessage",
        "optin.Notice",
        "optin.SendCounter",
        "optin.AuditEvent",
        "optin.RefusalCount",
        "oauth2_provider.AccessToken",
        "oauth2_provider.RefreshToken",
    )
]


@dataclass
class World:
    """One user, their number, their phone, and the clock."""

    user: User
    file: File
    phone: Phone
    clock: time_machine.Traveller
    purpose: Purpose = Purpose.OPT_IN

    @property
    def row(self) -> ProviderUser:
        return ProviderUser.objects.get(user=self.user)

    @property
    def pending(self) -> PendingOtp:
        """The newest code, open or not."""
        return PendingOtp.objects.filter(provider_user__user=self.user).latest("pk")

    @property
    def failures(self) -> int:
        user: User = User.objects.get(pk=self.user.pk)
        return user.otp_failures

    def code(self) -> str:
        return self.phone.code()

    def wrong(self) -> str:
        return wrong(self.phone.code())

    def opt_in(self, number: str = NUMBER) -> Sending:
        return opt_ins.opt_in(self.user, self.file, number, origin=ORIGIN)

    def ask(self) -> Sending:
        """Ask for a text for this world's purpose."""
        if self.purpose is Purpose.OPT_IN:
            return self.opt_in()
        return challenges.challenge(self.user, self.purpose, origin=ORIGIN, file=self.file)

    def guess(self, code: str) -> Verification:
        """Guess at the code for this world's purpose."""
        if self.purpose is Purpose.OPT_IN:
            return opt_ins.verify_opt_in(self.user, self.file, self.row.pk, code, origin=ORIGIN)
        if self.purpose is Purpose.OPT_OUT:
            return challenges.opt_out(self.user, self.file, code, origin=ORIGIN)
        return challenges.check(self.user, self.purpose, code, origin=ORIGIN)

    def guess_wrong(self, times: int = 1) -> None:
        for _ in range(times):
            assert self.guess(self.wrong()).outcome == "otp_incorrect"

    def set_user(self, **changes: Any) -> None:
        User.objects.filter(pk=self.user.pk).update(**changes)

    def lock(self) -> None:
        self.set_user(otp_failures=10, otp_locked_until=timezone.now() + timedelta(seconds=900))

    def disable(self) -> None:
        self.set_user(otp_failures=50, otp_disabled_at=timezone.now())

    def suspend(self) -> None:
        ProviderUser.objects.filter(user=self.user).update(suspended_at=timezone.now())


def rows() -> dict[str, list[dict[str, Any]]]:
    """All that an operation could have changed."""
    return {m._meta.label: list(m._default_manager.order_by("pk").values()) for m in MODELS}


@contextmanager
def nothing_happens(phone: Phone) -> Iterator[None]:
    """Assert that no row changes and no text leaves."""
    before, texts = rows(), len(phone.messages)
    yield
    assert rows() == before
    assert len(phone.messages) == texts


def decided_by(rule: str, count: int = 0, limit: int = 0) -> dict[str, Any]:
    """What the event of a request for a text holds about the decision."""
    return {"rule": rule, "count": count, "limit": limit}


@contextmanager
def one_event(
    kind: AuditEvent.Kind, outcome: str, data: dict[str, Any] | None = None, **facts: Any
) -> Iterator[None]:
    """Assert that exactly this event is added (S-52), or the first of a count without an event."""
    known = {event.pk for event in _all_told()}
    yield
    (event,) = (event for event in _all_told() if event.pk not in known)
    assert event.data.pop("repeated", 1) == 1
    assert event.data.pop("since", 0) == event.data.pop("until", 0)
    assert (event.kind, event.outcome) == (kind, outcome)
    assert {name: getattr(event, name) for name in facts} == facts
    if data is not None:
        assert event.data == data


def _all_told() -> list[AuditEvent]:
    counts = RefusalCount.objects.filter(told=0)
    return [*AuditEvent.objects.all(), *map(repeats.as_event, counts)]


@contextmanager
def one_repeat(kind: AuditEvent.Kind, outcome: str) -> Iterator[None]:
    """Assert that a refusal is counted with an equal one before, and that no event is added."""
    counts = RefusalCount.objects.filter(kind=kind, outcome=outcome)
    events, before = AuditEvent.objects.count(), sum(counts.values_list("count", flat=True))
    yield
    assert AuditEvent.objects.count() == events
    assert sum(counts.values_list("count", flat=True)) == before + 1


def notices(user: User) -> list[str]:
    """The kinds of mail to the user, oldest first."""
    return list(Notice.objects.filter(user=user).order_by("pk").values_list("kind", flat=True))


def newest_event() -> AuditEvent:
    return AuditEvent.objects.latest("pk")


@contextmanager
def audit_trail_full() -> Iterator[None]:
    """Let the database refuse every new audit event."""
    if connection.vendor == "sqlite":
        make = "BEFORE INSERT ON optin_auditevent BEGIN SELECT RAISE(ABORT, 'full'); END"
        drop = "DROP TRIGGER optin_test_full"
    else:
        make = (
            "BEFORE INSERT ON optin_auditevent FOR EACH ROW "
            "EXECUTE FUNCTION optin_auditevent_refuse()"
        )
        drop = "DROP TRIGGER optin_test_full ON optin_auditevent"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TRIGGER optin_test_full {make}")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(drop)


def database_now() -> datetime:
    """The database's own time: the test's clock stands still, the triggers' does not."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT CURRENT_TIMESTAMP")
        (now,) = cursor.fetchone()
    if isinstance(now, str):
        now = datetime.fromisoformat(f"{now}+00:00")
    found: datetime = now
    return found
