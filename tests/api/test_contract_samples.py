"""The vendor's samples, byte for byte; the shape of each answer (docs/contract.md, section 2)."""

import pytest

from optin.models import ProviderUser, User
from tests.kit.clients import MEDIA_TYPES, NAMESPACES, Api, bearer
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
