"""Adding a gateway is one file: the one that docs/gateways.md shows, as it stands there."""

import hashlib
import hmac
import json
import re
import sys
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.core.checks import run_checks
from django.test import Client

from optin import gateways
from optin.gateways import Text
from optin.models import File, SmsMessage, User
from optin.models.messages import State
from optin.operations import opt_ins
from optin.outcomes import CodeOutcome
from tests.kit.documents import OPERATORS
from tests.kit.people import NUMBER, ORIGIN
from tests.kit.wire import Server, says

pytestmark = pytest.mark.django_db(transaction=True)

KEY = "harbour-key"
FOR_REGION = gateways.for_region


@pytest.fixture
def harbour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: LazySettings, server: Server
) -> Server:
    """The file, put where Python finds it; and the company's server."""
    # Not the phone of the tests.
    monkeypatch.setattr(gateways, "for_region", FOR_REGION)
    [source] = re.findall(r"```python\n(.*?)```", OPERATORS, re.S)
    (tmp_path / "harbour_sms.py").write_text(source)
    (tmp_path / "key").write_text(KEY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "harbour_sms", raising=False)
    settings.OPTIN_GATEWAYS = ("harbour_sms.HarbourSms",)
    settings.OPTIN_RECEIPT_SECRET = "s" * 32
    made = type(gateways.make("harbour_sms.HarbourSms"))
    monkeypatch.setattr(made, "url", server.url)
    monkeypatch.setattr(made, "key_file", tmp_path / "key")
    server.answer = says(202)
    return server


def test_a_text_and_its_receipt(harbour: Server, user: User, file: File) -> None:
    opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)
    message = SmsMessage.objects.get()
    assert (message.state, message.gateway) == (State.SENT, "harbour")
    sent = json.loads(harbour.requests[0].body)
    assert (sent["to"], sent["ref"], sent["ttl"]) == (NUMBER, message.reference, 595)
    assert str(message.cost) == "0.0390"

    body = json.dumps({"ref": message.reference, "state": "ok"})
    signature = hmac.new(KEY.encode(), body.encode(), hashlib.sha256).hexdigest()
    address = f"/receipts/harbour/{'s' * 32}"
    for signed, status in (("0" * 64, 404), ("\u00e9", 404), (signature, 200)):
        answer = Client().post(
            address, body, content_type="application/json", headers={"X-Signature": signed}
        )
        assert answer.status_code == status
    message.refresh_from_db()
    assert message.state == State.DELIVERED
    said = opt_ins.verify_opt_in(
        user, file, message.provider_user.pk, sent["text"][:7], origin=ORIGIN
    )
    assert said.outcome is CodeOutcome.OK


def test_its_region(harbour: Server) -> None:
    assert [gateway.name for gateway in gateways.for_region("NZ")] == ["harbour"]
    assert gateways.for_region("DE") == []
    assert "to=" not in repr(Text(NUMBER, "1234567", "sms-1"))


BROKEN = {
    "nameless": "class Sms:\n    regions, price, send, receipt = (), 0, print, print\n",
    "untitled": "class Sms:\n    name, regions, price, send, receipt = None, (), 0, print, print\n",
    "needy": "import a_package_that_is_missing\n",
}


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("harbour_sms.Nothing", 'it cannot be imported: Module "harbour_sms" does not define'),
        ("needy.Sms", "it cannot be imported: No module named 'a_package_that_is_missing'"),
        ("nameless.Sms", "it has no name; see class Gateway in"),
        ("untitled.Sms", "its name must be its own: small letters, digits and hyphens, up to 32."),
    ],
)
def test_what_is_no_gateway_stops_the_start(
    harbour: Server, tmp_path: Path, settings: LazySettings, path: str, told: str
) -> None:
    for name, source in BROKEN.items():
        (tmp_path / f"{name}.py").write_text(source)
    settings.OPTIN_GATEWAYS = (path,)
    [found] = [message for message in run_checks() if message.id == "optin.E106"]
    assert found.msg.startswith(f"The gateway {path} cannot send: {told}")
