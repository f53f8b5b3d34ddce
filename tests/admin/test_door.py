"""How staff come in, and are put out again (P-26, S-36, S-37)."""

import re
from datetime import timedelta

import pyotp
import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from optin.models import AuditEvent, File, ProviderUser, Purpose, User
from optin.operations import challenges, staff_actions
from tests.kit.apps import make_recovery_codes
from tests.kit.people import ORIGIN, PASSWORD
from tests.kit.phone import Phone
from tests.kit.staff import ADDRESSES, In, OnStaff, code_of, give_app

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/optin/auditevent/?kind=check"


def follow(client: Client, address: str) -> list[str]:
    """Return where *address* leads, step by step."""
    steps = []
    while address:
        response = client.get(address)
        address = response.get("Location", "")
        steps.append(address)
    return steps[:-1]


def sign_in(client: Client, name: str, then: str) -> str:
    answer = client.post(then, {"username": name, "password": PASSWORD})
    assert answer.status_code == 303
    return answer["Location"]


def test_sign_in_by_app_leads_back_to_what_was_asked_for(on_staff: OnStaff) -> None:
    """P-26."""
    user, client = on_staff("support"), Client()
    steps = follow(client, LIST)
    assert steps[-1].startswith("/sign-in/?next=%2Fadmin%2Foptin%2Fauditevent%2F%3Fkind%3Dcheck")

    page = sign_in(client, "support", steps[-1])
    assert client.get(LIST).status_code == 302  # the password alone opens nothing
    answer = client.post(page, {"code": code_of(user)})

    assert answer["Location"] == LIST
    assert client.get(LIST).status_code == 200


def test_who_has_no_second_factor_is_led_to_set_one_up(on_staff: OnStaff) -> None:
    """P-26: and is let in once it is there."""
    on_staff("no-factor")
    client = Client()
    assert sign_in(client, "no-factor", "/sign-in/?next=/admin/") == "/admin/"

    steps = follow(client, "/admin/")

    assert steps[-1] == "/account/two-factor/?next=%2Fadmin%2F"
    page = client.get("/account/two-factor/app/")
    client.post("/account/two-factor/app/", {"begin": "1"})
    page = client.get("/account/two-factor/app/")
    secret = re.search(r"[A-Z2-7]{4}(?: [A-Z2-7]{4}){7}", page.content.decode())
    assert secret, page.content.decode()
    code = pyotp.TOTP(secret[0].replace(" ", "")).at(timezone.now())
    client.post("/account/two-factor/app/", {"code": code})
    assert client.get("/admin/").status_code == 200


def test_staff_without_a_role_are_told_how_to_get_one(signed_in: In) -> None:
    client = signed_in("support")
    User.objects.get(username="support").groups.clear()
    html = client.get("/admin/").content.decode()
    assert "You have no role yet" in html
    assert "Change the role" in html
    assert 'action="/admin/find/"' not in html


def test_a_session_that_proved_nothing_must_prove_a_factor(on_staff: OnStaff) -> None:
    """S-30, S-37. The factor came after it, or the session was made elsewhere."""
    user, client = on_staff("no-factor"), Client()
    sign_in(client, "no-factor", "/sign-in/")
    give_app(user)

    steps = follow(client, "/admin/")

    assert steps[-1] == "/account/two-factor/prove/?next=%2Fadmin%2F"
    answer = client.post(steps[-1], {"code": code_of(user)})
    assert answer["Location"] == "/admin/"
    assert client.get("/admin/").status_code == 200


@pytest.mark.parametrize("then", ["https://evil.example/", "//evil.example/", "/\\evil.example"])
def test_the_door_leads_to_this_host_only(signed_in: In, then: str) -> None:
    answer = signed_in("support").get("/admin/login/", {"next": then})
    assert answer["Location"] == "/admin/"


def test_a_factor_that_was_removed_opens_nothing(
    user: User, active: ProviderUser, phone: Phone, file: File
) -> None:
    """The session remembers the number by which it was proved: released, it proves nothing."""
    User.objects.filter(pk=user.pk).update(is_staff=True, is_superuser=True)
    client = Client()
    client.post(sign_in(client, "ann", "/sign-in/?next=/admin/"), {"code": phone.code()})
    assert client.get("/admin/").status_code == 200

    staff_actions.revoke(user, reason="stolen", origin=ORIGIN)

    assert follow(client, "/admin/")[-1].startswith("/account/two-factor/?next=")


@pytest.mark.parametrize("with_app", [False, True], ids=["number-only", "number-and-app"])
def test_a_number_that_was_suspended_opens_nothing(
    user: User, active: ProviderUser, phone: Phone, with_app: bool
) -> None:
    """S-07a: a stolen phone, whose thief is in already. A recovery code leads out, and in."""
    User.objects.filter(pk=user.pk).update(is_staff=True, is_superuser=True)
    if with_app:
        give_app(user)
    recovery = make_recovery_codes(user)[0]
    client = Client()
    page = sign_in(client, "ann", "/sign-in/?next=/admin/")
    if with_app:  # then no text is sent unasked
        challenges.challenge(user, Purpose.SIGN_IN, origin=ORIGIN)
    client.post(page, {"code": phone.code()})
    assert client.get("/admin/").status_code == 200

    staff_actions.suspend(user, reason="stolen", origin=ORIGIN)

    steps = follow(client, "/admin/")
    assert steps[-1].startswith("/account/two-factor/prove/?next=")
    answer = client.post(steps[-1], {"code": recovery})
    assert answer["Location"] == "/admin/", answer.content.decode()
    assert client.get("/admin/").status_code == 200


def test_staying_signed_in_never_passes_the_longest_time(
    signed_in: In, clock: time_machine.Traveller
) -> None:
    """S-37a. The page says how long the session lasts, and a press lengthens it, up to 12 hours."""
    client, quarter = signed_in("support"), timedelta(minutes=14)
    page = " ".join(client.get("/admin/").content.decode().split())
    assert 'data-left="900" data-most="43200"' in page
    for n in range(1, 52):
        clock.shift(quarter)
        most = 43_200 - n * 14 * 60
        assert client.post("/admin/stay/").json() == {"left": min(900, most), "most": most}
    clock.shift(quarter)
    assert client.post("/admin/stay/").status_code == 302
    assert client.get("/admin/").status_code == 302


def test_nobody_else_makes_them_stay(signed_in: In) -> None:
    """S-37a. Only the page itself: no link, no other site, nobody who is not staff."""
    assert signed_in("support").get("/admin/stay/").status_code == 405
    for name in ("anonymous", "person"):
        assert signed_in(name).post("/admin/stay/").status_code in {302, 403}
    client = signed_in("support")
    client.handler.enforce_csrf_checks = True
    assert client.post("/admin/stay/").status_code == 403


def test_signing_out_is_that_of_everybody(signed_in: In) -> None:
    client = signed_in("support")
    assert client.get("/admin/logout/").status_code == 405
    answer = client.post("/admin/logout/")
    assert (answer.status_code, answer["Location"]) == (307, "/sign-out/")
    client.post("/sign-out/")
    assert client.get("/admin/").status_code == 302


def test_what_is_sent_after_the_session_ended_is_not_done_and_told(
    signed_in: In, on_staff: OnStaff, user: User, clock: time_machine.Traveller
) -> None:
    """Idle for 15 minutes over a form: nothing is done, they are told, and come back to it."""
    client, action = signed_in("support"), f"/admin/optin/user/{user.pk}/suspend/"
    clock.shift(timedelta(minutes=15))

    answer = client.post(action, {"reason": "stolen"})

    door = client.get(answer["Location"])["Location"]
    page = client.get(door)
    assert "Nothing was done: your session had ended." in page.content.decode()
    assert not AuditEvent.objects.filter(kind=AuditEvent.Kind.SUSPEND).exists()
    code = sign_in(client, "support", door)
    answer = client.post(code, {"code": code_of(on_staff("support"))})
    assert answer["Location"] == action
    assert "Nothing was done" not in client.get(action).content.decode()


def test_the_door_leads_to_pages_only(signed_in: In) -> None:
    """Not to an address that only takes what is sent: 405 after signing in is no way to go on."""
    client = signed_in("superuser")
    only_sent_to = []
    for name, route in ADDRESSES.items():
        address = f"/admin/{route}"
        if "<" not in route and client.get(address).status_code == 405:
            then = client.get("/admin/login/", {"next": address})["Location"]
            assert client.get(then).status_code == 200, name
            only_sent_to.append(name)
    assert {"find", "logout", "stay", "optin_auditevent_export"} <= set(only_sent_to)
