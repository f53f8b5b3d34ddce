"""The kit finds what deviates, by its name, and finds nothing in our own service."""

import ast
import json
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from defusedxml.ElementTree import fromstring

from conformance.__main__ import main, run
from conformance.checks import CHECKS, sandbox, sections
from conformance.goldens import SENTENCES, TOKEN_SENTENCES
from conformance.options import Command, Options
from conformance.wire import Request, Wire
from optin.api.answers import ERRORS, TOKEN_ERRORS
from tests.conformance.deviations import DEVIATIONS, Deviation, of_verify
from tests.kit.documents import CONFORMANCE
from tests.kit.proxy import Alter, Forward, Proxy, Reply, proxying, unaltered
from tests.kit.server import ROOT, development_start

CONTRACT = (ROOT / "docs" / "contract.md").read_text(encoding="utf-8")

LAX = {
    "DJANGO_SETTINGS_MODULE": "tests.kit.quick_settings",
    "OPTIN_REQUESTS_PER_USER": "0",
    "OPTIN_REQUESTS_PER_NETWORK": "0",
    "OPTIN_PASSWORD_HASHES": "64",
    "OPTIN_RESEND_WAIT": "2",
    "OPTIN_BREAKER_UNPROVED": "0",
    **dict.fromkeys(
        [
            *("OPTIN_SENDS_PER_NUMBER", "OPTIN_SENDS_PER_USER", "OPTIN_SENDS_PER_CLIENT"),
            *("OPTIN_SENDS_PER_IP", "OPTIN_SIGN_INS_PER_IP", "OPTIN_FAILED_SIGN_INS_PER_NAME"),
        ],
        "10000/60",
    ),
}
"""One person goes through all of it again and again."""


_CLIENT = """
from io import StringIO
call_command("createapplication", "confidential", "client-credentials", client_id="kit",
             client_secret="kit-secret", stdout=StringIO())
"""
_TEXTS = """sh -c 'grep -F "$0" {} | tail -n 1'"""


@dataclass(frozen=True)
class Bench:
    """A proxy in front of a development start, and all that a run may be told of it."""

    proxy: Proxy
    options: Options
    texts: Path

    def failed(self, alter: Alter = unaltered, only: tuple[str, ...] = ()) -> set[str]:
        """Return the names of the checks that fail where *alter* is at work."""
        self.proxy.alter = alter
        results = run(Command(self.options, junit=None, only=only))
        return {result.check.name for result in results if result.state == "failed"}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("conformance")
    with proxying() as proxy:
        env = LAX | {"DEBUG": "1", "BASE_URL": proxy.base_url}
        with development_start(folder, is_empty=True, also=_CLIENT, **env) as start:
            proxy.service = Wire(start.base_url)
            ann, ben, *_ = start.demo["users"]
            options = Options(
                proxy.base_url,
                file=777,
                access_key=ann["access_keys"]["777"],
                username="ann",
                password=ann["password"],
                numbers=("+61491570156", "+61491570157", "+61491570158"),
                texts=_TEXTS.format(start.data / "sms.jsonl"),
                other_file=888,
                other_access_key=ben["access_keys"]["888"],
                client_id="kit",
                client_secret="kit-secret",
            )
            yield Bench(proxy, options, start.data / "sms.jsonl")


# -- what it finds -----------------------------------------------------------------

QUICK = ("Ping", "Addresses, methods and the query", "The type of the answer")
LAWS = "Every answer of the run"


@pytest.mark.slow
def test_nothing_is_wrong_with_our_own_service(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The checks of the kit are the examples of the contract: it runs every day."""
    bench.proxy.alter = unaltered
    status = main(arguments(bench.options, tmp_path, "--strict"))
    told = capsys.readouterr().out
    assert status == 0, told
    usual = [check for check in CHECKS if check.section != sandbox.TITLE]
    assert f"\nAll{len(usual):>39}" in told


LONG = {"Token calls", "A code that is used up", "Opting in and out, in XML"}
"""Sections that are left out where no check of theirs is looked for: each takes a second."""


@pytest.mark.slow
@pytest.mark.parametrize("deviation", DEVIATIONS, ids=lambda deviation: deviation.name)
def test_what_deviates_is_found_by_its_name(bench: Bench, deviation: Deviation) -> None:
    of_name = {check.name: check.section for check in reversed(CHECKS)}  # the first of each
    left_out = LONG - {of_name[name] for name in deviation.found_by}
    only = tuple(section for section in sections() if section not in left_out)
    assert bench.failed(deviation.alter, only) == deviation.found_by


# -- what it says ------------------------------------------------------------------


def arguments(options: Options, folder: Path, *more: str) -> list[str]:
    """The command line of a run whose options stand in a file."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in vars(options).items() if value]
    config = folder / "server.toml"
    config.write_text("\n".join(line for line in lines if not line.startswith("base_url")))
    return [options.base_url, "--config", str(config), *more]


@pytest.mark.slow
def test_a_failure_names_the_request_and_the_section(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.proxy.alter = lambda request, forward: forward(request).with_headers(allow=None)
    junit = tmp_path / "junit.xml"
    only = ["--only", QUICK[1], LAWS]
    assert main(arguments(bench.options, tmp_path, "--junit", str(junit), *only)) == 1
    told = capsys.readouterr().out
    assert f"FAILED  {LAWS}: Allow on each 405. (docs/contract.md, 5.3)" in told
    assert "  sent      PUT /User/opt-in-to-2fa\n  expected  Allow POST\n  got       null" in told
    suite = fromstring(junit.read_bytes())
    failed = [case.get("name") for case in suite if case.find("failure") is not None]
    assert failed == ["Allow on each 405. (5.3)"]
    assert (suite.get("failures"), suite.get("tests")) == ("1", str(len(suite)))


@pytest.mark.slow
def test_one_cause_is_printed_once(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An access key that nobody has lets nearly every check fail."""
    bench.proxy.alter = unaltered
    only = ["--only", "Ping", "Bodies of requests"]
    assert main(arguments(replace(bench.options, access_key="x"), tmp_path, *only)) == 1
    told = capsys.readouterr().out
    assert len(re.findall("^FAILED", told, re.MULTILINE)) == 2  # and HEAD, whose 401 has no code
    assert told.count("WsAccessKey=<access key>") <= 3
    assert "\n  Other checks that failed in the same way:\n    Ping: " in told
    assert re.search(r"\n    and \d\d other checks\n", told)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ci", "more", "status"), [("true", [], 3), ("true", ["--no-strict"], 0), ("", [], 0)]
)
def test_what_is_not_given_is_not_checked(
    bench: Bench,
    ci: str,
    more: list[str],
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In CI that is no success."""
    bench.proxy.alter = unaltered
    monkeypatch.setenv("CI", ci)
    assert main([bench.options.base_url, "--only", "Ping", *more]) == status
    missing = "NOT CHECKED  not given: --file, --access-key\n    Ping: An access key is answered"
    assert missing in capsys.readouterr().out


@pytest.mark.slow
def test_no_secret_is_printed(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every check fails where each status is another; what was sent is told nevertheless."""
    issued: list[bytes] = []

    def teapot(request: Request, forward: Forward) -> Reply:
        # Nobody verifies: the person stays without a second factor.
        reply = forward(replace(request, body=b"{}") if of_verify(request) else request)
        issued.extend(re.findall(rb'(?:access|refresh)_token(?:":"|>)([\w-]+)', reply.body))
        is_needed = b"ProviderUserId" in reply.body or b"access_token" in reply.body
        return reply if is_needed else replace(reply, status=418)

    bench.proxy.alter = teapot
    junit = tmp_path / "junit.xml"
    assert main(arguments(bench.options, tmp_path, "--junit", str(junit))) == 1
    told = capsys.readouterr().out + junit.read_text()
    assert "WsAccessKey=<access key>" in told
    assert "Bearer <token>" in told
    assert '"Otp": "&lt;code&gt;"' in told
    texts = bench.texts.read_text()
    codes = [code[n : n + 6] for code in re.findall(r'"body": "(\d{7})', texts) for n in (0, 1)]
    tokens = [token.decode() for token in issued]
    options = bench.options
    own = [options.access_key, options.password, options.other_access_key, "570156", "570 156"]
    assert len(codes) > 5
    assert len(tokens) > 5
    assert [secret for secret in [*own, *tokens] if secret in told] == []
    # Numbers of more digits may hold the six of a code.
    assert not [code for code in codes if re.search(rf"(?<![\w-]){code}(?![\w-])", told)]


@pytest.mark.slow
def test_the_command_for_a_server_of_ones_own(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file and the command of docs/conformance.md, with the values of this server."""
    bench.proxy.alter = unaltered
    (toml,) = re.findall(r"```toml\n(.+?)```", CONFORMANCE, re.DOTALL)
    (command,) = re.findall(r"^    python -m conformance (.+)$", CONFORMANCE, re.MULTILINE)
    own = vars(bench.options)
    lines = [f"{name} = {json.dumps(own[name])}" for name in tomllib.loads(toml)]
    (tmp_path / "server.toml").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    _, *more = shlex.split(command)
    assert main([bench.options.base_url, *more, "--only", "Ping"]) == 0
    assert (tmp_path / "result.xml").exists()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["http://127.0.0.1:1"], "Could not run: "),
        (["ftp://127.0.0.1"], "Could not run: ftp://127.0.0.1 is no"),
        (["http://127.0.0.1:1", "--only", "Nothing"], "invalid choice: 'Nothing'"),
        (["http://127.0.0.1:1", "--config", "/nowhere.toml"], "/nowhere.toml"),
        (["http://127.0.0.1:1", "--config", "server.toml"], "no such option: acces_key"),
    ],
)
def test_a_run_that_cannot_be(
    more: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "server.toml").write_text('acces_key = "x"\n')
    monkeypatch.chdir(tmp_path)
    try:
        status: object = main(more)
    except SystemExit as exc:  # argparse ends so
        status = exc.code
    assert status == 2
    assert told in capsys.readouterr().err


@pytest.mark.slow
def test_a_throttled_run_waits(bench: Bench) -> None:
    refused: list[str] = []
    help_ = f"{bench.options.base_url}/Help/Errors#throttled"
    link = f'{{"rel":"help","href":"{help_}","method":"GET","title":"throttled"}}'
    page = f"{bench.options.base_url}/Help/Errors#throttled"
    named = {"link": f'<{page}>; rel="help"'}
    sentence = "Too many requests. Try again in 1 second."
    body = f'{{"StatusMessage":"{sentence}","_links":[{link}]}}'.encode()

    def throttle(request: Request, forward: Forward) -> Reply:
        reply = forward(request)
        if refused or reply.status != 200 or reply.is_xml:
            return reply
        refused.append(request.target)
        return replace(reply, status=429, body=body).with_headers(retry_after="1", **named)

    assert bench.failed(throttle, ("Ping", LAWS)) == set()
    assert refused


# -- what it is made of ------------------------------------------------------------


def test_it_imports_nothing_of_the_service() -> None:
    allowed = {*sys.stdlib_module_names, "conformance", "defusedxml"}
    imported = {
        name.partition(".")[0]
        for path in (ROOT / "conformance").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported - allowed == set()


def test_each_check_cites_a_section_of_the_contract() -> None:
    sections = set(re.findall(r"^#{2,3} (\d[\d.]*?)\.? ", CONTRACT, re.MULTILINE))
    assert {check.contract for check in CHECKS} - sections == set()


@pytest.mark.slow
def test_the_sentences_are_those_of_this_service() -> None:
    """Which /Help/Errors has."""
    for code, row in ERRORS.items():
        told = row.message if row.status != 429 else f"{row.message} Try again in {{wait}}."
        status, sentence = SENTENCES[code]
        assert (status, sentence or told) == (row.status, told)
    for code, row in TOKEN_ERRORS.items():
        told = row.message if row.status != 429 else f"{row.message} Try again in {{wait}}."
        assert {told, ""} & {*TOKEN_SENTENCES[row.status, code]}
