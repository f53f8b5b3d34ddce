"""Apps, recovery codes and turning off: each operation, each outcome, one event each (S-52)."""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from optin import codes
from optin.errors import FactorNeeded, PasswordNeeded
from optin.models import (
    AuditEvent,
    AuthenticatorApp,
    Guard,
    Notice,
    PendingOtp,
    ProviderUser,
    Purpose,
    RecoveryCode,
    User,
)
from optin.models.second_factors import Overview
from optin.operations import authenticators, opt_ins
from optin.operations.authenticators import Removal
from optin.operations.factors import Standing
from optin.outcomes import By, CodeOutcome, FactorOutcome, SendOutcome
from tests.kit.people import NUMBER, ORIGIN, OTHER_NUMBER, make_user
from tests.kit.trail import decided_by, one_event
from tests.kit.world import CODES, OTHER_PAGE, PAGE, Person, nothing_happens, notices, proved

pytestmark = pytest.mark.django_db

Kind = AuditEvent.Kind
Given = Callable[[Person], object]


# -- what a session must have proved (ASVS 7.5.1: 15 minutes) -----------------------

OLD, FRESH, LONG_AGO = timedelta(minutes=15), timedelta(minutes=14, seconds=59.9), None
AHEAD, TOO_FAR_AHEAD = timedelta(seconds=-5), timedelta(seconds=-5.1)


@pytest.mark.parametrize(
    ("password", "factor", "refusal"),
    [
        pytest.param(FRESH, FRESH, None, id="both-at-14:59.9"),
        pytest.param(timedelta(0), timedelta(0), None, id="both-now"),
        pytest.param(OLD, FRESH, PasswordNeeded, id="password-at-15:00"),
        pytest.param(FRESH, OLD, FactorNeeded, id="factor-at-15:00"),
        pytest.param(OLD, OLD, PasswordNeeded, id="password-first"),
        pytest.param(LONG_AGO, FRESH, PasswordNeeded, id="no-password"),
        pytest.param(FRESH, LONG_AGO, FactorNeeded, id="no-factor"),
        pytest.param(AHEAD, AHEAD, None, id="both-by-another-server's-clock"),
        pytest.param(TOO_FAR_AHEAD, FRESH, PasswordNeeded, id="password-before-a-clock-went-back"),
        pytest.param(FRESH, TOO_FAR_AHEAD, FactorNeeded, id="factor-before-a-clock-went-back"),
    ],
)
def test_standing(
    password: timedelta | None, factor: timedelta | None, refusal: type[Exception] | None
) -> None:
    now = timezone.now()
    password_at, factor_at = (age if age is None else now - age for age in (password, factor))
    standing = Standing(password_at, factor_at, By.APP)
    factors = Overview(User(), None, AuthenticatorApp(), [], 0, None)

    with pytest.raises(refusal) if refusal else nullcontext():
        standing.demand(now, factors)
    with pytest.raises(PasswordNeeded) if refusal is PasswordNeeded else nullcontext():
        standing.demand(now)


def begin(person: Person, standing: Standing) -> object:
    return authenticators.begin_app(person.user, standing=standing, origin=PAGE)


def confirm(person: Person, standing: Standing) -> object:
    code = person.app_code() if person.secret else "123456"
    return authenticators.confirm_app(person.user, code, standing=standing, origin=PAGE)


def keep(person: Person, standing: Standing) -> object:
    texts = [codes.new_recovery_code()]
    return authenticators.keep_recovery_codes(
        person.user,
        texts,
        instead_of=authenticators.newest_recovery_code(person.user),
        standing=standing,
        origin=PAGE,
    )


def name(person: Person, standing: Standing) -> object:
    return opt_ins.opt_in(person.user, person.file, OTHER_NUMBER, origin=PAGE, standing=standing)


def off(person: Person, standing: Standing) -> object:
    code = person.right(By.APP) if person.secret else "123456"
    return authenticators.turn_off(
        person.user, code, removal=Removal.ALL, standing=standing, origin=PAGE
    )


def show(person: Person, standing: Standing) -> object:
    return authenticators.new_recovery_codes(person.user, standing=standing)


Change = Callable[[Person, Standing], Any]
CHANGES = [begin, confirm, keep, show, name, off]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_needs_the_password(full: Person, change: Change) -> None:
    with nothing_happens(full.phone), pytest.raises(PasswordNeeded):
        change(full, Standing(None, timezone.now(), By.APP))


@pytest.mark.parametrize("change", [begin, confirm, keep, show, name])
@pytest.mark.parametrize("kinds", [{By.TEXT}, {By.APP}], ids=["number", "app"])
def test_a_change_needs_a_factor_while_one_is_on(
    person: Person, kinds: set[By], change: Change
) -> None:
    """P-08. Turning off asks for one itself."""
    person.set_up(*kinds)
    with nothing_happens(person.phone), pytest.raises(FactorNeeded):
        change(person, proved(None))


@pytest.mark.parametrize("change", [begin, confirm, keep, show, name])
def test_a_texted_code_counts_no_more_once_texts_are_off(full: Person, change: Change) -> None:
    """S-07a."""
    before = proved(By.TEXT)
    full.suspend()
    with nothing_happens(full.phone), pytest.raises(FactorNeeded):
        change(full, before)


@pytest.mark.parametrize("change", [begin, name])
def test_a_first_factor_needs_the_password_alone(person: Person, change: Change) -> None:
    assert change(person, proved(None)).outcome in {FactorOutcome.STARTED, SendOutcome.SENT}


# -- apps --------------------------------------------------------------------------


BARRED = [
    pytest.param(Person.lock, "locked", (10, 10), id="locked"),
    pytest.param(Person.disable, "factor_disabled", (50, 50), id="disabled"),
]


@pytest.mark.parametrize(("given", "outcome", "counted"), BARRED)
@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (begin, Kind.APP),
        (confirm, Kind.APP),
        (keep, Kind.RECOVERY_CODES),
        (name, Kind.OPT_IN),
    ],
)
def test_a_barred_change(
    full: Person,
    given: Given,
    outcome: str,
    counted: tuple[int, int],
    change: Change,
    kind: AuditEvent.Kind,
) -> None:
    """S-06, S-07a. A lock says when it ends."""
    before = proved()
    given(full)
    held = full.has, full.left(), notices(full.user)

    data = decided_by(outcome, *counted) if kind is Kind.OPT_IN else {}
    with one_event(kind, outcome, data, user_id=full.user.pk):
        result = change(full, before)

    assert result.outcome == outcome
    assert (result.retry_after is not None) is (outcome == "locked")
    assert (full.has, full.left(), notices(full.user)) == held
    assert not AuthenticatorApp.objects.filter(confirmed=False).exists()


def test_an_app_is_begun(person: Person) -> None:
    with one_event(Kind.APP, FactorOutcome.STARTED, {}, user_id=person.user.pk):
        person.begin_app()

    assert person.has == set()
    shown = authenticators.waiting_secret(person.user, origin=PAGE)
    assert shown
    secret, address = shown
    assert secret == person.secret
    assert len(secret) == 32  # 160 bits in base 32
    assert address.startswith("otpauth://totp/Two-Factor:ann?")
    assert f"secret={secret}" in address
    stored = AuthenticatorApp.objects.values_list("secret_encrypted", flat=True).get()
    assert secret not in stored


def test_an_app_is_confirmed(person: Person) -> None:
    """S-34, S-54: what was signed in before had no such factor."""
    person.begin_app()
    epoch, kept = person.user.session_epoch, []

    with one_event(Kind.APP, FactorOutcome.OK, {}, user_id=person.user.pk):
        result = authenticators.confirm_app(
            person.user,
            person.app_code(),
            standing=proved(None),
            origin=PAGE,
            keep_session=lambda user: kept.append(user.session_epoch),
        )

    assert (result.outcome, result.repeated) == (FactorOutcome.OK, False)
    assert person.has == {By.APP}
    assert person.user.session_epoch == epoch + 1
    assert kept == [epoch + 1]
    assert notices(person.user) == [Notice.Kind.APP_ADDED]
    assert person.app
    assert person.app.verified_at == timezone.now()


def test_nothing_waits(person: Person) -> None:
    with one_event(Kind.APP, FactorOutcome.NOTHING_WAITING, {}):
        assert person.confirm_app("123456").outcome is FactorOutcome.NOTHING_WAITING


@pytest.mark.parametrize(
    ("seconds", "outcome"), [(1199.9, FactorOutcome.OK), (1200, FactorOutcome.NOTHING_WAITING)]
)
def test_a_secret_waits_20_minutes(person: Person, seconds: float, outcome: FactorOutcome) -> None:
    """Else somebody could be led to set up a secret that another session asked for."""
    person.begin_app()
    person.clock.shift(seconds)
    assert (authenticators.waiting_secret(person.user, origin=PAGE) is None) is (
        outcome is not FactorOutcome.OK
    )
    assert person.confirm_app().outcome is outcome


def test_a_secret_does_not_outlive_the_sessions(person: Person) -> None:
    person.begin_app()
    person.user.end_sign_ins(timezone.now())
    assert authenticators.waiting_secret(person.user, origin=PAGE) is None
    assert person.confirm_app().outcome is FactorOutcome.NOTHING_WAITING


def test_an_app_takes_the_place_of_another(person: Person) -> None:
    person.add_app()
    first, person.secret = person.secret, ""
    person.clock.shift(60)
    assert person.add_app().outcome is FactorOutcome.OK
    second = person.secret
    person.clock.shift(60)
    person.secret = first
    assert person.check(person.app_code()).outcome is CodeOutcome.OTP_INCORRECT
    person.secret = second
    assert person.check(person.app_code()).outcome is CodeOutcome.OK
    assert AuthenticatorApp.objects.count() == 1


# -- the code of an app ------------------------------------------------------------


@pytest.mark.parametrize(
    ("purpose", "origin"), [(Purpose.SIGN_IN, ORIGIN), (Purpose.CHANGE, OTHER_PAGE)]
)
def test_no_step_counts_twice(full: Person, purpose: Purpose, origin: Any) -> None:
    """RFC 6238, 5.2: on a second device, or for whoever looked on."""
    code = full.app_code()
    assert full.check(code).outcome is CodeOutcome.OK
    assert full.check(code, purpose, origin).outcome is CodeOutcome.OTP_INCORRECT
    assert full.check(full.app_code(-1), purpose, origin).outcome is CodeOutcome.OTP_INCORRECT
    full.clock.shift(30)
    assert full.check(code, purpose, origin).outcome is CodeOutcome.OTP_INCORRECT
    assert full.user.otp_failures == 3
    assert full.check(full.app_code(), purpose, origin).outcome is CodeOutcome.OK


def test_the_secret_of_somebody_else_does_not_open(full: Person, stranger: User) -> None:
    """S-08: a row copied by SQL, secret and all, proves nothing for the other user."""
    theirs = Person(stranger, full.file, full.phone, full.clock)
    theirs.add_app()
    copied = AuthenticatorApp.objects.values_list("secret_encrypted", flat=True).get(user=full.user)
    AuthenticatorApp.objects.filter(user=stranger).update(secret_encrypted=copied, last_step=0)

    data = {"why": "the app's key is gone", "purpose": "sign_in"}
    with one_event(Kind.CHECK, CodeOutcome.OTP_INCORRECT, data):
        assert theirs.check(full.app_code()).outcome is CodeOutcome.OTP_INCORRECT

    assert theirs.user.otp_failures == 0  # nothing was compared


def test_a_text_serves_where_the_secret_does_not_open(full: Person, settings: Any) -> None:
    """Also for a code of the length of an app's."""
    settings.OPTIN_OTP_DIGITS = 6
    AuthenticatorApp.objects.update(secret_encrypted=AuthenticatorApp.seal("JBSWY3DP", 0))
    assert full.check(full.text()).by is By.TEXT


def test_texts_of_six_digits_go_beside_an_app(full: Person, settings: Any) -> None:
    settings.OPTIN_OTP_DIGITS = 6
    code = full.text()
    assert full.check(full.wrong(By.APP)).outcome is CodeOutcome.OTP_INCORRECT
    assert PendingOtp.objects.open().get().tries == 1
    assert full.check(code).by is By.TEXT
    assert full.check(full.app_code()).by is By.APP


# -- recovery codes ----------------------------------------------------------------


def test_recovery_codes_are_kept(full: Person) -> None:
    old = full.recovery[0]
    texts = authenticators.new_recovery_codes(full.user, standing=proved())
    assert len(set(texts)) == codes.RECOVERY_CODES

    with one_event(Kind.RECOVERY_CODES, FactorOutcome.OK, {}, user_id=full.user.pk):
        result = authenticators.keep_recovery_codes(
            full.user,
            texts,
            instead_of=authenticators.newest_recovery_code(full.user),
            standing=proved(),
            origin=PAGE,
        )

    assert result.outcome is FactorOutcome.OK
    assert full.left() == 10
    assert notices(full.user)[-1] == Notice.Kind.RECOVERY_CODES
    assert full.check(old).outcome is CodeOutcome.OTP_INCORRECT
    assert full.check(texts[9]).by is By.RECOVERY
    stored = str(list(RecoveryCode.objects.values()))
    assert not [text for text in texts if text in stored or codes.clean(text) in stored]


def test_the_same_list_twice_revives_no_code(full: Person) -> None:
    """S-01: the form may come again, by the back button."""
    assert full.check(full.recovery[0]).outcome is CodeOutcome.OK
    told = notices(full.user)

    with one_event(Kind.RECOVERY_CODES, FactorOutcome.UNCHANGED, {}):
        again = authenticators.keep_recovery_codes(
            full.user,
            full.recovery,
            instead_of=authenticators.newest_recovery_code(full.user),
            standing=proved(),
            origin=PAGE,
        )

    assert again.outcome is FactorOutcome.UNCHANGED
    assert full.left() == 9
    assert notices(full.user) == told


def test_recovery_codes_need_a_factor_to_stand_in_for(person: Person) -> None:
    with one_event(Kind.RECOVERY_CODES, FactorOutcome.NOT_OPTED_IN, {}):
        assert keep(person, proved()).outcome is FactorOutcome.NOT_OPTED_IN  # type: ignore[attr-defined]
    assert person.left() == 0


def test_a_recovery_code_is_told_of(full: Person) -> None:
    """In any spelling (S-10)."""
    now = timezone.now()
    RecoveryCode.objects.replace(full.user, ["0123456789ABCDEF"], now)

    used = RecoveryCode.objects.get()
    data = {"by": "recovery", "purpose": "sign_in", "recovery_code": used.pk}
    with one_event(Kind.CHECK, CodeOutcome.OK, data, user_id=full.user.pk):
        result = full.check("ol23 4567 89ab-cdef")

    assert (result.outcome, result.by) == (CodeOutcome.OK, By.RECOVERY)
    assert full.left() == 0
    assert notices(full.user)[-1] == Notice.Kind.RECOVERED


def test_a_recovery_code_of_somebody_else_fails(full: Person, stranger: User) -> None:
    """S-08: typed, or its row given away by SQL."""
    theirs = Person(stranger, full.file, full.phone, full.clock)
    theirs.add_app()
    assert theirs.check(full.recovery[0]).outcome is CodeOutcome.OTP_INCORRECT
    RecoveryCode.objects.filter(user=full.user).update(user=stranger)
    assert theirs.check(full.recovery[1]).outcome is CodeOutcome.OTP_INCORRECT
    assert theirs.user.otp_failures == 2


def test_a_recovery_code_without_a_factor_is_nothing(person: Person) -> None:
    with one_event(Kind.CHECK, CodeOutcome.NOT_OPTED_IN):
        assert person.check(codes.new_recovery_code()).outcome is CodeOutcome.NOT_OPTED_IN
    assert person.user.otp_failures == 0


# -- turning off -------------------------------------------------------------------


@pytest.mark.parametrize("by", CODES)
@pytest.mark.parametrize(
    ("removal", "stays", "removed"),
    [
        (Removal.ALL, set(), ["number", "app"]),
        (Removal.NUMBER, {By.APP}, ["number"]),
        (Removal.APP, {By.TEXT}, ["app"]),
    ],
)
def test_any_factor_turns_off(
    full: Person, by: By, removal: Removal, stays: set[By], removed: list[str]
) -> None:
    """P-08. Recovery codes go with the last factor; sessions and tokens stay (S-34)."""
    code, epoch = full.right(by, Purpose.OPT_OUT), full.user.session_epoch
    told = {"number": Notice.Kind.RELEASED, "app": Notice.Kind.APP_REMOVED}
    known = len(notices(full.user))
    data: dict[str, Any] = {"by": by, "removed": removed}
    if by is By.RECOVERY:
        data["recovery_code"] = RecoveryCode.objects.earliest("pk").pk

    with one_event(Kind.OPT_OUT, CodeOutcome.OK, data):
        result = full.turn_off(code, removal)

    assert (result.outcome, result.by) == (CodeOutcome.OK, by)
    assert full.has == stays
    assert full.left() == (10 - (by is By.RECOVERY) if stays else 0)
    assert RecoveryCode.objects.exists() is bool(stays)
    used = [Notice.Kind.RECOVERED] if by is By.RECOVERY else []
    assert notices(full.user)[known:] == [*used, *(told[name] for name in removed)]
    assert full.user.session_epoch == epoch


def wrong_app(person: Person) -> str:
    return person.wrong(By.APP)


def expired(person: Person) -> str:
    code = person.text(Purpose.OPT_OUT)
    person.clock.shift(600)
    return code


def locked(person: Person) -> str:
    person.lock()
    return person.app_code()


@pytest.mark.parametrize(
    ("code", "outcome", "counted"),
    [
        pytest.param(wrong_app, CodeOutcome.OTP_INCORRECT, 1, id="wrong-app"),
        pytest.param(lambda _: "1234567", CodeOutcome.OTP_INCORRECT, 0, id="nothing-texted"),
        pytest.param(expired, CodeOutcome.OTP_EXPIRED, 0, id="expired"),
        pytest.param(locked, CodeOutcome.LOCKED, 0, id="locked"),
    ],
)
def test_a_refused_turning_off(
    full: Person, code: Callable[[Person], str], outcome: CodeOutcome, counted: int
) -> None:
    guess = code(full)
    failures = full.user.otp_failures

    with one_event(Kind.OPT_OUT, outcome, user_id=full.user.pk):
        result = full.turn_off(guess)

    assert result.outcome is outcome
    assert full.has == {By.TEXT, By.APP}
    assert full.left() == 10
    assert full.user.otp_failures == failures + counted


@pytest.mark.parametrize("code", ["1234567", "123456", "0123-4567-89AB-CDEF"])
def test_nothing_to_turn_off(person: Person, code: str) -> None:
    with one_event(Kind.OPT_OUT, CodeOutcome.NOT_OPTED_IN, {"removed": []}):
        assert person.turn_off(code).outcome is CodeOutcome.NOT_OPTED_IN


def test_who_has_both_chooses_what_is_asked_for_first(full: Person) -> None:
    def choose() -> bool:
        return authenticators.ask_first(full.user, By.TEXT, standing=proved(None), origin=PAGE)

    with one_event(Kind.APP, "text_first", {}, user_id=full.user.pk):
        assert choose()
    assert full.user.text_first
    full.turn_off(full.app_code(), Removal.APP)
    assert not choose()
    full.add_app()
    assert not full.user.text_first


# -- texts after a STOP ------------------------------------------------------------


def stopped(person: Person) -> None:
    assert Guard.objects.opt_out(ProviderUser.digest_of(NUMBER), NUMBER[-3:], timezone.now())


def is_stopped() -> bool:
    return Guard.objects.has_opted_out(ProviderUser.digest_of(NUMBER))


def claimed(person: Person) -> None:
    """Somebody else gets the texts to the number now: its carrier gave it to them."""
    other = make_user("next", person.file)
    row = opt_ins.opt_in(other, person.file, NUMBER, origin=ORIGIN).provider_user_id
    assert row
    guess = opt_ins.verify_opt_in(other, person.file, row, person.phone.code(), origin=ORIGIN)
    assert guess.outcome is CodeOutcome.MOBILE_NUMBER_IN_USE


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        pytest.param([stopped], FactorOutcome.OK, id="stopped"),
        pytest.param([], FactorOutcome.UNCHANGED, id="not-stopped"),
        pytest.param([stopped, Person.suspend], FactorOutcome.OK, id="suspended"),
        pytest.param([stopped, Person.lock], FactorOutcome.LOCKED, id="locked"),
        pytest.param([stopped, Person.disable], FactorOutcome.FACTOR_DISABLED, id="disabled"),
        pytest.param(
            [claimed, stopped], FactorOutcome.MOBILE_NUMBER_IN_USE, id="proved-by-another"
        ),
    ],
)
def test_texts_on_again(person: Person, given: list[Given], outcome: FactorOutcome) -> None:
    person.set_up(By.TEXT, By.APP)
    for happens in given:
        happens(person)
    before = is_stopped()
    with one_event(Kind.NO_TEXTS, outcome, {}, user_id=person.user.pk, last_three=NUMBER[-3:]):
        result = authenticators.allow_texts(person.user, standing=proved(By.APP), origin=PAGE)
    assert result.outcome is outcome
    assert is_stopped() is (before and outcome is not FactorOutcome.OK)


def test_texts_on_again_for_a_number_of_before(person: Person) -> None:
    """Whose it is now, nobody here knows."""
    person.set_up(By.TEXT, By.APP)
    person.turn_off(person.right(By.APP), Removal.NUMBER)
    stopped(person)
    result = authenticators.allow_texts(person.user, standing=proved(By.APP), origin=PAGE)
    assert result.outcome is FactorOutcome.NOT_OPTED_IN
    assert is_stopped()


@pytest.mark.parametrize(
    ("standing", "refusal"),
    [
        pytest.param(lambda: Standing(None, timezone.now(), By.APP), PasswordNeeded, id="factor"),
        pytest.param(lambda: proved(None), FactorNeeded, id="password"),
        pytest.param(lambda: proved(By.TEXT), FactorNeeded, id="text"),
    ],
)
def test_texts_on_again_needs_more_than(
    full: Person, standing: Callable[[], Standing], refusal: type[Exception]
) -> None:
    stopped(full)
    with nothing_happens(full.phone), pytest.raises(refusal):
        authenticators.allow_texts(full.user, standing=standing(), origin=PAGE)
    assert is_stopped()
