"""The strict server: the kit finds nothing wrong with it, and it with no careful client."""

import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from defusedxml.ElementTree import fromstring

from conformance.__main__ import run
from conformance.checks import CHECKS, sandbox
from conformance.goldens import SANDBOX, SENTENCES
from conformance.options import Command, Options
from conformance.server.door import Desk, serving
from conformance.wire import JSON, Answer, Request, Wire
from tests.conformance.careful import (
    FILE,
    HABITS,
    KEY,
    MISTAKES,
    NOT_NOTICEABLE,
    NUMBER,
    OPT_IN,
    PASSWORD,
    Careful,
    Clock,
    Habit,
    Mistake,
    headers,
)
from tests.kit.documents import CONFORMANCE
from tests.kit.proxy import Forward, Reply, proxying
from tests.kit.server import ROOT


@dataclass
class Bench:
    """A strict server, its clock, and a careful client."""

    desk: Desk
    clock: Clock
    client: Careful = field(init=False)

    def __post_init__(self) -> None:
        self.client = Careful(self.desk.base_url)

    def told(self) -> list[str]:
        """All that was told of the requests so far."""
        return [told for seen in self.desk.seen for told in [*seen.wrong, *seen.better]]


@pytest.fixture
def bench() -> Iterator[Bench]:
    clock = Clock()
    with serving("127.0.0.1", 0, tell=lambda told: None, clock=clock) as desk:
        yield Bench(desk, clock)


# -- the kit and the server prove each other ---------------------------------------


def checked(desk: Desk, **more: Any) -> list[tuple[str, str, str]]:
    """Let the kit look at *desk*; return what it did not find right."""
    options = Options(
        desk.base_url,
        file=777,
        access_key="ann-key-777",
        username="ann",
        password="ann-password",
        other_file=888,
        other_access_key="ben-key-888",
        client_id="kit",
        client_secret="kit-secret",
        sandbox=True,
        **more,
    )
    results = run(Command(options, junit=None))
    assert len(results) == len(CHECKS)
    return [(r.check.name, r.reason, str(r.deviations[:1])) for r in results if r.state != "passed"]


@pytest.mark.slow
def test_the_kit_finds_nothing_wrong_with_it() -> None:
    with serving("127.0.0.1", 0, tell=lambda told: None) as desk:
        not_passed = checked(desk)
    lacks = (
        "not given: --texts",
        "a step before did not",
        "the file has no",
        "the server gave no answer",
    )
    assert [each for each in not_passed if not each[1].startswith(lacks)] == []


@pytest.mark.slow
def test_the_kit_finds_nothing_wrong_with_opting_in_and_out() -> None:
    with serving("127.0.0.1", 0, tell=lambda told: None) as desk:
        numbers = ("0491 570 156", "0491 570 157", "0491 570 158")
        texts = f"{sys.executable} -m conformance.simulator {desk.base_url}"
        assert checked(desk, numbers=numbers, texts=texts) == []


def test_an_answer_of_a_sandbox_that_is_another_is_found() -> None:
    """And so is a fault that it was not asked for, beside those that it was."""

    def alter(request: Request, forward: Forward) -> Reply:
        own = {name: value for name, value in request.headers.items() if name != "Host"}
        body = request.body.replace(b"0491 571 804", b"0491 573 770")
        return forward(replace(request, headers=own, body=body))

    only = (sandbox.TITLE, "Every answer of the run")
    with serving("127.0.0.1", 0, tell=lambda told: None) as desk, proxying() as proxy:
        proxy.service, proxy.alter = Wire(desk.base_url), alter
        options = Options(proxy.base_url, file=777, access_key="ann-key-777", sandbox=True)
        results = run(Command(options, junit=None, only=only))
    failed = {result.check.name for result in results if result.state == "failed"}
    assert failed == {
        "opt-in of a number that ends in 04 is locked.",
        "No input of a client leads to a 500.",
        # The proxy's address is another.
        "Each answer has the links of the table, and no others.",
        "Link on each refusal of a call leads to the help for its code.",
    }


# -- what it tells -----------------------------------------------------------------


def test_a_careful_client_hears_nothing(bench: Bench) -> None:
    bench.client.go()
    assert bench.told() == []
    assert [seen.answer for seen in bench.desk.seen] == [
        *("200", "200", "200", "200", "400 otp_incorrect", "200"),
        *("401 2fa_code_required", "200", "401 2fa_code_required", "200"),
    ]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_is_told_by_its_name(bench: Bench, mistake: Mistake) -> None:
    bench.client.go(mistake.step, mistake.alter)
    *careful, last = bench.desk.seen
    assert [told for seen in careful for told in [*seen.wrong, *seen.better]] == []
    expected = ([mistake.told], []) if mistake.is_wrong else ([], [mistake.told])
    assert (last.wrong, last.better) == expected


def test_all_mistakes_of_a_request_are_told(bench: Bench) -> None:
    """Though one of them answers."""
    bench.client.send(Request("PUT", "/User/opt-in-to-2fa?FileId=01&FileId=1", {"Accept": JSON}))
    (seen,) = bench.desk.seen
    assert seen.answer == "405 method_not_allowed"
    assert len(seen.wrong) == 5  # method, FileId twice, no id, no credential, no number


@pytest.mark.parametrize("habit", HABITS, ids=lambda habit: habit.go.__name__)
def test_a_habit_is_told_by_its_name(habit: Habit) -> None:
    clock = Clock()
    with serving("127.0.0.1", 0, tell=lambda told: None, clock=clock, rotate=habit.rotate) as desk:
        bench = Bench(desk, clock)
        steps = habit.go(bench.client, clock)
        next(steps)
        assert bench.told() == []
        next(steps, None)
    assert bench.told() == [habit.told]


def test_62_faults_of_clients_are_told_or_listed() -> None:
    names = [*(m.name for m in MISTAKES), *(h.go.__name__ for h in HABITS), *NOT_NOTICEABLE]
    assert len(set(names)) == len(names) >= 62
    listed = re.findall(r"^- (It .+?): (.+)\.$", CONFORMANCE, re.MULTILINE)
    assert dict(listed) == NOT_NOTICEABLE


def test_tokens_end_early_and_sentences_differ_where_that_is_asked_for() -> None:
    sentences = set()
    for _ in range(2):
        how, clock = {"expire": 5, "vary": True}, Clock()
        with serving("127.0.0.1", 0, tell=lambda told: None, clock=clock, **how) as desk:
            bench = Bench(desk, clock)
            bench.client.go("mistype")
            ping, opt_in = (bench.client.steps()[name]() for name in ("ping", "opt in"))
            waiting = bench.client.send(opt_in)
            bench.clock.now += 5
            ended = bench.client.send(ping)
        assert bench.client.tokens[0]["expires_in"] == 5
        assert (waiting.brief, ended.brief) == ("429 send_limit", "401 invalid_token")
        assert "30 seconds" in waiting.get("StatusMessage")  # some clients read them there
        sentences |= {waiting.get("StatusMessage"), ended.get("StatusMessage")}
    assert len(sentences) == 4
    assert not any("again" in told or "valid" in told for told in sentences)


def test_it_prints_what_the_page_shows() -> None:
    printed: list[str] = []
    with serving("127.0.0.1", 0, tell=printed.append) as desk:
        client, query = Careful(desk.base_url), FILE | KEY
        client.send(client.request("opt-in", {"MobileNumber": NUMBER}, query=query))
        client.send(client.request("verify", {"ProviderUserId": 1, "Otp": 123456}, query=query))
        client.send(headers(accept=None)(client.request("ping", query=query)))
    (shown,) = re.findall(r"^  Codes.*\n((?:.+\n)+)\n3 requests", CONFORMANCE, re.MULTILINE)
    assert printed == re.sub(r"\n(?! )", "\0", shown.rstrip()).split("\0")


def test_the_page_of_sandboxes_has_each_answer_on_purpose() -> None:
    page = (ROOT / "docs" / "sandbox.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `\d\d` \| `([a-z-]+2fa[a-z-]*)`: `(\w+)` .* (04[\d ]+) \|$", page, re.M)
    assert {number: (_CALLS[call], code) for call, code, number in rows} == SANDBOX


_CALLS = {"opt-in-to-2fa": "opt-in", "verify-2fa-opt-in": "verify", "opt-out-from-2fa": "opt-out"}


def test_nothing_that_a_client_sent_is_printed() -> None:
    printed: list[str] = []
    with serving("127.0.0.1", 0, tell=printed.append) as desk:
        client = Careful(desk.base_url)
        client.go()
        client.send(Request("POST", "/User/x?WsAccessKey=secret-1", headers={"Accept": "secret-2"}))
        client.send(headers(authorization="Bearer secret-3")(client.steps()["ping"]()))
    told = "\n".join(printed)
    tokens = [str(each["access_token"]) for each in client.tokens]
    own = ["ann-password", KEY["WsAccessKey"], "570 156", "570156", "999999", "secret"]
    assert [secret for secret in [*tokens, *own] if secret in told] == []


# -- answers on purpose ------------------------------------------------------------


@pytest.mark.parametrize(("number", "asked"), SANDBOX.items())
def test_a_number_asks_for_its_answer(bench: Bench, number: str, asked: tuple[str, str]) -> None:
    call, code = asked
    client, query = bench.client, FILE | KEY

    def send(name: str, **properties: object) -> Answer:
        return client.send(client.request(name, properties, query=query))

    answers = {"opt-in": send("opt-in", MobileNumber=number)}
    if call != "opt-in":
        answers["verify"] = send("verify", ProviderUserId=1, Otp=OPT_IN)
    if call == "opt-out":
        answers["opt-out"] = send("opt-out")  # most are asked for by the call without a code
        if code == "otp_expired":
            answers["opt-out"] = send("opt-out", Otp="0345678")
    assert answers.pop(call).brief == f"{SENTENCES[code][0]} {code}"
    assert {answer.status for answer in answers.values()} <= {200}
    assert bench.told() == []


# -- as a program ------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "stop", "status"),
    [(0, signal.SIGINT, 0), (1, signal.SIGTERM, 1), (None, signal.SIGINT, 2)],
    ids=["right", "wrong", "nothing came"],
)
def test_it_sums_up_at_the_end(
    tmp_path: Path, wrong: int | None, stop: signal.Signals, status: int
) -> None:
    junit = tmp_path / "junit.xml"
    (command,) = re.findall(
        r"^    \.venv/bin/(python -m .+ --serve .+)$", CONFORMANCE, re.MULTILINE
    )
    told_where = {
        "python": sys.executable,
        "127.0.0.1:8099": "127.0.0.1:0",
        "result.xml": str(junit),
    }
    arguments = [told_where.get(each, each) for each in shlex.split(command)]
    with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        (base,) = re.findall(r"http://[\d.:]+\d", server.stdout.readline())
        while not server.stdout.readline().startswith("  Codes"):
            pass
        for _ in range(0 if wrong is None else 1):
            request = Careful(base).request("token", PASSWORD)
            Wire(base).send(headers(content_type="x/y")(request) if wrong else request)
        server.send_signal(stop)
        told = server.stdout.read()
    assert server.returncode == status
    sent = 0 if wrong is None else 1
    assert f"{sent} requests: {wrong or 0} wrong" in told
    suite = fromstring(junit.read_bytes())
    assert (suite.get("tests"), suite.get("failures")) == (str(sent), str(wrong or 0))
