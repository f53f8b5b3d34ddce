"""The script of the kit reaches each row of the contract, from outside."""

from pathlib import Path

import pytest

from conformance import sandbox
from optin.api.answers import ERRORS, TOKEN_ERRORS
from tests.kit.server import development_start

_SET_UP = """
from optin.models import AccessKey, File, User
from optin.operations import people, tenants
from optin.management.commands import ORIGIN
from django.utils import timezone
file = tenants.create_file(900, "Sandbox", is_sandbox=True, origin=ORIGIN)
user = people.create("tess", "tess@example.com", is_test=True, origin=ORIGIN)
user.set_password("correct horse battery")
user.save()
tenants.add_member(user, file, origin=ORIGIN)
AccessKey.objects.keep("sandbox-key", user, file, timezone.now())
"""
LAX = {
    "DJANGO_SETTINGS_MODULE": "tests.kit.quick_settings",
    "DEBUG": "1",
    "OPTIN_REQUESTS_PER_USER": "0",
    "OPTIN_RESEND_WAIT": "2",
}


def test_no_row_is_forgotten() -> None:
    rows = {code for call, codes in sandbox.ROWS.items() if call != "token" for code in codes}
    # Of /events and /endpoints, which take no number.
    beside = {"cursor_gone", "endpoint_limit", "old_secret_signs"}
    assert rows - {sandbox.OK} == set(ERRORS) - beside
    unreachable = {code.split()[0] for code in sandbox.UNREACHABLE}
    assert set(TOKEN_ERRORS) <= sandbox.ROWS["token"] | unreachable


@pytest.mark.slow
def test_every_row_is_reached(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with development_start(tmp_path, is_empty=True, also=_SET_UP, **LAX) as start:
        arguments = [start.base_url, "900", "sandbox-key", "tess", "correct horse battery"]
        assert sandbox.main(arguments) == 0, capsys.readouterr().out
        # It leaves the account as it was, so it runs again.
        assert sandbox.main(arguments) == 0, capsys.readouterr().out
