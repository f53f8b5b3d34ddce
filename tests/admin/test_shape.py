"""What every page for staff has, whatever it is about (P-27).

A title of its own, one heading, the way back to where it stands; tables and fields that say
what they are; no style and no script in the page; times with their zone; no number in full.
"""

import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any

import pytest
from django.test import Client

from optin.actions.base import Action
from optin.admin.actions import OFFERED
from optin.models import File
from tests.kit import office
from tests.kit.phone import Phone
from tests.kit.staff import ADDRESSES, In, path_to
from tests.kit.trail import tell

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

NO_PAGES = {"login", "logout", "stay", "jsi18n", "optin_auditevent_export", "figures_csv"}
VOID = frozenset({"input", "meta", "link", "img", "br", "hr", "path", "use"})


class Shape(HTMLParser):
    """What is on a page, and what is wrong with it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.tags: Counter[str] = Counter()
        self.ids: list[str] = []
        self.labels: set[str] = set()
        self.texts: dict[str, list[str]] = {}
        self.crumbs: list[str] = []
        self._fields: list[dict[str, str]] = []
        self._open: list[tuple[str, dict[str, str]]] = []
        self.feed(html)
        for field in self._fields:
            named = field.get("aria-label") or field.get("id") in self.labels
            if not named:
                self.wrong.append(f"a field without a label: {field}")
        self.wrong += [f"twice: id={each}" for each, n in Counter(self.ids).items() if n > 1]
        if self.tags["caption"] != self.tags["table"]:
            self.wrong.append("a table without a caption")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "title" and any(opened == "svg" for opened, _ in self._open):
            tag = "says"  # of a part of a drawing
        self.tags[tag] += 1
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "label":
            self.labels.add(given.get("for", ""))
        if tag in {"input", "select", "textarea"} and given.get("type") not in {"hidden", "submit"}:
            self._fields.append(given)
        self._policy(tag, given)
        in_head = any(opened == "thead" for opened, _ in self._open)
        if tag == "th" and in_head and given.get("scope") != "col":
            self.wrong.append("a heading of a column that does not say so")
        if tag == "img" and "alt" not in given:
            self.wrong.append(f"a picture without alt: {given}")
        if tag not in VOID:
            self._open.append((tag, given))

    def _policy(self, tag: str, given: dict[str, str]) -> None:
        inline = [name for name in given if name == "style" or name.startswith("on")]
        if inline or tag == "style" or (tag == "script" and "src" not in given):
            self.wrong.append(f"against the policy: {tag} {given}")

    def handle_data(self, data: str) -> None:
        text = " ".join(data.split())
        if self._open and self._open[-1][0] == "time":  # shortened: whole on hover
            text = self._open[-1][1].get("title", text)
        for tag, given in self._open:
            self.texts.setdefault(tag, []).append(text)
            if given.get("class") == "breadcrumbs" and text:
                self.crumbs.append(text)

    def handle_endtag(self, tag: str) -> None:
        if tag == "title" and self._open and self._open[-1][0] == "says":
            tag = "says"
        while self._open and self._open.pop()[0] != tag:
            pass

    def text(self, tag: str) -> str:
        return " ".join(filter(None, self.texts.get(tag, [])))


@pytest.fixture
def pages(file: File, phone: Phone, signed_in: In, settings: Any) -> dict[str, Shape]:
    """Every page of the admin, by its name; with a superuser in front of it."""
    settings.OPTIN_REQUESTS_PER_USER = ()  # more pages than one opens in a minute
    ids = office.fill(phone.code)
    client = signed_in("superuser")
    found = {}
    for name in ADDRESSES.keys() - NO_PAGES:
        path = path_to(name, ids)
        if name == "find":
            found[name] = shape(client, path, {"who": office.SHARED})
            continue
        found[name] = shape(client, path)
        if name.endswith("_changelist"):
            found[f"{name}-empty"] = shape(client, f"{path}?before=1")
        if name in OFFERED and asks(OFFERED[name]):
            found[f"{name}-refused"] = shape(client, path, {})
    return found


def asks(action: Action) -> bool:
    """Whether its form wants something: else it would be done."""
    fields: Any = getattr(action.form, "base_fields", {})
    return any(field.required for field in fields.values())


def shape(client: Client, path: str, data: dict[str, str] | None = None) -> Shape:
    ask = client.get if data is None else client.post
    response = ask(path, data)
    assert response.status_code in {200, 303, 422}, (path, response.status_code)
    if response.status_code != 303:  # which every face has from one place
        policy = response["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "no-store" in response["Cache-Control"]
    return Shape(response.content.decode())


TIME = re.compile(r"\b\d{1,2}:\d\d(?::\d\d)?(?![:\d])(?! AEDT)")
"""A time without its zone."""


def faults(name: str, page: Shape) -> list[str]:
    found = list(page.wrong)
    found += [f"{page.tags[tag]} {tag}" for tag in ("h1", "main", "title") if page.tags[tag] != 1]
    heading, text = page.text("h1"), page.text("main")
    crumbs = [crumb.strip("\u203a ") for crumb in page.crumbs] or [heading]
    if name != "index" and page.crumbs[:1] != ["Home"]:
        found.append("leads nowhere")
    if crumbs[-1] not in heading:
        found.append(f"another name: {crumbs[-1]} on {heading}")
    if heading not in page.text("title"):
        found.append(f"another title: {page.text('title')} on {heading}")
    found += [f"a time without its zone: {time}" for time in TIME.findall(text)]
    digits = re.sub(r"[ ()-]", "", text)
    if any(number[3:] in digits for number in (office.NUMBER, office.SHARED)):
        found.append("a number in full")
    return found


def test_every_page_has_its_shape(pages: dict[str, Shape]) -> None:
    """P-21, P-27, S-51, S-60."""
    wrong = {name: found for name, page in pages.items() if (found := faults(name, page))}
    assert not wrong, wrong
    titles: dict[str, list[str]] = {}
    for name, page in pages.items():
        titles.setdefault(page.text("title"), []).append(name)
    assert {title: names for title, names in titles.items() if len(names) > 1} == {}
    assert "AEDT" in pages["optin_user_change"].text("main")
    assert "•••800" in pages["optin_provideruser_change"].text("main")


def test_filters_are_asked_for_together(signed_in: In) -> None:
    """One form: a field that was left empty asks for nothing, and is not carried on."""
    client = signed_in("auditor")
    for number in range(60):
        kind = "suspend" if number % 10 else "resume"
        tell(kind, user_id=7)
    empty = "outcome=&face=&file_id=&from=&until="
    page = client.get(f"/admin/optin/auditevent/?kind=suspend&user_id=7&{empty}")
    assert len(page.context["cl"].result_list) == 50
    assert re.fullmatch(r"\?before=\d+&kind=suspend&user_id=7", page.context["cl"].older)
    assert page.context["cl"].clear_all_filters_qs == "?"
    page = client.get(f"/admin/optin/auditevent/?kind=&user_id=&{empty}")
    assert not page.context["cl"].has_active_filters
    assert "Suspended by staff" in page.content.decode()
