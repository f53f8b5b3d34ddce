"""What a client may send (docs/contract.md, section 1), beside what the conformance kit sends."""

import json
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client

from optin.models import PendingOtp, ProviderUser, User
from tests.kit.clients import FORMATS, NAMESPACES, Answer, Api
from tests.kit.people import NUMBER
from tests.kit.phone import Phone, wrong

pytestmark = pytest.mark.django_db(transaction=True)

BOM = b"\xef\xbb\xbf"
XML_TYPES = ("application/xml", "text/xml")
JSON_TYPES = ("application/json", "text/json")
UNICODE_SPACES = "\t\n\r \x85\xa0\u1680\u2000\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2015"


def assert_refused(answer: Answer, user: User, phone: Phone, *echo: str) -> None:
    """400, in our words; nothing counted, activated, sent or echoed (security, Input)."""
    assert answer.brief == (400, "invalid_request")
    assert answer.headers["Cache-Control"] == "no-store"
    assert all(value.encode() not in answer.content for value in echo if value)
    user.refresh_from_db()
    assert user.failures == 0
    assert not ProviderUser.objects.filter(confirmed=True).exists()
    assert not PendingOtp.objects.filter(tries__gt=0).exists()
    # One text for each code that the test began with, and none since.
    assert len(phone.messages) == PendingOtp.objects.count()


# -- the path and the query --------------------------------------------------------


@pytest.mark.parametrize("slashes", ["//", "///", "/" * 50])
def test_leading_slashes_count_as_one(slashes: str) -> None:
    """Clients join a base URL that ends with one; so it is for pages, too."""

    def status(path: str) -> int:
        environ: dict[str, Any] = {"PATH_INFO": slashes + path}
        response = Client().get("/", **environ)
        response.close()
        return response.status_code

    assert status("User/opt-in-to-2fa") == 405
    assert status("authorisation/ping") == 401
    assert status("o/token/") == 405
    assert status("sign-in/") == 200
    assert status("static/optin/style.css") == 200
    assert status("User//opt-in-to-2fa") == 404
    assert Client().get("/", PATH_INFO=f"{slashes}account/")["Location"] == (
        "/sign-in/?next=%2Faccount%2F"
    )


@pytest.mark.parametrize(
    "query",
    [
        "FileId=777&FileId=777",
        "FileId=777&fileid=888",
        "fILEiD=777&FileId=777",
        "FileId=777&FileId=",
        "FileId=777&%66ileid=777",
        "FileId=777&x=1&X=1",
        "FileId=777&x&x",
        "FileId=777&WsAccessKey=a&wsaccesskey=a",
        "FileId=777&WsAccessKey=&wsaccesskey=",
    ],
)
def test_parameter_given_twice(api: Api, user: User, phone: Phone, query: str) -> None:
    """S-24."""
    answer = api.post("opt-in-to-2fa", json.dumps({"MobileNumber": NUMBER}), query=query)
    assert_refused(answer, user, phone)


NOT_AN_ID = [
    *("", "0", "0777", "-777", "+777", "777.0", "1e3", "0x309", "7_7_7", " 777", "777 ", "777\n"),
    *("\u0667\u0667\u0667", "\uff17\uff17\uff17", "\u00b2", "2147483648", "9" * 5000, "true"),
    *("777\x00", "777,888"),
]


def test_malformed_file_id(api: Api, user: User, phone: Phone) -> None:
    """S-24"""
    for query in ("", *(f"FileId={quote(value)}" for value in NOT_AN_ID)):
        answer = api.post("opt-in-to-2fa", json.dumps({"MobileNumber": NUMBER}), query=query)
        assert_refused(answer, user, phone)
        assert "FileId" in answer.data["StatusMessage"]


# -- ids in bodies -----------------------------------------------------------------


NOT_AN_ID_IN_JSON = [
    *("true", "false", "null", "0", "-1", "1.0", "1e3", "1E0", "2147483648", "9" * 30, "9" * 5000),
    *('"01"', '"0"', '""', '"-1"', '"+1"', '"1.0"', '"1e3"', '" 1"', '"1\\n"', '"1_0"', '"true"'),
    *('"\\u0661"', '"\\uff11"', '"2147483648"', "[1]", '{"a": 1}', "[]", "01", "+1", "NaN"),
]


def test_malformed_id_in_json(api: Api, user: User, pending: ProviderUser, phone: Phone) -> None:
    """S-24"""
    for value in NOT_AN_ID_IN_JSON:
        text = f'{{"ProviderUserId": {value}, "Otp": "{phone.code()}"}}'
        assert_refused(api.post("verify-2fa-opt-in", text), user, phone, phone.code())


def test_malformed_id_in_xml(api: Api, user: User, pending: ProviderUser, phone: Phone) -> None:
    """S-24"""
    for value in ("", "0", "01", "-1", "+1", "1.0", "1e3", "true", " ", "2147483648", "9" * 5000):
        answer = api.verify(value, phone.code(), media_type="text/xml")
        assert_refused(answer, user, phone, phone.code())


# -- names -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "extra",
    [
        '"confirmed": true',
        '"user": 1, "tries": 0, "file": 888, "verified_at": "2026-01-01"',
        '"x": {"y": [1, {"Otp": "0000000"}]}',
        '"_links": [], "StatusMessage": "x"',
    ],
)
def test_unknown_json_properties_are_ignored(
    api: Api, pending: ProviderUser, phone: Phone, extra: str
) -> None:
    """S-25"""
    head = f'{{{extra}, "ProviderUserId": {pending.pk}, "Otp": '
    assert api.post("verify-2fa-opt-in", f'{head}"{wrong(phone.code())}"}}').code == "otp_incorrect"
    pending.refresh_from_db()
    assert not pending.confirmed
    assert pending.file_id == 777
    assert PendingOtp.objects.get().tries == 1
    assert api.post("verify-2fa-opt-in", f'{head}"{phone.code()}"}}').status == 200


@pytest.mark.parametrize("media_type", XML_TYPES)
def test_unknown_xml_elements_are_ignored_with_their_subtree(
    api: Api, pending: ProviderUser, phone: Phone, media_type: str
) -> None:
    """S-25"""
    text = (
        f"<Verify2FAOptInRequest><x><Otp>{wrong(phone.code())}</Otp><ProviderUserId>1"
        f"</ProviderUserId></x><confirmed>true</confirmed><x/><Otp>{phone.code()}</Otp>"
        f"<ProviderUserId>{pending.pk}</ProviderUserId></Verify2FAOptInRequest>"
    )
    assert api.post("verify-2fa-opt-in", text, media_type=media_type).status == 200


# -- Otp ---------------------------------------------------------------------------

SPELLINGS = {
    "as it is": "{0}{1}{2}{3}{4}{5}{6}",
    "groups": "{0}{1}{2} {3}{4}{5}{6}",
    "hyphen": "{0}{1}{2}-{3}{4}{5}{6}",
    "around": " \t{0}{1}{2}{3}{4}{5}{6}\n",
    "all spaces": UNICODE_SPACES + "{0}{1}{2}{3}{4}{5}" + UNICODE_SPACES + "{6}",
    "all dashes": DASHES + "{0}{1}{2}{3}{4}{5}" + DASHES + "{6}",
    "at 64 characters": "{0}{1}{2}{3}{4}{5}{6}" + " " * 57,
}


@pytest.mark.parametrize("media_type", FORMATS)
@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_otp_spelling(
    api: Api, pending: ProviderUser, phone: Phone, spelling: str, media_type: str
) -> None:
    """S-10: spellings of one code are one code; a spelt wrong code counts once."""
    for code, status in ((wrong(phone.code()), 400), (phone.code(), 200)):
        answer = api.verify(pending.pk, spelling.format(*code), media_type=media_type)
        assert answer.status == status
        assert PendingOtp.objects.get().tries == 1


NOT_A_CODE = [
    *("", "   ", "abcdefg", "123456a", "123456", "12345678", "+123456", "12345.7"),
    "\u0661\u0662\u0663\u0664\u0665\u0666\u0667",  # Arabic digits
    "\uff11\uff12\uff13\uff14\uff15\uff16\uff17",  # full-width digits
    "\u22121234567",  # a minus sign
    "123\u200b4567",  # a zero width space
    *("1234567,7654321", "1234567" + " " * 58, "1" * 8000),
]


@pytest.mark.parametrize("media_type", FORMATS)
def test_malformed_otp_costs_no_try(
    api: Api, user: User, pending: ProviderUser, phone: Phone, media_type: str
) -> None:
    for otp in NOT_A_CODE:
        answer = api.verify(pending.pk, otp, media_type=media_type)
        assert_refused(answer, user, phone, otp.strip() if len(otp) > 6 else "")
    assert api.verify(pending.pk, phone.code()).status == 200


@pytest.mark.parametrize("value", ["[%s]", '{"a": %s}', "true", "[]", "{}"])
def test_otp_of_another_type_is_no_guess(
    api: Api, user: User, pending: ProviderUser, phone: Phone, value: str
) -> None:
    """S-11"""
    value = value.replace("%s", f'"{phone.code()}"')
    answer = api.post("verify-2fa-opt-in", f'{{"ProviderUserId": {pending.pk}, "Otp": {value}}}')
    assert_refused(answer, user, phone, phone.code())


@pytest.mark.parametrize("media_type", FORMATS)
def test_leading_zeros_count(api: Api, pending: ProviderUser, media_type: str) -> None:
    """S-01: a code that begins with 0 is right with it, and is no code without it."""
    nonces = (f"{number:040x}" for number in range(10_000))
    pending_otp = PendingOtp.objects.select_related("provider_user").get()
    while not pending_otp.code().startswith("0"):
        pending_otp.nonce = next(nonces)
    pending_otp.save()
    code = pending_otp.code()
    assert api.verify(pending.pk, code[1:], media_type=media_type).code == "invalid_request"
    assert api.verify(pending.pk, code, media_type=media_type).status == 200


# -- MobileNumber ------------------------------------------------------------------


OPT_OUTS = [
    (b"", ""),
    (b"null", "application/json"),
    (b'{"Otp": null}', "text/json"),
    (b'{"Otp": " - "}', "application/json"),
    (f'<OptOutFrom2FARequest {NAMESPACES}><Otp xsi:nil="1"/></OptOutFrom2FARequest>', "text/xml"),
]


@pytest.mark.parametrize(("body", "media_type"), OPT_OUTS)
def test_opt_out_without_a_code(
    api: Api, active: ProviderUser, body: bytes, media_type: str
) -> None:
    """The vendor's client posts ``null`` where it has nothing to send."""
    answer = api.post("opt-out-from-2fa", body, media_type=media_type)
    assert answer.brief == (401, "2fa_code_required")


def test_mobile_number_of_32_characters(api: Api, phone: Phone) -> None:
    number = "+61{}491570156"
    assert api.opt_in(number.format(" " * 21)).code == "mobile_number_invalid"
    assert phone.messages == []
    assert api.opt_in(number.format(" " * 20)).status == 200
