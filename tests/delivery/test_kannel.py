"""End to end: the service, Kannel, and a carrier that is made of Kannel's own test program."""

import html
import http.cookiejar
import json
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from django.utils import timezone

from optin.gateways import Fate, Kannel, SmsError, Text
from optin.models import SmsMessage
from optin.models.messages import State
from tests.kit.people import NUMBER
from tests.kit.server import Site, eventually, needs, running

FAKESMSC = Path("/usr/lib/kannel/test/fakesmsc")
BOXES = [
    shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin") for name in ("bearerbox", "smsbox")
]
SECRET = "r3ceipt" * 5

CONF = """
group = core
admin-port = {admin}
admin-password = {password}
admin-deny-ip = "*.*.*.*"
admin-allow-ip = "127.0.0.1"
box-deny-ip = "*.*.*.*"
box-allow-ip = "127.0.0.1"
smsbox-port = {box}
log-level = 1
log-file = "{folder}/bearerbox.log"
dlr-storage = internal
store-type = file
store-location = "{folder}/store"

group = smsc
smsc = fake
smsc-id = fake
host = 127.0.0.1
port = {carrier}
connect-allow-ip = "127.0.0.1"
allowed-prefix = "+614"

group = smsbox
bearerbox-host = 127.0.0.1
sendsms-port = {sendsms}
sendsms-interface = 127.0.0.1
log-file = "{folder}/smsbox.log"
log-level = 1

group = sendsms-user
username = optin
password = {password}
user-deny-ip = "*.*.*.*"
user-allow-ip = "127.0.0.1"

group = sms-service
keyword = default
text = ""
max-messages = 0
omit-empty = true
"""


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def listens(port: int) -> bool:
    with socket.socket() as line:
        return line.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Carrier:
    """Kannel on ports of its own, and the SMSC behind it."""

    folder: Path
    ports: dict[str, int]
    password: str = "kannels-password"
    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports['sendsms']}/cgi-bin/sendsms"

    @property
    def smsc_log(self) -> Path:
        return self.folder / "fakesmsc.log"

    def start(self) -> None:
        conf = self.folder / "kannel.conf"
        conf.write_text(CONF.format(folder=self.folder, password=self.password, **self.ports))
        for box, port in zip(BOXES, ("box", "sendsms"), strict=True):
            assert box
            self._run(Path(box).name, box, str(conf))
            assert eventually(partial(listens, self.ports[port]))

    def start_smsc(self) -> None:
        port = str(self.ports["carrier"])
        self._run("fakesmsc", str(FAKESMSC), "-H", "127.0.0.1", "-r", port, "-m", "0", "1 2 text x")

    def stop(self, *names: str) -> None:
        for name in names or list(self.running):
            process = self.running.pop(name)
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _run(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(command, stdout=log, stderr=log)

    def arrived(self, number: str = NUMBER) -> list[str]:
        """The first lines of the texts to *number* that reached the phone."""
        if not self.smsc_log.exists():
            return []
        lines = self.smsc_log.read_text(errors="replace").splitlines()
        return [line for line in lines if "Got message" in line and f" {number} " in line]


@pytest.fixture
def carrier(tmp_path: Path) -> Iterator[Carrier]:
    needs("Kannel", all(BOXES) and FAKESMSC.exists())
    folder = tmp_path / "kannel"
    folder.mkdir()
    names = ("admin", "box", "carrier", "sendsms")
    carrier = Carrier(folder, dict(zip(names, free_ports(len(names)), strict=True)))
    try:
        carrier.start()
        yield carrier
    finally:
        carrier.stop()


pytestmark = [pytest.mark.kannel, pytest.mark.slow]


# -- its answers -------------------------------------------------------------------


def kannel(carrier: Carrier, **changes: str) -> Kannel:
    options: dict[str, Any] = {"url": carrier.url, "user": "optin", "password": carrier.password}
    return Kannel(**options | {"sender": "Books", "receipt_secret": ""} | changes)


def text(**changes: Any) -> Text:
    return Text(**{"to": NUMBER, "body": "1234567 is your code.", "reference": "sms-1"} | changes)


def within(seconds: float, true: Callable[[], bool]) -> bool:
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends:
        if true():
            return True
        time.sleep(0.1)
    return False


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
    assert within(10, lambda: bool(carrier.arrived()))
    [line] = carrier.arrived()
    assert f"<Books {NUMBER} text 1234567 is your code.>" in line


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
    assert ann.says("Your carrier has not confirmed it yet.")

    carrier.start_smsc()
    assert within(60, phone_line.is_delivered)
    assert len(carrier.arrived()) == 1
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
    assert within(60, lambda: taken_up(phone_line))
    assert len(carrier.arrived(other)) == 1

    third = "+61491570158"
    carrier.stop("smsbox", "bearerbox")
    assert phone_line.ask("cam", third) == 200
    assert (phone_line.newest().state, carrier.arrived(third)) == (State.QUEUED, [])
    carrier.stop("fakesmsc")
    carrier.start()
    carrier.start_smsc()
    assert within(60, lambda: taken_up(phone_line))
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
    return within(3, phone_line.is_delivered)
