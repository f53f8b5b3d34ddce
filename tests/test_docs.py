"""The documents say what is: settings, commands, links, and lines to paste."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import time_machine
from django.conf import LazySettings
from django.db import ProgrammingError, connection
from django.utils import timezone

from docs import generate
from optin import checks
from optin.audit import repeats
from optin.conf import parse
from optin.gateways import every_setting
from optin.messaging import delivery
from optin.models import AuditEvent, File, PendingOtp, User
from optin.models.refusal_counts import WINDOW
from optin.operations import opt_ins, staff_actions
from optin.outcomes import WITHHELD, CodeOutcome
from tests.kit.documents import (
    CLIENTS,
    CONFORMANCE,
    DOCUMENTS,
    OPERATORS,
    OWN_SECRETS,
    README,
    anchors,
    production_environment,
)
from tests.kit.pasting import blocks, environment, paste, pattern, service
from tests.kit.people import NUMBER, ORIGIN
from tests.kit.phone import Phone
from tests.kit.server import PRESENT

ROOT = Path(__file__).resolve().parent.parent

# -- settings ----------------------------------------------------------------------


def test_the_reference_says_what_the_code_says() -> None:
    pages = [page.read_text(encoding="utf-8") for page in generate.PAGES]
    assert {*re.findall(r"<!-- generated: (\w+) -->", "".join(pages))} == {*generate.PARTS}
    for page in pages:
        assert generate.generate(page) == page, "a page is out of date: run `make reference`"


def test_each_variable_of_the_settings_module_is_told() -> None:
    source = (ROOT / "twofa_site" / "settings.py").read_text(encoding="utf-8")
    variables = set(re.findall(r'\b(?:env\.\w+\(|_read\(\s*\w[\w.]*,)\s*"([A-Z_]+)"', source))

    assert {"DEFAULT_FROM_EMAIL", "DATABASE_URL"} <= variables, "the pattern finds nothing any more"
    missing = {name for name in variables if f"`{name}`" not in OPERATORS}
    assert not missing


@pytest.mark.parametrize("name", OWN_SECRETS)
def test_no_secret_of_the_production_environment_may_be_used(
    name: str, settings: LazySettings
) -> None:
    example = production_environment()[name]
    known = {each.name: each.parse for each in every_setting()}
    setattr(settings, name, known[name](example) if name in known else example)

    assert [message.msg.split()[0] for message in checks.check_examples()] == [name]
    settings.DEBUG = True
    assert checks.check_examples() == []


@pytest.mark.slow  # it waits for a database that is not there
def test_the_production_environment_loads(tmp_path: Path) -> None:
    """S-62. Nothing but its secrets is wrong with it, and no warning is left."""
    env = {**production_environment(), **OWN_SECRETS, "DATA_DIR": str(tmp_path)}
    env["OPTIN_NEWEST_EVENT"] = str(tmp_path / "newest-event")  # in a folder that is here

    done = PRESENT.manage("check", "--deploy", "--fail-level", "INFO", env=env)

    assert (done.returncode, "no issues" in done.stdout) == (0, True), done.stderr


def test_a_shell_reads_the_production_environment_as_the_tests_do() -> None:
    """But for the quotes around a value, which the service takes off where a shell did not."""
    script = f"set -a; . docs/production.env; exec {sys.executable} -c '{_PRINT_ENVIRONMENT}'"
    printed = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, env={}, capture_output=True, text=True, check=True
    )
    read = json.loads(printed.stdout)
    quoted = {name: parse.unquoted(text) for name, text in production_environment().items()}
    assert {name: read[name] for name in quoted} == quoted


_PRINT_ENVIRONMENT = "import json, os; print(json.dumps(dict(os.environ)))"


def test_the_production_environment_has_every_setting_of_its_gateway() -> None:
    prefix = "OPTIN_GATEWAY_HTTP_"
    settings = {setting.name for setting in every_setting() if setting.name.startswith(prefix)}
    assert {name for name in production_environment() if name.startswith(prefix)} == settings


# -- the roles of PostgreSQL -------------------------------------------------------


@pytest.mark.postgresql
def test_the_service_role_can_do_all_that_the_service_does(
    service_role: str, user: User, file: File, phone: Phone
) -> None:
    """The users and files of the fixtures are written by that role too."""
    sending = opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)
    assert sending.provider_user_id
    pending = PendingOtp.objects.get()
    otp = pending.code()
    guess = opt_ins.verify_opt_in(user, file, sending.provider_user_id, otp, origin=ORIGIN)
    staff_actions.unlock(user, reason="try", origin=ORIGIN)
    delivery.send_due(timezone.now())

    assert guess.outcome is CodeOutcome.OK
    assert AuditEvent.objects.count() == 3


@pytest.mark.postgresql
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE optin_auditevent SET outcome = 'ok'",
        "DELETE FROM optin_auditevent",
        "TRUNCATE optin_auditevent",
        "DROP TRIGGER optin_auditevent_no_update ON optin_auditevent",
        "ALTER TABLE optin_auditevent DISABLE TRIGGER ALL",
        "CREATE OR REPLACE FUNCTION optin_auditevent_refuse() RETURNS trigger LANGUAGE plpgsql"
        " AS 'BEGIN RETURN NEW; END'",
        "DROP TABLE optin_auditevent",
        "CREATE TABLE more (id int)",
        "DELETE FROM django_migrations",
        "SET session_replication_role = replica",
    ],
)
def test_the_service_role_cannot_touch_the_audit_trail(service_role: str, statement: str) -> None:
    """S-53."""
    with (
        pytest.raises(ProgrammingError, match=r"permission denied|must be owner"),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)


@pytest.mark.postgresql
@pytest.mark.parametrize("is_told", [False, True], ids=["in their hour", "after it"])
def test_what_was_refused_is_found_as_it_was(
    user: User, file: File, phone: Phone, clock: time_machine.Traveller, is_told: bool
) -> None:
    """The query of run.md counts each refusal, also those without an event."""
    for _ in range(6):  # the first one is sent
        opt_ins.opt_in(user, file, NUMBER, origin=replace(ORIGIN, client="key:1"))
    AuditEvent.objects.record(  # its ways are tested elsewhere
        AuditEvent.Kind.OPT_IN,
        WITHHELD,
        now=timezone.now(),
        origin=ORIGIN,
        user_id=user.pk,
        file_id=file.pk,
        data={"rule": "stopped"},
    )
    if is_told:
        clock.shift(WINDOW)
        repeats.tell(timezone.now())
    queries = re.findall(r"```sql\n(.*?)```", OPERATORS, re.DOTALL)
    query = next(text for text in queries if "optin_refusalcount" in text)
    with connection.cursor() as cursor:
        # The database's clock does not stand still.
        cursor.execute(query.replace("current_date", f"date '{timezone.now().date()}'"))
        assert cursor.fetchall() == [
            ("resend-wait", file.pk, "key:1", 5, 1),
            ("stopped", file.pk, ORIGIN.client, 1, 1),
        ]


# -- commands, codes, links --------------------------------------------------------


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        found = (document.parent / path).resolve() if path else document
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


# -- lines to paste ----------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "document", [README, CLIENTS, CONFORMANCE], ids=["README", "clients", "conformance"]
)
def test_pasted_lines_answer_as_printed(document: str, tmp_path: Path) -> None:
    pairs = blocks(document)
    assert pairs
    # Without limits on requests: the checks of conformance.md would wait for minutes.
    with service(tmp_path, OPTIN_REQUESTS_PER_USER="0") as base:
        done = paste([text for text, _ in pairs], base, tmp_path)
    outputs = done.stdout.split("@@@\n")[1:]
    assert len(outputs) == len(pairs), done.stderr
    for output, (text, answer) in zip(outputs, pairs, strict=True):
        assert pattern(answer, base).fullmatch(re.sub(r"\s+", "", output)), f"{text}\n{output}"


@pytest.mark.slow
def test_the_lines_that_a_start_prints_work_and_work_again(tmp_path: Path) -> None:
    """What ``demo`` prints, pasted in order, and again after ``demo --reset``."""
    reset = ".venv/bin/python manage.py demo --reset >/dev/null"
    with service(tmp_path) as base:
        printed = PRESENT.manage("demo", env=environment(base, tmp_path)).stdout
        lines = re.findall(r"^(?:ID|OTP|curl).+$", printed, re.MULTILINE)
        done = paste([*lines, reset, *lines], base, tmp_path)

    assert len(lines) == 6  # opt-in, code, verify: one person by JSON, another by XML
    assert done.stdout.count('"StatusMessage":"Two-factor authentication is on."') == 2, done.stderr
    assert done.stdout.count("<StatusMessage>Two-factor authentication is on.<") == 2, done.stderr
