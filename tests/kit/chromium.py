"""A real server and a real browser, and what both are asked."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Page,
    Request,
    expect,
)

from tests.kit.server import ROOT, free_port, listens, manage, running_python, until
from tests.kit.tables import migrated

# The shell has the engine without the windows around it: a third less work for the processor.
CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
NARROW, PHONE, WIDE = 320, 390, 1280
"""The widths in CSS pixels: 320 is also what 1280 comes to at 400 % zoom."""

Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
PATIENCE = 30
"""Seconds until a server must serve, a page must show, and a text must have arrived."""

expect.set_options(timeout=PATIENCE * 1000)

_STANDARDS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Nothing leaves this machine, not even a question for a name.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
]


# -- the server --------------------------------------------------------------------


@dataclass(frozen=True)
class Site:
    """A development start of the service in processes of its own, with the demo people."""

    url: str
    data_dir: Path
    demo: dict[str, Any]
    settings: Mapping[str, str] = field(default_factory=dict)  # beside the usual ones
    application: str = "twofa_site.wsgi"

    @property
    def port(self) -> str:
        return self.url.rpartition(":")[2]

    @property
    def log(self) -> Path:
        return self.data_dir / f"server-{self.port}.log"

    def password(self, username: str) -> str:
        """The password of a demo person: ann, ben, cam, or sam of the staff."""
        found: str = next(p["password"] for p in self.demo["users"] if p["username"] == username)
        return found

    def manage(self, *arguments: str) -> str:
        """Run a command of the service, beside the server; return what it prints."""
        return manage(_environment(self), *arguments)

    def do(self, body: str) -> dict[str, Any]:
        """Run Python beside the server; return what it puts into ``out``, which is a dictionary.

        One process does it all, while the server runs: each takes seconds to start.
        """
        if self.url not in _beside:
            _beside[self.url] = subprocess.Popen(
                [sys.executable, "manage.py", "shell", "--verbosity", "0", "-c", _DO],
                cwd=ROOT,
                env=_environment(self),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        process = _beside[self.url]
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps(body) + "\n")
        process.stdin.flush()
        # Mails are printed before it.
        answer = next((line for line in process.stdout if line.startswith("{")), "{}")
        found: dict[str, Any] = json.loads(answer)
        assert "out" in found, found.get("error", "the process is gone")
        out: dict[str, Any] = found["out"]
        return out

    def reset(self) -> None:
        """Put the demo people back to the start, and forget what was sent and counted."""
        self.manage("demo", "--json", "--reset")

    def texts(self, number: str) -> list[str]:
        """The bodies of all texts to a number in E.164 form, oldest first."""
        try:
            lines = (self.data_dir / "sms.jsonl").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        return [text["body"] for text in map(json.loads, lines) if text["to"] == number]

    def newest_text(self, number: str, *, after: int = 0) -> str:
        """The newest text to a number, once more than *after* have arrived there."""
        until(lambda: len(self.texts(number)) > after, PATIENCE)
        return self.texts(number)[-1]

    def mails(self, address: str) -> list[str]:
        """The mails to an address, oldest first: a development start writes them to its log."""
        log = plain(self.log.read_text(encoding="utf-8"))
        mails = log.split("\nContent-Type: text/plain")[1:]
        return [mail for mail in mails if f"\nTo: {address}\n" in mail]

    def mailed_link(self, address: str, part: str) -> str:
        """The newest link with *part* in it that was mailed to an address."""

        def links() -> list[str]:
            return re.findall(rf"http\S+/{part}/\S+", "".join(self.mails(address)))

        until(links, PATIENCE)
        return links()[-1]


_DO = "import sys; from tests.browser.crowd import answer; answer(sys.stdin)"
_beside: dict[str, subprocess.Popen[str]] = {}
"""The process beside each server that does something there, by the address of the server."""


def plain(log: str) -> str:
    """The mails of a log as they are read: newer Djangos break long lines (RFC 2045, 6.7)."""
    return log.replace("=\n", "").replace("=3D", "=")


def _environment(site: Site) -> dict[str, str]:
    """The environment of a development start: nothing of the tests', nor of the machine's."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    # All tests come from one address, and their numbers have one prefix.
    limits = ("OPTIN_SENDS_PER_IP", "OPTIN_FAILED_SIGN_INS_PER_IP", "OPTIN_SIGN_INS_PER_IP")
    unlimited = dict.fromkeys((*limits, "OPTIN_BREAKER_TEXTS"), "0")
    unlimited["OPTIN_RECOVERY_DELAY"] = "259200"  # its pages are looked at too
    where = {"DATA_DIR": str(site.data_dir), "PORT": site.port}
    return {**kept, **unlimited, **where, **site.settings}


@contextmanager
def serve(data_dir: Path, *, set_up: str, application: str = "twofa_site.wsgi") -> Iterator[Site]:
    """Start the service as ``make run`` does, on a free port, and stop it afterwards.

    *set_up* makes the people, and prints them as JSON in a line. Mails may be printed before and
    after it.
    """
    site = Site(f"http://localhost:{free_port()}", data_dir, {}, application=application)
    migrated(data_dir)
    printed = site.manage("shell", "--verbosity", "0", "-c", set_up)
    (people,) = (line for line in printed.splitlines() if line.startswith("{"))
    site.demo.update(json.loads(people))
    with _running(site):
        yield site


@contextmanager
def beside(site: Site, **settings: str) -> Iterator[Site]:
    """Start another server of the same rows, to which its operators gave other settings."""
    url = f"http://localhost:{free_port()}"
    other = replace(site, url=url, settings={**site.settings, **settings})
    with _running(other):
        yield other


@contextmanager
def _running(site: Site) -> Iterator[None]:
    command = ["-m", "gunicorn", site.application, "--config", "gunicorn.conf.py"]
    command += ["--bind", f"127.0.0.1:{site.port}", "--graceful-timeout", "1"]
    with running_python(*command, env=_environment(site), log=site.log):
        until(lambda: listens(int(site.port)), PATIENCE)
        try:
            yield
        finally:
            if process := _beside.pop(site.url, None):
                process.communicate()  # it ends with its input


# -- the browser -------------------------------------------------------------------


@dataclass
class Window:
    """Opens pages of one site in the browser of this worker, and closes them at the end."""

    browser: Browser
    site: Site
    contexts: list[BrowserContext] = field(default_factory=list)

    def __call__(
        self,
        address: str | None = None,
        *,
        width: int = WIDE,
        scripts: bool = True,
        scheme: Scheme = "light",
        **options: Any,
    ) -> Page:
        """Open a page with cookies of its own; ``page.goto("/path")`` goes on from there.

        *options* are those of ``Browser.new_context``: ``forced_colors``, ``locale``...
        Nothing moves unless ``reduced_motion="no-preference"`` is among them: colours that
        still fade would be measured half-way.
        """
        options.setdefault("reduced_motion", "reduce")
        context = self.browser.new_context(
            base_url=self.site.url,
            viewport={"width": width, "height": 800},
            java_script_enabled=scripts,
            color_scheme=scheme,
            **options,
        )
        self.contexts.append(context)
        context.set_default_timeout(PATIENCE * 1000)
        page = context.new_page()
        _listen(page)
        if address is not None:
            page.goto(address)
        return page

    def close(self) -> None:
        for context in self.contexts:
            context.close()


def launch_options() -> dict[str, Any]:
    return {"executable_path": CHROMIUM, "headless": True, "args": _FLAGS}


_complaints: dict[Page, list[str]] = {}


def _listen(page: Page) -> None:
    """Collect what the browser complains about: broken scripts, violations of the policy."""
    heard = _complaints[page] = []
    documents = set[str]()

    def asked(request: Request) -> None:
        if request.is_navigation_request():
            documents.add(request.url)

    def console(message: ConsoleMessage) -> None:
        # That the document itself is a 404, or a refused form's 422, is no fault of the page.
        # It may be said before the page is there: ``page.url`` would be that of the last.
        document = message.location.get("url") in documents and "Failed to load" in message.text
        # Said where the script, or the test, took the focus first: see ``Pointer.leave``.
        blocked = message.text.startswith("Autofocus processing was blocked")
        if blocked or (message.type == "error" and not document):
            heard.append(f"{message.text} ({page.url})")

    def broken(error: Error) -> None:
        heard.append(str(error))

    def closed(page: Page) -> None:
        _complaints.pop(page, None)

    page.on("request", asked)
    page.on("console", console)
    page.on("pageerror", broken)
    page.on("close", closed)


# -- what is asked -----------------------------------------------------------------


def faults(page: Page, *, colours_only: bool = False) -> list[str]:
    """What is wrong with the page as it stands: for axe, for a narrow window, for the browser.

    *colours_only* is quick: for a second look in which nothing else has changed.
    """
    found = list(_complaints[page])
    # scrollWidth leaves out what hangs off the left edge, where nobody can scroll to.
    wide, room = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    if wide > room:
        found.append(f"scrolls sideways: {wide} px wide in {room} px")
    standards = {"type": "tag", "values": _STANDARDS}
    options: dict[str, Any] = {
        "resultTypes": ["violations"],
        "runOnly": ["color-contrast"] if colours_only else standards,
    }
    if not colours_only:
        options["rules"] = {"target-size": {"enabled": True}}
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    run = "options => axe.run(options).then(results => results.violations)"
    for violation in page.evaluate(run, options):
        for node in violation["nodes"]:
            found.append(f"{violation['id']}: {node['html'][:200]} ({node['failureSummary']})")
    return found


def audit(page: Page) -> None:
    """P-11: fail with a list of everything that is wrong with the page as it stands."""
    assert faults(page) == []


EVERYWHERE: list[tuple[int, Scheme, bool]] = [
    (NARROW, "light", False),
    (NARROW, "dark", True),
    (WIDE, "dark", False),
    (WIDE, "light", True),
]
"""A width, a scheme, and whether colours alone are looked at."""


def audit_everywhere(page: Page, name: str) -> None:
    """Audit the page, and take its picture, at both widths in both schemes.

    Where pictures are asked for, take it at the width of a phone as well.
    """
    for scheme in SCHEMES if "SCREENSHOTS" in os.environ else ():
        _set(page, PHONE, scheme)
        shoot(page, f"{name}-{PHONE}-{scheme}")
    found = {}
    for width, scheme, colours_only in EVERYWHERE:
        _set(page, width, scheme)
        shoot(page, f"{name}-{width}-{scheme}")
        wrong = faults(page, colours_only=colours_only)
        if wrong:
            # A busy machine paints the other colours a moment later. Complaints stay.
            page.wait_for_timeout(1000)
            wrong = faults(page, colours_only=colours_only)
        if wrong:
            found[f"{width} px, {scheme}"] = wrong
    assert not found, str(found)


def _set(page: Page, width: int, scheme: Scheme) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)


def shoot(page: Page, name: str) -> None:
    """Take a picture of the whole page into the folder ``SCREENSHOTS``, where one is named."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
