"""What each of three readers is told of one refusal: the person, a client, and staff (G-07)."""

import re
from dataclasses import dataclass, field
from functools import cache, cached_property
from html import unescape
from typing import Any

import time_machine
from django.test import Client

from optin.conf import Rate
from optin.models import File, ProviderUser, User
from optin.origin import Face, Origin
from tests.kit.browser import NUMBER_PAGE, Browser, Page, sign_in
from tests.kit.clients import Answer, Api, Tokens, bearer
from tests.kit.people import NUMBER
from tests.kit.phone import Phone, wrong
from tests.kit.staff import REQUEST_ID, browser_of

ABROAD = "+447400123456"
STAFF = Origin(Face.ADMIN, ip="192.0.2.99")
ONE = (Rate(1, 3600),)
CODE = "/sign-in/code/"


@dataclass
class Stage:
    """A person with a phone, a browser and a client, and a stranger of the same file."""

    user: User
    stranger: User
    file: File
    phone: Phone
    clock: time_machine.Traveller
    settings: Any
    browser: Browser = field(default_factory=Browser)
    kept: str = ""  # a code that a seed leaves to be entered

    @cached_property
    def api(self) -> Api:
        return Api(token=bearer(self.user))

    @cached_property
    def strangers(self) -> Api:
        return Api(token=bearer(self.stranger))

    @property
    def tokens(self) -> Tokens:
        """A client at the address of the browser."""
        return Tokens(ip=self.browser.ip)

    @cached_property
    def support(self) -> Client:
        """Who is asked, and pastes request ids: from now on for 15 minutes."""
        return browser_of("support")

    @property
    def row(self) -> ProviderUser:
        return ProviderUser.objects.get(user=self.user)

    def activate(self, api: Api | None = None, number: str = NUMBER) -> None:
        """Let the person, or whoever speaks by *api*, opt in, a while ago."""
        api = api or self.api
        row = api.opt_in(number).data["ProviderUserId"]
        assert api.verify(row, self.phone.code_to(number)).status == 200
        self.clock.shift(700)

    # -- on the pages --------------------------------------------------------------

    def enter(self) -> Page:
        """Sign in by page, up to the code."""
        sign_in(self.browser)
        return self.browser.page

    def opt_in(self, number: str = NUMBER) -> Page:
        """Ask on a page for an opt-in."""
        if self.browser.path != NUMBER_PAGE:
            self.enter()
            self.browser.go(NUMBER_PAGE)
        return self.browser.send(number=number)

    def code(self, code: str = "") -> Page:
        """Enter *code*, or a wrong one, on the page that asks for one."""
        return self.browser.send(code=code or wrong(self.phone.code()))

    def not_received(self) -> Page:
        """Follow "Didn't get the text?"."""
        return self.browser.go(f"{self.browser.path}not-received/" + self._query)

    @property
    def _query(self) -> str:
        _path, mark, query = self.browser.page.address.partition("?")
        return mark + query


# -- what each side reads -----------------------------------------------------------


def first_on(page: Page) -> str:
    """What stands first on *page*: a refusal, or what the page is about."""
    about = f"{page.heading}. {page.texts['.lead']}" if ".lead" in page.texts else page.text
    return page.errors or page.flash or about


def request_id_on(page: Page) -> str:
    found = REQUEST_ID.search(page.text)
    assert found, page.text
    return found[1]


@dataclass(frozen=True)
class Help:
    """Where the ``Link`` of a refusal leads."""

    anchor: str

    @property
    def text(self) -> str:
        """What stands at that anchor of the page."""
        html = _errors()
        start = html.find(f'id="{self.anchor}"')
        assert start >= 0, f"no #{self.anchor} on /Help/Errors"
        ends = [at for tag in ("<section", "<dt ", "</dl>") if (at := html.find(tag, start)) >= 0]
        entry = html[html.index(">", start) + 1 : min(ends)]
        return _plain(entry)


@cache
def _errors() -> str:
    return Client().get("/Help/Errors").content.decode()


def help_of(answer: Answer) -> Help:
    """What the headers of a refusal lead to."""
    link = re.fullmatch(
        r'<https://2fa\.example\.com/Help/Errors#([\w.]+)>; rel="help"',
        answer.headers["Link"],
    )
    assert link, answer.headers["Link"]
    return Help(link[1])


@dataclass(frozen=True)
class Led:
    """What staff read first who pasted a request id."""

    why: str
    text: str


def lead(client: Client, request_id: str) -> Led:
    """Paste *request_id* as support does, and read the cause above the timeline."""
    response: Any = client.post("/admin/find/", {"who": request_id})
    assert response.status_code == 303, _plain(response.content.decode())
    html = client.get(response["Location"]).content.decode()
    story = html.partition('id="led">')[2].partition("</section>")[0]
    found = re.search(r'data-cause="(\w+)"', story)
    return Led(found[1] if found else "", _plain(story))


def _plain(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())
