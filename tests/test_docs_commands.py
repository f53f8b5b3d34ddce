"""Each command of the pages for operators is run: by a test that reads it there, or its like is."""

import itertools
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tests.kit.documents import CLIENTS, INSTALL_COMMANDS, TRIAL_COMMANDS, is_there
from tests.kit.pasting import blocks, environment, paste, service
from tests.kit.server import PRESENT, ROOT

PAGES = (
    *("install", "deploy", "run", "gateways", "people"),
    *("audit-trail", "upgrade-and-restore"),
)

# Code that is no command: settings, lines of units, configurations and cron, SQL, what is printed.
NO_COMMAND = re.compile(
    r"[A-Z]\w+[= ]|\[|\w+ = |.* \{$|\}|[*\d]\S* .* optin /usr|fault |  +|\(optin\.[EW]"
)


@cache
def commands(page: str) -> list[str]:
    """The commands of a page: lines of indented code, and blocks of ``sh``."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    found: list[str] = []
    for token in MarkdownIt("commonmark").parse(text):
        if token.type == "code_block":
            found += re.findall(r"(?:.*\\\n)*.+", token.content)  # a line may go on in the next
        elif token.type == "fence" and token.info == "sh":
            found.append(token.content)
    return [command for command in found if not NO_COMMAND.match(command)]


INSTALL = {*INSTALL_COMMANDS, *TRIAL_COMMANDS}
"""What ``test_install`` runs on a new machine. It edits the settings and signs the certificate
itself, where the page has ``nano`` and ``certbot``."""

LIKE = {
    # They ask for a password.
    "tests/commands/test_people.py::test_changepassword": r"manage changepassword ",
    "tests/commands/test_people.py::test_createsuperuser": r"manage createsuperuser",
    # They are for production.
    "tests/test_docs.py::test_the_production_environment_loads": r"manage check --deploy",
    # They are for a database that was restored.
    "tests/restore/test_after_restore.py::test_nothing_short_lived_lives_again": (
        r"manage after_restore$|(runuser -u postgres -- )?pg_(dump|restore) "
    ),
    "tests/restore/test_point_in_time.py::test_all_that_was_archived_comes_back": (
        r"(runuser -u postgres -- )?pg_basebackup "
    ),
    # ``deploy/install`` does the same, and its units do.
    "tests/deploy/test_install.py::test_the_page_leads_to_a_text": (
        r"useradd |python3 -m venv |install -d |cp (-R )?deploy/"
        r"|systemctl (daemon-reload|enable --now optin( |$|-))"
    ),
    "tests/deploy/test_install.py::test_no_system_call_that_the_service_makes_is_filtered": (
        r"\(set -ae?; .* migrate( --skip-checks)?\)$"
    ),
    "tests/deploy/test_install.py::test_a_second_run_changes_nothing": (r"deploy/install$"),
    "tests/deploy/test_install.py::test_the_page_restores_a_backup": (
        r"systemctl stop 'optin|psql |runuser -u postgres -- psql "
    ),
    # They need other programs, or other machines.
    "tests/deploy/test_install.py::test_the_trial_leads_to_a_text_and_then_to_production": (
        r"ssh -L "
    ),
    "tests/audit/test_verify.py::test_a_whole_trail_is_clean": (
        r"ssh .* manage verify_audit --copies -"
    ),
    "tests/deploy/test_image.py::test_an_opt_in_through_it": r"deploy/image ",
    "tests/deploy/test_compose.py::test_compose_knows_each_command_of_the_page": (
        r"docker compose "
    ),
    # Two servers behind HAProxy, without systemd: one after the other gets another release.
    "tests/upgrade/test_under_load.py::test_an_upgrade_under_load_and_the_way_back": (
        r"ln -sfn |systemctl \S+( --now)? (optin|haproxy)|(until )?curl .*z\b|.*\| socat stdio"
    ),
}
"""A test that runs the like of commands that no test reads from their page."""


def is_elsewhere(command: str) -> bool:
    return any(re.match(pattern, command) for pattern in LIKE.values())


HERE = re.compile(r"manage |python3 -c |\.venv/bin/pip install ")
"""What this file runs, unless it is in ``LIKE``. Nothing else: it may do harm on this machine."""


def run_here(start: str) -> list[str]:
    """The commands that begin with *start*, in the order of the pages."""
    pages = [page for page in PAGES if page != "install"]
    every = [one for page in pages for one in commands(page) if HERE.match(one)]
    return [one for one in every if one.startswith(start) and not is_elsewhere(one)]


def check_out() -> list[str]:
    """How an upgrade gets the next release."""
    return [one for one in commands("upgrade-and-restore") if re.match(r"cd |git ", one)]


@pytest.mark.parametrize("page", PAGES)
def test_each_command_is_run(page: str) -> None:
    for command in commands(page):
        assert command in {*run_here(""), *INSTALL, *check_out()} or is_elsewhere(command), (
            f"docs/{page}.md has a command that no test runs:\n{command}\n"
            "Run it here or in tests/deploy/test_install.py, or name a test of its like in LIKE."
        )


def test_each_test_of_their_like_is_there() -> None:
    every = [command for page in PAGES for command in commands(page)]
    for test, pattern in LIKE.items():
        assert is_there(test), test
        assert any(re.match(pattern, command) for command in every), f"no command is like {pattern}"


@pytest.mark.slow
def test_commands_and_queries_for_operators_run(tmp_path: Path) -> None:
    """In the order of the document, once ann has opted in; each must end with success."""
    lines = run_here("manage ")
    # The queries come first, after the people whom they are about: commands remove what they show.
    first = [line for line in lines if line.startswith("manage person create")]
    queries = [line for line in lines if line.startswith("manage shell ")]
    others = [line for line in lines if line not in {*first, *queries}]
    assert first
    assert queries
    with service(tmp_path) as base:
        opt_in = CLIENTS.partition("## JSON and XML")[0]
        done = paste([text for text, _ in blocks(opt_in)], base, tmp_path)
        assert done.returncode == 0, done.stderr
        env = environment(base, tmp_path)
        # A key of this run in place of the one of the document.
        key = PRESENT.manage("access_key", "create", "ann", "777", env=env).stdout.splitlines()[-1]
        script = [line.replace("3b7f0c", key[:6]) for line in (*first, *queries, *others)]
        ran = subprocess.run(
            [sys.executable, "-m", "tests.kit.one_process"],
            cwd=ROOT,
            env=env,
            input=json.dumps(script),
            capture_output=True,
            text=True,
            check=True,
        )
    for command, (status, printed) in zip(script, json.loads(ran.stdout), strict=True):
        assert status == 0, f"{command}\n{printed}"
        assert "Traceback" not in printed, f"{command}\n{printed}"


@pytest.mark.slow
def test_other_commands_for_operators_run() -> None:
    """Packages are there already: pip must find nothing else to do."""
    pip = f"{sys.executable} -m pip install --no-index"
    others = run_here("python3 "), run_here(".venv/bin/pip ")
    assert all(others)
    for command in itertools.chain(*others):
        here = command.replace(".venv/bin/pip install", pip)
        subprocess.run(["bash", "-c", here], cwd=ROOT, check=True, capture_output=True)


def test_an_upgrade_gets_the_release(tmp_path: Path) -> None:
    """In a clone that does not know its tag yet."""
    origin, clone = tmp_path / "origin", tmp_path / "optin"
    new, lines = "git -c user.name=a -c user.email=a@example.com", check_out()
    script = f"""
        git init --quiet {origin}; cd {origin}
        {new} commit --quiet --allow-empty --message old
        git clone --quiet {origin} {clone}
        {new} commit --quiet --allow-empty --message new; git tag {lines[-1].split()[-1]}
        {"; ".join(lines).replace("/srv/optin", str(clone))}
        git log --format=%s -1"""
    done = subprocess.run(
        ["bash", "-ec", script], check=True, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout == "new\n"
