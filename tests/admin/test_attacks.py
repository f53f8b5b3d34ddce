"""What somebody would try who is in already, or stands at the door (P-25, S-36, S-37, S-60)."""

import re
from collections.abc import Callable
from functools import partial

import pytest
from django.contrib.auth.models import Group, Permission
from django.core import mail
from django.test import Client
from django.utils import timezone

from optin.admin.actions import OFFERED
from optin.errors import Refusal
from optin.models import AccessKey, AuditEvent, File, Guard, Membership, ProviderUser, User
from optin.operations import staff, staff_actions
from optin.origin import Face, Origin
from optin.outcomes import StaffOutcome
from tests.kit.people import NUMBER, PASSWORD, make_user
from tests.kit.races import at_once
from tests.kit.staff import In, OnStaff, World, ask, code_of, make_staff
from tests.kit.trail import decisions

pytestmark = pytest.mark.django_db(transaction=True)


def by(user: User) -> Origin:
    return Origin(Face.ADMIN, actor_id=user.pk, ip="192.0.2.1")


# -- forms from elsewhere ----------------------------------------------------------


def test_a_form_from_elsewhere_does_nothing(world: World, signed_in: In) -> None:
    """S-60: without the token; and with it, but sent by a page of another host."""
    client = signed_in("superuser")
    client.handler.enforce_csrf_checks = True
    token = client.get("/admin/optin/guard/stop/").content.decode()
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', token)
    assert found
    before = AuditEvent.objects.count()
    body = {"reason": "x", "csrfmiddlewaretoken": found[1]}
    for name in sorted({*OFFERED, "find", "optin_auditevent_export"}):
        address = world.address(name)
        without = client.post(address, {"reason": "x"})
        elsewhere = client.post(address, body, headers={"origin": "https://evil.example"})
        assert (name, without.status_code, elsewhere.status_code) == (name, 403, 403)
    assert AuditEvent.objects.count() == before


# -- shown once --------------------------------------------------------------------

ONCE: dict[str, dict[str, str]] = {
    "optin/provideruser/{number}/reveal/": {"reason": "x"},
    "optin/accesskey/make/": {"who": "ann", "file_id": "777"},
    "oauth2_provider/application/make/": {"name": "Shop"},
}


@pytest.mark.parametrize("path", ONCE)
def test_what_is_shown_once_is_kept_by_nobody(
    user: User, active: ProviderUser, signed_in: In, path: str
) -> None:
    """P-24. No cache, no frame, no other host, no session, no cookie has it; "back" asks again."""
    client = signed_in("administrator")
    at = f"/admin/{path.format(number=active.pk)}"

    answer = client.post(at, ONCE[path])

    html = answer.content.decode()
    found = re.search(r'id="secret">([^<]+)<', html)
    assert found
    secret = found[1]
    assert answer["Cache-Control"].split(", ").count("no-store") == 1
    assert "frame-ancestors 'none'" in answer["Content-Security-Policy"]
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] in {"same-origin", "no-referrer", "strict-origin"}
    assert secret not in str(dict(client.session))
    assert secret not in str(client.cookies)
    assert secret not in client.get(at).content.decode()
    assert secret not in str(list(AuditEvent.objects.values()))


# -- who is less than they were ----------------------------------------------------

LESS: dict[str, tuple[Callable[[User], object], int]] = {
    "no group": (lambda user: user.groups.clear(), 403),
    "lower group": (lambda user: user.groups.set(Group.objects.filter(name="auditor")), 403),
    "no staff": (lambda user: User.objects.filter(pk=user.pk).update(is_staff=False), 302),
    "no person": (lambda user: User.objects.filter(pk=user.pk).update(is_active=False), 302),
}


@pytest.mark.parametrize("how", LESS)
def test_what_was_taken_is_gone_at_the_next_page(
    user: User, active: ProviderUser, signed_in: In, on_staff: OnStaff, how: str
) -> None:
    """No session remembers what somebody may do."""
    client, path = signed_in("administrator"), f"/admin/optin/user/{user.pk}/suspend/"
    assert client.get(path).status_code == 200

    less, status = LESS[how]
    less(on_staff("administrator"))

    for address in (path, "/admin/optin/guard/stop/"):
        assert client.post(address, {"reason": "x"}).status_code == status
    seen = client.get("/admin/optin/auditevent/").status_code
    assert seen == (200 if how == "lower group" else status)
    active.refresh_from_db()
    assert active.suspended_at is None
    assert not Guard.objects.exists()


# -- the door ----------------------------------------------------------------------


def test_a_copied_cookie_opens_nothing_once_the_password_is_new(on_staff: OnStaff) -> None:
    """The old id lives on for a minute, and opens nothing, even with the new password."""
    user, owner, thief = on_staff("administrator"), Client(), Client()
    form = {"username": "administrator", "password": PASSWORD}
    page = owner.post("/sign-in/?next=/admin/", form)["Location"]
    owner.post(page, {"code": code_of(user)})
    thief.cookies["__Host-session"] = owner.cookies["__Host-session"].value
    assert thief.get("/admin/").status_code == 200

    new = {"new_password1": "quite another one", "new_password2": "quite another one"}
    assert owner.post("/account/password/", new)["Location"] == "/account/"

    assert owner.get("/admin/").status_code == 200
    assert thief.get("/admin/").status_code == 302
    stop = thief.post("/admin/optin/guard/stop/", {"reason": "x"})
    assert not Guard.objects.exists()
    door = thief.get(stop["Location"])["Location"]
    assert door == "/account/confirm/?next=%2Fadmin%2Foptin%2Fguard%2Fstop%2F"
    answer = thief.post(door, {"password": "quite another one"})
    assert thief.get(answer["Location"]).status_code == 302


def test_a_reason_of_10_megabytes_is_not_read(
    user: User, active: ProviderUser, signed_in: In
) -> None:
    client, before = signed_in("support"), AuditEvent.objects.count()
    body = b"reason=" + b"x" * 10_000_000
    form = "application/x-www-form-urlencoded"

    answer = client.generic("POST", f"/admin/optin/user/{user.pk}/suspend/", body, form)

    assert answer.status_code == 400
    assert len(answer.content) < 20_000
    assert AuditEvent.objects.count() == before


# -- what nobody has, and what everybody needs ---------------------------------------


@pytest.mark.parametrize(
    "path", ["autocomplete/", "r/1/1/", "password_change/", "password_change/done/", "auth/user/"]
)
def test_pages_of_the_site_that_are_not_there(signed_in: In, path: str) -> None:
    page = signed_in("superuser").get(f"/admin/{path}")
    assert page.status_code == 404
    assert "staff.css" in page.content.decode()
    assert "staff.css" not in Client().get(f"/admin/{path}").content.decode()


OPERATIONS = ("suspend", "resume", "unlock", "revoke", "revoke-later", "withdraw", "resend")


def test_a_single_permission_makes_a_superior(user: User, on_staff: OnStaff, signed_in: In) -> None:
    """A person with one more permission than the actor, in no role at all."""
    user.user_permissions.add(Permission.objects.get(codename="reveal_number"))
    client = signed_in("support")

    ask(client, f"optin/user/{user.pk}/unlock/", 403, reason="x")


def test_each_operation_wants_a_reason(user: User, active: ProviderUser, signed_in: In) -> None:
    """P-23."""
    before, client = AuditEvent.objects.count(), signed_in("administrator")
    for operation in OPERATIONS:
        for reason in ("", "   ", "x" * 501):
            address = f"/admin/optin/user/{user.pk}/{operation}/"
            body = {"reason": reason, "ready": "on"}
            assert client.post(address, body).status_code == 422, operation
    assert AuditEvent.objects.count() == before


def test_what_must_be_so_before_is_ticked(user: User, active: ProviderUser, signed_in: In) -> None:
    """P-23. The page asks for it, and nothing is done without it."""
    User.objects.filter(pk=user.pk).update(otp_failures=10)
    before, client = AuditEvent.objects.count(), signed_in("administrator")
    for operation in ("unlock", "resume", "revoke", "revoke-later"):
        address = f"/admin/optin/user/{user.pk}/{operation}/"
        assert 'type="checkbox" name="ready"' in client.get(address).content.decode()
        answer = client.post(address, {"reason": "x"})
        assert (answer.status_code, "Tick this first: " in answer.content.decode()) == (422, True)
    assert AuditEvent.objects.count() == before


def test_the_roles_of_the_code_are_those_of_the_database() -> None:
    """P-25."""
    kept = {
        group.name: {f"{p.content_type.app_label}.{p.codename}" for p in group.permissions.all()}
        for group in Group.objects.all()
    }
    assert kept == {role: set(powers) for role, powers in staff.ROLES.items()}


# -- two at once -------------------------------------------------------------------


@pytest.mark.postgresql
def test_of_two_who_suspend_at_once_one_does(user: User, active: ProviderUser) -> None:
    """One change, one mail, an event for each who asked."""
    actors = [make_staff("support"), make_staff("administrator")]
    mails = len(mail.outbox)

    def suspend(actor: User) -> StaffOutcome:
        return staff_actions.suspend(user, reason="stolen", origin=by(actor))

    found = at_once([partial(suspend, actor) for actor in actors * 4])

    assert sorted(found) == [StaffOutcome.OK, *[StaffOutcome.UNCHANGED] * 7]
    assert len(mail.outbox) == mails + 1
    assert AuditEvent.objects.filter(kind="suspend").count() == 8


@pytest.mark.postgresql
@pytest.mark.parametrize("turn", range(8))
def test_of_two_who_take_each_others_role_one_keeps_it(turn: int) -> None:
    """S-37: who is no administrator any more takes nobody's role, however close it was."""
    one, two = make_staff("administrator"), make_user("second")
    User.objects.filter(pk=two.pk).update(is_staff=True)
    two.groups.set(Group.objects.filter(name="administrator"))

    def take(actor: User, target: User) -> str:
        try:
            return staff.give_role(target, "auditor", reason="mine", origin=by(actor))
        except Refusal as exc:
            return type(exc).__name__

    found = at_once([lambda: take(one, two), lambda: take(two, one)])

    assert sorted(found) == [StaffOutcome.OK, StaffOutcome.OUT_OF_REACH]
    left = User.objects.filter(groups__name="administrator", is_staff=True)
    assert left.count() == 1


@pytest.mark.postgresql
def test_many_searches_at_once_are_no_more_than_the_limit() -> None:
    """60 an hour, and each is in the trail (S-37)."""
    actor = make_staff("support")
    found = at_once([lambda: staff.find(NUMBER, origin=by(actor))] * 70)
    assert sum(each.retry_after is None for each in found) == 60
    assert decisions(kind="search").total() == 70


def test_no_token_and_no_key_opens_the_admin(on_staff: OnStaff, file: File) -> None:
    user = on_staff("superuser")
    Membership.objects.create(user=user, file=file)
    key = AccessKey.objects.make(user, file, timezone.now())[1]
    for query, headers in (
        (f"?FileId=777&WsAccessKey={key}", {}),
        ("", {"authorization": f"Bearer {key}"}),
        ("", {"authorization": "Basic c3VwZXJ1c2VyOmNvcnJlY3QgaG9yc2UgYmF0dGVyeQ=="}),
        ("", {"remote-user": "superuser", "x-forwarded-user": "superuser"}),
    ):
        answer = Client().get(f"/admin/{query}", headers=headers)
        assert answer.status_code == 302
        assert answer["Location"].startswith("/admin/login/")
