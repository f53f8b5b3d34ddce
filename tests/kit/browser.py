"""A browser without scripts: it follows links and sends forms as they stand in the HTML."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

from django.core import mail
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from optin.models import User
from optin.web import urls
from tests.kit.people import NUMBER, PASSWORD
from tests.kit.phone import Phone

HOST = "2fa.example.com"
TWO_FACTOR = "/account/two-factor/"
NUMBER_PAGE = f"{TWO_FACTOR}number/"
NUMBER_CODE = f"{NUMBER_PAGE}code/"
PROVE = f"{TWO_FACTOR}prove/"
OFF = f"{TWO_FACTOR}off/"
ADD_PASSKEY = f"{TWO_FACTOR}passkeys/add/"
APP = f"{TWO_FACTOR}app/"
RECOVERY = f"{TWO_FACTOR}recovery-codes/"
SUCCESS = f"{TWO_FACTOR}on/"
CONFIRM = "/account/confirm/"
NEW_PASSWORD = "staple horse correct"

FOR_MACHINES = {"livez", "readyz", "metrics", "seen", "simulator"}
NAMES = [
    *(str(p.name) for p in urls.urlpatterns if p.name and p.name not in FOR_MACHINES),
    "oauth2_provider:authorize",
    "oauth2_provider:rp-initiated-logout",
]
VARIABLES: dict[str, list[Any]] = {
    **{name: ["nothing"] for name in ("not-me", "revocation", "email-stop", "email-confirm")},
    "revocation-texted": ["nothing"],
    "password-new": ["MQ", "nothing"],
    "integration-add": [777],
    "revoke-key": [1],
    "revoke-application": [1],
    "integration": [1],
    "sandbox": [900],
    "passkey-rename": [1],
}
ADDRESSES = [reverse(name, args=VARIABLES.get(name)) for name in NAMES]

POLICY = {
    "default-src 'none'",
    "style-src 'self'",
    "script-src 'self'",
    "connect-src 'self'",
    "img-src 'self' data:",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
}

_VOID = frozenset({"input", "meta", "link", "img", "br", "hr"})
_SHOWN_REDIRECTS = 8


@dataclass
class Form:
    """A form: where it goes, what is filled in, and its buttons."""

    method: str
    action: str
    fields: dict[str, str] = field(default_factory=dict)
    typed: set[str] = field(default_factory=set)  # names of what a person fills in
    buttons: dict[str, str] = field(default_factory=dict)  # what each sends, by its name


class Page(HTMLParser):
    """What a person finds on a page."""

    def __init__(self, address: str, status: int, html: str) -> None:
        super().__init__()
        self.address, self.status, self.html = address, status, html
        self.links: list[str] = []
        self.forms: list[Form] = []
        self.tags: list[tuple[str, dict[str, str]]] = []  # each that was opened
        self.by_id: dict[str, tuple[str, dict[str, str]]] = {}
        self.inputs: dict[str, dict[str, str]] = {}  # by name
        self.texts: dict[str, str] = {}  # by the tag or the class that they stand in
        self.codes: list[str] = []
        self.options = ""  # what its script asks the browser for: a passkey
        self.text = ""
        self._open: list[tuple[str, dict[str, str], int]] = []
        self.feed(html)

    @property
    def title(self) -> str:
        return self.texts.get("title", "")

    @property
    def heading(self) -> str:
        return self.texts.get("h1", "")

    @property
    def errors(self) -> str:
        """The summary of what is wrong, "" where nothing is."""
        return self.texts.get(".errors", "")

    @property
    def flash(self) -> str:
        return self.texts.get(".flash", "")

    def link(self, path: str) -> str:
        """The address of the link that leads to *path*, its query aside."""
        found = [href for href in self.links if href == path or urlsplit(href).path == path]
        assert found, f"no link to {path} on {self.address}: {self.links}"
        return found[0]

    def leads_to(self, path: str) -> bool:
        return any(urlsplit(href).path == path for href in self.links)

    def form(self, to: str, typed: set[str], press: str = "") -> Form:
        """The form that goes *to* there, "" for this page, and has just the fields *typed*.

        And the button *press*, if it is given.
        """
        here = urlsplit(self.address).path
        for form in self.forms:
            path = urlsplit(urljoin(self.address, form.action)).path
            has_button = not press or press in form.buttons
            if path == (to or here) and form.typed == typed and has_button:
                return form
        raise AssertionError(f"no form to {to!r} with {typed} on {self.address}: {self.forms}")

    @property
    def passkey_form(self) -> Form:
        """The form that brings the browser's answer to ``options``."""
        (form,) = [form for form in self.forms if "passkey" in form.fields]
        return form

    # -- parsing -------------------------------------------------------------------

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append((tag, given))
        if "id" in given:
            self.by_id[given["id"]] = (tag, given)
        self.options = given.get("data-options", self.options)
        if tag == "form":
            self.forms.append(Form(given.get("method", "get"), given.get("action", "")))
        if tag == "input":
            self._input(given)
        if tag not in _VOID:
            self._open.append((tag, given, len(self.text)))

    def _input(self, given: dict[str, str]) -> None:
        name = given.get("name", "")
        self.inputs[name] = given
        if given.get("type") in {"radio", "checkbox"}:
            self.forms[-1].typed.add(name)
            if "checked" in given:
                self.forms[-1].fields[name] = given.get("value", "on")
            return
        self.forms[-1].fields[name] = given.get("value", "")
        if given.get("type") != "hidden":
            self.forms[-1].typed.add(name)

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_endtag(self, tag: str) -> None:
        while self._open:
            opened, given, start = self._open.pop()
            text = " ".join(self.text[start:].split())
            self._close(opened, given, text)
            if opened == tag:
                return

    def _close(self, tag: str, given: dict[str, str], text: str) -> None:
        self.text += " "
        if tag == "a":
            self.links.append(given.get("href", ""))
        if tag == "button" and given.get("type") == "submit":
            self.forms[-1].buttons[given.get("name", "")] = given.get("value", "")
        if tag == "code":
            self.codes.append(text)
        self.texts.setdefault(tag, text)
        for name in given.get("class", "").split():
            self.texts.setdefault(f".{name}", text)


class Browser:
    """Cookies, the page that is shown, and what led there."""

    def __init__(self, agent: str = "", ip: str = "192.0.2.7") -> None:
        self.client = Client(
            enforce_csrf_checks=True,
            raise_request_exception=False,
            SERVER_NAME=HOST,
            REMOTE_ADDR=ip,
            HTTP_USER_AGENT=agent,
        )
        self.agent, self.ip = agent, ip
        self.page = Page(f"https://{HOST}/", 0, "")
        self.answer = HttpResponse()  # the last one before redirects were followed
        self.trail: list[str] = []  # where redirects led

    def copy(self) -> Self:
        """Another tab, as it was at this moment, whose answers never reach this one."""
        other = type(self)(self.agent, self.ip)
        other.client.cookies.load({name: self._cookie(name) for name in self.client.cookies})
        other.page = self.page
        return other

    def tab(self) -> Self:
        """Another tab: the same cookies, from now on too."""
        other = type(self)(self.agent, self.ip)
        other.client.cookies = self.client.cookies
        other.page = self.page
        return other

    def _cookie(self, name: str) -> str:
        value: str = self.client.cookies[name].value
        return value

    @property
    def session(self) -> str:
        """The id of the session."""
        return self._cookie("__Host-session") if "__Host-session" in self.client.cookies else ""

    @property
    def path(self) -> str:
        return urlsplit(self.page.address).path

    def go(self, address: str) -> Page:
        """Open *address*, as if it had been typed."""
        return self._follow(urljoin(self.page.address, address), self._get)

    def click(self, path: str) -> Page:
        """Follow the link of the page that leads to *path*."""
        return self.go(self.page.link(path))

    def reload(self) -> Page:
        """Load the page again: what was posted led on by a redirect, so it is a GET."""
        return self.go(self.page.address)

    def send(self, to: str = "", *, press: str = "", **typed: str) -> Page:
        """Fill in the form with just these fields, and press its (first, or *press*) button."""
        return self.submission(to, press=press, **typed)(self)

    def submission(
        self, to: str = "", *, press: str = "", **typed: str
    ) -> Callable[["Browser"], Page]:
        """Return what ``send`` would do now, to be done to any browser: for pressing twice."""
        return self._submission(self.page.form(to, set(typed), press), press, typed)

    def post(self, to: str, **fields: Any) -> Any:
        """Send *fields* with the page's CSRF token, whether or not a form has them."""
        token = self.page.forms[0].fields.get("csrfmiddlewaretoken", "")
        headers = {"origin": f"https://{HOST}"}
        return self.client.post(
            to, {"csrfmiddlewaretoken": token, **fields}, secure=True, headers=headers
        )

    def use_passkey(self, answer: Callable[[str], str], **typed: str) -> Page:
        """Press the button of the page's passkey; *answer* is what the browser does then."""
        return self.passkey_submission(answer, **typed)(self)

    def add_passkey(self, create: Callable[[str], str], name: str = "Blue key") -> Page:
        self.go(ADD_PASSKEY)
        return self.use_passkey(create, name=name)

    def passkey_submission(
        self, answer: Callable[[str], str], **typed: str
    ) -> Callable[["Browser"], Page]:
        """Return what ``use_passkey`` would do now, to be done to any browser."""
        form = self.page.passkey_form
        assert form.typed == set(typed)
        return self._submission(form, "", {**typed, "passkey": answer(self.page.options)})

    def _submission(
        self, form: Form, press: str, filled: dict[str, str]
    ) -> Callable[["Browser"], Page]:
        assert form.method == "post"
        sent = {press: form.buttons[press]} if press else {}
        data = {**form.fields, **filled, **sent}
        address = urljoin(self.page.address, form.action)
        came_from = self.page.address

        def submit(browser: Browser) -> Page:
            def post(to: str) -> Any:
                headers = {"origin": f"https://{HOST}", "referer": came_from}
                return browser.client.post(to, data, secure=True, headers=headers)

            return browser._follow(address, post)

        return submit

    def _get(self, address: str) -> Any:
        return self.client.get(address, secure=True)

    def _follow(self, address: str, first: Callable[[str], Any]) -> Page:
        self.answer = response = first(address)
        self.trail = []
        while response.status_code in {301, 302, 303, 307, 308}:
            address = urljoin(address, response["Location"])
            assert urlsplit(address).hostname == HOST, address
            self.trail.append(address)
            assert len(self.trail) < _SHOWN_REDIRECTS, self.trail
            response = self._get(address)
        self.page = Page(address, response.status_code, response.content.decode())
        return self.page


def sign_in(browser: Browser, name: str = "ann", password: str = PASSWORD) -> None:
    """Up to the code, where there is one to enter."""
    browser.go("/sign-in/")
    browser.send(username=name, password=password)


def recover(browser: Browser, code: str) -> None:
    """Sign in with a recovery code, where a code is asked for."""
    browser.click("/sign-in/recovery/")
    browser.send(recovery=code)


def name_number(browser: Browser, number: str = NUMBER) -> None:
    """Have a code texted to a new number."""
    browser.go(NUMBER_PAGE)
    browser.send(number=number)


def opt_in(browser: Browser, phone: Phone, number: str = NUMBER) -> None:
    name_number(browser, number)
    browser.send(code=phone.code_to(number))


def begin_app(browser: Browser) -> str:
    """Begin to set an app up; return its secret."""
    browser.go(APP)
    browser.send()
    return next(text for text in browser.page.codes if len(text) > 30)


def prove(browser: Browser, phone: Phone) -> None:
    """Prove a factor in a session, with a texted code."""
    browser.go(PROVE)
    browser.send(f"{PROVE}send/")
    browser.send(code=phone.code())


def failures(user: User) -> int:
    count: int = User.objects.get(pk=user.pk).otp_failures
    return count


def link_in_mail(path: str) -> str:
    """The path of the link in the newest mail that has one to *path*; S-26: of BASE_URL."""
    for message in reversed(mail.outbox):
        if found := re.search(rf"(\S+{path}\S+)", str(message.body)):
            assert found[1].startswith(f"https://{HOST}/")
            return urlsplit(found[1]).path
    raise AssertionError(f"no mail with a link to {path}")
