"""The ring rotates while people opt in, guess and sign in (S-51, S-65)."""

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event

import pytest
from django.conf import LazySettings
from django.db import connections

from optin.models import Canary, File, ProviderUser, Purpose, User
from optin.operations import challenges, key_rotation, opt_ins
from optin.operations.key_rotation import Rotation
from tests.keys.rings import NEW, OLD, add_numbers, key_ids
from tests.kit.apps import App, add_app
from tests.kit.people import ORIGIN, make_user, number
from tests.kit.phone import Phone, wrong
from tests.kit.server import until

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True), pytest.mark.slow]

PEOPLE = 48
"""Half of them have a code on the phone when the new key comes, the others ask later."""

WITH_AN_APP = 12
"""People who sign in with an authenticator app, set up before the new key comes."""

AMONG = 6000
"""Numbers of nobody, between those of the people."""

THREADS = 6
FIRST = 1_000_000  # numbers of people begin here


@pytest.fixture(autouse=True)
def clock() -> None:
    """Real time: threads wait for each other."""


@pytest.fixture
def limitless(ring: LazySettings) -> LazySettings:
    for name in ("NUMBER", "USER", "IP", "CLIENT", "FILE"):
        setattr(ring, f"OPTIN_SENDS_PER_{name}", ())
    ring.OPTIN_SENDS_TOTAL = ()
    ring.OPTIN_RESEND_WAIT = (0,)
    ring.OPTIN_BREAKER_UNPROVED = 0
    return ring


def live(user: User, files: tuple[File, File], mobile: str, phone: Phone) -> Iterator[str]:
    """What one person does; each outcome as it should read."""
    home, other = files
    row = ProviderUser.objects.filter(user=user).first()
    if row:
        code = phone.code_to(mobile)  # from before the new key
        yield f"old wrong {verify(user, home, row.pk, wrong(code))}"
        yield f"old right {verify(user, home, row.pk, code)}"
    else:
        # First under one file, then under another: the row moves there.
        opt_ins.opt_in(user, home, mobile, origin=ORIGIN)
        sending = opt_ins.opt_in(user, other, mobile, origin=ORIGIN)
        yield f"opt-in {sending.outcome}"
        code, pk = phone.code_to(mobile), sending.provider_user_id or 0
        yield f"new wrong {verify(user, other, pk, wrong(code))}"
        yield f"new right {verify(user, other, pk, code)}"
    for _ in range(2):
        yield f"challenge {challenges.challenge(user, Purpose.SIGN_IN, origin=ORIGIN).outcome}"
        code = phone.code_to(mobile)
        yield f"sign-in {sign_in(user, code)}"


def live_with_app(app: App) -> Iterator[str]:
    """Sign in twice: no code works twice, so the second is that of the step to come."""
    yield f"app wrong {sign_in(app.user, wrong(app.code(1)))}"
    for steps in (0, 1):
        code = app.code(steps)
        yield f"app right {sign_in(app.user, code)}"
        yield f"app again {sign_in(app.user, code)}"


def sign_in(user: User, code: str) -> str:
    return challenges.check(user, Purpose.SIGN_IN, code, origin=ORIGIN).outcome


def verify(user: User, file: File, pk: int, code: str) -> str:
    return opt_ins.verify_opt_in(user, file, pk, code, origin=ORIGIN).outcome


LIVED = Counter(
    {
        "old wrong otp_incorrect": PEOPLE // 2,
        "old right ok": PEOPLE // 2,
        "opt-in sent": PEOPLE // 2,
        "new wrong otp_incorrect": PEOPLE // 2,
        "new right ok": PEOPLE // 2,
        "challenge sent": 2 * PEOPLE,
        "sign-in ok": 2 * PEOPLE,
        "app wrong otp_incorrect": WITH_AN_APP,
        "app right ok": 2 * WITH_AN_APP,
        "app again otp_incorrect": 2 * WITH_AN_APP,
    }
)


def test_nobody_notices(
    limitless: LazySettings, file: File, other_file: File, phone: Phone
) -> None:
    """S-51, S-65."""
    files = (file, other_file)
    people = [make_user(f"user{n}", *files) for n in range(PEOPLE)]
    rows = add_numbers(file, AMONG)
    mobiles = [number(FIRST + n) for n in range(PEOPLE)]
    for n in range(PEOPLE // 2):
        opt_ins.opt_in(people[n], file, mobiles[n], origin=ORIGIN)
    spread(rows)
    apps = []
    for n in range(WITH_AN_APP):
        until(lambda: time.time() % 30 < 25)  # the code of the step before must still be right
        apps.append(add_app(make_user(f"app{n}"), steps=-1))
    lives = [partial(live, user, files, mobiles[n], phone) for n, user in enumerate(people)]
    lives += [partial(live_with_app, app) for app in apps]
    limitless.OPTIN_KEYS = {"new": NEW, "old": OLD}

    started, ended = Event(), Event()

    def rotate() -> Rotation:
        try:
            return key_rotation.rotate(origin=ORIGIN, progress=lambda done: started.set())
        finally:
            ended.set()
            connections.close_all()

    def work(part: Sequence[Callable[[], Iterator[str]]]) -> tuple[list[str], int]:
        """Live the lives of *part*; say also how many steps fell into the rotation."""
        seen, meanwhile = [], 0
        assert started.wait(30)
        try:
            for life in part:
                for outcome in life():
                    seen.append(outcome)
                    meanwhile += not ended.is_set()
        finally:
            connections.close_all()
        return seen, meanwhile

    with ThreadPoolExecutor(THREADS + 1) as pool:
        parts = [pool.submit(work, lives[n::THREADS]) for n in range(THREADS)]
        rotating = pool.submit(rotate)
        lived = [part.result() for part in parts]
        first = rotating.result()

    assert Counter(itertools.chain.from_iterable(seen for seen, _ in lived)) == LIVED
    assert sum(meanwhile for _, meanwhile in lived) > PEOPLE, "too quick to show anything"
    assert first.done["numbers"] >= AMONG
    assert first.done["apps"] == WITH_AN_APP
    assert not any(first.unreadable.values())

    # All codes are used by now, so the old key can go; and everything works without it.
    assert key_rotation.rotate(origin=ORIGIN).needed == {}
    limitless.OPTIN_KEYS = {"new": NEW}
    assert key_ids() == {"new"}
    assert Canary.objects.get().opens()
    for n, user in enumerate(people):
        row = ProviderUser.objects.get(user=user)
        assert (row.open_number(), row.confirmed) == (mobiles[n], True)
        assert row.file == (file if n < PEOPLE // 2 else other_file)
        challenges.challenge(user, Purpose.SIGN_IN, origin=ORIGIN)
        assert sign_in(user, phone.code_to(mobiles[n])) == "ok"
    for app in apps:
        assert app.row.open_secret() == app.secret


def spread(rows: list[ProviderUser]) -> None:
    """Put numbers of nobody behind those of the people too, so that chunks meet both."""
    moved = rows[: AMONG // 2]
    ProviderUser.objects.filter(pk__in=[row.pk for row in moved]).delete()
    for row in moved:
        row.pk = None
    ProviderUser.objects.bulk_create(moved)
