"""End to end: the service, Kannel, and a carrier that is made of Kannel's own test program."""

import html
import http.cookiejar
import json
import re
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from django.conf import LazySettings
from django.utils import timezone

from optin.conf import MAX_HOST
from optin.gateways import Fate, Kannel, SmsError, Text
from optin.messaging import wording
from optin.messaging.segments import size
from optin.models import SmsMessage
from optin.models.messages import State
from tests.kit.gateways import made
from tests.kit.kannel import Carrier, is_here, kannel_in
from tests.kit.people import NUMBER
from tests.kit.server import Site, needs, running, until

SECRET = "r3ceipt" * 5


@pytest.fixture
def carrier(tmp_path: Path) -> Iterator[Carrier]:
    needs("Kannel", is_here())
    folder = tmp_path / "kannel"
    folder.mkdir()
    with kannel_in(folder) as carrier:
        yield carrier


pytestmark = [pytest.mark.kannel, pytest.mark.long]


# -- its answers -------------------------------------------------------------------


def kannel(carrier: Carrier, **changes: str) -> Kannel:
    options: dict[str, Any] = {"url": carrier.url, "user": "optin", "password": carrier.password}
    return made(Kannel, **options | {"sender": "Books"} | changes)


def text(**changes: Any) -> Text:
    return Text(**{"to": NUMBER, "body": "1234567 is your code.", "reference": "sms-1"} | changes)


@pytest.mark.parametrize(
    ("changes", "to", "status", "fate"),
    [
        pytest.param({"password": "wrong"}, NUMBER, 403, Fate.TRY_ANOTHER, id="unauthorized"),
        pytest.param({}, "+6421555017", 403, Fate.NOT_HERE, id="not-routable"),
    ],
)
def test_what_kannel_refuses(
    carrier: Carrier, changes: dict[str, str], to: str, status: int, fate: Fate
) -> None:
    carrier.start_smsc()
    with pytest.raises(SmsError, match=f"^the gateway answered {status}$") as caught:
        kannel(carrier, **changes).send(text(to=to))
    assert caught.value.fate is fate


def test_kannel_is_away(carrier: Carrier) -> None:
    carrier.stop("smsbox")
    with pytest.raises(SmsError) as caught:
        kannel(carrier).send(text())
    assert caught.value.fate is Fate.TRY_ANOTHER


def test_the_text_as_it_is(carrier: Carrier) -> None:
    carrier.start_smsc()
    assert kannel(carrier).send(text()) == ""
    until(lambda: bool(carrier.arrived(NUMBER)), 10)
    [line] = carrier.arrived(NUMBER)
    assert f"<Books {NUMBER} text 1234567 is your code.>" in line


# -- segments ----------------------------------------------------------------------

GSM_7 = (
    *("x" * length for length in (159, 160, 161, 305, 306, 307, 460)),
    *("\u20ac" * length for length in (76, 77, 80, 81, 152, 153, 154)),
    *("\u00e4\u00df\u00c4[~]" * times for times in (16, 17, 18, 34)),
    # A sign of two places where a segment ends.
    *("x" * 152 + "\u20ac" + "x" * more for more in (7, 8, 151, 152, 200)),
)
UCS_2 = (
    *("\u0142" * length for length in (1, 69, 70, 71, 134, 135, 201, 202)),
    *("\U0001f511" * length for length in (35, 36, 67, 68)),
    "x" * 69 + "\u2019",
    "x" * 70 + "\u2019",
)


def test_kannel_counts_the_segments_that_are_predicted(
    carrier: Carrier, settings: LazySettings
) -> None:
    """G-06. Of the texts of the service, and of texts of any length in both alphabets."""
    settings.OPTIN_RECOVERY_DELAY = 86_400
    settings.OPTIN_SERVICE_NAME = "n" * 20
    settings.BASE_URL = f"https://{'h' * MAX_HOST}"
    own = [sample.body for sample in wording.samples()]
    carrier.start_smsc()
    bodies = {f"+6149157{n:04}": body for n, body in enumerate([*own, *GSM_7, *UCS_2])}
    for to, body in bodies.items():
        if body in own:
            kannel(carrier).send(text(to=to, body=body))
        else:
            carrier.post(to, body)
    kannel(carrier).send(text())
    until(lambda: bool(carrier.arrived(NUMBER)), 30)  # the last one, so all are there
    counted = {to: len(carrier.arrived(to)) for to in bodies}
    assert counted == {to: size(body).segments for to, body in bodies.items()}
    assert {counted[to] for to, body in bodies.items() if body in own} == {1}
    assert [size(body).is_gsm_7 for body in (*GSM_7, *UCS_2)] == (
        [True] * len(GSM_7) + [False] * len(UCS_2)
    )


# -- end to end --------------------------------------------------------------------


@dataclass
class Phone:
    site: Site
    carrier: Carrier
    people: dict[str, Any]

    def ask(self, name: str, number: str) -> int:
        (file_id, key), *_ = self.people[name]["access_keys"].items()
        path = f"/User/opt-in-to-2fa?FileId={file_id}&WsAccessKey={key}"
        return self.site.send(path, json.dumps({"MobileNumber": number})).status

    def newest(self) -> SmsMessage:
        fields = ("state", "created_at", "sent_at", "delivered_at", "reason")
        statement = f"SELECT {', '.join(fields)} FROM optin_smsmessage ORDER BY id DESC LIMIT 1"  # noqa: S608
        [row] = self.site.rows(statement)
        values = dict(zip(fields, row, strict=True))
        for name in ("created_at", "sent_at", "delivered_at"):
            if isinstance(values[name], str):
                values[name] = datetime.fromisoformat(f"{values[name]}+00:00")
        return SmsMessage(**values)

    def is_delivered(self) -> bool:
        return self.newest().state == State.DELIVERED


@dataclass
class Surfer:
    """A person at a browser without scripts."""

    site: Site
    cookies: http.cookiejar.CookieJar = field(default_factory=http.cookiejar.CookieJar)
    path: str = ""
    page: str = ""

    def go(self, path: str, **fields: str) -> None:
        """Open a page, or send *fields* with the token of the page that is shown."""
        address = f"http://127.0.0.1:{self.site.port}{path}"
        body = None
        if fields:
            found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', self.page)
            assert found
            body = urlencode({"csrfmiddlewaretoken": found[1], **fields}).encode()
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))
        with opener.open(address, body, timeout=60) as answer:
            url, shown = urlsplit(answer.url), answer.read().decode()
            self.path, self.page = f"{url.path}?{url.query}", shown

    def says(self, words: str) -> bool:
        return words in html.unescape(re.sub(r"\s+", " ", self.page))


@pytest.fixture
def phone_line(carrier: Carrier, tmp_path: Path, db: None) -> Iterator[Phone]:
    folder = tmp_path / "site"
    folder.mkdir()
    with running(
        folder,
        OPTIN_GATEWAYS="kannel",
        OPTIN_FICTIONAL_NUMBERS="yes",
        OPTIN_GATEWAY_KANNEL_URL=carrier.url,
        OPTIN_GATEWAY_KANNEL_USER="optin",
        OPTIN_GATEWAY_KANNEL_PASSWORD=carrier.password,
        OPTIN_GATEWAY_KANNEL_SENDER="Books",
        OPTIN_RECEIPT_SECRET=SECRET,
        OPTIN_RESEND_WAIT="30",
    ) as site:
        made = json.loads(site.manage("demo", "--json", "--empty").stdout)
        people = {person["username"]: person for person in made["users"]}
        yield Phone(site, carrier, people)


@pytest.mark.django_db(transaction=True)
def test_a_text_is_delivered_once_and_the_page_says_so(phone_line: Phone) -> None:
    """P-06, S-63. The SMSC is away, then Kannel too: nothing lost, nothing twice."""
    carrier = phone_line.carrier
    assert phone_line.ask("ann", NUMBER) == 200
    ann = waits_for_her_text(phone_line)
    assert ann.says("Sent at ")

    carrier.start_smsc()
    until(phone_line.is_delivered, 60)
    assert len(carrier.arrived(NUMBER)) == 1
    at = phone_line.newest().delivered_at
    assert at
    for path in (ann.path, ann.path.replace("/code/", "/code/not-received/")):
        ann.go(path)
        assert ann.says(f"Delivered at {timezone.localtime(at):%H:%M %Z}.")
        assert not ann.says("not confirmed it yet")

    other = "+61491570157"
    carrier.stop("fakesmsc")
    assert phone_line.ask("ben", other) == 200
    assert phone_line.newest().state in {State.SENT, State.QUEUED}
    assert carrier.arrived(other) == []
    carrier.start_smsc()
    until(lambda: taken_up(phone_line), 60)
    assert len(carrier.arrived(other)) == 1

    third = "+61491570158"
    carrier.stop("smsbox", "bearerbox")
    assert phone_line.ask("cam", third) == 200
    assert (phone_line.newest().state, carrier.arrived(third)) == (State.QUEUED, [])
    carrier.stop("fakesmsc")
    carrier.start()
    carrier.start_smsc()
    until(lambda: taken_up(phone_line), 60)
    for number in (NUMBER, other, third):
        assert len(carrier.arrived(number)) == 1, number
    assert SECRET not in phone_line.site.log.read_text()


def waits_for_her_text(phone_line: Phone) -> Surfer:
    """Ann at the page for the code that the API has sent her."""
    ann = Surfer(phone_line.site)
    ann.go("/sign-in/")
    ann.go(ann.path, username="ann", password=phone_line.people["ann"]["password"])
    # The same number within the wait: no second text, but the page of the first.
    ann.go("/account/two-factor/number/")
    ann.go(ann.path, number=NUMBER, file="777")
    assert ann.path.startswith("/account/two-factor/number/code/?")
    return ann


def taken_up(phone_line: Phone) -> bool:
    """Send what is due; whether the newest text is delivered by now."""
    if phone_line.newest().state == State.QUEUED:
        phone_line.site.manage("send_due")
    return phone_line.is_delivered()
