"""No list answers what its columns do not show, however it is asked (S-37, S-50).

Django's lists take any field of any related row in the address, by default: who may see one
could ask ``?user__password__startswith=`` letter by letter, and count the rows.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from django.conf import LazySettings
from django.db import models
from django.urls import reverse

from optin.admin import site
from tests.kit.staff import LISTS, In, World

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

LOOK_UPS = ("", "__startswith", "__gt", "__in", "__isnull", "__regex")


def filters(model: type[models.Model]) -> set[str]:
    return {str(each.parameter_name) for each in site._registry[model].list_filter}  # type: ignore[union-attr]


_SECRET = (
    "password",
    "digest",
    "secret",
    "encrypted",
    "nonce",
    "token",
    "last_attempt",
    "last_three",
)


def paths(model: type[models.Model]) -> Iterator[str]:
    """Every field of *model*, and of the rows that it is related to every one to keep secret."""
    for field in model._meta.get_fields():
        yield field.name
        yield getattr(field, "attname", field.name)
        if isinstance(field.related_model, type):
            names = [other.name for other in field.related_model._meta.get_fields()]
            secret = [name for name in names if any(each in name for each in _SECRET)]
            yield from (f"{field.name}__{name}" for name in secret)


@pytest.mark.parametrize("name", LISTS)
def test_no_field_is_looked_up(signed_in: In, settings: LazySettings, name: str) -> None:
    """Each by one kind of look-up, in turn; the one that finds out letters by each."""
    settings.OPTIN_REQUESTS_PER_USER = 0  # there are more than one session may ask for
    client, model = signed_in("superuser"), LISTS[name]
    fields = sorted({*paths(model), "pk"} - filters(model))
    asked = [f"{field}{LOOK_UPS[n % len(LOOK_UPS)]}" for n, field in enumerate(fields)]
    asked += [f"{field}__startswith" for field in fields if any(s in field for s in _SECRET)]
    assert len(asked) >= 4

    got = {each: client.get(f"{address(name)}?{each}=1").status_code for each in asked}

    assert {each: status for each, status in got.items() if status != 400} == {}


def address(name: str) -> str:
    return reverse(f"admin:{name}_changelist")


NUL = "%00"
TRICKS = [
    *("_to_field=password", "_to_field=pk&_popup=1", "_changelist_filters=password%3Da"),
    *("password=a&password=b", "user__password__startswith=a", "is_staff__exact=1", "a__b__c=1"),
    *(f"{NUL}=1", f"password{NUL}=1", f"kind{NUL}=1", "=1", "x" * 3000 + "=1"),
]
HARMLESS = [
    *("e=1", "p=9999999", "p=-1", "p=x", "all=", "q=pbkdf2", "o=1", "o=-99.x", "_popup=1"),
    *("_facets=1", f"before={NUL}", "before=0&before=x", "before=" + "9" * 400, "&&&"),
]
VALUES = [
    *(NUL, f"a{NUL}", "-1", "0", "1 OR 1=1", "' --", "9" * 5000, "\uff11", "\u202e", "\U0001f4a9"),
    *("%ED%A0%80", "%FF", "2026-13-01", "2026-W01-1", "20261102"),
]


@pytest.mark.parametrize("name", LISTS)
def test_tricks_show_no_more_and_break_nothing(
    world: World,
    signed_in: In,
    name: str,
) -> None:
    """What Django's lists know besides fields; values that no filter can have."""
    client: Any = signed_in("superuser")
    client.raise_request_exception = False
    at, model = address(name), LISTS[name]
    plain = shown(client.get(at))
    for trick in TRICKS:
        assert client.get(f"{at}?{trick}").status_code == 400, trick
    for query in HARMLESS:
        response = client.get(f"{at}?{query}")
        assert (response.status_code, shown(response)) == (200, plain), query
    for value in VALUES:
        value = value if value.startswith("%") else quote(value)
        # In each filter at once, and given twice.
        query = "&".join(f"{each}=1&{each}={value}" for each in sorted(filters(model)))
        response = client.get(f"{at}?{query}")
        assert response.status_code == 200, query[:80]
        assert set(shown(response)) <= set(plain)


def shown(response: Any) -> list[int]:
    found = response.context and response.context.get("cl")
    return [row.pk for row in found.result_list] if found else []


@pytest.mark.parametrize("name", LISTS)
def test_there_is_no_other_page_of_a_row(world: World, signed_in: In, name: str) -> None:
    """Django's own names for what would add, change, remove, or tell the history of a row."""
    client, at = signed_in("superuser"), address(name)
    row = LISTS[name]._default_manager.latest("pk").pk
    for path in (
        *("add/", "autocomplete/", "jsi18n/", "0/change/../../", "password/"),
        *(f"{row}/", f"{row}/delete/", f"{row}/history/", f"{row}/password/", f"{row}/add/"),
        *(f"{row}/change", f"{row}/change//", f"{row}/change/%00"),
        *("00/change/", "_5F1/change/", "-1/change/", "1_2/change/", f"{'9' * 30}/change/"),
    ):
        for method in ("get", "post"):
            status = getattr(client, method)(f"{at}{path}", {"_save": "1"}).status_code
            assert status in {404, 405} or (path.endswith("/change/") and status == 302), path
