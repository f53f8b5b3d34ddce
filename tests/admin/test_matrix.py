"""Everybody x every address of the admin x every method x whom it is about (S-33, S-37).

The addresses are those of the resolver, so a new one is asked by itself; what is to be answered
stands in ``MAY`` (tests.kit.staff) and below, and is written by hand. An address without a row
fails until somebody has decided who may have it, and an operation does as soon as it lets
somebody act on themselves or a superior.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group
from django.db import models, transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone
from django_otp import DEVICE_ID_SESSION_KEY
from oauth2_provider.models import get_application_model

from optin.admin.actions import OFFERED
from optin.models import (
    AccessKey,
    AuditEvent,
    Figure,
    File,
    GatewayHealth,
    Guard,
    Membership,
    Notice,
    PendingOtp,
    ProviderUser,
    SmsMessage,
    Span,
    User,
)
from tests.kit.people import NOON, NUMBER, ORIGIN, make_user
from tests.kit.staff import MAY, ONLY_LEAD_ELSEWHERE, ROLES, In, give_app, make_staff

# Undone after each cell: what a service does in its one transaction can be taken back here.
pytestmark = pytest.mark.django_db

OUTSIDE = ("anonymous", "person", "no-factor", "unproved", "former")
"""Not even let in: not signed in, no staff, without (or in a session without) a second factor,
no staff any more but still in the group."""
INSIDE = (*ROLES, "superuser", "unranked")
"""Staff in each role, and staff to whom nobody has given one."""

OTHER, PEER = "ann", "peer"
"""Somebody who is no staff; another member of staff who may do the same."""
REACH = {
    "support": {OTHER, PEER},
    "administrator": {OTHER, PEER, "auditor", "support"},
    "superuser": {OTHER, PEER, "auditor", "support", "administrator"},
}
"""On whom each may act: never on themselves or a superior, who may do more (docs/staff.md)."""
FEW = {"", OTHER, "superuser"}
"""Whom about those ask who may act on nobody; and about themselves."""

SAFE, FORM, POSTED = ({"GET", "HEAD"}, {"GET", "HEAD", "POST"}, {"POST"})
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
EVERY_METHOD = {"anonymous", "auditor", "superuser"}
"""Who tries all of them: who may do nothing, and who may do all."""
TAKES: dict[str, set[str]] = {
    "find": POSTED,
    "optin_auditevent_export": POSTED,
    "jsi18n": {*SAFE, "OPTIONS"},
}
"""Pages that are no list, no row and no operation: by which methods."""
ANSWERS_POST = {
    "optin_auditevent_export": 200,
    # What is shown once stands in the answer itself.
    "optin_provideruser_reveal": 200,
    "optin_accesskey_make": 200,
    "oauth2_provider_application_make": 200,
}
"""All others lead on."""

ASKED: dict[str, Any] = {
    "reason": "called us",
    "role": "auditor",
    "name": "Shop",
    "redirect_uris": "https://shop.example/cb",
    "by_code": "on",
    "number": NUMBER,
    "covers": "number",
    "days": "3",
    "_save": "1",
    "action": "delete_selected",
    "_selected_action": "1",
    "post": "yes",
    "username": "x",
    "is_superuser": "on",
}
"""What the forms of all operations ask for, and those of Django's admin; see ``ask``."""


# -- the addresses -----------------------------------------------------------------


def walk(found: Any, before: str = "") -> Iterator[tuple[str, URLPattern]]:
    for pattern in found:
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from walk(pattern.url_patterns, route)
        else:
            yield route, pattern


ROUTES = {
    route: pattern
    for route, pattern in walk(get_resolver().url_patterns)
    if route.startswith("admin")
}
NAMES = sorted(str(p.name) for p in ROUTES.values() if p.name not in ONLY_LEAD_ELSEWHERE)


def test_every_address_was_decided_about() -> None:
    undecided = set(NAMES) - MAY.keys()
    assert not undecided, f"say in MAY (tests/kit/staff.py) who may have {sorted(undecided)}"
    gone = MAY.keys() - set(NAMES)
    assert not gone, f"no such address any more: {sorted(gone)}"
    assert len(NAMES) == len(set(NAMES)), "two addresses of one name: one is not asked"
    assert len(NAMES) > 40, "the walk finds them no more"
    assert OFFERED.keys() <= set(NAMES), "an operation that has no address here"


def route_of(name: str) -> str:
    (route,) = (route for route, pattern in ROUTES.items() if pattern.name == name)
    return route


# -- who, and whom about -----------------------------------------------------------


@pytest.fixture
def people(file: File) -> dict[str, User]:
    """Everybody who acts or is acted on: members of one file, so that they can have keys."""
    made = {OTHER: make_user(OTHER), **{name: make_staff(name) for name in (*ROLES, "superuser")}}
    for actor in REACH:
        peer = made[f"{actor}-{PEER}"] = make_user(f"{actor}-{PEER}")
        peer.is_staff, peer.is_superuser = True, actor == "superuser"
        peer.save()
        peer.groups.set(Group.objects.filter(name=actor))
    for user in made.values():
        Membership.objects.create(user=user, file=file)
    return made


def browser(how: str, signed_in: In) -> Client:
    """Return the browser of somebody of ``OUTSIDE`` or ``INSIDE``."""
    if how not in {"former", "unranked"}:
        return signed_in(how)
    user, client = make_user(how), Client()
    user.is_staff = how == "unranked"
    user.save()
    if how == "former":
        user.groups.set(Group.objects.filter(name="administrator"))
    client.force_login(user)
    session: Any = client.session
    session["began"] = session["seen"] = timezone.now().timestamp()
    session[DEVICE_ID_SESSION_KEY] = give_app(user).persistent_id
    session.save()
    return client


def number_of(user: User) -> ProviderUser:
    now, number = timezone.now(), f"+614915701{user.pk % 100:02d}"
    row: ProviderUser = ProviderUser.objects.get_or_create(
        user=user,
        defaults={
            "file": File.objects.get(pk=777),
            "confirmed": True,
            "number_encrypted": ProviderUser.seal(number, user),
            "number_digest": ProviderUser.digest_of(number),
            "last_three": number[-3:],
            "created_at": now,
            "verified_at": now,
        },
    )[0]
    return row


def code_of(user: User) -> PendingOtp:
    now = timezone.now()
    return PendingOtp.objects.create(
        provider_user=number_of(user),
        purpose="opt_in",
        file_id=777,
        nonce=f"nonce-{user.pk}",
        key_id="k",
        digits=7,
        issued_at=now,
        expires_at=now + timedelta(minutes=10),
        closed_at=now,
        closed_as="proved",
    )


def event_of(user: User) -> AuditEvent:
    now = timezone.now()
    Kind = AuditEvent.Kind
    return AuditEvent.objects.record(Kind.CHECK, "ok", now=now, origin=ORIGIN, user_id=user.pk)


ROW_OF: dict[type[models.Model], Any] = {
    User: lambda user: user,
    ProviderUser: number_of,
    PendingOtp: code_of,
    SmsMessage: lambda user: SmsMessage.objects.create(
        pending_otp=code_of(user), created_at=timezone.now()
    ),
    Notice: lambda user: Notice.objects.create(
        user=user, kind="activated", created_at=timezone.now()
    ),
    AuditEvent: event_of,
    Membership: lambda user: Membership.objects.get_or_create(user=user, file_id=777)[0],
    AccessKey: lambda user: AccessKey.objects.make(user, File.objects.get(pk=777), timezone.now())[
        0
    ],
}
"""By what is somebody's: how they come to one."""
ROW: dict[type[models.Model], Any] = {
    File: {"id": 900, "name": "Harbour Books"},
    Guard: {"kind": "stop", "covers": "all", "made_at": NOON},
    GatewayHealth: {"gateway": "phone"},
    get_application_model(): {"name": "shop"},
}
"""What is nobody's."""


def model_of(name: str) -> type[models.Model]:
    app, model, _page = name.replace("oauth2_provider", "oauth2-provider").split("_", 2)
    found: type[models.Model] = apps.get_model(app.replace("-", "_"), model)
    return found


class Page:
    """One address, and the rows that it can be asked for."""

    def __init__(self, name: str) -> None:
        self.name, self.route = name, route_of(name)
        self.of_row = "<int:object_id>" in self.route
        self.model = model_of(name) if self.of_row else None
        self.action = OFFERED.get(name)
        form: Any = self.action and self.action.form
        self.asks_who = name == "find" or "who" in getattr(form, "base_fields", {})
        self.of_somebody = self.asks_who or self.model in ROW_OF

    def addresses(self, people: dict[str, User]) -> dict[str, str]:
        """Return, by whom it is about ("" for nobody), the address."""
        rows: dict[str, Any] = {"": None}
        if self.model in ROW_OF:
            rows = {name: ROW_OF[self.model](user) for name, user in people.items()}
        elif self.of_somebody:
            rows = dict.fromkeys(people)
        elif self.model:
            assert self.model in ROW, f"say in ROW_OF or ROW how to make a {self.model}"
            rows[""] = self.model._default_manager.create(**ROW[self.model])
        route = "/" + self.route.replace("^(?P<app_label>optin|oauth2_provider)/$", "optin/")
        return {
            name: route.replace("<int:object_id>", str(row and row.pk))
            for name, row in rows.items()
        }

    @property
    def methods(self) -> set[str]:
        if self.name in TAKES:
            return TAKES[self.name]
        return FORM if self.action else SAFE

    def answer(self, how: str, target: str, method: str) -> int:
        """The status that the cell must have."""
        if how in OUTSIDE:
            return 302
        if method not in self.methods:
            return 405
        if how == "unranked":
            return WITHOUT_A_ROLE.get(self.name, 403)
        if how not in MAY[self.name]:
            return 403
        if method != "POST":
            return 200
        if self.acts_on(how, method) and target not in REACH[how]:
            return 403
        return ANSWERS_POST.get(self.name, 303)

    def acts_on(self, how: str, method: str) -> bool:
        """Whether who may do so asks for an operation on somebody."""
        may = how in REACH and how in MAY[self.name]
        return bool(self.action and self.of_somebody and method == "POST" and may)


WITHOUT_A_ROLE = {"index": 200, "jsi18n": 200, "app_list": 404}
"""What staff without a role come to: an empty home, and no list of lists."""


# -- asking ------------------------------------------------------------------------


@contextmanager
def undone() -> Iterator[None]:
    block: Any = transaction.atomic()
    block._from_testcase = True  # so that the durable ones of the services nest in it
    with block:
        yield
        transaction.set_rollback(True)


def stored() -> dict[str, list[Any]]:
    """Every row but of the audit trail, and the figures, which are counted when they are seen."""
    ours = apps.get_app_config("optin").get_models()
    kept = [m for m in ours if m not in {AuditEvent, Figure, Span}]
    kept += [get_application_model(), User.groups.through, User.user_permissions.through]
    return {m.__name__: list(m._base_manager.order_by("pk").values()) for m in kept}


def ask(client: Client, method: str, address: str, who: str) -> HttpResponse:
    body = (
        {**ASKED, **({"who": who, "file_id": "777"} if who else {})} if method == "POST" else None
    )
    response: Any = getattr(client, method.lower())(address, body)
    if response.streaming:
        list(response.streaming_content)
    return response  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", NAMES)
def test_every_cell(people: dict[str, User], signed_in: In, name: str) -> None:
    """Who is refused changes nothing, whatever they send; who acts leaves one audit event."""
    page = Page(name)
    addresses, browsers = page.addresses(people), {}
    for how in (*OUTSIDE, *INSIDE):
        browsers[how] = browser(how, signed_in)
    before = stored()
    wrong = [
        told for how, client in browsers.items() for told in asked(page, how, client, addresses)
    ]
    if stored() != before:
        wrong.append(f"{page.route}: something was changed by who was refused, or by no POST")
    assert not wrong, "\n".join(["", *wrong])


def asked(page: Page, how: str, client: Client, addresses: dict[str, str]) -> Iterator[str]:
    """Ask all cells of *how*; tell of each that is not as it should be."""
    was = AuditEvent.objects.count()
    for whom, address in addresses.items():
        target = PEER if whom == f"{how}-{PEER}" else whom
        if target not in ({*REACH[how], *ROLES, "superuser", ""} if how in REACH else FEW | {how}):
            continue
        every = target in {"", OTHER} and how in EVERY_METHOD
        for method in METHODS if every else ("GET", "POST"):
            wanted = page.answer(how, target, method)
            acts = method == "POST" and wanted in {200, 303}
            beyond = wanted == 403 and page.acts_on(how, method)
            with undone() if acts or beyond else nullcontext():
                got = ask(client, method, address, whom).status_code
                told = list(AuditEvent.objects.order_by("pk")[was:])
            cell = f"{how}: {method} {page.route} about {target or 'nobody'}"
            if got != wanted:
                yield f"{cell}: {got}, not {wanted}"
            elif len(told) != (beyond or (acts and page.name != "find")):
                yield f"{cell}: {len(told)} audit events"
            elif any((e.outcome == "out_of_reach") is not beyond for e in told):
                yield f"{cell}: the trail says {told[0].outcome}"
            elif any(
                (e.face, str(e.actor_id)) != ("admin", client.session["_auth_user_id"])
                for e in told
            ):
                yield f"{cell}: the trail does not say who"


def actor_of(client: Client) -> int:
    return int(client.session["_auth_user_id"])
