"""Words for the tests of the domain: what there is, what happens, what was recorded."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import time_machine
from django.apps import apps
from django.utils import timezone

from optin import codes
from optin.models import (
    AuthenticatorApp,
    File,
    Notice,
    Passkey,
    PendingOtp,
    ProviderUser,
    Purpose,
    RecoveryCode,
    User,
)
from optin.models.users import WrongCodes
from optin.operations import authenticators, challenges, opt_ins, passkeys, staff_actions
from optin.operations.authenticators import Removal
from optin.operations.factors import Standing
from optin.operations.sending import Sending
from optin.operations.verification import Verification
from optin.origin import Face, Origin
from optin.outcomes import By, FactorOutcome
from optin.passkeys import PasskeyResponse, authentication_options, registration_options
from tests.kit.apps import app_code, begin_app, make_recovery_codes
from tests.kit.authenticator import Authenticator
from tests.kit.people import NUMBER, ORIGIN, OTHER_NUMBER
from tests.kit.phone import Phone, wrong

MODELS = [
    apps.get_model(label)
    for label in (
        "optin.User",
        "optin.ProviderUser",
        "optin.PendingOtp",
        "optin.AuthenticatorApp",
        "optin.Passkey",
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
        return self.count.failures

    @property
    def by_program(self) -> bool:
        """Whether the code is entered by a call: such wrong codes count apart."""
        return self.purpose in {Purpose.OPT_IN, Purpose.OPT_OUT}

    @property
    def count(self) -> WrongCodes:
        """The count that a wrong code raises."""
        user: User = User.objects.get(pk=self.user.pk)
        return user.programs if self.by_program else user.own

    @property
    def marks(self) -> dict[str, Any]:
        """What the event of a wrong code has in its data beside the counts."""
        return {"programs": True} if self.by_program else {}

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

    def set_count(self, **changes: Any) -> None:
        column = self.count.column
        self.set_user(**{f"{column}_{name}": value for name, value in changes.items()})

    def set_user(self, **changes: Any) -> None:
        User.objects.filter(pk=self.user.pk).update(**changes)

    def lock(self) -> None:
        self.set_count(failures=10, locked_until=timezone.now() + timedelta(seconds=900))

    def disable(self) -> None:
        self.set_count(failures=50, disabled_at=timezone.now())

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


def notices(user: User) -> list[str]:
    """The kinds of mail to the user, oldest first."""
    return list(Notice.objects.filter(user=user).order_by("pk").values_list("kind", flat=True))


CODES = (By.TEXT, By.APP, By.RECOVERY)
"""What has codes to be entered."""

PAGE = Origin(Face.WEB, ip="192.0.2.1", session="session one")
OTHER_PAGE = replace(PAGE, session="session two")


def proved(by: By | None = By.APP, at: datetime | None = None) -> Standing:
    """What a session has that proved the password and, *by* something, a factor just now."""
    at = at or timezone.now()
    return Standing(at, at if by else None, by)


@dataclass
class Person:
    """One user with any of the factors, at one page after the other."""

    who: User
    file: File
    phone: Phone
    clock: time_machine.Traveller
    secret: str = ""
    recovery: list[str] = field(default_factory=list)
    keys: Authenticator = field(default_factory=Authenticator)

    # -- what they set up ----------------------------------------------------------

    def set_up(self, *kinds: By) -> None:
        """Set up the factors *kinds*; then a minute passes."""
        if By.TEXT in kinds:
            self.add_number()
        if By.APP in kinds:
            self.add_app()
        if By.PASSKEY in kinds:
            assert self.add_passkey().outcome is FactorOutcome.OK
        if By.RECOVERY in kinds:
            self.make_recovery_codes()
        self.clock.shift(60)

    def add_number(self, number: str = NUMBER, by: By = By.RECOVERY) -> Verification:
        return self.prove_number(self.name_number(number, by))

    def name_number(self, number: str = OTHER_NUMBER, by: By = By.RECOVERY) -> int:
        """Have a code sent to *number*; return its id."""
        sending = opt_ins.opt_in(self.user, self.file, number, origin=PAGE, standing=proved(by=by))
        assert sending.provider_user_id, sending.outcome
        return sending.provider_user_id

    def prove_number(self, provider_user_id: int, code: str = "") -> Verification:
        return opt_ins.verify_opt_in(
            self.user, self.file, provider_user_id, code or self.phone.code(), origin=PAGE
        )

    def begin_app(self) -> None:
        self.secret = begin_app(self.user, PAGE)

    def confirm_app(self, code: str = "", origin: Origin = PAGE) -> authenticators.Change:
        return authenticators.confirm_app(
            self.user, code or self.app_code(), standing=proved(), origin=origin
        )

    def add_app(self) -> authenticators.Change:
        self.begin_app()
        return self.confirm_app()

    def add_passkey(self, name: str = "Blue key") -> authenticators.Change:
        self.clock.shift(30)
        asked = registration_options("ann", self.user.handle, [], session=PAGE.session)
        answer = PasskeyResponse(self.keys.create(asked.options), asked.challenge)
        return passkeys.add(self.user, name, answer, standing=proved(), origin=PAGE)

    def make_recovery_codes(self) -> None:
        self.recovery = make_recovery_codes(self.user, PAGE)

    # -- codes ---------------------------------------------------------------------

    def app_code(self, steps: int = 0) -> str:
        """What the app shows, *steps* later than now."""
        return app_code(self.secret, steps)

    def text(self, purpose: Purpose = Purpose.SIGN_IN) -> str:
        """Ask for a text; return its code."""
        assert challenges.challenge(self.user, purpose, origin=PAGE).outcome in {"sent", "resent"}
        return self.phone.code()

    def right(self, by: By, purpose: Purpose = Purpose.SIGN_IN) -> str:
        if by is By.TEXT:
            return self.text(purpose)
        return self.app_code() if by is By.APP else self.recovery[0]

    def shown(self, purpose: Purpose = Purpose.SIGN_IN, origin: Origin = PAGE) -> PasskeyResponse:
        """What the browser answers for a passkey, half a minute after the last time."""
        self.clock.shift(30)
        own = Passkey.objects.of(self.user)
        asked = authentication_options(purpose, own, session=origin.session)
        return PasskeyResponse(self.keys.get(asked.options), asked.challenge)

    def wrong(self, by: By) -> str:
        """A code of that kind that was never right. No text is sent for it."""
        if by is By.TEXT:
            return wrong(self.phone.code())
        if by is By.RECOVERY:
            return codes.new_recovery_code()
        near = {self.app_code(steps) for steps in (-1, 0, 1)}
        return next(code for code in map("{:06d}".format, range(9)) if code not in near)

    # -- what they do --------------------------------------------------------------

    def check(
        self, code: str | PasskeyResponse, purpose: Purpose = Purpose.SIGN_IN, origin: Origin = PAGE
    ) -> Verification:
        return challenges.check(self.user, purpose, code, origin=origin)

    def turn_off(
        self,
        code: str | PasskeyResponse,
        removal: Removal = Removal.ALL,
        origin: Origin = PAGE,
        **asked: Any,
    ) -> Verification:
        asked = {"standing": proved(None), **asked}
        return authenticators.turn_off(self.user, code, removal=removal, origin=origin, **asked)

    # -- what there is -------------------------------------------------------------

    @property
    def user(self) -> User:
        """Their row as it is: a session reads it at each request."""
        user: User = User.objects.get(pk=self.who.pk)
        return user

    @property
    def number(self) -> ProviderUser | None:
        return ProviderUser.objects.filter(user=self.user, confirmed=True).first()

    @property
    def app(self) -> AuthenticatorApp | None:
        found: AuthenticatorApp | None = AuthenticatorApp.objects.filter(
            user=self.user, confirmed=True
        ).first()
        return found

    @property
    def has(self) -> set[By]:
        """The factors that are on, recovery codes aside."""
        passkey = Passkey.objects.filter(user=self.user).first()
        rows = {By.TEXT: self.number, By.APP: self.app, By.PASSKEY: passkey}
        return {kind for kind, row in rows.items() if row}

    def left(self) -> int:
        return RecoveryCode.objects.left(self.user)

    # -- what happens to them ------------------------------------------------------

    def fail_before(self, failures: int) -> None:
        User.objects.filter(pk=self.user.pk).update(otp_failures=failures)

    def lock(self, seconds: float = 300) -> None:
        until = timezone.now() + timedelta(seconds=seconds)
        User.objects.filter(pk=self.user.pk).update(otp_failures=10, otp_locked_until=until)

    def disable(self) -> None:
        User.objects.filter(pk=self.user.pk).update(otp_failures=50, otp_disabled_at=timezone.now())

    def suspend(self) -> None:
        assert staff_actions.suspend(self.user, reason="lost phone", origin=PAGE) == "ok"
