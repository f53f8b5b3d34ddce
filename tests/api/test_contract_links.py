"""Links and headers of the answers (docs/contract.md, section 5)."""

import pytest
import time_machine
from pytest_django import Settings

from optin.models import AuditEvent, ProviderUser
from tests.kit.clients import Answer, Api
from tests.kit.people import NUMBER
from tests.kit.phone import Phone, wrong

pytestmark = pytest.mark.django_db(transaction=True)

BASE = "https://2fa.example.com"
AGAIN = ("self", "POST", "/User/verify-2fa-opt-in?FileId=777")
NEW_CODE = ("related", "POST", "/User/opt-in-to-2fa?FileId=777")
OPT_OUT = ("related", "POST", "/User/opt-out-from-2fa?FileId=777")


def links(answer: Answer) -> list[tuple[str, str, str]]:
    """The links but the help link, which stands last, without the base."""
    *found, last = answer.links
    assert last["href"] == f"{BASE}/Help/Errors#{answer.code}"
    return [(link["rel"], link["method"], link["href"].removeprefix(BASE)) for link in found]


def test_links_of_a_code_that_trying_again_cannot_help(
    api: Api, active: ProviderUser, phone: Phone, clock: time_machine.Traveller
) -> None:
    """The other links are those of the conformance kit, in every answer of its run."""
    api.opt_out()
    for _ in range(5):
        api.opt_out(wrong(phone.code()))
    for code, seconds in (("otp_exhausted", 601), ("otp_expired", 0)):
        answer = api.opt_out(phone.code())
        assert (answer.code, links(answer)) == (code, [OPT_OUT])
        clock.shift(seconds)


LIES = {
    "X-Forwarded-Host": "evil.example.net",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Port": "8080",
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Prefix": "/evil",
    "X-Forwarded-Server": "evil.example.net",
    "X-Real-IP": "203.0.113.9",
    "X-Original-URL": "/admin/",
    "X-Rewrite-URL": "/admin/",
    "X-Script-Name": "/evil",
    "Forwarded": "for=203.0.113.9;host=evil.example.net;proto=http",
    "True-Client-IP": "203.0.113.9",
}


@pytest.mark.parametrize("host", ["2fa.example.com", "2fa.example.com:8443", "testserver"])
def test_links_and_texts_come_from_the_base_url(api: Api, phone: Phone, host: str) -> None:
    """S-26: whatever the request says of itself."""
    headers = {"Host": host, **LIES}
    own = api.opt_in(NUMBER, headers=headers).data["ProviderUserId"]
    assert phone.body.endswith(f"@2fa.example.com #{phone.code()}")
    answer = api.verify(own, wrong(phone.code()), headers=headers)
    assert links(answer) == [AGAIN, NEW_CODE]
    assert b"evil" not in answer.content
    assert b"8443" not in answer.content
    assert set(AuditEvent.objects.values_list("ip", flat=True)) == {"127.0.0.1"}


def test_base_url_is_a_setting(api: Api, settings: Settings) -> None:
    settings.BASE_URL = "https://login.example.org:8443"
    link = api.verify(1, "1234567").links[0]
    assert link["href"] == "https://login.example.org:8443/User/verify-2fa-opt-in?FileId=777"
