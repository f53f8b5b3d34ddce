"""The process ends before any one of its statements, or its answer leaves: what stands then.

kill -9 comes to such a point by luck; here each point has its turn.
"""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import psycopg
import pytest
import time_machine
from django.db import OperationalError, connection, connections
from django.db.models import Q
from django.test import RequestFactory
from django.utils import timezone
from oauth2_provider.models import AccessToken, RefreshToken
from pytest_django.fixtures import Settings

from optin.messaging import delivery
from optin.models import (
    AccessKey,
    AuditEvent,
    AuthenticatorApp,
    File,
    IdempotencyKey,
    Notice,
    PendingOtp,
    ProviderUser,
    Purpose,
    RecoveryCode,
    SmsMessage,
    User,
)
from optin.models.messages import LEASE, State
from optin.operations import (
    authenticators,
    challenges,
    not_me,
    opt_ins,
    passwords,
    sign_in,
    staff_actions,
)
from optin.operations.authenticators import Removal
from tests.kit import grants
from tests.kit.apps import WEB, app_code, begin_app, make_recovery_codes, set_up_app, standing
from tests.kit.clients import Api
from tests.kit.people import NOON, ORIGIN, PASSWORD, make_user
from tests.kit.phone import Phone, wrong
from tests.kit.races import closing
from twofa_site.handler import Handler

pytestmark = pytest.mark.django_db(transaction=True)

OFF = ("SENDS_PER_NUMBER", "SENDS_PER_USER", "SENDS_PER_IP", "SENDS_PER_CLIENT", "SENDS_PER_FILE")
# They change nothing by themselves, and a database rolls back for a client that is gone.
CONTROL = ("BEGIN", "SAVEPOINT", "RELEASE", "ROLLBACK")
Act = Callable[[], object]


class Killed(BaseException):
    """Nothing catches it, as nothing outlives kill -9."""


@contextmanager
def killed_before(nth: int) -> Iterator[None]:
    """End at the n-th statement of this block, the commits among them, if there are so many."""
    points = count(1)
    commit = connection.commit

    def statement(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if not sql.lstrip().startswith(CONTROL) and next(points) >= nth:
            raise Killed
        return execute(sql, *rest)

    def commit_or_end() -> None:
        if next(points) >= nth:
            connection.rollback()
            raise Killed
        commit()

    with pytest.MonkeyPatch.context() as patch, connection.execute_wrapper(statement):
        patch.setattr(connections["default"], "commit", commit_or_end)
        yield


# -- what can be under way ---------------------------------------------------------


@dataclass(frozen=True)
class Stage:
    """One person, one number: new for each end."""

    who: User
    file: File
    number: str
    phone: Phone

    @property
    def user(self) -> User:
        """As their session has them: read at each request."""
        user: User = User.objects.get(pk=self.who.pk)
        return user

    def ask(self) -> int:
        sending = opt_ins.opt_in(self.user, self.file, self.number, origin=ORIGIN)
        assert sending.provider_user_id
        return sending.provider_user_id

    def activate(self) -> None:
        row_id = self.ask()
        opt_ins.verify_opt_in(self.user, self.file, row_id, self.phone.code(), origin=ORIGIN)

    def ask_for(self, purpose: Purpose) -> str:
        """Return the code for *purpose* to the number, active by now."""
        self.activate()
        challenges.challenge(self.user, purpose, origin=ORIGIN)
        return self.phone.code()

    def key(self) -> IdempotencyKey:
        sent = (self.who.pk, ORIGIN.client, "call", self.file.pk)
        return IdempotencyKey.of("key", b"", *sent, request_id="first")

    def verify(self, row_id: int, otp: str) -> Act:
        return partial(opt_ins.verify_opt_in, self.user, self.file, row_id, otp, origin=ORIGIN)

    def token(self, code: str) -> Act:
        return partial(grants.ask, self.user.username, code)

    def change_number(self, number: str) -> int:
        """Ask for a code to *number*, to take the place of the present one."""
        sending = opt_ins.opt_in(self.user, self.file, number, origin=WEB, standing=standing())
        assert sending.provider_user_id
        return sending.provider_user_id

    def confirm_app(self, secret: str) -> Act:
        otp = app_code(secret)
        return partial(authenticators.confirm_app, self.user, otp, standing=standing(), origin=WEB)

    def set_up_app(self) -> str:
        return set_up_app(self.user)

    def turn_off(self, otp: str) -> Act:
        return partial(
            authenticators.turn_off,
            self.user,
            otp,
            removal=Removal.ALL,
            standing=standing(),
            origin=WEB,
        )

    def staff(self, operation: Callable[..., object]) -> Act:
        return partial(operation, self.user, reason="a test", origin=ORIGIN)


def a_text(stage: Stage) -> Act:
    return stage.ask


def a_text_with_a_key(stage: Stage) -> Act:
    sent = (stage.user, stage.file, stage.number)
    return partial(opt_ins.opt_in, *sent, origin=ORIGIN, key=stage.key())


def a_wrong_code(stage: Stage) -> Act:
    return stage.verify(stage.ask(), wrong(stage.phone.code()))


def the_right_code(stage: Stage) -> Act:
    """For the second of two numbers, after a failure."""
    opt_ins.opt_in(stage.user, stage.file, f"{stage.number[:-1]}9", origin=ORIGIN)
    row_id = stage.ask()
    stage.verify(row_id, wrong(stage.phone.code()))()
    return stage.verify(row_id, stage.phone.code())


def the_right_code_for_a_number_in_use(stage: Stage) -> Act:
    row_id = stage.ask()
    code = stage.phone.code()
    owner = make_user(f"owner-of-{stage.number}", stage.file)
    Stage(owner, stage.file, stage.number, stage.phone).activate()
    stage.verify(row_id, wrong(code))()
    return stage.verify(row_id, code)


def a_text_to_sign_in(stage: Stage) -> Act:
    stage.activate()
    return partial(challenges.challenge, stage.user, Purpose.SIGN_IN, origin=ORIGIN)


def a_wrong_code_to_sign_in(stage: Stage) -> Act:
    return stage.token(wrong(stage.ask_for(Purpose.SIGN_IN)))


def the_right_code_to_sign_in(stage: Stage) -> Act:
    code = stage.ask_for(Purpose.SIGN_IN)
    stage.token(wrong(code))()
    return stage.token(code)


def the_right_code_to_opt_out(stage: Stage) -> Act:
    otp = stage.ask_for(Purpose.OPT_OUT)
    challenges.opt_out(stage.user, stage.file, wrong(otp), origin=ORIGIN)
    return partial(challenges.opt_out, stage.user, stage.file, otp, origin=ORIGIN)


def an_opt_out_with_a_key(stage: Stage) -> Act:
    sent = (stage.user, stage.file, stage.ask_for(Purpose.OPT_OUT))
    return partial(challenges.opt_out, *sent, origin=ORIGIN, key=stage.key())


def a_suspension(stage: Stage) -> Act:
    stage.activate()
    return stage.staff(staff_actions.suspend)


def a_release_by_staff(stage: Stage) -> Act:
    stage.ask_for(Purpose.SIGN_IN)
    return stage.staff(staff_actions.revoke)


def an_unlock(stage: Stage) -> Act:
    a_wrong_code(stage)()
    return stage.staff(staff_actions.unlock)


def everything_off(stage: Stage) -> Act:
    """A number and an app, both proved; and recovery codes, which go with the last of them."""
    stage.activate()
    app = stage.set_up_app()
    make_recovery_codes(stage.user)
    return stage.turn_off(app_code(app, 1))


def an_app(stage: Stage) -> Act:
    """In place of another one, beside a number and an opt-in under way."""
    stage.activate()
    stage.set_up_app()
    stage.change_number(f"{stage.number[:-1]}9")
    return stage.confirm_app(begin_app(stage.user))


def a_code_of_an_app_to_sign_in(stage: Stage) -> Act:
    otp = app_code(stage.set_up_app(), 1)
    stage.token(wrong(otp))()
    return stage.token(otp)


def a_recovery_code_to_sign_in(stage: Stage) -> Act:
    """It ends a disabling."""
    stage.activate()
    (otp, *_) = make_recovery_codes(stage.user)
    User.objects.filter(pk=stage.user.pk).update(otp_failures=50, otp_disabled_at=NOON)
    return stage.token(otp)


def new_recovery_codes(stage: Stage) -> Act:
    stage.set_up_app()
    make_recovery_codes(stage.user)
    return partial(make_recovery_codes, stage.user)


def another_number(stage: Stage) -> Act:
    stage.activate()
    row_id = stage.change_number(f"{stage.number[:-1]}9")
    stage.verify(row_id, wrong(stage.phone.code()))()
    return stage.verify(row_id, stage.phone.code())


def a_new_password(stage: Stage) -> Act:
    grants.tokens(stage.user.username)
    return partial(passwords.choose, stage.user, "another one", origin=WEB, standing=standing())


def a_wrong_password_on_a_page(stage: Stage) -> Act:
    return partial(sign_in.sign_in, stage.user.username, "wrong", origin=WEB)


def a_password_on_a_page(stage: Stage) -> Act:
    stage.activate()
    return partial(sign_in.sign_in, stage.user.username, PASSWORD, origin=WEB)


def this_was_not_me(stage: Stage) -> Act:
    """The number goes, with keys, tokens and sessions."""
    grants.tokens(stage.user.username)
    stage.activate()
    AccessKey.objects.make(stage.user, stage.file, NOON)
    notice = Notice.objects.get(user=stage.user, kind=Notice.Kind.ACTIVATED)
    return partial(not_me.disown, notice, PASSWORD, origin=WEB)


CASES = [
    *(
        (under_way, 10)
        for under_way in (
            *(a_text, a_text_with_a_key, a_wrong_code, the_right_code),
            *(the_right_code_for_a_number_in_use, a_text_to_sign_in, a_wrong_code_to_sign_in),
            *(the_right_code_to_sign_in, the_right_code_to_opt_out, an_opt_out_with_a_key),
            *(a_suspension, a_release_by_staff, an_unlock, everything_off),
            *(an_app, a_code_of_an_app_to_sign_in, a_recovery_code_to_sign_in, new_recovery_codes),
            *(another_number, a_new_password, a_wrong_password_on_a_page, a_password_on_a_page),
            this_was_not_me,
        )
    ),
    # They lock.
    (a_wrong_code, 1),
    (a_wrong_code_to_sign_in, 1),
]


def what_stands(user: User) -> dict[str, object]:
    """All that one operation changes together, without the ids."""
    user.refresh_from_db()
    otps = PendingOtp.objects.filter(provider_user__user=user).order_by("pk")
    rows = ProviderUser.objects.filter(user=user).order_by("pk")
    events = AuditEvent.objects.filter(user_id=user.pk).order_by("pk")
    names = ("otp_failures", "program_failures", "program_locked_until", "session_epoch")
    return {
        **{name: getattr(user, name) for name in names},
        "codes": list(otps.values_list("purpose", "tries", "closed_as")),
        "numbers": list(rows.values_list("confirmed", "released_at", "suspended_at")),
        "events": list(events.values_list("kind", "outcome")),
        "texts": SmsMessage.objects.filter(
            Q(pending_otp__provider_user__user=user) | Q(news_to__user=user)
        ).count(),
        "mails": list(Notice.objects.filter(user=user).order_by("pk").values_list("kind")),
        "tokens": AccessToken.objects.filter(user=user).count(),
        "refresh": RefreshToken.objects.filter(user=user, revoked=None).count(),
        "apps": list(
            AuthenticatorApp.objects.filter(user=user)
            .order_by("confirmed")
            .values_list("confirmed", "last_step")
        ),
        "recovery codes": list(
            RecoveryCode.objects.filter(user=user).order_by("used_at").values_list("used_at")
        ),
        "password": user.check_password(PASSWORD),
        "keys": AccessKey.objects.filter(user=user, revoked_at=None).count(),
        "answers": list(IdempotencyKey.objects.filter(user=user).values_list("answer__outcome")),
        "disowned": Notice.objects.filter(user=user).exclude(disowned_at=None).count(),
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("under_way", "lock_after"), CASES, ids=lambda value: getattr(value, "__name__", value)
)
def test_all_of_it_or_nothing_wherever_it_ends(
    under_way: Callable[[Stage], Act],
    lock_after: int,
    file: File,
    phone: Phone,
    password_clients: None,
    settings: Settings,
) -> None:
    """S-04, S-63: the count, the code, the event and what follows stand or fall together."""
    settings.OPTIN_RESEND_WAIT = (0,)
    for name in OFF:
        setattr(settings, f"OPTIN_{name}", ())

    def ready(n: int) -> tuple[User, Act]:
        user = make_user(f"user{n}", file)
        # Each under a prefix of its own, which no breaker closes.
        return user, under_way(Stage(user, file, f"+6149{n:03d}0000", phone))

    user, act = ready(0)
    before = what_stands(user)
    settings.OPTIN_LOCK_AFTER = lock_after
    act()
    after = what_stands(user)
    assert before != after

    found = []
    for point in count(1):
        settings.OPTIN_LOCK_AFTER = 10
        user, act = ready(point)
        settings.OPTIN_LOCK_AFTER = lock_after
        try:
            with killed_before(point):
                act()
        except Killed:
            found.append(what_stands(user))
            continue
        break  # it was over before
    assert what_stands(user) == after
    turn = found.index(after) if after in found else len(found)
    assert turn >= 3, "too few statements to show anything"
    assert found == [before] * turn + [after] * (len(found) - turn)


# -- the answer --------------------------------------------------------------------


@pytest.mark.postgresql
@pytest.mark.parametrize("guess", ["right", "wrong"])
def test_no_answer_leaves_before_the_commit_that_counted_it(
    guess: str, user: User, file: File, pending: ProviderUser, access_key: str, phone: Phone
) -> None:
    """S-04: somebody else's connection sees it all when the first byte is handed over."""
    otp = phone.code() if guess == "right" else wrong(phone.code())
    request = RequestFactory().post(
        f"/User/verify-2fa-opt-in?FileId={file.pk}&WsAccessKey={access_key}",
        json.dumps({"ProviderUserId": pending.pk, "Otp": otp}),
        content_type="application/json",
    )
    seen: list[object] = []
    look = partial(what_stands, User.objects.get(pk=user.pk))

    def start_response(status: str, headers: object, exc: object = None, /) -> Any:
        with ThreadPoolExecutor(1) as elsewhere:
            seen.append((status[:3], elsewhere.submit(closing, look).result()))

    response = Handler()(request.environ, start_response)
    b"".join(response)

    user.refresh_from_db()
    assert seen == [("200" if guess == "right" else "400", what_stands(user))]
    assert user.failures == (guess == "wrong")


# -- what comes after the commit -----------------------------------------------------


@contextmanager
def connection_dies_after_commit(nth: int) -> Iterator[Callable[[], bool]]:
    """Let the connection die before its n-th statement after a commit; tell whether it came."""
    here = connections["default"]
    points, state = count(1), {"armed": False, "dead": False, "died": False}
    commit, close = here.commit, here.close

    def commit_and_arm() -> None:
        commit()
        state["armed"] = True

    def close_and_live() -> None:
        close()
        state["dead"] = False

    def statement(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if state["armed"] and not state["died"] and next(points) == nth:
            state["died"] = True
            if here.vendor == "postgresql":
                with psycopg.connect(here.connection.info.dsn, autocommit=True) as another:
                    pid = here.connection.info.backend_pid
                    another.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
            else:
                state["dead"] = True
        if state["dead"]:
            raise OperationalError("disk I/O error")
        return execute(sql, *rest)

    with pytest.MonkeyPatch.context() as patch, here.execute_wrapper(statement):
        patch.setattr(here, "commit", commit_and_arm)
        patch.setattr(here, "close", close_and_live)
        yield lambda: state["died"]


def test_a_connection_that_dies_after_the_commit_changes_no_answer(
    file: File, phone: Phone, settings: Settings, clock: time_machine.Traveller
) -> None:
    """S-63: and the text leaves, once or twice, as soon as its lease is over."""
    for name in OFF:
        setattr(settings, f"OPTIN_{name}", ())
    for point in count(1):
        user, number = make_user(f"user{point}", file), f"+6149{point:03d}0000"
        api = Api(key=AccessKey.objects.make(user, file, timezone.now())[1])
        with connection_dies_after_commit(point) as died:
            answer = api.opt_in(number)
        assert answer.status == 200, (point, answer.content)
        clock.shift(LEASE)
        delivery.send_due(timezone.now())
        assert SmsMessage.objects.latest("pk").state == State.SENT, point
        assert 1 <= [to for to, _ in phone.messages].count(number) <= 2
        if not died():
            break
    assert point > 6, "too few statements to show anything"
