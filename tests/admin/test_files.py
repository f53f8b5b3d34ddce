"""The page of a file: all that belongs to it, and what can be done there (P-24)."""

import re
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from optin.models import AccessKey, File, Membership, User
from tests.kit.people import NOON, make_user
from tests.kit.staff import In, World

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/admin/optin/file/{}/change/"


def forms(html: str) -> list[str]:
    """Return where the forms of the page lead, but those of the frame."""
    found = re.findall(r'<form[^>]* action="([^"]+)"', html.partition('id="content"')[2])
    return [address.replace("&amp;", "&") for address in found]


def send(client: Client, address: str, **body: str) -> Any:
    response: Any = client.post(address, body)
    return client.get(response["Location"]) if response.status_code == 303 else response


def test_a_file_gets_a_member_and_a_key_and_nobody_enters_its_id(
    signed_in: In, user: User, file: File
) -> None:
    """A body that names another file counts for nothing; the key is shown once."""
    client = signed_in("administrator")
    made = send(client, "/admin/optin/file/make/", name="<b>Shop</b>").content.decode()
    shop = File.objects.latest("pk")
    assert "&lt;b&gt;Shop&lt;/b&gt; (" in made
    assert "<b>Shop" not in made
    assert "/invite/" not in made  # there is nobody
    (add,) = forms(made)
    added = send(client, add, who=user.username, file_id=str(file.pk)).content.decode()
    assert Membership.objects.get(file=shop).user == user
    (make,) = map(unescape, re.findall(r'href="([^"]*accesskey/make/[^"]*who[^"]*)"', added))
    asked = client.get(make).content.decode()
    assert f": &lt;b&gt;Shop&lt;/b&gt; ({shop.pk}), {user.username}</h1>" in asked
    assert not re.search('name="(file_id|who)"', asked.partition('id="content"')[2])
    shown = send(client, make, file_id=str(file.pk), who="superuser", name="till").content.decode()
    key = AccessKey.objects.get(file=shop)
    assert (key.user, key.name) == (user, "till")
    assert re.search(rf'id="secret">{key.prefix}[0-9a-f]{{58}}<', shown)
    assert 'data-copy="secret"' in shown
    assert f'<a href="{PAGE.format(shop.pk)}">Done</a>' in shown


@pytest.mark.parametrize("query", ["file_id=9", "file_id=x%00", "file_id=777&who=id:999"])
def test_an_address_that_names_nothing_leads_home(signed_in: In, file: File, query: str) -> None:
    page = send(signed_in("administrator"), f"/admin/optin/accesskey/make/?{query}", who="ann")
    assert "This row no longer exists." in page.content.decode()
    assert not AccessKey.objects.exists()


def test_the_page_of_a_file_shows_what_the_lists_would(world: World, signed_in: In) -> None:
    """S-37."""
    page = PAGE.format(world.ids["optin_file"])
    seen = signed_in("support").get(page).content.decode()
    heads = re.findall('data-head="([^"]+)"', seen)
    assert heads == [
        *("Account", "Two-factor sign-in"),
        *("Begins with", "Account"),
    ]
    assert "shop.example" not in seen
    assert forms(seen) == []
    assert "https://shop.example/hook" in signed_in("administrator").get(page).content.decode()


def test_the_page_of_a_file_takes_the_same_statements_for_many_rows(
    world: World, signed_in: In, file: File
) -> None:
    client, counts = signed_in("superuser"), []
    for n in range(12):
        AccessKey.objects.make(make_user(f"more{n}", file), file, NOON)
        with CaptureQueriesContext(connection) as captured:
            client.get(PAGE.format(file.pk))
        counts.append(len(captured))
    assert counts[1] == counts[-1]
