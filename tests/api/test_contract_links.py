"""Links and headers of the answers (docs/contract.md, section 5)."""

from ipaddress import ip_network
from urllib.parse import urlsplit

import pytest
import time_machine
from pytest_django import Settings

from optin.models import AuditEvent, ProviderUser
from tests.kit.clients import FORMATS, Answer, Api
from tests.kit.people import NUMBER, OTHER_NUMBER
from tests.kit.phone import Phone, wrong

pytestmark = pytest.mark.django_db(transaction=True)

BASE = "https://2fa.example.com"
AGAIN = ("self", "POST", "/User/verify-2fa-opt-in?FileId=777")
NEW_CODE = ("related", "POST", "/User/opt-in-to-2fa?FileId=777")
OPT_OUT = ("related", "POST", "/User/opt-out-from-2fa?FileId=777")
OPT_OUT_AGAIN = ("self", "POST", "/User/opt-out-from-2fa?FileId=777")


@pytest.fixture
def key_api(access_key: str) -> Api:
    return Api(key=access_key)


def links(answer: Answer) -> list[tuple[str, str, str]]:
    """The links but the help link, which must stand last, without the base."""
    for link in answer.links:
        assert list(link) == ["rel", "href", "method", "title"]
        assert link["href"].startswith(f"{BASE}/")
        assert link["title"]
    found = list(answer.links)
    if answer.status != 200:
        assert found.pop() == {
            "rel": "help",
            "href": f"{BASE}/Help/Errors#{answer.code}",
            "method": "GET",
            "title": answer.code,
        }
    assert all(link["rel"] != "help" for link in found)
    return [(link["rel"], link["method"], link["href"].removeprefix(BASE)) for link in found]


# -- which links where -------------------------------------------------------------


def test_links_of_verify(
    api: Api, pending: ProviderUser, phone: Phone, clock: time_machine.Traveller
) -> None:
    assert links(api.verify(pending.pk, "x")) == []
    for _ in range(5):
        assert links(api.verify(pending.pk, wrong(phone.code()))) == [AGAIN, NEW_CODE]
    # Trying again cannot help any more.
    exhausted = api.verify(pending.pk, phone.code())
    assert (exhausted.code, links(exhausted)) == ("otp_exhausted", [NEW_CODE])
    clock.shift(601)
    expired = api.verify(pending.pk, phone.code())
    assert (expired.code, links(expired)) == ("otp_expired", [NEW_CODE])
    api.opt_in(NUMBER)
    assert links(api.verify(pending.pk, phone.code())) == [OPT_OUT]
    assert links(api.verify(pending.pk, phone.code())) == []  # already_verified


def test_links_of_opt_out(
    api: Api, active: ProviderUser, phone: Phone, clock: time_machine.Traveller
) -> None:
    new = ("related", "POST", "/User/opt-out-from-2fa?FileId=777")
    assert links(api.opt_out()) == [OPT_OUT_AGAIN]
    for _ in range(5):
        assert links(api.opt_out(wrong(phone.code()))) == [OPT_OUT_AGAIN, new]
    assert links(api.opt_out(phone.code())) == [new]  # otp_exhausted
    clock.shift(601)
    assert links(api.opt_out(phone.code())) == [new]  # otp_expired
    api.opt_out()
    assert links(api.opt_out(phone.code())) == [NEW_CODE]
    assert links(api.opt_out()) == []  # not_opted_in


# -- where they lead ---------------------------------------------------------------


def test_link_can_be_followed_as_it_stands(api: Api, active: ProviderUser) -> None:
    href = api.opt_in(OTHER_NUMBER).links[0]["href"]
    target = urlsplit(href)
    assert api.send("POST", target.path, query=target.query).code == "2fa_code_required"


@pytest.mark.parametrize("media_type", FORMATS)
def test_no_link_holds_the_access_key(
    key_api: Api, pending: ProviderUser, phone: Phone, media_type: str
) -> None:
    key_api.media_type = media_type
    for query in (key_api.query(), f"wsaccesskey={key_api.key}&fileid=777&x=y"):
        answer = key_api.verify(pending.pk, wrong(phone.code()), query=query)
        assert links(answer) == [AGAIN, NEW_CODE]
        assert key_api.key.encode() not in answer.content
        assert b"accesskey" not in answer.content.lower()


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


@pytest.mark.parametrize(
    ("remote", "ip"),
    [("192.0.2.7", "203.0.113.9"), ("198.51.100.1", "198.51.100.1")],
    ids=["trusted proxy", "stranger"],
)
def test_client_address_is_forwarded_by_trusted_proxies_only(
    api: Api, settings: Settings, remote: str, ip: str
) -> None:
    """S-26"""
    settings.TRUSTED_PROXIES = (ip_network("192.0.2.0/24"),)
    api.opt_in(NUMBER, headers={"X-Forwarded-For": "10.9.9.9, 203.0.113.9"}, REMOTE_ADDR=remote)
    assert AuditEvent.objects.get().ip == ip
