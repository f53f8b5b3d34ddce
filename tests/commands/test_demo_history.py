"""The history of a development start: a month that looks alive, and is as sound as any other."""

import re
from collections.abc import Iterator
from datetime import datetime
from io import StringIO
from pathlib import Path

import pytest
import time_machine
from django.conf import LazySettings
from django.core.management import call_command
from django.db import transaction
from django.db.models import Sum
from django.test import Client
from django.utils import timezone

from optin.models import (
    AuditEvent,
    File,
    Guard,
    Notice,
    PendingOtp,
    ProviderUser,
    Purpose,
    RefusalCount,
    SmsMessage,
    User,
)
from optin.operations import opt_ins
from optin.support import statistics
from optin.support.diagnosis import Question, Why, diagnose
from tests.kit.people import NUMBER, ORIGIN, make_user
from tests.kit.phone import Phone
from tools.demo.cases import CALLERS

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).parents[2]
SATURDAY_MORNING = datetime.fromisoformat("2026-11-28T09:30:00+11:00")
FIRST_MINUTE = datetime.fromisoformat("2026-11-27T00:01:00+11:00")


def start(*arguments: str) -> str:
    out = StringIO()
    call_command("demo", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture(autouse=True)
def development(settings: LazySettings) -> None:
    settings.DEBUG = True


@pytest.fixture(params=[SATURDAY_MORNING, FIRST_MINUTE], ids=["morning", "midnight"])
def seeded(request: pytest.FixtureRequest) -> Iterator[datetime]:
    """A first start, at that time."""
    now: datetime = request.param
    with time_machine.travel(now, tick=False):
        start()
        yield now


def verify_audit() -> str:
    out = StringIO()
    call_command("verify_audit", stdout=out)
    return out.getvalue()


def the_audit_trail_is_sound_and_the_figures_are_those_of_the_rows(seeded: datetime) -> None:
    said = verify_audit()
    assert said.strip().endswith("0 findings, 0 not to be checked.")
    found = statistics.read(seeded)
    codes = PendingOtp.objects.filter(purpose=Purpose.OPT_IN)
    assert found.of("opt_in").count == codes.count() > 200
    assert found.of("opt_in", "proved").count == codes.filter(closed_as="proved").count() > 200
    for state in ("delivered", "sent", "failed"):
        assert found.of("text", state).count == SmsMessage.objects.filter(state=state).count() > 5
    assert found.of("text").cost == SmsMessage.objects.aggregate(all=Sum("cost"))["all"] > 0
    assert found.of("country", "AU").count == codes.count()
    assert found.of("lock", "disabled").count == 1
    refused = AuditEvent.objects.filter(outcome="send_limit", kind="opt_in")
    one_each = refused.exclude(data__has_key="repeated").count()
    repeated = sum(e.data["repeated"] for e in refused.filter(data__has_key="repeated"))
    own = AuditEvent.objects.filter(outcome="send_limit", kind="challenge").count()
    untold = sum(row.untold for row in RefusalCount.objects.untold())
    assert found.of("refused").count == one_each + repeated + own + untold > 200
    days = {day for days in found.amounts.values() for day in days}
    assert len(days & set(found.days)) >= 29
    assert days <= set(found.days)


def nothing_is_of_the_future_and_nobody_real_has_a_number(seeded: datetime) -> None:
    for model, field in ((AuditEvent, "at"), (SmsMessage, "created_at"), (PendingOtp, "issued_at")):
        assert not model._default_manager.filter(**{f"{field}__gt": seeded}).exists()
    given = [row.open_number() for row in ProviderUser.objects.select_related("user")]
    assert all(re.fullmatch(r"\+6149157\d{4}", number) for number in given)
    assert not {"+61491570156", "+61491570157"} & set(given)
    ends = AuditEvent.objects.filter(outcome="region_not_allowed").values_list("data", flat=True)
    assert {facts["region"] for facts in ends} == {"GB"}


def lists_have_the_newest_first(seeded: datetime) -> None:
    for model, field in (
        (SmsMessage, "created_at"),
        (PendingOtp, "issued_at"),
        (Notice, "created_at"),
    ):
        times = list(model._default_manager.order_by("pk").values_list(field, flat=True))
        assert times == sorted(times)


def an_attack_was_stopped(seeded: datetime) -> None:
    breaker = Guard.objects.get(kind=Guard.Kind.BREAKER)
    assert breaker.until
    assert breaker.until < seeded
    trials = User.objects.filter(username__startswith="trial-")
    texts = SmsMessage.objects.filter(pending_otp__provider_user__user__in=trials)
    assert texts.count() == breaker.unverified
    assert not ProviderUser.objects.filter(user__in=trials, confirmed=True).exists()


def each_case_has_its_cause(seeded: datetime) -> None:
    for name, question, why in (
        ("mia", Question.NO_ENTRY, Why.DISABLED),
        ("noah", Question.NO_TEXT, Why.NUMBER_MISTYPED),
        ("olive", Question.NO_TEXT, Why.ANSWERED_STOP),
        ("paul", Question.NO_ENTRY, Why.REVOCATION_WAITS),
        ("quinn", Question.NO_TEXT, Why.APP_INSTEAD),
    ):
        user = User.objects.get(username=name)
        found = [cause.why for cause in diagnose(user, seeded) if cause.question is question]
        assert found[0] is why, name


@pytest.mark.slow
def test_a_first_start_is_sound(seeded: datetime) -> None:
    """All at once, for the story takes seconds to tell; the last one seals what is there."""
    nothing_is_of_the_future_and_nobody_real_has_a_number(seeded)
    lists_have_the_newest_first(seeded)
    an_attack_was_stopped(seeded)
    each_case_has_its_cause(seeded)
    the_audit_trail_is_sound_and_the_figures_are_those_of_the_rows(seeded)


def test_the_guide_walks_through_every_case() -> None:
    guide = (ROOT / "docs" / "staff.md").read_text()
    walk = guide.split("## Five cases to try")[1].split("\n## ")[0]
    assert all(f"| {name}: " in walk for name in CALLERS)


@pytest.mark.slow
def test_the_story_is_always_the_same() -> None:
    facts = ("at", "kind", "outcome", "face", "ip", "user_agent", "last_three", "reason")
    stories = []
    for _ in range(2):
        with time_machine.travel(SATURDAY_MORNING, tick=False):
            start()
        stories.append(list(AuditEvent.objects.order_by("pk").values_list(*facts)))
        call_command("flush", interactive=False, verbosity=0)
    assert len(stories[0]) > 1000
    assert stories[0] == stories[1]


# -- once --------------------------------------------------------------------------


def counts() -> list[int]:
    return [model._default_manager.count() for model in (User, AuditEvent, SmsMessage)]


@pytest.mark.slow
def test_it_is_told_once_and_says_how_to_come_in() -> None:
    found = re.search(r"All others, for example mia: password (\S+)", start())
    assert found
    mia = User.objects.get(username="mia")
    assert mia.check_password(found[1])
    assert mia.email == "mia@example.com"
    before = counts()
    start()
    assert counts() == before


def test_no_history_is_added_to_people_who_are_there() -> None:
    make_user("zoe")
    start()
    assert not User.objects.filter(username__in=CALLERS).exists()
    assert not SmsMessage.objects.exists()


def test_no_history_is_added_to_an_audit_trail_that_is_there() -> None:
    with transaction.atomic():
        AuditEvent.objects.record(
            AuditEvent.Kind.PURGE, "ok", now=timezone.now(), origin=ORIGIN, user_id=None
        )
    start()
    assert not User.objects.filter(username__in=CALLERS).exists()


def test_empty_makes_the_people_only_and_no_later_start_adds_more() -> None:
    start("--empty")
    assert User.objects.count() == 4
    before = counts()
    start()
    assert counts() == before


# -- used --------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [[], ["--empty"]], ids=["history", "empty"])
def test_staff_come_in_with_what_is_printed(phone: Phone, arguments: list[str]) -> None:
    """By the password that is printed and the code on the simulated phone: at once."""
    said = start(*arguments)
    found = re.search(r"^ +sam +password (\S+)", said, re.MULTILINE)
    assert found
    assert "/admin/  Sign in as sam; the code arrives on the phone." in said
    client = Client()
    to_code = client.post(
        "/sign-in/?next=/admin/", {"username": "sam", "password": found[1]}, follow=True
    )
    assert to_code.status_code == 200
    answer = client.post(to_code.request["PATH_INFO"] + "?next=/admin/", {"code": phone.code()})
    assert (answer.status_code, answer["Location"]) == (303, "/admin/")
    home = client.get("/admin/")
    assert home.status_code == 200
    assert ("No figures" in home.content.decode()) is False


def test_who_is_reset_can_come_in_again(phone: Phone) -> None:
    start("--empty")
    start("--empty", "--reset")
    test_staff_come_in_with_what_is_printed(phone, ["--empty"])


@pytest.mark.slow
def test_people_of_the_guide_can_still_opt_in(phone: Phone) -> None:
    """The history uses up no limit and closes no prefix."""
    start()
    for name, file, number in (("ann", 777, NUMBER), ("ben", 888, "+61491570157")):
        user = User.objects.get(username=name)
        sent = opt_ins.opt_in(user, File.objects.get(pk=file), number, origin=ORIGIN)
        assert sent.outcome == "sent"
        assert not sent.is_withheld


def test_nothing_is_said_of_a_history_that_is_not_there() -> None:
    said = start("--empty")
    assert "mia" not in said
