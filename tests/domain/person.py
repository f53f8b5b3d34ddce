"""A person on the pages: what they hold, and what their session has proved."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pyotp
import time_machine
from django.utils import timezone

from optin import codes
from optin.models import AuthenticatorApp, File, ProviderUser, Purpose, RecoveryCode, User
from optin.operations import authenticators, challenges, opt_ins, staff_actions
from optin.operations.authenticators import Removal
from optin.operations.factors import Standing
from optin.operations.verification import Verification
from optin.origin import Face, Origin
from optin.outcomes import By
from tests.conftest import NUMBER, OTHER_NUMBER, Phone, wrong

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

    @property
    def user(self) -> User:
        """As their session has them: read at each request."""
        return self.now

    # -- what they set up ----------------------------------------------------------

    def set_up(self, *kinds: By) -> None:
        """Set up the factors *kinds*; then a minute passes."""
        if By.TEXT in kinds:
            self.add_number()
        if By.APP in kinds:
            self.add_app()
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
        authenticators.begin_app(self.user, standing=proved(By.RECOVERY), origin=PAGE)
        app = AuthenticatorApp.objects.get(user=self.user, confirmed=False)
        self.secret = app.open_secret()

    def confirm_app(self, code: str = "", origin: Origin = PAGE) -> authenticators.Change:
        return authenticators.confirm_app(
            self.user, code or self.app_code(), standing=proved(), origin=origin
        )

    def add_app(self) -> authenticators.Change:
        self.begin_app()
        return self.confirm_app()

    def make_recovery_codes(self) -> None:
        texts = authenticators.new_recovery_codes(self.user, standing=proved())
        authenticators.keep_recovery_codes(
            self.user,
            texts,
            instead_of=authenticators.newest_recovery_code(self.user),
            standing=proved(By.RECOVERY),
            origin=PAGE,
        )
        self.recovery = texts

    # -- codes ---------------------------------------------------------------------

    def app_code(self, steps: int = 0) -> str:
        """What the app shows, *steps* later than now."""
        return pyotp.TOTP(self.secret).at(int(timezone.now().timestamp()) + 30 * steps)

    def text(self, purpose: Purpose = Purpose.SIGN_IN) -> str:
        """Ask for a text; return its code."""
        assert challenges.challenge(self.user, purpose, origin=PAGE).outcome in {"sent", "resent"}
        return self.phone.code()

    def right(self, by: By, purpose: Purpose = Purpose.SIGN_IN) -> str:
        if by is By.TEXT:
            return self.text(purpose)
        return self.app_code() if by is By.APP else self.recovery[0]

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
        self, code: str, purpose: Purpose = Purpose.SIGN_IN, origin: Origin = PAGE
    ) -> Verification:
        return challenges.check(self.user, purpose, code, origin=origin)

    def turn_off(
        self, code: str, removal: Removal = Removal.ALL, origin: Origin = PAGE
    ) -> Verification:
        return authenticators.turn_off(
            self.user, code, removal=removal, standing=proved(None), origin=origin
        )

    # -- what there is -------------------------------------------------------------

    @property
    def now(self) -> User:
        """Their row as it is."""
        user: User = User.objects.get(pk=self.who.pk)
        return user

    @property
    def number(self) -> ProviderUser | None:
        return ProviderUser.objects.filter(user=self.user, confirmed=True).first()

    @property
    def app(self) -> AuthenticatorApp | None:
        return AuthenticatorApp.objects.active_of(self.user)

    @property
    def has(self) -> set[By]:
        """The factors that are on, recovery codes aside."""
        return {kind for kind, row in ((By.TEXT, self.number), (By.APP, self.app)) if row}

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
