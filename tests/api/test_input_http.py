"""Bodies over HTTP: nothing that is refused leaves a trace, nothing answers 5xx."""

import json
from collections.abc import Iterator

import pytest
from django.forms.models import model_to_dict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optin.models import File, PendingOtp, ProviderUser, User
from tests.api.bodies import BODIES
from tests.kit.clients import FORMATS, MEDIA_TYPES, Answer, Api
from tests.kit.people import NUMBER, PASSWORD
from tests.kit.phone import Phone, wrong

FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def api(access_key: str) -> Api:
    return Api(key=access_key)


EXTRA: dict[str, object] = {
    **dict.fromkeys(("tries", "otp_failures", "program_failures"), "0"),
    **dict.fromkeys(("confirmed", "is_staff"), "true"),
    **dict.fromkeys(("user", "user_id"), "2"),
    **dict.fromkeys(("id", "pk"), "99"),
    **dict.fromkeys(("file", "file_id", "FileId"), "888"),
    **dict.fromkeys(("number_encrypted", "_links", "StatusMessage"), "x"),
    "purpose": "sign_in",
    "verified_at": "2026-11-02T12:00:00Z",
    "expires_at": "2099-11-02T12:00:00Z",
}
"""Names of our own columns, as a client might try them."""


@pytest.mark.parametrize("media_type", FORMATS)
@pytest.mark.django_db(transaction=True)
def test_extra_fields_write_nothing(
    api: Api,
    user: User,
    stranger: User,
    file: File,
    other_file: File,
    phone: Phone,
    media_type: str,
) -> None:
    """S-25, at an opt-in and at a wrong guess."""
    api.media_type = media_type
    # JSON names have no case: what is given twice there is refused.
    extra = {name.lower(): value for name, value in EXTRA.items()}
    people = list(User.objects.order_by("id").values())

    assert api.call("opt-in-to-2fa", {**extra, "MobileNumber": NUMBER}).status == 200
    row = ProviderUser.objects.get()
    pending = PendingOtp.objects.get()
    before = (model_to_dict(row), model_to_dict(pending))
    guess = {**extra, "ProviderUserId": row.pk, "Otp": wrong(phone.code())}
    assert api.call("verify-2fa-opt-in", guess).brief == (400, "otp_incorrect")

    assert (row.user, row.file, row.confirmed, row.verified_at) == (user, file, False, None)
    assert pending.purpose == "opt_in"
    assert pending.tries == 0
    row.refresh_from_db()
    pending.refresh_from_db()
    assert (model_to_dict(row), {**model_to_dict(pending), "tries": 0}) == before
    assert pending.tries == 1
    people[0]["program_failures"] = 1
    assert list(User.objects.order_by("id").values()) == people
    assert len(phone.messages) == 1


@pytest.mark.django_db(transaction=True)
def test_extra_fields_of_a_token_call_write_nothing(user: User, password_clients: None) -> None:
    body = {**EXTRA, "grant_type": "password", "username": "ann", "password": PASSWORD}

    answer = Api().send("POST", "/authorisation/token", json.dumps(body))

    assert answer.status == 200
    assert answer.data["scope"] == "full fileid:777"
    before = User.objects.values().get(pk=user.pk)
    assert (before["is_staff"], before["otp_failures"]) == (False, 0)


HOSTILE = ["\x01", "\x00", "\x1f", "\x7f", "\ufffe", "\ud800", "]]>", "<a>&b;", "\u202e"]


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("accept", ["application/xml", "application/json"])
@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_no_client_can_put_a_control_character_into_an_answer(
    api: Api, pending: ProviderUser, password_clients: None, accept: str, text: str
) -> None:
    """The inherited XML renderer answers 500 to one: no text of a client gets there."""
    escaped = "%" + "%".join(f"{byte:02x}" for byte in text.encode("utf-8", "surrogatepass"))

    def answers() -> Iterator[Answer]:
        body = {"MobileNumber": text, "ProviderUserId": text, "Otp": text, text: text}
        yield api.post("opt-in-to-2fa", json.dumps(body), accept=accept)
        yield api.post("verify-2fa-opt-in", json.dumps(body), accept=accept)
        yield api.post("opt-out-from-2fa", json.dumps(body), accept=accept)
        query = f"WsAccessKey={api.key}&FileId={escaped}"
        yield api.post("verify-2fa-opt-in", b"{}", query=query, accept=accept)
        query = f"WsAccessKey={escaped}&FileId=777"
        yield api.post("verify-2fa-opt-in", b"{}", query=query, accept=accept)
        yield api.send("POST", f"/User/{escaped}", accept=accept)
        yield api.send("GET", f"/authorisation/{escaped}", accept=accept)
        for field in ("grant_type", "username", "password", "scope", "verification_code"):
            good = {"grant_type": "password", "username": "ann", "password": PASSWORD}
            body = {**good, field: text}
            yield api.send("POST", "/authorisation/token", json.dumps(body), accept=accept)
        body = {"grant_type": "refresh_token", "refresh_token": text}
        yield api.send("POST", "/authorisation/refresh", json.dumps(body), accept=accept)

    for answer in answers():
        assert answer.status < 500
        assert answer.media_type == f"{accept}; charset=utf-8"
        assert answer.data


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=BODIES, media_type=st.sampled_from([*MEDIA_TYPES, FORM]))
def test_any_bytes_get_an_answer(
    api: Api, password_clients: None, phone: Phone, body: bytes, media_type: str
) -> None:
    """S-20 to S-25, for every call: 4xx (or an opt-out that asks for nothing), no trace."""
    calls = ("opt-in-to-2fa", "verify-2fa-opt-in", "opt-out-from-2fa")
    for call in calls:
        answer = api.post(call, body, media_type=media_type)
        assert 400 <= answer.status < 500
        assert answer.code
    for call in ("token", "token-2fa", "refresh"):
        answer = api.send("POST", f"/authorisation/{call}", body, media_type=media_type)
        assert answer.status == 400
        assert answer.data.keys() == {"error", "error_description"}
    assert not phone.messages
