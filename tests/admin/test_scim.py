"""What staff read and do where an identity provider keeps people up to date (P-21, S-68)."""

from html import unescape

import pytest
from django.test import Client

from optin.models import File, Membership, User
from tests.kit.staff import In, ask
from tests.scim.kit import Provider, make_provider, patch

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def okta(file: File, user: User) -> Provider:
    Membership.objects.get_or_create(user=user, file=file)
    provider = make_provider(name="okta")
    provider.application.name = "Okta"
    provider.application.save()
    return provider


def read(client: Client, path: str) -> str:
    return unescape(client.get(f"/admin/{path}").content.decode())


def end(provider: Provider, user: User) -> None:
    body = patch({"op": "replace", "value": {"active": False}})
    assert provider.send("PATCH", f"/Users/{user.pk}", body).status == 200


def test_whom_a_provider_deactivated_is_activated_here(
    okta: Provider, user: User, signed_in: In
) -> None:
    """S-68. By administrators; whom they deactivate then, no provider activates."""
    end(okta, user)
    client, page = signed_in("administrator"), f"optin/user/{user.pk}"
    html = read(client, f"{page}/change/")
    assert "Deactivated by Okta: activate the person there, or an administrator" in html
    assert html.count(f'href="/admin/{page}/activate/"') == 1
    assert f"{page}/activate/" not in read(signed_in("support"), f"{page}/change/")
    assert "Active again." in ask(client, f"{page}/activate/", reason="is back")
    assert "Deactivated." in ask(client, f"{page}/deactivate/", reason="left")
    body = patch({"op": "replace", "value": {"active": True}})
    assert okta.send("PATCH", f"/Users/{user.pk}", body).status == 403
