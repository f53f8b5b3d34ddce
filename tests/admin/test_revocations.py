"""Support asks that all second factors of somebody be removed, and takes it back (S-37)."""

import re

import pytest
from django.core import mail
from django.test import Client

from optin.models import AuditEvent, ProviderUser, Revocation, User
from optin.origin import Face, Origin
from tests.kit.staff import In, OnStaff, ask

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

COMMAND = Origin(Face.COMMAND)
DUE = "2026-11-03 23:00:00 AEDT"
LATER, WITHDRAW = "revoke-later", "withdraw"


def page(user: User, action: str = "change") -> str:
    return f"optin/user/{user.pk}/{action}/"


def account(client: Client, user: User) -> str:
    return client.get(f"/admin/{page(user)}").content.decode()


def test_support_asks_and_withdraws(user: User, active: ProviderUser, signed_in: In) -> None:
    client = signed_in("support")
    assert client.get(f"/admin/{page(user, LATER)}").status_code == 200
    assert not Revocation.objects.exists()  # a GET does nothing

    html = ask(client, page(user, LATER), reason="lost the phone")

    assert f"It takes effect at {DUE}" in html
    assert re.findall('data-cause="([a-z_]+)"', html)[0] == "revocation_waits"
    assert "support (support) asked at 2026-11-02 23:00 AEDT to remove" in html
    assert "because: “lost the phone”. They will be removed at 2026-11-03 23:00 AEDT" in html
    assert "will be removed at 2026-11-03 23:00 AEDT." in html  # above, in the same words
    assert page(user, WITHDRAW) in html
    active.refresh_from_db()
    assert active.confirmed
    assert f"the removal is already planned for {DUE}" in ask(
        client, page(user, LATER), reason="again"
    )

    html = ask(client, page(user, WITHDRAW), reason="a thief")
    assert "The removal was withdrawn." in html
    assert "Ask the person to choose a new password." in html

    assert 'data-cause="revocation_waits"' not in account(client, user)
    assert "no removal is planned" in ask(client, page(user, WITHDRAW), reason="again")
    User.objects.filter(pk=user.pk).update(email="")
    assert "the person cannot be notified" in ask(client, page(user, LATER), reason="lost")
    events = AuditEvent.objects.filter(face=Face.ADMIN).order_by("pk")
    assert [(e.kind, e.outcome, e.reason) for e in events] == [
        ("revocation", "planned", "lost the phone"),
        ("revocation", "unchanged", "again"),
        ("revocation", "withdrawn", "a thief"),
        ("revocation", "unchanged", "again"),
        ("revocation", "untold", "lost"),
    ]


def test_what_was_refused_is_told_to_nobody(signed_in: In, on_staff: OnStaff, file: object) -> None:
    boss = on_staff("superuser")
    client = signed_in("administrator")
    ask(client, page(boss, "role"), 403, role="auditor", reason="x")
    ask(client, "optin/accesskey/make/", 403, who="superuser", file_id=777)
    ask(client, page(boss, LATER), 403, reason="x")
    assert mail.outbox == []
