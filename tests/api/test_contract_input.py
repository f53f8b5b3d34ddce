"""What a client may send (docs/contract.md, section 1), beside what the conformance kit sends."""

import json
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client

from optin.models import PendingOtp, ProviderUser, User
from tests.kit.clients import FORMATS, NAMESPACES, Answer, Api
from tests.kit.people import NUMBER
from tests.kit.phone import Phone

pytestmark = pytest.mark.django_db(transaction=True)


def assert_refused(answer: Answer, user: User, phone: Phone, *echo: str) -> None:
    """400, in our words; nothing counted, activated, sent or echoed (security, Input)."""
    assert answer.brief == (400, "invalid_request")
    assert all(value.encode() not in answer.content for value in echo if value)
    user.refresh_from_db()
    assert user.failures == 0
    assert not ProviderUser.objects.filter(confirmed=True).exists()
    assert not PendingOtp.objects.filter(tries__gt=0).exists()
    # One text for each code that the test began with, and none since.
    assert len(phone.messages) == PendingOtp.objects.count()


# -- the path and the query --------------------------------------------------------


@pytest.mark.parametrize("slashes", ["//", "/" * 50])
def test_leading_slashes_count_as_one(slashes: str) -> None:
    """Clients join a base URL that ends with one; so it is for pages, too."""

    def status(path: str) -> int:
        environ: dict[str, Any] = {"PATH_INFO": slashes + path}
        response = Client().get("/", **environ)
        response.close()
        return response.status_code

    assert status("User/opt-in-to-2fa") == 405
    assert status("o/token/") == 405
    assert status("sign-in/") == 200
    assert status("static/optin/style.css") == 200
    assert status("User//opt-in-to-2fa") == 404
    assert Client().get("/", PATH_INFO=f"{slashes}account/")["Location"] == (
        "/sign-in/?next=%2Faccount%2F"
    )


TWICE = ["FileId=777&FileId=", "FileId=777&%66ileid=777", "FileId=777&x&x"]
NOT_AN_ID = [
    *("0x309", "7_7_7", " 777", "777 ", "777\n", "777\x00", "777,888", "9" * 5000),
    *("\u0667\u0667\u0667", "\uff17\uff17\uff17", "\u00b2"),
]


def test_malformed_query(api: Api, user: User, phone: Phone) -> None:
    """S-24."""
    for query in (*TWICE, *(f"FileId={quote(value)}" for value in NOT_AN_ID)):
        answer = api.post("opt-in-to-2fa", json.dumps({"MobileNumber": NUMBER}), query=query)
        assert_refused(answer, user, phone)
        assert "FileId" in answer.data["StatusMessage"] or query in TWICE


# -- bodies ------------------------------------------------------------------------

NOT_AN_ID_IN_JSON = [
    *("false", "null", "1E0", "1e999", "9" * 30, "9" * 5000, "[]", '{"a": 1}', "01", "+1", "NaN"),
    *('""', '"1\\n"', '"1_0"', '"true"', '"\\u0661"', '"\\uff11"', '"2147483648"'),
]


def test_malformed_id(api: Api, user: User, pending: ProviderUser, phone: Phone) -> None:
    """S-24"""
    for value in NOT_AN_ID_IN_JSON:
        text = f'{{"ProviderUserId": {value}, "Otp": "{phone.code()}"}}'
        assert_refused(api.post("verify-2fa-opt-in", text), user, phone, phone.code())
    for value in ("0", "+1", "1e3", "9" * 5000):
        answer = api.verify(value, phone.code(), media_type="text/xml")
        assert_refused(answer, user, phone, phone.code())


@pytest.mark.parametrize("value", ['["%s"]', '{"a": "%s"}', "true", "[]", "{}"])
def test_otp_of_another_type_is_no_guess(
    api: Api, user: User, pending: ProviderUser, phone: Phone, value: str
) -> None:
    """S-11"""
    value = value.replace("%s", phone.code())
    answer = api.post("verify-2fa-opt-in", f'{{"ProviderUserId": {pending.pk}, "Otp": {value}}}')
    assert_refused(answer, user, phone, phone.code())


@pytest.mark.parametrize("media_type", FORMATS)
def test_leading_zeros_count(
    api: Api, user: User, pending: ProviderUser, phone: Phone, media_type: str
) -> None:
    """S-01: a code that begins with 0 is right with it, and is no code without it."""
    nonces = (f"{number:040x}" for number in range(10_000))
    pending_otp = PendingOtp.objects.select_related("provider_user").get()
    while not pending_otp.code().startswith("0"):
        pending_otp.nonce = next(nonces)
    pending_otp.save()
    code = pending_otp.code()
    for malformed in (code[1:], code + " " * 58, "1" * 8000):
        answer = api.verify(pending.pk, malformed, media_type=media_type)
        assert_refused(answer, user, phone, malformed.strip())
    right = code + " " * 57  # 64 characters: the most that are taken
    assert api.verify(pending.pk, right, media_type=media_type).status == 200


OPT_OUTS = [
    (b'{"Otp": null}', "text/json"),
    (b'{"Otp": " - "}', "application/json"),
    (f'<OptOutFrom2FARequest {NAMESPACES}><Otp xsi:nil="1"/></OptOutFrom2FARequest>', "text/xml"),
]


@pytest.mark.parametrize(("body", "media_type"), OPT_OUTS)
def test_opt_out_without_a_code(
    api: Api, active: ProviderUser, body: bytes, media_type: str
) -> None:
    answer = api.post("opt-out-from-2fa", body, media_type=media_type)
    assert answer.brief == (401, "2fa_code_required")


def test_mobile_number_of_32_characters(api: Api, phone: Phone) -> None:
    number = "+61{}491570156"
    assert api.opt_in(number.format(" " * 21)).code == "mobile_number_invalid"
    assert phone.messages == []
    assert api.opt_in(number.format(" " * 20)).status == 200
