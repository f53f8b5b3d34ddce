"""P-13: every string is translatable; German is shipped to prove it."""

import ast
import re
from collections.abc import Iterator
from datetime import timedelta
from html.parser import HTMLParser
from typing import NoReturn

import pytest
from django.conf import LazySettings, settings
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.core.management import call_command
from django.db import OperationalError
from django.template.base import Lexer, TokenType
from django.test import Client
from django.utils import timezone, translation

from optin import tasks
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
    SmsMessage,
    User,
)
from optin.operations import passwords
from optin.origin import Face
from optin.web import activity, words
from tests.kit.browser import HOST, Browser, sign_in
from tests.kit.clients import Api
from tests.kit.commands import run
from tests.kit.people import NUMBER, ORIGIN, PASSWORD
from tests.kit.phone import GSM_7, Phone
from tests.kit.staff import ask, browser_of
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

SPOKEN = {"aria-label", "alt", "title", "placeholder", "data-ready"}
"""Attributes that are read or read out."""
NO_PAGES = {"admin", "help", "mail"}
"""Folders of templates: staff and developers read English, and mails have a test of their own."""


class Words(HTMLParser):
    """What is read and read out on a page, piece by piece."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.pieces: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in SPOKEN:
                self.handle_data(value or "")

    def handle_data(self, data: str) -> None:
        if re.search(r"[^\W\d_]{2}", data):
            self.pieces.add(" ".join(data.split()))


def untranslated(template: str) -> set[str]:
    """The words of a template that are in no tag that translates."""
    text, inside = "", ""
    for token in Lexer(template).tokenize():
        tag = token.split_contents()[0] if token.token_type is TokenType.BLOCK else ""
        if tag in {"blocktranslate", "comment"}:
            inside = tag
        elif tag == f"end{inside}":
            inside = ""
        elif token.token_type is TokenType.TEXT and not inside:
            text += token.contents
    return Words(text).pieces


def test_no_word_of_english_is_left() -> None:
    """P-13. The catalogue has a translation of all that is marked; here all words are."""
    pages = [
        path
        for path in (settings.BASE_DIR / "templates").rglob("*.html")
        if not NO_PAGES & set(path.parts)
    ]
    assert len(pages) > 50
    found = {path.name: untranslated(path.read_text(encoding="utf-8")) for path in pages}
    assert {name: words for name, words in found.items() if words - {"ms:"}} == {}


def test_every_sentence_of_the_views_is_translated_when_it_is_shown() -> None:
    """In ``_``; and where a module is loaded, which has no language, in a lazy one."""
    for path in (settings.BASE_DIR / "optin/web").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        marked = [call for call in calls if ast.unparse(call.func) in {"_", "ngettext"}]
        said = {part for call in marked for part in ast.walk(call)}
        docs = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and node not in said | docs:
                is_sentence = re.fullmatch(r"[A-Z].* .*[.?]", str(node.value))
                # Clients get the errors of OAuth in English.
                is_oauth = path.name in {"consent.py", "openid.py"}
                assert not is_sentence or is_oauth, (path.name, node.value)
        if "import gettext as _" in path.read_text(encoding="utf-8"):
            within = {
                part
                for each in ast.walk(tree)
                if isinstance(each, ast.FunctionDef | ast.Lambda)
                for part in ast.walk(each)
            }
            assert not set(marked) - within, path.name


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
        ("fr, de;q=0.5", "de"),
        ("en-US,en;q=0.9,de;q=0.8", "en-au"),
        ("", "en-au"),
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
        assert words.clock_time(at) == "1. M\u00e4rz 2026, 23:00 Uhr (AEDT)"


# -- the calls stay English --------------------------------------------------------


def test_calls_are_english_whatever_is_asked_for(access_key: str, file: File, phone: Phone) -> None:
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
    assert "Wann: 2. November 2026, 23:00 Uhr (AEDT)" in body
    assert max(len(line) for line in body.splitlines() if "://" not in line) <= 100
    # Not in a link, whose random part may hold these digits too.
    has_digits = any("156" in line for line in english.splitlines() if "://" not in line)
    assert has_digits is ("mit den Endziffern 156" in body)


def test_what_a_german_page_caused_is_german_also_when_it_leaves_later(
    user: User, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway and the mail server were away; `send_due` sends both."""
    person = Browser()
    person.client.defaults["HTTP_ACCEPT_LANGUAGE"] = "de"
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


def test_what_no_page_of_the_person_caused_is_in_their_language(
    user: User, active: ProviderUser
) -> None:
    """P-13: of staff, of operators and of workers. On a page, the language of that counts."""
    User.objects.filter(pk=user.pk).update(language="de")
    staff = browser_of("support")
    ask(staff, f"optin/user/{user.pk}/suspend/", reason="Ticket 1. Jo")
    ask(staff, f"optin/user/{user.pk}/resume/", reason="Ticket 1. Jo")
    ask(staff, f"optin/user/{user.pk}/revoke-later/", reason="Ticket 1. Jo")
    day_before = timezone.now() - timedelta(days=1)
    EmailChange.objects.create(
        user=user,
        old_address=user.email,
        new_address="a@b.example",
        asked_at=day_before,
        proved_at=day_before,
        due_at=timezone.now(),
    )
    tasks.revoke_due(0)
    run("access_key", "create", "ann", "777")
    passwords.ask_reset(user.email, origin=ORIGIN)
    languages = dict(Notice.objects.values_list("kind", "language"))
    assert languages.pop("activated") == languages.pop("password_reset") == "en-au"
    assert {*languages} == {"suspended", "resumed", "revoke_planned", "email_off", "key_made"}
    assert {*languages.values()} == {"de"}


def send_due() -> None:
    """As in a process of its own, where no page was before."""
    with translation.override("en-au"):
        call_command("send_due")


def _away(server: EmailBackend) -> NoReturn:
    raise OSError
