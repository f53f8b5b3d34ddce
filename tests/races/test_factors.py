"""Every kind of code and every face at once: a code is used once, and no guess goes uncounted."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyotp
import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from optin.models import (
    AuditEvent,
    AuthenticatorApp,
    File,
    Notice,
    PendingOtp,
    ProviderUser,
    Purpose,
    RecoveryCode,
    User,
)
from optin.operations import authenticators, challenges, not_me, opt_ins
from optin.operations.factors import Standing
from optin.origin import Face, Origin
from optin.outcomes import By
from tests.kit.people import ORIGIN, PASSWORD, make_user, number
from tests.kit.races import THREADS, at_once
from tests.kit.server import Site, serving
from tests.kit.trail import decisions
from tests.races.pages import ENDED, Page
from tests.races.ways import ALL_ROUNDS, ROUNDS, ByHttp, pend, wrong_codes

pytestmark = [
    pytest.mark.postgresql,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("password_clients"),
]

PAGE = Origin(Face.WEB, ip="192.0.2.1", session="one session")
SUCCESS, OFF, PROVE = (f"/account/two-factor/{step}/" for step in ("on", "off", "prove"))


def proved() -> Standing:
    now = timezone.now()
    return Standing(now, now, By.RECOVERY)


def outcomes(user: User, kind: AuditEvent.Kind) -> Counter[str]:
    found = decisions(user_id=user.pk, kind=kind)
    return Counter({outcome: count for (_, outcome, _), count in found.items()})


# -- one code, many sessions -------------------------------------------------------


def with_app(user: User) -> str:
    """Give *user* an app; return a code that it shows about now."""
    origin = replace(PAGE, session="set up")
    authenticators.begin_app(user, standing=proved(), origin=origin)
    secret = AuthenticatorApp.objects.get(user=user).open_secret()
    code = pyotp.TOTP(secret).now()
    authenticators.confirm_app(user, code, standing=proved(), origin=origin)
    user.refresh_from_db()  # it ended the sessions of before
    AuthenticatorApp.objects.filter(user=user).update(last_step=0)
    return pyotp.TOTP(secret).now()


def with_recovery_codes(user: User) -> str:
    with_app(user)
    texts = authenticators.new_recovery_codes(user, standing=proved())
    authenticators.keep_recovery_codes(
        user,
        texts,
        instead_of=authenticators.newest_recovery_code(user),
        standing=proved(),
        origin=PAGE,
    )
    return texts[0]


def check(user: User, code: str, session: str) -> str:
    result = challenges.check(user, Purpose.SIGN_IN, code, origin=replace(PAGE, session=session))
    return f"{result.outcome}{' again' if result.repeated else ''}"


@pytest.mark.parametrize("given", [with_app, with_recovery_codes], ids=["app", "recovery"])
@pytest.mark.parametrize("rounds", ROUNDS)
def test_a_code_that_16_use_at_once_serves_one(
    given: Callable[[User], str], rounds: int, file: File
) -> None:
    """S-01."""
    for n in range(rounds):
        user = make_user(f"user{n}", file)
        code = given(user)

        answers = Counter(at_once([partial(check, user, code, f"{i}") for i in range(THREADS)]))

        # The others are wrong codes as any, and the tenth locks.
        assert answers == {"ok": 1, "otp_incorrect": 10, "locked": 5}
        assert outcomes(user, AuditEvent.Kind.CHECK) == answers
        user.refresh_from_db()
        assert user.otp_failures == 10
        left = RecoveryCode.objects.left(user)
        assert left == (9 if given is with_recovery_codes else 0)


@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
@pytest.mark.parametrize("given", [with_app, with_recovery_codes], ids=["app", "recovery"])
@pytest.mark.parametrize("rounds", ROUNDS)
def test_a_code_that_one_session_sends_16_times_is_one_guess(
    given: Callable[[User], str], right: bool, rounds: int, file: File
) -> None:
    """P-12."""
    for n in range(rounds):
        user = make_user(f"user{n}", file)
        code = given(user)
        if not right:
            code = "0000-" * 3 + "0000"

        answers = Counter(at_once([partial(check, user, code, "one")] * THREADS))

        decided = "ok" if right else "otp_incorrect"
        assert answers == {decided: 1, f"{decided} again": THREADS - 1}
        assert outcomes(user, AuditEvent.Kind.CHECK) == {decided: 1}
        user.refresh_from_db()
        assert user.otp_failures == (0 if right else 1)


@pytest.mark.parametrize("rounds", ROUNDS)
def test_an_app_confirmed_16_times_at_once_is_confirmed_once(rounds: int, file: File) -> None:
    for n in range(rounds):
        user = make_user(f"user{n}", file)
        authenticators.begin_app(user, standing=proved(), origin=PAGE)
        code = pyotp.TOTP(AuthenticatorApp.objects.get(user=user).open_secret()).now()
        confirm = partial(authenticators.confirm_app, user, code, standing=proved(), origin=PAGE)

        answers = Counter((a.outcome, a.repeated) for a in at_once([confirm] * THREADS))

        assert answers == {("ok", False): 1, ("ok", True): THREADS - 1}
        user.refresh_from_db()
        assert user.session_epoch == 1
        assert Notice.objects.filter(user=user).count() == 1


@pytest.mark.parametrize("rounds", ROUNDS)
def test_a_change_taken_back_16_times_at_once_is_taken_back_once(
    rounds: int, file: File, settings: Settings
) -> None:
    """S-39: the link works once."""
    settings.OPTIN_SIGN_INS_PER_IP = ()
    for n in range(rounds):
        user = make_user(f"user{n}", file)
        pending = pend(user, file, number(n))
        opt_ins.verify_opt_in(user, file, pending.provider_user_id, pending.code(), origin=ORIGIN)
        notice = Notice.objects.get(user=user)
        disown = partial(not_me.disown, notice, PASSWORD, origin=PAGE)

        with_limit = at_once([disown] * THREADS)

        assert Counter(outcomes(user, AuditEvent.Kind.DISOWN)) == {
            "ok": 1,
            "unchanged": sum(answer.outcome == "signed_in" for answer in with_limit) - 1,
        }
        user.refresh_from_db()
        assert user.session_epoch == 2  # the opt-in, and this
        assert Notice.objects.filter(user=user, kind=Notice.Kind.DISOWNED).count() == 1
        assert not ProviderUser.objects.filter(user=user, confirmed=True).exists()


# -- pages and clients -------------------------------------------------------------


@pytest.fixture
def hurried(tmp_path: Path, db: None, settings: Settings) -> Iterator[Site]:
    """A server that knows the passwords of the tests; texts are asked for beside it, freely."""
    settings.OPTIN_SENDS_PER_IP = settings.OPTIN_SENDS_PER_NUMBER = ()
    settings.OPTIN_SENDS_PER_CLIENT = settings.OPTIN_SENDS_PER_FILE = ()
    # Fifty rounds sign in from one address more often than it may, here and at the server.
    settings.OPTIN_SIGN_INS_PER_IP = ()
    quick = "tests.kit.quick_settings"
    environment = {"DJANGO_SETTINGS_MODULE": quick, "OPTIN_SIGN_INS_PER_IP": "0"}
    with serving(tmp_path, environment) as server:
        yield server


@pytest.mark.parametrize("rounds", ALL_ROUNDS)
def test_of_right_codes_by_json_xml_and_pages_at_once_exactly_one_activates(
    rounds: int, hurried: Site, file: File
) -> None:
    """S-02: 16 threads, several processes; two sessions and a client."""
    way = ByHttp(hurried)
    winners: Counter[str] = Counter()
    for n in range(rounds):
        user = make_user(f"user{n}", file)
        way.let_in(user, file)
        pages = [Page(user, hurried), Page(user, hurried)]
        for page in pages:
            page.sign_in()
            address = page.name(number(n))  # for the second, which must wait, without a text
        pending = PendingOtp.objects.select_related("provider_user").get(provider_user__user=user)
        code = pending.code()
        verify = partial(way.verify, user, file, pending.provider_user_id, code)
        calls = [*[verify] * 24, *[partial(page.post, address, code) for page in pages] * 12]
        random.Random(n).shuffle(calls)
        if n % 10 == 9:
            calls.sort(key=lambda call: call is verify)  # pages first: calls are faster

        answers = Counter(at_once(calls))

        # A page leads on where the number is active; sessions that did not prove it are over.
        assert set(answers) <= {
            "ok",
            "already_verified",
            SUCCESS,
            "/sign-in/",
            ENDED,
            address.partition("?")[0],
            "/account/two-factor/",
        }
        assert answers["ok"] + answers["already_verified"] == 24
        decided = outcomes(user, AuditEvent.Kind.VERIFY_OPT_IN)
        assert decided["ok"] == 1
        assert set(decided) <= {"ok", "already_verified"}
        winner = AuditEvent.objects.get(user_id=user.pk, kind="verify_opt_in", outcome="ok")
        assert answers["ok"] == (winner.face == Face.API)
        assert answers["ok"] or answers[SUCCESS]
        winners[winner.face] += 1
        user.refresh_from_db()
        pending.refresh_from_db()
        assert (user.otp_failures, user.session_epoch, pending.tries) == (0, 1, 0)
        assert pending.closed_as == PendingOtp.Closed.VERIFIED
        assert Notice.objects.filter(user=user).count() == 1
    assert rounds < 50 or set(winners) == {Face.API, Face.WEB}


@pytest.mark.parametrize("rounds", ROUNDS)
def test_of_wrong_codes_by_pages_and_token_calls_exactly_ten_are_compared(
    rounds: int, hurried: Site, file: File
) -> None:
    """S-03, S-05: the count equals what was answered, and locks at the tenth.

    A client's wrong codes count apart, but its code has no more tries (S-07).
    """
    way = ByHttp(hurried)
    for n in range(rounds):
        user = make_user(f"user{n}", file)
        way.let_in(user, file)
        page = Page(user, hurried)
        page.sign_in()
        address = page.name(number(n))
        opt_in = PendingOtp.objects.select_related("provider_user").get(provider_user__user=user)
        assert page.here(address, code=opt_in.code()).startswith(SUCCESS)
        pending = {}
        for purpose in (Purpose.SIGN_IN, Purpose.OPT_OUT, Purpose.CHANGE):
            challenges.challenge(user, purpose, origin=ORIGIN)
            rows = PendingOtp.objects.open().select_related("provider_user")
            pending[purpose] = rows.get(provider_user__user=user, purpose=purpose)
        signs_in, off, change = pending.values()

        def token_call(code: str, user: User = user) -> str:
            body = {"grant_type": "password", "username": user.username, "password": PASSWORD}
            path = "/authorisation/token"
            answer = hurried.post_json(path, {**body, "verification_code": code})[1]
            return str(answer.get("error", "token"))

        opt_out = partial(way._call, user, file, "opt-out-from-2fa", "OptOutFrom2FARequest")
        calls: list[Callable[[], str]] = []
        calls += [partial(token_call, code) for code in wrong_codes(signs_in, 16)]
        calls += [partial(opt_out, Otp=code) for code in wrong_codes(off, 16)]
        calls += [partial(page.post, PROVE, code) for code in wrong_codes(change, 16)]
        calls += [partial(page.post, OFF, code) for code in wrong_codes(off, 32)[16:]]
        random.Random(n).shuffle(calls)

        answers = Counter(at_once(calls))

        assert set(answers) <= {
            "otp_incorrect",
            "otp_exhausted",
            "locked",
            "invalid_grant",
            "temporarily_unavailable",
            PROVE,
            OFF,
        }
        user.refresh_from_db()
        assert user.otp_failures == 10
        assert user.otp_locked_until
        tries = [PendingOtp.objects.get(pk=otp.pk).tries for otp in pending.values()]
        assert sum(tries) == user.failures
        assert max(tries) <= 5
        compared = AuditEvent.objects.filter(user_id=user.pk, outcome="otp_incorrect")
        counts: dict[bool, list[int]] = {False: [], True: []}
        for event in compared:
            counts["programs" in event.data].append(event.data["failures"])
        assert sorted(counts[False]) == list(range(1, 11))
        assert sorted(counts[True]) == list(range(1, user.program_failures + 1))
        assert ProviderUser.objects.get(user=user).confirmed
