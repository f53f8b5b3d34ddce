"""Staff of each role, every address of the admin, and who may have it."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyotp
from django.contrib.auth.models import Group
from django.db import models
from django.test import Client
from django.urls import URLPattern, URLResolver
from django.utils import timezone
from django_otp import DEVICE_ID_SESSION_KEY

import twofa_site.urls  # noqa: F401  (adds the last pages to the site)
from optin.admin import site
from optin.models import AuthenticatorApp, User
from tests.kit.people import make_user

ROLES = ("auditor", "support", "administrator")
PEOPLE = ("anonymous", "person", "no-factor", "unproved", *ROLES, "superuser")
"""Whoever may come to the door: not signed in, no staff, staff without a second factor or in
a session that has not proved it; staff in each role."""

In = Callable[[str], Client]
OnStaff = Callable[[str], User]


def give_app(user: User) -> AuthenticatorApp:
    now = timezone.now()
    return AuthenticatorApp.objects.create(
        user=user,
        confirmed=True,
        secret_encrypted=AuthenticatorApp.seal("A" * 32, user.pk),
        created_at=now,
        verified_at=now,
    )


def make_staff(role: str) -> User:
    """Somebody in *role* with an authenticator app, made at the first call."""
    known = User.objects.filter(username=role).first()
    if known:
        found: User = known
        return found
    user = make_user(role)
    User.objects.filter(pk=user.pk).update(
        is_staff=role != "person", is_superuser=role == "superuser"
    )
    if role in ROLES or role in {"no-factor", "unproved"}:
        user.groups.add(Group.objects.get(name=role if role in ROLES else "administrator"))
    if role not in {"person", "no-factor"}:
        give_app(user)
    user.refresh_from_db()
    return user


def browser_of(how: str) -> Client:
    """Return the browser of somebody who is signed in as *how* says, one of ``PEOPLE``."""
    client = Client()
    if how == "anonymous":
        return client
    user = make_staff(how)
    client.force_login(user)
    session: Any = client.session
    session["began"] = session["seen"] = timezone.now().timestamp()
    if how in {*ROLES, "superuser"}:
        app = AuthenticatorApp.objects.get(user=user)
        session[DEVICE_ID_SESSION_KEY] = app.persistent_id
    session.save()
    return client


def routes(found: list[URLPattern | URLResolver], above: str = "") -> Iterator[tuple[str, str]]:
    for pattern in found:
        route = above + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, route)
        else:
            yield str(pattern.name), route


ADDRESSES = dict(routes(site.get_urls()))
"""The route of each, below /admin/, by its name."""


def path_to(name: str, ids: dict[str, int]) -> str:
    """Return the path of the address *name*; *ids* has a row for each kind of row."""
    route = ADDRESSES[name]
    if name == "figures_csv":
        return "/admin/figures/conversion.csv"
    if "<int:object_id>" in route:
        model = next(model for model in ids if name.startswith(f"{model}_"))
        route = route.replace("<int:object_id>", str(ids[model]))
    return f"/admin/{route}"


EVERYBODY = {*ROLES, "superuser"}
ACTORS = {"support", "administrator", "superuser"}
TOP = {"administrator", "superuser"}

MAY: dict[str, set[str]] = {
    "index": EVERYBODY,
    "jsi18n": EVERYBODY,
    "find": EVERYBODY,
    "stay": EVERYBODY,
    "figures": EVERYBODY,
    "figures_csv": EVERYBODY,
    **{
        f"{model}_{page}": EVERYBODY
        for model in (
            *("optin_user", "optin_provideruser", "optin_smsmessage"),
            *("optin_notice", "optin_guard", "optin_gatewayhealth", "optin_auditevent"),
            *("optin_file", "optin_membership", "optin_accesskey"),
            "oauth2_provider_application",
        )
        for page in ("changelist", "change")
    },
    **dict.fromkeys(
        (
            f"optin_user_{name}"
            for name in (
                *("suspend", "resume", "unlock", "resend", "revoke-later", "withdraw", "invite"),
                "let-through",
            )
        ),
        ACTORS,
    ),
    "optin_auditevent_export": {"auditor", *TOP},
    **dict.fromkeys(
        (
            f"{model}_{name}"
            for model, names in {
                "optin_user": "revoke remove-passkey role activate deactivate",
                "optin_provideruser": "reveal",
                "optin_guard": "stop allow deny safe lift unlist texts-again",
                "optin_webhookendpoint": "changelist change on off",
                "optin_file": "make invite texts-end texts-stay",
                "optin_membership": "make end manager no-manager",
                "optin_accesskey": "make revoke",
                "oauth2_provider_application": (
                    "make remove trust no-trust scim scim-token no-scim-tokens no-scim"
                ),
            }.items()
            for name in names.split()
        ),
        TOP,
    ),
}
"""By the name of the address: who may have it."""

ONLY_LEAD_ELSEWHERE = {"login", "logout"}


@dataclass
class World:
    """One row of every kind."""

    ids: dict[str, int]

    def address(self, name: str) -> str:
        return path_to(name, self.ids)


LISTS: dict[str, type[models.Model]] = {
    f"{model._meta.app_label}_{model._meta.model_name}": model for model in site._registry
}


def ask(client: Client, path: str, status: int = 303, **body: Any) -> str:
    """POST to *path* and return the page that follows, or that answers. What is to be ticked is.

    Times are whole.
    """
    response = client.post(f"/admin/{path}", {"ready": "on", **body})
    assert response.status_code == status, response.content.decode()
    if status == 303:
        response = client.get(response["Location"])
    return whole_times(response.content.decode())


def code_of(user: User) -> str:
    app = AuthenticatorApp.objects.get(user=user)
    return pyotp.TOTP(app.open_secret()).at(timezone.now())


def ids(html: str) -> list[int]:
    """The events that a list shows, in its order."""
    return [int(pk) for pk in re.findall(r"/admin/optin/auditevent/(\d+)/change/", html)]


REQUEST_ID = re.compile(r"request ID\s*([0-9a-f]{32})")
"""The request id on a page of a person."""


def lead(client: Client, request_id: str) -> str:
    """Return why, and the first entry of the timeline, on the page to which staff are led."""
    response: Any = client.post("/admin/find/", {"who": request_id})
    assert response.status_code == 303, response.content.decode()
    html = client.get(response["Location"]).content.decode()
    assert f"<h1>Request {request_id}" in html
    story = html.partition('id="led"')[2]
    why, _, entries = story.partition('<ol class="events timeline">')
    said = why.partition("<nav")[0] + entries.partition("</li>")[0]
    return " ".join(re.sub(r"<[^>]+>", " ", said).split())


_SHORT = re.compile(
    r'<time [^>]*title="([^"]*)">[^<]*</time>(?: \((?:[^)]* ago|in [^)]*|just now)\))?'
)


def whole_times(html: str) -> str:
    """Write each time as it is on hover."""
    return _SHORT.sub(r"\1", html)
