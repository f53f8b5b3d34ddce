"""The sample data of a development start."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.conf import LazySettings
from django.contrib.auth import authenticate
from django.core.management import CommandError, call_command
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
    ProviderUser,
    Revocation,
    SendCounter,
    User,
)
from optin.models.factors import has_active_factor
from optin.models.messages import TRIPS_AT
from optin.operations import opt_ins, revocations, send_controls, sign_in, staff
from optin.origin import Face, Origin
from tests.kit.people import NUMBER, ORIGIN
from tests.kit.phone import Phone

pytestmark = pytest.mark.django_db(transaction=True)

BASE = "http://127.0.0.1:8000"


@pytest.fixture(autouse=True)
def development(settings: LazySettings) -> LazySettings:
    settings.DEBUG = True
    settings.BASE_URL = BASE
    return settings


def demo(*arguments: str) -> str:
    """Run the command without a history, which takes a while."""
    return start("--empty", *arguments)


def start(*arguments: str) -> str:
    out = StringIO()
    call_command("demo", *arguments, stdout=out)
    return out.getvalue()


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
    for arguments in ([], ["--json"], ["--reset"], ["--empty"]):
        with pytest.raises(CommandError, match="development start only"):
            start(*arguments)
    assert not User.objects.exists()


def test_the_json_has_the_documented_shape() -> None:
    """Scripts read it: these names, in this order."""
    data = json.loads(demo("--json"))
    assert list(data) == ["base_url", "simulator_url", "users"]
    assert (data["base_url"], data["simulator_url"]) == (BASE, f"{BASE}/simulator/")
    for user in data["users"]:
        assert list(user) == ["username", "password", "role", "file_ids", "access_keys"]
        assert {type(pk) for pk in user["file_ids"]} <= {int}
        assert list(user["access_keys"]) == [str(pk) for pk in user["file_ids"]]
    assert {user["role"] for user in data["users"]} >= {"person", "staff"}
    assert any(user["file_ids"] == [777] for user in data["users"])


def test_what_it_prints_is_true() -> None:
    for person in json.loads(demo("--json"))["users"]:
        user = authenticate(username=person["username"], password=person["password"])
        assert isinstance(user, User)
        assert user.is_staff is (person["role"] == "staff")
        assert set(File.objects.open_to(user).values_list("pk", flat=True)) == set(
            person["file_ids"]
        )
        for file_id, text in person["access_keys"].items():
            key = AccessKey.objects.get(digest=keys.sha256(text))
            assert (key.user, key.file_id, key.revoked_at) == (user, int(file_id), None)
    assert sign_in.application()


def test_a_second_start_prints_and_changes_the_same() -> None:
    first, before = demo("--json"), stored()
    assert demo("--json") == first
    assert stored() == before
    assert demo() == demo()


def test_another_secret_makes_other_keys(settings: LazySettings) -> None:
    first = json.loads(demo("--json"))
    settings.SECRET_KEY = "another"
    second = json.loads(demo("--json"))
    assert first["users"][0]["access_keys"] != second["users"][0]["access_keys"]


def test_the_guide_says_how_to_try_it(settings: LazySettings) -> None:
    said = demo()
    for person in json.loads(demo("--json"))["users"]:
        assert person["username"] in said
        assert person["password"] in said
    assert f"{BASE}/simulator/" in said
    assert f"curl -s -X POST '{BASE}/User/opt-in-to-2fa?FileId=777&WsAccessKey=" in said
    assert "application/xml" in said
    assert "&amp;" not in said
    assert str(settings.DATA_DIR / "sms.jsonl") in said


def opt_in(phone: Phone) -> User:
    ann: User = User.objects.get(username="ann")
    file = File.objects.get(pk=777)
    sent = opt_ins.opt_in(ann, file, NUMBER, origin=ORIGIN)
    assert sent.provider_user_id
    done = opt_ins.verify_opt_in(ann, file, sent.provider_user_id, phone.code(), origin=ORIGIN)
    assert done.outcome == "ok"
    return ann


def test_a_second_start_leaves_what_was_done(phone: Phone) -> None:
    demo()
    ann = opt_in(phone)
    demo()
    assert has_active_factor(ann)


def test_reset_puts_the_people_back_to_the_start(phone: Phone) -> None:
    printed = demo("--json")
    ann = opt_in(phone)
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
    assert not AccessToken.objects.exists()
    assert not RefreshToken.objects.filter(revoked=None).exists()
    assert events < set(AuditEvent.objects.values_list("pk", flat=True))  # the trail remembers
    ann.refresh_from_db()
    assert ann.otp_failures == 0
    test_what_it_prints_is_true()
    opt_in(phone)


def test_reset_forgets_what_support_was_asked_to_remove(phone: Phone) -> None:
    demo()
    user = User.objects.get(username="ann")
    sending = opt_ins.opt_in(user, File.objects.get(pk=777), NUMBER, origin=ORIGIN)
    assert sending.provider_user_id
    opt_ins.verify_opt_in(
        user, File.objects.get(pk=777), sending.provider_user_id, phone.code(), origin=ORIGIN
    )
    revocations.plan(user, reason="lost", origin=ORIGIN)
    assert Revocation.objects.exists()
    demo("--reset")
    assert not Revocation.objects.exists()


def test_reset_gives_back_the_roles_of_the_start() -> None:
    demo()
    for name, role in (("ann", "support"), ("sam", "auditor")):
        user = User.objects.get(username=name)
        staff.give_role(user, role, reason="x", origin=Origin(Face.COMMAND))

    demo("--reset")

    assert list(User.objects.filter(is_staff=True).values_list("username")) == [("sam",)]
    assert User.objects.get(username="sam").is_superuser
    assert not User.objects.filter(groups__isnull=False).exists()


def test_reset_lets_texts_go_again(phone: Phone) -> None:
    """What their tries closed is open: the number, its prefix, the gateway."""
    demo()
    opt_in(phone)
    now = timezone.now()
    number = ProviderUser.objects.get(user__username="ann")
    later = now + timedelta(hours=1)
    Guard.objects.opt_out(number.number_digest, number.last_three, now)
    prefix = Guard.prefix_of(number.open_number())
    Guard.objects.close(prefix, region="AU", unverified=20, now=now, begins=now, until=later)
    for _ in range(TRIPS_AT):
        GatewayHealth.objects.failed("simulator", now)

    demo("--reset")

    assert not Guard.objects.exists()
    assert not GatewayHealth.objects.exists()
    opt_in(phone)


def test_reset_leaves_what_staff_decided_about_others(phone: Phone) -> None:
    demo()
    opt_in(phone)
    origin = Origin(Face.COMMAND)
    send_controls.deny(
        send_controls.Target.number("+61491570158"), timedelta(days=1), reason="r", origin=origin
    )
    send_controls.stop_texts(reason="r", origin=origin)
    demo("--reset")
    assert {guard.kind for guard in Guard.objects.all()} == {Guard.Kind.DENY, Guard.Kind.STOP}


def test_reset_leaves_other_people_alone(user: User, active: ProviderUser, phone: Phone) -> None:
    """Somebody who is not of the demo keeps number and password."""
    User.objects.filter(pk=user.pk).update(username="zoe", email="zoe@example.com")
    demo("--reset")
    assert has_active_factor(user)
    assert authenticate(username="zoe", password="correct horse battery")
