"""What staff read and do where an identity provider keeps people up to date (P-21, S-68)."""

from html import unescape

import pytest
from django.test import Client

from optin.models import File, Membership, User
from optin.operations import tenants
from tests.kit.oauth import post
from tests.kit.scim import OPERATOR, Provider, make_provider, patch
from tests.kit.staff import In, ask

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


def test_an_event_names_the_application(okta: Provider, user: User, signed_in: In) -> None:
    """P-21, P-22: what a provider did was done by no staff; which fields changed is said."""
    body = patch({"op": "replace", "value": {"emails": [{"value": "dora@new.example"}]}})
    assert okta.send("PATCH", f"/Users/{user.pk}", body).status == 200
    end(okta, user)
    client, address = signed_in("auditor"), okta_page(okta)
    page = read(client, f"optin/user/{user.pk}/change/")
    assert '<span class="tag">Account</span> Account deactivated' in page
    assert page.count("through the API, application Okta") == 2
    assert "changed: email address" in page
    assert page.count(f'href="{address}"') == 2
    log = read(client, "optin/auditevent/")
    assert log.count(f'<a href="{address}">Okta</a>') == 2
    assert "An application may keep people up to date by SCIM: Okta" in log


def okta_page(okta: Provider) -> str:
    return f"/admin/oauth2_provider/application/{okta.application.pk}/change/"


def test_a_token_of_no_person(okta: Provider, signed_in: In) -> None:
    """P-22."""
    asked = {"grant_type": "client_credentials", "scope": "scim"}
    assert post("token", asked, client_id="okta").status_code == 200
    log = read(signed_in("auditor"), "optin/auditevent/")
    assert "An app fetched a token for itself" in log
    assert "for this person" not in log


def test_the_page_of_an_application(okta: Provider, signed_in: In) -> None:
    """P-24: who it is, how long its tokens work, and only what can be done."""
    client = signed_in("administrator")
    assert "people of all files" in read(client, "oauth2_provider/application/")
    page = unescape(client.get(okta_page(okta)).content.decode())
    assert "<title>Application Okta" in page
    assert "1; the last one ends " in page
    for name, is_offered in {"trust": True, "no-trust": False, "no-scim-tokens": True}.items():
        assert (f'/{name}/"' in page) is is_offered, name
    tenants.end_provisioning(okta.application, reason="sold", origin=OPERATOR)
    page = client.get(okta_page(okta)).content.decode()
    for name in ("scim-token", "no-scim-tokens", "no-scim"):
        assert f'/{name}/"' not in page
    assert '/scim/"' in page
