"""The parts of the doctor that need no installation."""

import json
import re
from collections.abc import Iterator
from io import StringIO
from ipaddress import ip_network
from pathlib import Path

import pytest
import time_machine
from django.core import signing
from django.core.management import call_command
from django.test import Client
from pytest_django.fixtures import Settings

from optin.doctor import proxy, running, seen
from optin.doctor.findings import Check, Finding, Level, fault, ok
from tests.kit.documents import DOCUMENTS


def look(*checks: Check) -> dict[str, list[Finding]]:
    return {check.name: findings for check, findings in running.examine(checks)}


# -- the runner --------------------------------------------------------------------


def test_a_check_after_a_fault_is_skipped() -> None:
    ill = Check("ill", lambda: [fault("wrong", seen="so", do="that")])
    after = Check("after", lambda: [ok("fine")], after=("ill",))
    last = Check("last", lambda: [ok("fine")], after=("after",))
    found = look(ill, after, last)
    why = "Not checked, because of the fault of: {}."
    assert found["after"] == [Finding(Level.SKIPPED, why.format("ill"))]
    assert found["last"] == [Finding(Level.SKIPPED, why.format("after"))]


def test_a_check_that_fails_tells_no_secret() -> None:
    def fail() -> Iterator[Finding]:
        raise RuntimeError("the password is sesame")
        yield

    (found,) = look(Check("fails", fail))["fails"]
    assert found.level is Level.FAULT
    assert "RuntimeError in test_parts.py" in found.seen
    assert "sesame" not in str(found)


def test_each_section_that_is_named_is_there() -> None:
    folder = Path(running.__file__).parent.parent
    code = "".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.py"))
    named = set(re.findall(r"section\(\s*['\"]([^'\"]+)['\"], ['\"]([^'\"]+)['\"]\)", code))
    assert len(named) > 8
    code = re.sub(r'"\s+f?"', "", code)  # a string may go on in the next line
    sentences = re.findall(r"[Ss]ee '?([A-Z][\w ]+?)'? in docs/([\w-]+)\.md", code)
    assert len(sentences) > 5
    named |= {(page, heading) for heading, page in sentences}
    headings = {
        (path.stem, heading)
        for path in DOCUMENTS
        for heading in re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
    }
    assert named <= headings


# -- the command -------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_the_command_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        call_command("doctor", "--json")
    assert ended.value.code == 1  # the site of the tests is nowhere
    said = json.loads(capsys.readouterr().out)
    levels = {one["check"]: one["level"] for one in said["findings"]}
    assert levels["site"] == "fault"
    assert levels["writes"] == levels["keys"] == "ok"
    assert said["faults"] == sum(one["level"] == "fault" for one in said["findings"])


def test_the_command_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ill = Check("disk", lambda: [fault("It is full.", seen="df /", do="Empty it.")])
    others = [Check(name, lambda: [ok("fine")], after=("disk",)) for name in ("one", "two")]
    monkeypatch.setattr(running, "CHECKS", [ill, *others])
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("doctor", "--no-color", stdout=out)
    assert out.getvalue().splitlines() == [
        "fault    disk        It is full.",
        "                     Seen: df /",
        "                     Do: Empty it.",
        "skipped  one         Not checked, because of the fault of: disk.",
        "skipped  two         Not checked, because of the fault of: disk.",
        "",
        "1 fault (disk), 0 warnings, 0 ok, 2 skipped.",
    ]


# -- the address that tells what arrives -------------------------------------------


def test_the_service_tells_the_doctor_what_it_sees() -> None:
    answer = Client(REMOTE_ADDR="192.0.2.1").get(
        seen.PATH, headers={seen.HEADER: seen.token(), "X-Forwarded-For": proxy.MARKER}
    )
    said = answer.json()
    assert (said["remote"], said["ip"]) == ("192.0.2.1", "192.0.2.1")
    assert said["forwarded_for"] == proxy.MARKER
    assert answer["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "token",
    ["", "made-up", signing.dumps("seen", salt="another"), signing.dumps("x", salt="optin.doctor")],
    ids=["none", "made up", "of something else", "of another word"],
)
def test_nobody_else_finds_this_address(token: str) -> None:
    answer = Client().get(seen.PATH, headers={seen.HEADER: token})
    assert answer.status_code == 404
    assert b"forwarded" not in answer.content


def test_an_old_request_is_refused(clock: time_machine.Traveller) -> None:
    token = seen.token()
    assert seen.is_the_doctor(token)
    clock.shift(121)
    assert not seen.is_the_doctor(token)


# -- what a proxy passes on --------------------------------------------------------

PROXIES = "127.0.0.1/32,10.0.0.0/8"


@pytest.mark.parametrize(
    ("remote", "forwarded_for", "ip", "ours", "says"),
    [
        ("127.0.0.1", "198.51.100.7", "198.51.100.7", "198.51.100.7", ""),
        ("127.0.0.1", "203.0.113.9", "203.0.113.9", "192.168.1.5", ""),
        ("127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.1", ""),
        ("127.0.0.1", f"{proxy.MARKER}, 127.0.0.1", proxy.MARKER, "127.0.0.1", ""),
        ("127.0.0.1", f"{proxy.MARKER}, 8.8.8.8", "8.8.8.8", "8.8.8.8", ""),
        ("127.0.0.1", proxy.MARKER, proxy.MARKER, "127.0.0.1", "can choose"),
        ("127.0.0.1", f"{proxy.MARKER}, 10.0.0.2", proxy.MARKER, "10.0.0.9", "can choose"),
        ("127.0.0.1", "", "127.0.0.1", "127.0.0.1", "does not tell"),
        ("127.0.0.1", "10.0.0.2", "10.0.0.2", "8.8.8.8", "of a proxy for the visitor's"),
        ("192.0.2.1", "8.8.8.8", "192.0.2.1", "8.8.8.8", "is not in TRUSTED_PROXIES"),
        ("192.0.2.1", proxy.MARKER, "192.0.2.1", "8.8.8.8", "past the proxy"),
        ("", "", "", "", "Unix socket"),
    ],
)
def test_what_arrives_of_a_visitor(
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
    remote: str,
    forwarded_for: str,
    ip: str,
    ours: str,
    says: str,
) -> None:
    networks = tuple(ip_network(network) for network in PROXIES.split(","))
    settings.TRUSTED_PROXIES = networks
    found = {"remote": remote, "forwarded_for": forwarded_for, "ip": ip, "ours": ours}
    monkeypatch.setattr(proxy, "what_arrives", lambda: found)
    found_ill = [
        finding.level is Level.FAULT and says in finding.text for finding in proxy.visitors()
    ]
    assert found_ill == ([True] if says else [])
