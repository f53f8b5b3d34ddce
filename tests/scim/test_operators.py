"""How an application comes to its right and its token; for staff see tests.admin."""

import pytest
from django.core.management import CommandError
from oauth2_provider.models import AccessToken

from optin.models import AuditEvent, File, ScimClient
from tests.kit.commands import run
from tests.kit.oauth import Application, make_client, post
from tests.kit.scim import Provider

pytestmark = pytest.mark.django_db(transaction=True)


def events() -> list[tuple[str, str]]:
    found = AuditEvent.objects.filter(kind="application").order_by("pk")
    return [(each.outcome, each.reason) for each in found]


def test_by_commands(file: File) -> None:
    """S-67."""
    made = make_client(Application.GRANT_CLIENT_CREDENTIALS, "entra")
    with pytest.raises(CommandError, match="may not use SCIM"):
        run("scim", "token", "entra")
    with pytest.raises(CommandError, match="no such application"):
        run("scim", "allow", "okta", "--all-files", "--reason", "x")
    for whom in ((), ("--file-id", "777", "--all-files")):
        with pytest.raises(CommandError, match="one file, or choose all"):
            run("scim", "allow", "entra", *whom, "--reason", "x")
    run("scim", "allow", "entra", "--file-id", "777", "--reason", "contract")
    token = run("scim", "token", "entra", "--days", "30").split()[-1]
    assert Provider(made, token).send("GET", "/Users").status == 200
    kept = AccessToken.objects.get()
    assert (kept.token, kept.scope, kept.user) == ("", "scim", None)
    assert "were ended" in run("scim", "end-tokens", "entra")
    assert Provider(made, token).send("GET", "/Users").status == 401
    run("scim", "end", "entra", "--reason", "sold")
    assert not ScimClient.objects.exists()
    assert events() == [
        *(("scim_allowed", "contract"), ("scim_token", "")),
        *(("scim_tokens_ended", ""), ("scim_ended", "sold")),
    ]


def test_a_token_is_for_the_file_that_it_was_made_for(file: File, other_file: File) -> None:
    """S-67."""
    made = make_client(Application.GRANT_CLIENT_CREDENTIALS, "entra")
    for whom in (["--file-id=777"], ["--file-id=888"], ["--all-files"], ["--file-id=777"]):
        run("scim", "allow", "entra", *whom, "--reason", "contract")
        provider = Provider(made, run("scim", "token", "entra").split()[-1])
        run("scim", "allow", "entra", *whom, "--reason", "contract again")
        assert provider.send("GET", "/Users").status == 200
        assert AccessToken.objects.count() == 1


def test_a_token_by_client_credentials(file: File) -> None:
    """S-67: the scope is only for an application that may use SCIM, and only by itself."""
    made = make_client(Application.GRANT_CLIENT_CREDENTIALS)
    asked = {"grant_type": "client_credentials", "scope": "scim"}
    assert post("token", asked).status_code == 400
    run("scim", "allow", "client", "--all-files", "--reason", "contract")
    answer = post("token", asked)
    assert answer.status_code == 200
    token = answer.json()["access_token"]  # type: ignore[attr-defined]
    assert Provider(made, token).send("GET", "/Users").status == 200
    run("scim", "end", "client", "--reason", "sold")
    assert Provider(made, token).send("GET", "/Users").status == 401
