"""P-13: every string is translatable; German is shipped to prove it."""

import re
from collections.abc import Iterator
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any, NoReturn
from urllib.parse import urlencode, urlsplit

import pytest
import time_machine
from django.conf import LazySettings
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.core.management import call_command
from django.db import OperationalError
from django.test import Client
from django.utils import timezone, translation

from optin.conf import MAX_HOST
from optin.events import EVENTS
from optin.gateways import SmsError
from optin.messaging import wording
from optin.models import (
    AuditEvent,
    EmailChange,
    File,
    Notice,
    ProviderUser,
    Revocation,
    SmsMessage,
    User,
)
from optin.operations import revocations
from optin.origin import Face
from optin.web import activity, words
from tests.kit.apps import app_code
from tests.kit.browser import HOST, Browser, Page, link_in_mail, sign_in
from tests.kit.clients import Api
from tests.kit.oauth import CHALLENGE, REDIRECT
from tests.kit.people import NUMBER, ORIGIN, OTHER_NUMBER, PASSWORD
from tests.kit.phone import GSM_7, Phone, wrong
from tests.kit.world import World

pytestmark = pytest.mark.django_db(transaction=True)

TWO_FACTOR = "/account/two-factor/"
GERMAN = {"accept-language": "de-AT,de;q=0.9,en;q=0.5"}


@pytest.fixture(autouse=True)
def language(settings: LazySettings) -> Iterator[None]:
    """A request leaves its language to what comes next on its thread: not to other tests."""
    with translation.override(settings.LANGUAGE_CODE):
        yield


# -- no word of English is left ----------------------------------------------------


class Words(HTMLParser):
    """What is read and read out on a page, piece by piece, parts in another language aside."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.pieces: set[str] = set()
        self.language = ""
        self._foreign: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "html":
            self.language = given.get("lang") or ""
        elif self._foreign or given.get("lang"):
            self._foreign.append(tag)
        for name in ("aria-label", "alt", "title", "placeholder", "data-ready"):
            self._add(given.get(name) or "")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._foreign:
            while self._foreign.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        self._add(data)

    def _add(self, text: str) -> None:
        text = " ".join(text.split())
        if not self._foreign and re.search(r"[^\W\d_]{2}", text):
            self.pieces.add(text)


class Reader(Browser):
    """A browser whose person reads every page that comes."""

    def __init__(self, language: str, ip: str) -> None:
        super().__init__("Mozilla/5.0 (Linux; Android 15) Chrome/140.0 Mobile Safari/537.36", ip)
        self.client.defaults["HTTP_ACCEPT_LANGUAGE"] = language
        self.pieces: dict[str, str] = {}  # and where it was read first
        self.languages: set[str] = set()
        self.pages: set[str] = set()

    def _follow(self, address: str, first: Any) -> Page:
        page = super()._follow(address, first)
        found = Words(page.html)
        self.languages.add(found.language)
        self.pages.add(urlsplit(page.address).path)
        for piece in found.pieces:
            self.pieces.setdefault(piece, page.address)
        return page


def walk(person: Reader, user: User, number: str, phone: Phone, clock: Any) -> None:
    """See every page, and the errors that a person can cause."""
    for address in (
        "/",
        "/nothing",
        "/sign-in/recovery/",
        "/not-me/gone/",
        "/not-me/done/",
        "/revocation/gone/",
        "/email-stop/gone/",
        "/Help",
    ):
        person.go(address)
    opt_in(person, user, number, phone, clock)
    support(person, user)
    new_address(person, user)
    app_and_recovery_codes(person, phone, clock)
    passwords(person, user, clock)
    consent(person, user)
    person.go("/account/activity/")
    turn_off(person, user, phone, clock)


def opt_in(person: Reader, user: User, number: str, phone: Phone, clock: Any) -> None:
    person.go("/sign-in/")
    person.send(username="", password="")
    person.send(username=user.username, password="not it")
    person.send(username=user.username, password=PASSWORD)
    person.go("/account/activity/")
    person.go(TWO_FACTOR)
    person.go(f"{TWO_FACTOR}number/")
    for typed in ("", "12", "x" * 65, "+64 21 123 4567"):
        person.send(number=typed)
    person.send(number=number)
    for typed in ("", "12", "1" * 20, "letters"):
        person.send(code=typed)
    code = phone.code()
    for n in range(4):
        person.send(code=f"{n}{wrong(code)[1:]}")
    person.click(f"{TWO_FACTOR}number/code/not-received/")
    person.send(f"{TWO_FACTOR}number/code/send/")
    clock.shift(timedelta(minutes=11))
    person.reload()
    person.go(f"{TWO_FACTOR}number/code/not-received/")
    person.go(f"{TWO_FACTOR}number/")
    person.send(number=number)
    person.send(code=phone.code())
    assert person.path == f"{TWO_FACTOR}on/"
    person.go(TWO_FACTOR)


def app_and_recovery_codes(person: Reader, phone: Phone, clock: Any) -> None:
    person.go(f"{TWO_FACTOR}app/")
    person.send()
    person.send(code="12")
    person.send(code="000000")
    key = next(code for code in person.page.codes if len(code) > 20)
    person.send(code=app_code(key))
    assert person.path == f"{TWO_FACTOR}on/"
    person.go(f"{TWO_FACTOR}recovery-codes/")
    person.send()
    codes = person.page.codes
    person.go(f"{TWO_FACTOR}recovery-codes/")
    person.go(TWO_FACTOR)
    person.send("/sign-out/")
    clock.shift(timedelta(minutes=5))
    sign_in(person, name_of(person))
    person.send("/sign-in/code/send/")
    person.click("/sign-in/recovery/")
    for typed in ("", "short", "0" * 16):
        person.send(recovery=typed)
    person.send(recovery=codes[0])
    assert person.path.startswith("/account/")
    person.go("/account/")


def name_of(person: Reader) -> str:
    return "ann" if person.ip == "192.0.2.7" else "ben"


def passwords(person: Reader, user: User, clock: Any) -> None:
    person.go("/account/password/")
    person.send(new_password1="", new_password2="")
    person.send(new_password1="short", new_password2="other")
    person.send(new_password1="password", new_password2="password")
    person.send(new_password1=user.username, new_password2=user.username)
    clock.shift(timedelta(minutes=21))
    person.go("/account/password/")
    assert person.path == "/account/confirm/"
    person.send(password="not it")
    person.send(password=PASSWORD)
    reset = Reader(person.client.defaults["HTTP_ACCEPT_LANGUAGE"], person.ip)
    reset.go("/password-reset/")
    reset.send(email="")
    reset.send(email="nothing")
    reset.send(email=user.email)
    link = re.search(rf"https://{HOST}(/password-reset/\S+)", str(mail.outbox[-1].body))
    assert link
    reset.go(link[1])
    reset.send(new_password1="short", new_password2="short")
    reset.go("/password-reset/x/y/")
    claim = next(
        str(message.body)
        for message in mail.outbox
        if "/not-me/" in str(message.body) and message.to == [user.email]
    )
    found = re.search(rf"https://{HOST}(/not-me/\S+)", claim)
    assert found
    reset.go(found[1])
    reset.send(password="not it")
    for piece, where in reset.pieces.items():
        person.pieces.setdefault(piece, where)
    person.languages |= reset.languages
    person.pages |= reset.pages


def consent(person: Reader, user: User) -> None:
    asked = {
        "response_type": "code",
        "client_id": "client",
        "redirect_uri": REDIRECT,
        "scope": "2fa full",
        "state": "s",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    person.go(f"/o/authorize/?{urlencode(asked)}")
    person.go(f"/o/authorize/?{urlencode({**asked, 'client_id': 'none'})}")


def support(person: Reader, user: User) -> None:
    """Support is asked to remove everything; each end that this can have."""
    for end in ("link", "page", "carried out"):
        revocations.plan(user, reason="test", origin=ORIGIN)
        waits = Revocation.objects.get(user=user, closed_at=None)
        notice = Notice.objects.get(about_id=waits.pk, kind=Notice.Kind.REVOKE_PLANNED)
        path = re.search(rf"https://{HOST}(/revocation/\S+)", str(wording.mail_for(notice).body))
        assert path
        for address in ("/account/", "/account/activity/", TWO_FACTOR, path[1]):
            person.go(address)
        if end == "link":
            person.send()
        elif end == "page":
            person.go("/account/")
            person.send("/account/cancel-revocation/")
        else:
            # As if it was done: the walk goes on with its factors.
            Revocation.objects.filter(pk=waits.pk).close(timezone.now(), Revocation.Closed.DONE)
            person.go(path[1])


def new_address(person: Reader, user: User) -> None:
    """Ask for one, and see each end that this can have."""
    person.go("/account/email/")
    for typed in ("", "nobody", "\u00e9@example.org", user.email, f"{user.username}1@example.org"):
        person.send(email=typed)
    first = link_in_mail("/email-stop/")
    person.go("/account/email/")
    person.send(email=f"{user.username}2@example.org")
    person.go(first)
    confirm, stop = link_in_mail("/account/email/"), link_in_mail("/email-stop/")
    person.go(confirm)
    person.send()
    person.go("/account/")
    person.go(stop)
    person.send()
    person.go(confirm)
    change = EmailChange.objects.filter(user=user, closed_as=EmailChange.Closed.CANCELLED)
    change.update(closed_as=EmailChange.Closed.DONE)
    for path in (stop, confirm):
        person.go(path)


def turn_off(person: Reader, user: User, phone: Phone, clock: Any) -> None:
    for what in ("", "?what=number", "?what=app"):
        person.go(f"{TWO_FACTOR}off/{what}")
    person.go(f"{TWO_FACTOR}off/")
    person.send(f"{TWO_FACTOR}off/send/")
    person.send(code=phone.code())
    assert person.path == TWO_FACTOR


REFERENCE = re.compile("[0-9A-Z]{3}-[0-9A-Z]{3}")

NAMES = {
    "Two-Factor",  # the service
    "Harbour Books",  # a file
    "Code",
    "Support:",
    "support@example.com",
    "invalid_request",  # a word of OAuth
    "API help \u2013 Two-Factor",  # the title of the reference, which is English
}


@pytest.mark.slow
def test_no_word_of_english_is_left(
    user: User, stranger: User, client_app: Any, phone: Phone, clock: time_machine.Traveller
) -> None:
    """Both languages walk the same way: a piece that both read was not translated."""
    english, german = Reader("en", "192.0.2.7"), Reader("de", "192.0.2.8")
    walk(english, user, NUMBER, phone, clock)
    walk(german, stranger, OTHER_NUMBER, phone, clock)

    assert english.languages == {"en-au"}
    assert german.languages == {"de"}
    assert len(german.pages) >= 25
    assert len(german.pieces) > 200
    same = {piece: where for piece, where in german.pieces.items() if piece in english.pieces}
    # Here the clock stands still: so two requests may have one reference.
    same = {piece: where for piece, where in same.items() if not REFERENCE.fullmatch(piece)}
    assert {piece: where for piece, where in same.items() if piece not in NAMES} == {}


def test_every_event_has_words_in_german() -> None:
    """P-09; also those that a walk seldom leads to."""
    for kind, rows in EVENTS.items():
        for outcome in (outcome for outcome, row in rows.items() if row.owner):
            event = AuditEvent(kind=kind, outcome=outcome, face=Face.COMMAND, at=timezone.now())
            told = {}
            for language in ("en-au", "de"):
                with translation.override(language):
                    told[language] = activity.lines([event], 1)[0][0]
            assert told["de"].what != told["en-au"].what, (kind, outcome)
            assert told["de"].where == "durch einen Administrator"


# -- which language ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "language"),
    [
        ("de", "de"),
        ("de-AT,de;q=0.9,en;q=0.5", "de"),
        ("fr, de;q=0.5", "de"),
        ("en-US,en;q=0.9,de;q=0.8", "en-au"),
        ("fr", "en-au"),
        ("", "en-au"),
        ("de" * 999, "en-au"),
    ],
)
def test_language_is_the_one_that_the_browser_asks_for(asked: str, language: str) -> None:
    response = Client(headers={"accept-language": asked}).get("/sign-in/")
    assert f'<html lang="{language}">' in response.content.decode()
    assert response["Content-Language"] == language
    assert "Accept-Language" in response["Vary"]


@pytest.mark.parametrize(
    ("address", "host", "status", "says"),
    [
        ("/nothing", HOST, 404, "Seite nicht gefunden"),
        ("/sign-in/", "elsewhere.example", 400, "Wir können diese Anfrage nicht bearbeiten"),
    ],
)
def test_error_pages(address: str, host: str, status: int, says: str) -> None:
    """Each in the language of who asks, not in that of the request before."""
    german, english = Client(SERVER_NAME=host, headers=GERMAN), Client(SERVER_NAME=host)
    for http, is_german in ((german, True), (english, False), (german, True)):
        response = http.get(address, secure=True)
        assert response.status_code == status
        assert (says in response.content.decode()) is is_german
        assert ('<html lang="de">' in response.content.decode()) is is_german


def test_form_from_elsewhere(db: None) -> None:
    response = Client(enforce_csrf_checks=True, headers=GERMAN).post("/sign-in/")
    assert response.status_code == 403
    assert "Dieses Formular kann nicht gesendet werden" in response.content.decode()


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (RuntimeError, 500, "Bei uns ist etwas schiefgegangen"),
        (OperationalError, 503, "Gerade nicht erreichbar"),
    ],
)
def test_failures(
    error: type[Exception], status: int, says: str, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> NoReturn:
        raise error

    http = Client(raise_request_exception=False, headers=GERMAN)
    http.post("/sign-in/", {"username": "ann", "password": PASSWORD})
    monkeypatch.setattr("optin.web.account.lines", fail)
    response = http.get("/account/activity/")
    assert response.status_code == status
    assert says in response.content.decode()


@pytest.mark.parametrize(
    ("seconds", "says"),
    [(1, "1 Sekunde"), (2, "2 Sekunden"), (119, "119 Sekunden"), (121, "3 Minuten")],
)
def test_plural(seconds: int, says: str) -> None:
    with translation.override("de"):
        assert words.in_words(timedelta(seconds=seconds)) == says


def test_months_have_their_german_names() -> None:
    with translation.override("de"):
        at = timezone.now().replace(month=3, day=1)
        assert words.clock_time(at) == "1. M\u00e4rz 2026, 23:00 AEDT"


# -- the calls stay English --------------------------------------------------------


def test_calls_are_english_whatever_is_asked_for(
    user: User, access_key: str, file: File, phone: Phone, clock: time_machine.Traveller
) -> None:
    """Refusals, validators' messages, texts and mails (docs/contract.md, section 5)."""
    # A German page before, on the same thread.
    Client(headers=GERMAN).get("/sign-in/")
    apis = [Api(key=access_key, http=Client(headers=how)) for how in ({}, GERMAN)]
    for body in ({"MobileNumber": "12"}, {}, {"MobileNumber": "1" * 300}):
        english, german = (api.call("opt-in-to-2fa", body) for api in apis)
        assert german.status == 400
        assert (german.status, german.content) == (english.status, english.content)
        assert german.headers.get("Content-Language", "en-au") == "en-au"

    apis[1].opt_in(NUMBER)
    assert "is your Two-Factor code to turn ON" in phone.body
    apis[1].verify(ProviderUser.objects.get().pk, phone.code())
    assert mail.outbox[-1].subject == "Two-factor sign-in is on"


def test_help_is_marked_as_english() -> None:
    text = Client(headers=GERMAN).get("/Help/Errors").content.decode()
    assert '<html lang="de">' in text
    assert re.search(r'<main[^>]* lang="en"', text)
    assert "Zum Inhalt springen" in text


# -- texts -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["n" * 20, "Anne's (Books) & Co."])
def test_longest_text_is_one_segment(any_world: World, settings: LazySettings, name: str) -> None:
    """S-43: 160 characters of GSM-7, for each purpose."""
    host = "h" * (MAX_HOST - 12) + ".example.com"
    settings.OPTIN_SERVICE_NAME = name
    settings.BASE_URL = f"https://{host}"
    any_world.clock.shift(30)
    with translation.override("de"):
        any_world.ask()

    body = any_world.phone.body

    assert len(any_world.code()) == 7
    assert "Geheim halten." in body
    assert len(body) <= 160
    assert set(body) <= GSM_7


def test_longest_text_to_a_replaced_number_is_one_segment(
    active: ProviderUser, settings: LazySettings
) -> None:
    settings.OPTIN_SERVICE_NAME = "n" * 20
    with translation.override("de"):
        body = wording.text_for(SmsMessage(news_to=active, created_at=timezone.now()))
    assert body.startswith("Ihr Konto bei nnn")
    assert len(body) <= 160
    assert set(body) <= GSM_7


# -- mails -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "to_lost"), [*((kind, False) for kind in Notice.Kind), (Notice.Kind.DISOWNED, True)]
)
def test_each_mail(kind: Notice.Kind, to_lost: bool, user: User) -> None:
    """No line of it is the English one, and none is longer than those may be."""
    notice = Notice(pk=1, user=user, kind=kind, last_three="156", created_at=timezone.now())
    if kind.startswith("email_") or to_lost:
        change = EmailChange.objects.create(
            user=user, old_address=user.email, new_address="a@b.example", asked_at=timezone.now()
        )
        notice.about_id = change.pk
    mailed = wording.mail_for(notice)
    subject, english = mailed.subject, str(mailed.body)
    with translation.override("de"):
        message = wording.mail_for(notice)
    body = str(message.body)

    lost = "Das ist nicht mehr die E-Mail-Adresse Ihres Kontos"
    assert (message.subject == lost) is to_lost
    assert message.subject != subject
    same = set(body.splitlines()) & set(english.splitlines())
    assert {line for line in same if not line.startswith("https://")} == {""}
    assert "Wann: 2. November 2026, 23:00 AEDT" in body
    assert max(len(line) for line in body.splitlines() if "://" not in line) <= 100
    # Not in a link, whose random part may hold these digits too.
    has_digits = any("156" in line for line in english.splitlines() if "://" not in line)
    assert has_digits is ("mit den Endziffern 156" in body)


def test_what_a_german_page_caused_is_german_also_when_it_leaves_later(
    user: User, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway and the mail server were away; `send_due` sends both."""
    person = Reader("de", "192.0.2.7")
    sign_in(person)
    person.go(f"{TWO_FACTOR}number/")
    phone.fail_with = SmsError("away")
    person.send(number=NUMBER)
    assert phone.messages == []
    phone.fail_with = None

    send_due()

    assert "zum EINSCHALTEN" in phone.body
    with monkeypatch.context() as away:
        away.setattr(EmailBackend, "open", _away)
        person.send(code=phone.code())
    assert mail.outbox == []

    send_due()

    assert [message.subject for message in mail.outbox] == [
        "Zwei-Faktor-Anmeldung ist eingeschaltet"
    ]


def send_due() -> None:
    """As in a process of its own, where no page was before."""
    with translation.override("en-au"):
        call_command("send_due")


def _away(server: EmailBackend) -> NoReturn:
    raise OSError
