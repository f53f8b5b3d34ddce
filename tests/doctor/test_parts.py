"""The parts of the doctor that need no installation."""

import json
import re
import time
from collections.abc import Iterator
from datetime import datetime
from io import StringIO
from ipaddress import ip_network
from pathlib import Path

import pytest
import time_machine
from django.core import signing
from django.core.management import call_command
from django.db import connection
from django.test import Client
from pytest_django.fixtures import Settings

from optin.doctor import proxy, rights, running, seen, site
from optin.doctor.findings import Check, Finding, Level, fault, ok
from optin.doctor.work import told_by
from optin.models import File, User
from optin.support import health
from tests.kit.documents import DOCUMENTS
from tests.kit.phone import Phone
from tests.kit.world import Person


def look(*checks: Check) -> dict[str, list[Finding]]:
    return {check.name: findings for check, findings in running.examine(checks)}


def test_each_condition_that_operators_can_help_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked: list[health.Condition] = []

    def needs(now: datetime, *conditions: health.Condition) -> list[health.Need]:
        looked.extend(conditions)
        return []

    monkeypatch.setattr(health, "needs", needs)
    for check in running.CHECKS:
        if check.look.__module__ == told_by.__module__ and check.look.__name__ == "look":
            assert not list(check.look())
    of_others = {health.not_me, health.endpoints, health.overdue, health.workers}
    assert sorted(map(id, looked)) == sorted(
        map(id, {*health.CONDITIONS, *health.MACHINES} - of_others)
    )


def test_a_clock_may_differ_by_5_seconds_either_way() -> None:
    assert [len([*health.clock_of("it", by)]) for by in (-6, -5, 5, 6)] == [1, 0, 0, 1]


# -- the runner --------------------------------------------------------------------


def test_a_check_after_a_fault_is_skipped() -> None:
    ill = Check("ill", lambda: [fault("wrong", seen="so", do="that")])
    after = Check("after", lambda: [ok("fine")], after=("ill",))
    last = Check("last", lambda: [ok("fine")], after=("after",))
    found = look(ill, after, last)
    why = "Not looked at, because of the fault of: ill."
    assert found["after"] == found["last"] == [Finding(Level.SKIPPED, why)]


def test_a_check_that_fails_tells_no_secret() -> None:
    def fail() -> Iterator[Finding]:
        raise RuntimeError("the password is sesame")
        yield

    (found,) = look(Check("fails", fail))["fails"]
    assert found.level is Level.FAULT
    assert "RuntimeError in test_parts.py" in found.seen
    assert "sesame" not in str(found)


def test_checks_that_hang_are_given_up() -> None:
    def hang() -> Iterator[Finding]:
        time.sleep(9)
        yield ok("late")

    checks = [
        Check("first", hang, seconds=0.2),
        Check("second", hang, seconds=5),
        Check("third", lambda: [ok("fine")], after=("second",)),
        Check("quick", lambda: [ok("fine")]),
    ]
    began = time.perf_counter()
    found = {check.name: found for check, found in running.examine(checks, patience=0.4)}
    assert time.perf_counter() - began < 4
    levels = [found[name][0].level for name in found]
    assert levels == [Level.FAULT, Level.FAULT, Level.SKIPPED, Level.OK]
    assert "gave no result" in found["first"][0].text


@pytest.mark.django_db(transaction=True)
def test_passkeys_of_another_host_are_counted(
    user: User, file: File, phone: Phone, clock: time_machine.Traveller, settings: Settings
) -> None:
    Person(user, file, phone, clock).add_passkey()
    assert [*site.passkeys_()] == []
    settings.BASE_URL = "https://192.0.2.1"
    other, no_name = site.passkeys_()
    assert other.text == "Passkeys of another host than 192.0.2.1, which do not work: 1."
    assert "so none are offered" in no_name.text


def test_each_section_that_is_named_is_there() -> None:
    folder = Path(running.__file__).parent.parent
    code = "".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.py"))
    named = set(re.findall(r"section\(\s*['\"]([^'\"]+)['\"], ['\"]([^'\"]+)['\"]\)", code))
    assert len(named) > 15
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
    assert levels["migrations"] == levels["keys"] == "ok"
    assert said["faults"] == sum(one["level"] == "fault" for one in said["findings"])


def test_the_command_says_what_to_do_and_names_at_the_end_what_waited_in_vain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ill = Check("disk", lambda: [fault("It is full.", seen="df /", do="Empty it.")])
    others = [Check(name, lambda: [ok("fine")], after=("disk",)) for name in ("one", "two")]
    monkeypatch.setattr(running.examine, "__defaults__", ([ill, *others],))
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("doctor", "--no-color", stdout=out)
    assert out.getvalue().splitlines() == [
        "fault    disk        It is full.",
        "                     Seen: df /",
        "                     Do: Empty it.",
        "skipped              one, two. Not looked at, because of the fault of: disk.",
        "",
        "1 fault (disk), 0 warnings, 0 ok, 2 skipped.",
    ]


# -- the address that tells what arrives -------------------------------------------


def test_the_service_tells_the_doctor_what_it_sees() -> None:
    answer = Client(REMOTE_ADDR="192.0.2.1").get(
        seen.PATH, headers={seen.HEADER: seen.token(), "X-Forwarded-For": site.MARKER}
    )
    said = answer.json()
    assert (said["remote"], said["ip"]) == ("192.0.2.1", "192.0.2.1")
    assert said["forwarded_for"] == site.MARKER
    assert seen.differing(said["settings"]) == []
    assert len(set(said["settings"].values())) == len(said["settings"])
    assert b"2fa.example.com" not in answer.content  # the value of a setting
    assert answer["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "token",
    ["", "made-up", signing.dumps("seen", salt="another"), signing.dumps("x", salt="optin.doctor")],
    ids=["none", "made up", "of something else", "of another word"],
)
def test_nobody_else_finds_this_address(token: str) -> None:
    answer = Client().get(seen.PATH, headers={seen.HEADER: token})
    assert answer.status_code == 404
    assert b"settings" not in answer.content


def test_an_old_request_is_refused(clock: time_machine.Traveller) -> None:
    token = seen.token()
    assert seen.is_the_doctor(token)
    clock.shift(121)
    assert not seen.is_the_doctor(token)


def test_a_setting_that_differs_is_named() -> None:
    theirs = seen.digests() | {"OPTIN_OTP_TRIES": "0"}
    del theirs["BASE_URL"]
    assert seen.differing(theirs) == ["OPTIN_OTP_TRIES", "BASE_URL"]


# -- what a proxy passes on --------------------------------------------------------

PROXIES = "127.0.0.1/32,10.0.0.0/8"


@pytest.mark.parametrize(
    ("remote", "forwarded_for", "ip", "ours", "says"),
    [
        ("127.0.0.1", "198.51.100.7", "198.51.100.7", "198.51.100.7", ""),
        ("127.0.0.1", "203.0.113.9", "203.0.113.9", "192.168.1.5", ""),
        ("127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.1", ""),
        ("127.0.0.1", f"{site.MARKER}, 127.0.0.1", site.MARKER, "127.0.0.1", ""),
        ("127.0.0.1", f"{site.MARKER}, 8.8.8.8", "8.8.8.8", "8.8.8.8", ""),
        ("127.0.0.1", site.MARKER, site.MARKER, "127.0.0.1", "can choose"),
        ("127.0.0.1", f"{site.MARKER}, 10.0.0.2", site.MARKER, "10.0.0.9", "can choose"),
        ("127.0.0.1", "", "127.0.0.1", "127.0.0.1", "does not tell"),
        ("127.0.0.1", "10.0.0.2", "10.0.0.2", "8.8.8.8", "of a proxy for the visitor's"),
        ("192.0.2.1", "8.8.8.8", "192.0.2.1", "8.8.8.8", "is not in TRUSTED_PROXIES"),
        ("192.0.2.1", site.MARKER, "192.0.2.1", "8.8.8.8", "past the proxy"),
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
    monkeypatch.setattr(site, "what_arrives", lambda: found)
    found_ill = [
        finding.level is Level.FAULT and says in finding.text for finding in proxy.visitors()
    ]
    assert found_ill == ([True] if says else [])


# -- rights ------------------------------------------------------------------------


@pytest.mark.postgresql
@pytest.mark.django_db
def test_the_grants_of_the_document_are_needed_and_enough(service_role: str) -> None:
    assert [one for one in rights.granted() if one.level is Level.FAULT] == []
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")
        sql = f"REVOKE SELECT ON ALL TABLES IN SCHEMA public FROM {service_role}"  # noqa: S608
        cursor.execute(sql)
        cursor.execute(f"SET LOCAL ROLE {service_role}")
    (found,) = [one for one in rights.granted() if one.level is Level.FAULT]
    assert "lacks SELECT on" in found.text
    assert "optin_user" in found.text
