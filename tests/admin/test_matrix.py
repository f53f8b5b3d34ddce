"""Everybody x every address of the admin x every method, and on whom each may act (S-33, S-37).

The addresses are those of the resolver, so a new one is asked by itself. Who may have it stands
in ``MAY`` (tests.kit.staff), what it answers in the tables below: all written by hand.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group
from django.db import models, transaction
from django.test import Client
from django.urls import get_resolver
from django.utils import timezone
from django_otp import DEVICE_ID_SESSION_KEY
from oauth2_provider.models import get_application_model

from optin.admin.actions import OFFERED
from optin.models import (
    AccessKey,
    AuditEvent,
    Figure,
    File,
    Membership,
    ProviderUser,
    Span,
    User,
)
from tests.kit.people import NUMBER, make_user, number
from tests.kit.staff import (
    ADDRESSES,
    MAY,
    ONLY_LEAD_ELSEWHERE,
    ROLES,
    In,
    World,
    give_app,
    make_staff,
    path_to,
    routes,
)

pytestmark = pytest.mark.django_db(transaction=True)

# -- the tables --------------------------------------------------------------------

OUTSIDE = ("anonymous", "person", "no-factor", "unproved", "former")
"""Not even let in: not signed in, no staff, without (or in a session without) a second factor,
no staff any more but still in the group."""
INSIDE = (*ROLES, "superuser", "unranked")
"""Staff in each role, and staff to whom nobody has given one."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
EVERY_METHOD = {"anonymous", "auditor", "superuser"}
"""Who tries all of them: who may do nothing, and who may do all. The others try GET and POST."""

TAKES: dict[str, set[str]] = {
    **{name: {"GET", "HEAD"} for name in MAY},
    **{name: {"GET", "HEAD", "POST"} for name in OFFERED},
    "find": {"POST"},
    "stay": {"POST"},
    "optin_auditevent_export": {"POST"},
    "jsi18n": {"GET", "HEAD", "OPTIONS"},
}
"""By which methods: lists and rows are only read, operations have a form."""
ANSWERS_POST = {
    "optin_auditevent_export": 200,
    "stay": 200,
    # What is shown once stands in the answer itself.
    "optin_provideruser_reveal": 200,
    "optin_accesskey_make": 200,
    "oauth2_provider_application_make": 200,
    "oauth2_provider_application_scim-token": 200,
}
"""All others lead on."""
WITHOUT_A_ROLE = {"index": 200, "jsi18n": 200, "stay": 200}
"""What staff without a role come to: the page that says so, and no list of lists."""

ON_NOBODY = {name for name in OFFERED if name.startswith(("optin_guard_", "oauth2_provider_"))}
ON_NOBODY |= {name for name in OFFERED if name.startswith("optin_file_")}
ON_FILES = {name for name in OFFERED if name.startswith("optin_webhookendpoint_")}
ON_SOMEBODY = sorted(OFFERED.keys() - ON_NOBODY - ON_FILES)
"""The operations, by whether they change what somebody may do or how they sign in."""
REACH = {
    "support": {"ann", "support-2"},
    "administrator": {"ann", "auditor", "support", "support-2", "administrator-2"},
    "superuser": {
        *("ann", "auditor", "support", "support-2", "administrator", "administrator-2"),
        "superuser-2",
    },
}
"""On whom each may act: never on themselves or a superior, who may do more (docs/staff.md)."""

SENT: dict[str, Any] = {
    "reason": "called us",
    "ready": "on",
    "passkey": "1",
    "role": "auditor",
    "name": "Shop",
    "redirect_uris": "https://shop.example/cb",
    "by_code": "on",
    "url": "https://shop.example/hook",
    "number": NUMBER,
    "hours": "3",
    "days": "3",
    "day": "2027-03-01",
    "all_files": "on",
    "_save": "1",
    "action": "delete_selected",
    "_selected_action": "1",
    "post": "yes",
    "username": "x",
    "is_superuser": "on",
}
"""What the forms of all operations ask for, and those of Django's admin; see ``ask``."""


def status(name: str, who: str, method: str) -> int:
    """What the address *name* answers to *who*."""
    if who in OUTSIDE:
        return 302
    if method not in TAKES[name]:
        return 405
    if who == "unranked":
        return WITHOUT_A_ROLE.get(name, 403)
    if who not in MAY[name]:
        return 403
    return ANSWERS_POST.get(name, 303) if method == "POST" else 200


def test_every_address_was_decided_about() -> None:
    """S-33."""
    found = [name for name, route in routes(get_resolver().url_patterns) if route[:5] == "admin"]
    assert len(found) == len(set(found)), "two addresses of one name: one is not asked"
    assert set(found) == ADDRESSES.keys()
    assert set(found) - ONLY_LEAD_ELSEWHERE == MAY.keys(), "say in MAY who may have it"
    assert OFFERED.keys() <= MAY.keys()


# -- asking ------------------------------------------------------------------------


def browser(who: str, signed_in: In) -> Client:
    """Return the browser of somebody of ``OUTSIDE`` or ``INSIDE``."""
    if who not in {"former", "unranked"}:
        return signed_in(who)
    user, client = make_user(who), Client()
    user.is_staff = who == "unranked"
    user.save()
    if who == "former":
        user.groups.set(Group.objects.filter(name="administrator"))
    client.force_login(user)
    session: Any = client.session
    session["began"] = session["seen"] = timezone.now().timestamp()
    session[DEVICE_ID_SESSION_KEY] = give_app(user).persistent_id
    session.save()
    return client


def ask(client: Client, method: str, address: str, about: str) -> tuple[int, list[AuditEvent]]:
    """Return what is answered, and the events that it left."""
    newest = AuditEvent.objects.latest("pk").pk if AuditEvent.objects.exists() else 0
    whom = {"who": about, "file_id": "777"} if about else {}
    body = {**SENT, **whom} if method == "POST" else None
    response: Any = getattr(client, method.lower())(address, body)
    if response.streaming:
        list(response.streaming_content)
    return response.status_code, list(AuditEvent.objects.filter(pk__gt=newest))


@contextmanager
def undone() -> Iterator[None]:
    """Take back at the end what a service did, in its one transaction."""
    block: Any = transaction.atomic()
    block._from_testcase = True  # so that the durable ones of the services nest in it
    with block:
        yield
        transaction.set_rollback(True)


def stored() -> dict[str, list[Any]]:
    """Every row but the figures, which are counted when they are seen."""
    ours: Any = apps.get_app_config("optin").get_models()
    kept = [m for m in ours if m not in {Figure, Span}]
    kept += [get_application_model(), User.groups.through, User.user_permissions.through]
    return {m.__name__: list(m._base_manager.order_by("pk").values()) for m in kept}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MAY))
def test_every_cell(world: World, signed_in: In, name: str) -> None:
    """Who is refused changes nothing, whatever they send; who acts leaves one audit event.

    S-33, S-37, P-25.
    """
    address, about = world.address(name), "" if name in ON_NOBODY else "ann"
    browsers = {who: browser(who, signed_in) for who in (*OUTSIDE, *INSIDE)}
    before = stored()
    for who, client in browsers.items():
        for method in METHODS if who in EVERY_METHOD else ("GET", "POST"):
            wanted = status(name, who, method)
            acts = method == "POST" and wanted in {200, 303}
            with undone() if acts else nullcontext():
                answered, events = ask(client, method, address, about)
            actor = int(client.session["_auth_user_id"]) if acts else 0
            # Nobody is to be invited: whoever is has an event of their own.
            tells = acts and name not in {"find", "stay", "optin_file_invite"}
            told = [("admin", actor)] if tells else []
            found = answered, [(event.face, event.actor_id) for event in events]
            assert found == (wanted, told), f"{who}: {method} {name}"
    assert stored() == before


# -- on whom -----------------------------------------------------------------------


def number_of(user: User) -> ProviderUser:
    mobile, now = number(user.pk), timezone.now()
    return ProviderUser.objects.create(
        user=user,
        file=File.objects.get(),
        confirmed=True,
        number_encrypted=ProviderUser.seal(mobile, user),
        number_digest=ProviderUser.digest_of(mobile),
        last_three=mobile[-3:],
        created_at=now,
        verified_at=now,
    )


ROW: dict[str, Callable[[User], models.Model]] = {
    "optin_user": lambda user: user,
    "optin_provideruser": number_of,
    "optin_membership": lambda user: Membership.objects.get(user=user),
    "optin_accesskey": lambda user: AccessKey.objects.make(
        user, File.objects.get(), timezone.now()
    )[0],
}
"""By what an operation is about: how somebody comes to one."""


@pytest.fixture
def people(file: File) -> dict[str, User]:
    """Somebody who is no staff, and two of each role, or one: all members of one file."""
    made = {"ann": make_user("ann"), **{who: make_staff(who) for who in (*ROLES, "superuser")}}
    for role in REACH:
        second = made[f"{role}-2"] = make_user(f"{role}-2")
        second.is_staff, second.is_superuser = True, role == "superuser"
        second.save()
        second.groups.set(Group.objects.filter(name=role))
    for user in made.values():
        Membership.objects.create(user=user, file=file)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("name", ON_SOMEBODY)
def test_on_whom_each_may_act(people: dict[str, User], signed_in: In, name: str) -> None:
    """S-37: said by the service, and kept by the audit trail."""
    model = name.rpartition("_")[0]
    for actor in REACH.keys() & MAY[name]:
        client = signed_in(actor)
        for target, user in people.items():
            may = target in REACH[actor]
            with undone():
                address = path_to(name, {model: ROW[model](user).pk})
                answered, [event] = ask(client, "POST", address, target)
            assert answered == (ANSWERS_POST.get(name, 303) if may else 403), (actor, target)
            assert (event.outcome == "out_of_reach") is not may, (actor, target)
            assert (event.face, event.actor_id) == ("admin", people[actor].pk)
            assert event.user_id == user.pk
