"""S-50: what goes through the pages turns up nowhere that it should not.

A browser without scripts does all that can be done there. Mails carry their own links and
nothing else; the id of a session is the key of its row in the database, and stands nowhere
else.
"""

import http.cookiejar
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pyotp
import pytest

from tests.kit.phone import wrong
from tests.kit.server import Site, running, until
from tests.logs.sentinels import ANNS, FAULTY, Scene

pytestmark = pytest.mark.django_db(transaction=True)

WRONG_PASSWORD = "sentinel-wrong-password"
NEW_PASSWORDS = ("sentinel-new-password-1", "sentinel-new-password-2")
MAIL = re.compile(r"^Content-Type: text/plain.*?^-{79}$", re.MULTILINE | re.DOTALL)
SESSIONS = """
from django.contrib.sessions.models import Session
for session in Session.objects.all():
    print(session.get_decoded())
"""


@pytest.fixture(autouse=True)
def clock() -> None:
    """Real time: the app shows the code of the server's hour."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running(tmp_path, env=FAULTY) as site:
        yield site


@dataclass
class Surfer(Scene):
    """``ann`` at her browser: whatever she sees or sends in confidence is a secret."""

    cookies: http.cookiejar.CookieJar = field(default_factory=http.cookiejar.CookieJar)
    html: str = ""
    path: str = ""
    status: int = 0

    def go(self, path: str, *, body: bytes | None = None, **headers: str) -> None:
        """Open a page; redirects are followed."""
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(f"http://127.0.0.1:{self.site.port}{path}", body, names)
        try:
            answer = opener.open(request, timeout=60)
        except urllib.error.HTTPError as exc:
            answer = exc
        with answer:
            self.html, self.status = answer.read().decode(), answer.status
            self.path = urlsplit(answer.url).path
        for cookie in self.cookies:
            self.secrets.add(f"{cookie.name} cookie {cookie.value}", cookie.value or "")

    def send(self, **fields: str) -> None:
        """Send the form of the page that is shown, with what is hidden in it."""
        token = self.find(r'name="csrfmiddlewaretoken" value="([^"]+)"')
        self.secrets.add(f"csrf token {token}", token)
        body = urlencode({"csrfmiddlewaretoken": token, **fields}).encode()
        query = self.find(r'action="[^"?]*(\?[^"]*)"') if 'action="' in self.html else ""
        self.go(f"{self.path}{query}", body=body)

    def find(self, pattern: str) -> str:
        found = re.search(pattern, self.html)
        return unescape(found[1]) if found else ""

    def sign_in_with(self, password: str) -> None:
        self.go("/sign-in/")
        self.send(username="ann", password=password)

    @property
    def mails(self) -> list[str]:
        mails: list[str] = MAIL.findall(self.site.log.read_text())
        # Newer Djangos break long lines (RFC 2045, 6.7).
        return [mail.replace("=\n", "").replace("=3D", "=") for mail in mails]

    def mailed(self, part: str) -> str:
        """The path of the newest link below *part*; its token is a secret from now on."""

        def links() -> list[str]:
            found: list[str] = re.findall(rf"https?://\S+?(/{part}/\S+/)\s", "\n".join(self.mails))
            return found

        until(lambda: bool(links()))  # it may leave after the answer
        link = links()[-1]
        self.secrets.add(f"token of {part}", link.strip("/").rpartition("/")[2])
        return link

    # -- what she does -------------------------------------------------------------

    def opt_in(self) -> None:
        self.sign_in_with(WRONG_PASSWORD)
        assert self.status == 422
        self.sign_in_with(self.people["ann"]["password"])
        assert self.path == "/account/"
        self.go("/account/two-factor/number/")
        self.send(number=ANNS, file="777")
        assert self.path == "/account/two-factor/number/code/"
        code = self.code()
        self.send(code=wrong(code))
        self.send(code=code)
        assert self.path == "/account/two-factor/on/"

    def set_up_recovery_codes(self) -> list[str]:
        self.go("/account/two-factor/recovery-codes/")
        signed = self.find(r'name="codes" value="([^"]+)"')
        self.secrets.add("signed recovery codes", signed)
        self.send(codes=signed)
        codes = re.findall(r"<code>([^<]+)</code>", self.html)
        assert len(codes) == 10
        for code in codes:
            self.secrets.add(f"recovery code {code}", code)
            self.secrets.add(f"recovery code {code}, bare", code.replace("-", ""))
        return codes

    def set_up_app(self) -> None:
        self.go("/account/two-factor/app/")
        self.send()
        shown = self.find(r'<code class="key" id="key">([^<]+)</code>')
        secret = shown.replace(" ", "")
        self.secrets.add("secret of the app", secret)
        self.secrets.add("secret of the app, as shown", shown)
        code = self.know(pyotp.TOTP(secret).now())
        self.send(code=wrong(code))
        self.send(code=code)
        assert self.path == "/account/two-factor/on/"

    def sign_in_with_recovery_code(self, code: str) -> None:
        self.cookies.clear()
        self.sign_in_with(self.people["ann"]["password"])
        assert self.path == "/sign-in/code/"
        self.go("/sign-in/recovery/")
        self.send(recovery="ABCD-ABCD-ABCD-ABCD")
        assert self.path == "/sign-in/recovery/"
        self.send(recovery=code)
        assert self.path == "/account/two-factor/number/"

    def change_password(self, password: str) -> None:
        self.go("/account/password/")
        self.send(new_password1=password, new_password2=f"{password}-mistyped")
        assert self.path == "/account/password/"
        self.send(new_password1=password, new_password2=password)
        assert self.path == "/account/"

    def reset_password(self, password: str) -> None:
        self.cookies.clear()
        self.go("/password-reset/")
        (address,) = set(re.findall(r"(?m)^To: (\S+)$", "\n".join(self.mails)))
        self.send(email=address)
        self.go(self.mailed("password-reset"))
        self.send(new_password1=password, new_password2=password)
        assert self.path == "/sign-in/"

    def disown(self, password: str) -> None:
        self.go(self.mailed("not-me"))
        self.send(password=WRONG_PASSWORD)
        assert self.status == 422
        self.send(password=password)
        assert self.path == "/not-me/done/"

    def meet_a_fault(self) -> None:
        """A page that fails, with all that was sent in the words of its exception."""
        self.sign_in_with(NEW_PASSWORDS[1])
        body = urlencode({"username": "ann", "password": NEW_PASSWORDS[1]}).encode()
        self.go("/sign-in/", body=body, X_Fault="page")
        assert self.status == 500
        assert self.secrets.found_in(self.html) == set()


@pytest.mark.slow
def test_no_secret_of_the_pages_turns_up_anywhere(site: Site) -> None:
    """S-50."""
    ann = Surfer(site)
    secrets = ann.secrets
    for password in (WRONG_PASSWORD, *NEW_PASSWORDS):
        secrets.add(password, password)

    ann.opt_in()
    codes = ann.set_up_recovery_codes()
    ann.set_up_app()
    ann.sign_in_with_recovery_code(codes[0])
    ann.change_password(NEW_PASSWORDS[0])
    ann.reset_password(NEW_PASSWORDS[1])
    ann.disown(NEW_PASSWORDS[1])
    ann.meet_a_fault()
    assert ann.run("shell", "--no-imports", "-c", SESSIONS).out.count("{") > 2

    log, mails = MAIL.sub("", site.log.read_text()), "\n".join(ann.mails)
    written = {"log": log, "metrics": site.metrics(), "database": site.dump(), **ann.printed}
    found = {place: secrets.found_in(text) for place, text in written.items()}
    assert {place: names for place, names in found.items() if names} == {}
    assert secrets.found_in(mails) == {"token of password-reset", "token of not-me"}
    # It was all there to be found.
    assert len([name for name in secrets.words if name.startswith("session cookie")]) >= 8
    assert log.count('"event": "request"') > 40
    assert "RuntimeError" in log
    assert mails.count("Subject: ") >= 6
