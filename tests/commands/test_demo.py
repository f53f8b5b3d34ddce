"""The sample data of a development start, and its history."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
import time_machine
from django.conf import LazySettings
from django.contrib.auth import authenticate
from django.core.management import CommandError
from django.db import transaction
from django.db.models import Sum
from django.test import Client
from django.utils import timezone
from oauth2_provider.models import AccessToken, RefreshToken

from optin import keys
from optin.models import (
    AccessKey,
    AuditEvent,
    File,
    GatewayHealth,
    Guard,
    Membership,
    PendingOtp,
    ProviderUser,
    Purpose,
    Revocation,
    SendCounter,
    SmsMessage,
    User,
)
from optin.models.factors import has_active_factor
from optin.operations import opt_ins, revocations, sign_in, staff
from optin.origin import Face, Origin
from optin.support import statistics
from optin.support.diagnosis import Question, Why, diagnose
from tests.kit.commands import run
from tests.kit.people import NUMBER, ORIGIN, make_user
from tests.kit.phone import Phone
from tools.demo.cases import CALLERS

pytestmark = pytest.mark.django_db(transaction=True)

BASE = "http://127.0.0.1:8000"
COMMAND = Origin(Face.COMMAND)
ROOT = Path(__file__).parents[2]
SATURDAY_MORNING = datetime.fromisoformat("2026-11-28T09:30:00+11:00")


@pytest.fixture(autouse=True)
def development(settings: LazySettings) -> LazySettings:
    settings.DEBUG = True
    settings.BASE_URL = BASE
    return settings


def demo(*arguments: str) -> str:
    """Run the command without a history, which takes a while."""
    return run("demo", "--empty", *arguments)


def stored() -> list[object]:
    fields = ("pk", "username", "password", "is_staff", "is_superuser")
    return [
        list(User.objects.order_by("pk").values(*fields)),
        list(File.objects.order_by("pk").values()),
        list(Membership.objects.order_by("pk").values()),
        list(AccessKey.objects.order_by("pk").values("pk", "digest", "revoked_at")),
    ]


def test_it_is_for_development_only(settings: LazySettings) -> None:
    settings.DEBUG = False
    with pytest.raises(CommandError, match="development start only"):
        run("demo", "--reset")
    assert not User.objects.exists()


def test_what_it_prints_has_the_documented_shape_and_is_true() -> None:
    """Scripts read it: these names, in this order."""
    data = json.loads(demo("--json"))
    assert list(data) == ["base_url", "simulator_url", "users"]
    assert (data["base_url"], data["simulator_url"]) == (BASE, f"{BASE}/simulator/")
    assert any(user["file_ids"] == [777] for user in data["users"])
    for person in data["users"]:
        assert list(person) == ["username", "password", "role", "file_ids", "access_keys"]
        assert list(person["access_keys"]) == [str(pk) for pk in person["file_ids"]]
        user = authenticate(username=person["username"], password=person["password"])
        assert isinstance(user, User)
        assert user.is_staff is (person["role"] == "staff")
        files = File.objects.open_to(user).values_list("pk", flat=True)
        assert set(files) == set(person["file_ids"])
        for file_id, text in person["access_keys"].items():
            key = AccessKey.objects.get(digest=keys.sha256(text))
            assert (key.user, key.file_id, key.revoked_at) == (user, int(file_id), None)
    assert sign_in.application()


def test_a_second_start_prints_and_changes_the_same(settings: LazySettings, phone: Phone) -> None:
    first, before = demo("--json"), stored()
    ann = opt_in(phone)
    assert demo("--json") == first
    assert stored() == before
    assert has_active_factor(ann)
    settings.SECRET_KEY = "another"
    other = json.loads(demo("--json"))["users"][0]["access_keys"]
    assert other != json.loads(first)["users"][0]["access_keys"]


# -- back to the start -------------------------------------------------------------


def opt_in(phone: Phone) -> User:
    ann: User = User.objects.get(username="ann")
    file = File.objects.get(pk=777)
    sent = opt_ins.opt_in(ann, file, NUMBER, origin=ORIGIN)
    assert sent.provider_user_id
    done = opt_ins.verify_opt_in(ann, file, sent.provider_user_id, phone.code(), origin=ORIGIN)
    assert done.outcome == "ok"
    return ann


def test_reset_puts_the_people_back_to_the_start(phone: Phone) -> None:
    printed = demo("--json")
    ann = opt_in(phone)
    revocations.plan(ann, reason="lost", origin=ORIGIN)
    number = ProviderUser.objects.get(user__username="ann")
    Guard.objects.opt_out(number.number_digest, number.last_three, timezone.now())
    GatewayHealth.objects.failed("simulator", timezone.now())
    for name, role in (("ann", "support"), ("sam", "auditor")):
        staff.give_role(User.objects.get(username=name), role, reason="x", origin=COMMAND)
    ann.refresh_from_db()
    ann.is_active = False
    ann.otp_failures = 7
    ann.set_password("changed")
    ann.save()
    AccessKey.objects.update(revoked_at=ann.date_joined)
    Membership.objects.update(active=False)
    File.objects.update(active=False)
    events = set(AuditEvent.objects.values_list("pk", flat=True))

    assert demo("--json", "--reset") == printed

    assert [row.user.username for row in ProviderUser.objects.all()] == ["sam"]
    assert not SendCounter.objects.filter(scope__startswith="asked").exists()
    for model in (AccessToken, Guard, GatewayHealth, Revocation):
        assert not model._default_manager.exists(), model
    assert not RefreshToken.objects.filter(revoked=None).exists()
    assert events < set(AuditEvent.objects.values_list("pk", flat=True))  # the trail remembers
    ann.refresh_from_db()
    assert ann.otp_failures == 0
    assert User.objects.get(is_staff=True, is_superuser=True).username == "sam"
    assert not User.objects.filter(groups__isnull=False).exists()
    test_what_it_prints_has_the_documented_shape_and_is_true()
    opt_in(phone)


# -- the history -------------------------------------------------------------------


@pytest.fixture
def seeded() -> Iterator[datetime]:
    """A first start, on a Saturday morning."""
    with time_machine.travel(SATURDAY_MORNING, tick=False):
        said = run("demo")
        found = re.search(r"All others, for example mia: password (\S+)", said)
        assert found
        assert User.objects.get(username="mia").check_password(found[1])
        yield SATURDAY_MORNING


@pytest.mark.slow
def test_a_first_start_is_sound(seeded: datetime) -> None:
    for model, field in ((AuditEvent, "at"), (SmsMessage, "created_at"), (PendingOtp, "issued_at")):
        assert not model._default_manager.filter(**{f"{field}__gt": seeded}).exists()
    given = [row.open_number() for row in ProviderUser.objects.select_related("user")]
    assert all(re.fullmatch(r"\+6149157\d{4}", number) for number in given)
    assert not {"+61491570156", "+61491570157"} & set(given)  # a reader is told to try these
    for name, question, why in (
        ("mia", Question.NO_ENTRY, Why.DISABLED),
        ("noah", Question.NO_TEXT, Why.NUMBER_MISTYPED),
        ("olive", Question.NO_TEXT, Why.ANSWERED_STOP),
        ("paul", Question.REMOVAL, Why.REVOCATION_WAITS),
        ("quinn", Question.NO_TEXT, Why.APP_INSTEAD),
    ):
        user = User.objects.get(username=name)
        found = [cause.why for cause in diagnose(user, seeded) if cause.question is question]
        assert found[0] is why, name
    figures_are_those_of_the_rows(statistics.read(seeded))
    assert run("verify_audit").strip().endswith("0 findings, 0 not to be checked.")
    tables = (User, AuditEvent, SmsMessage)
    before = [model._default_manager.count() for model in tables]
    run("demo")  # it is told once
    assert [model._default_manager.count() for model in tables] == before


def figures_are_those_of_the_rows(found: statistics.Figures) -> None:
    codes = PendingOtp.objects.filter(purpose=Purpose.OPT_IN)
    assert found.of("opt_in").count == codes.count() > 50
    assert found.of("opt_in", "proved").count == codes.filter(closed_as="proved").count() > 50
    opting = SmsMessage.objects.filter(pending_otp__purpose__in=[Purpose.OPT_IN, Purpose.OPT_OUT])
    assert found.of("budget").cost == opting.aggregate(all=Sum("cost"))["all"] > 0
    assert found.of("lock", "disabled").count == 1


def test_the_guide_walks_through_every_case() -> None:
    guide = (ROOT / "docs" / "staff.md").read_text()
    walk = guide.split("## Five cases to try")[1].split("\n## ")[0]
    assert all(f"| {name}: " in walk for name in CALLERS)


def record_an_event() -> None:
    with transaction.atomic():
        AuditEvent.objects.record(
            AuditEvent.Kind.PURGE, "ok", now=timezone.now(), origin=ORIGIN, user_id=None
        )


@pytest.mark.parametrize("before", [lambda: make_user("zoe"), record_an_event, demo])
def test_no_history_is_added_to_what_is_there(before: Callable[[], object]) -> None:
    before()
    assert not re.search(r"\bmia\b", run("demo"))  # a password may hold these letters
    assert not User.objects.filter(username__in=CALLERS).exists()


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [[], ["--empty"], ["--empty", "--reset"]], ids=" ".join)
def test_staff_come_in_with_what_is_printed(phone: Phone, arguments: list[str]) -> None:
    """By the password that is printed and the code on the simulated phone: at once."""
    said = run("demo", *arguments)
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
    assert client.get("/admin/").status_code == 200
