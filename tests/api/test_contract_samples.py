"""The vendor's samples, byte for byte; the shape of each answer (docs/contract.md, section 2)."""

import pytest

from optin.models import File, ProviderUser, User
from tests.kit.clients import MEDIA_TYPES, NAMESPACES, Api, bearer
from tests.kit.people import NUMBER
from tests.kit.phone import Phone, wrong

pytestmark = pytest.mark.django_db(transaction=True)

JSON_SAMPLE = """{
  "ProviderUserId": 1,
  "Otp": "sample string 2"
}"""

XML_SAMPLE = f"""<Verify2FAOptInRequest {NAMESPACES}>
  <ProviderUserId>1</ProviderUserId>
  <Otp>sample string 2</Otp>
</Verify2FAOptInRequest>"""

BASE = "https://2fa.example.com"


def sample(media_type: str) -> str:
    return XML_SAMPLE if "xml" in media_type else JSON_SAMPLE


def json_answer(message: str, *links: tuple[str, str, str, str]) -> bytes:
    written = ",".join(
        f'{{"rel":"{rel}","href":"{href}","method":"{method}","title":"{title}"}}'
        for rel, href, method, title in links
    )
    return f'{{"StatusMessage":"{message}","_links":[{written}]}}'.encode()


def xml_answer(message: str, *links: tuple[str, str, str, str]) -> bytes:
    written = "".join(
        f"<Link><rel>{rel}</rel><href>{href}</href><method>{method}</method>"
        f"<title>{title}</title></Link>"
        for rel, href, method, title in links
    )
    return (
        f"<BaseResponseModel {NAMESPACES}><_links>{written}</_links>"
        f"<StatusMessage>{message}</StatusMessage></BaseResponseModel>"
    ).encode()


def expected(media_type: str, message: str, *links: tuple[str, str, str, str]) -> bytes:
    return (xml_answer if "xml" in media_type else json_answer)(message, *links)


OPT_OUT = (
    "related",
    f"{BASE}/User/opt-out-from-2fa?FileId=777",
    "POST",
    "Turn two-factor off",
)
AGAIN = ("self", f"{BASE}/User/verify-2fa-opt-in?FileId=777", "POST", "Try again")
NEW_CODE = ("related", f"{BASE}/User/opt-in-to-2fa?FileId=777", "POST", "Send a new code")


def help_link(code: str) -> tuple[str, str, str, str]:
    return ("help", f"{BASE}/Help/Errors#{code}", "GET", code)


@pytest.mark.parametrize("accept", MEDIA_TYPES)
@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_success_and_error_are_the_sample_byte_for_byte(
    user: User, pending: ProviderUser, phone: Phone, media_type: str, accept: str
) -> None:
    api = Api(token=bearer(user), media_type=media_type, accept=accept)
    text = sample(media_type).replace(">1<", f">{pending.pk}<").replace(": 1,", f": {pending.pk},")

    answer = api.post("verify-2fa-opt-in", text.replace("sample string 2", wrong(phone.code())))
    assert answer.status == 400
    assert answer.media_type == f"{accept}; charset=utf-8"
    assert answer.content == expected(
        accept, "The code is not right.", AGAIN, NEW_CODE, help_link("otp_incorrect")
    )

    answer = api.post("verify-2fa-opt-in", text.replace("sample string 2", phone.code()))
    assert answer.status == 200
    assert answer.media_type == f"{accept}; charset=utf-8"
    assert answer.content == expected(accept, "Two-factor authentication is on.", OPT_OUT)


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_opt_in_result(user: User, file: File, phone: Phone, media_type: str) -> None:
    answer = Api(token=bearer(user), media_type=media_type).opt_in(NUMBER)
    pk = ProviderUser.objects.get().pk
    assert answer.status == 200
    assert answer.content.decode() == (
        f"<OptInTo2FAResult {NAMESPACES}><ProviderUserId>{pk}</ProviderUserId></OptInTo2FAResult>"
        if "xml" in media_type
        else f'{{"ProviderUserId":{pk}}}'
    )


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_opt_out_answers(user: User, active: ProviderUser, phone: Phone, media_type: str) -> None:
    api = Api(token=bearer(user), media_type=media_type)
    self_link = ("self", f"{BASE}/User/opt-out-from-2fa?FileId=777", "POST", "Send the code")
    on = ("related", f"{BASE}/User/opt-in-to-2fa?FileId=777", "POST", "Turn two-factor on")
    assert api.opt_out().content == expected(
        media_type,
        "Enter the code that was sent to your mobile phone.",
        self_link,
        help_link("2fa_code_required"),
    )
    assert api.opt_out(phone.code()).content == expected(
        media_type, "Two-factor authentication is off.", on
    )


@pytest.mark.parametrize("accept", MEDIA_TYPES)
def test_ping_is_a_bare_boolean(user: User, accept: str) -> None:
    """The vendor's client reads it into a string, and fails on an object."""
    api = Api(token=bearer(user), accept=accept)
    answer = api.ping()
    assert answer.status == 200
    assert answer.content == (b"<boolean>true</boolean>" if "xml" in accept else b"true")
    assert answer.media_type == f"{accept}; charset=utf-8"
    head = api.send("HEAD", "/authorisation/ping")
    assert (head.status, head.content, head.media_type) == (200, b"", answer.media_type)
