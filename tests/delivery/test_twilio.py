"""The gateway ``twilio``, against a real server on this machine that may do anything."""

import base64
import hashlib
import hmac
import json
import logging
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from django.conf import LazySettings
from django.test import Client

from optin import checks, gateways
from optin.conf import conf
from optin.gateways import Fate, SmsError, Text
from optin.gateways.call import MAX_ANSWER
from optin.gateways.twilio import Twilio
from optin.models import AuditEvent, File, GatewayTry, Guard, SmsMessage, User
from optin.models.messages import State
from optin.operations import opt_ins
from optin.outcomes import CodeOutcome, SendOutcome
from tests.kit.gateways import made
from tests.kit.people import NUMBER, ORIGIN
from tests.kit.wire import BODY, CODE, REFERENCE, Answer, Request, Server, hangs, says
from tests.kit.wire import KEY as WIRE_KEY

ACCOUNT, KEY, SERVICE = f"AC{'a1' * 16}", f"SK{'b2' * 16}", f"MG{'c3' * 16}"
TOKEN, KEY_SECRET, SECRET = "auth-token-of-twilio", "secret-of-the-key", "r3ceipt" * 5
SID = f"SM{'d4' * 16}"
RECEIPT_URL = f"https://2fa.example.com/receipts/twilio/{SECRET}?reference=sms-17"
FORM = "application/x-www-form-urlencoded"


def base(server: Server) -> str:
    return server.url.removesuffix(f"/send?key={WIRE_KEY}")


def gateway(server: Server, **changes: Any) -> Twilio:
    options = {"url": base(server), "account": ACCOUNT, "token": TOKEN, "sender": "Books"}
    return made(Twilio, **options | changes)


def send(twilio: Twilio, **changes: Any) -> str:
    return twilio.send(Text(**{"to": NUMBER, "body": BODY, "reference": REFERENCE} | changes))


def form(request: Request) -> dict[str, str]:
    return dict(parse_qsl(request.body.decode(), keep_blank_values=True, strict_parsing=True))


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def error(code: object) -> str:
    """An answer as Twilio words it: with the number, and more."""
    message = f"The number {NUMBER} is unsubscribed: {BODY}"
    return json.dumps({"code": code, "message": message, "more_info": TOKEN, "status": 400})


# -- what is sent ------------------------------------------------------------------


def test_a_text_is_one_post_of_a_form(server: Server) -> None:
    send(gateway(server), receipt_url=RECEIPT_URL)

    [request] = server.requests
    assert request.line == f"POST /2010-04-01/Accounts/{ACCOUNT}/Messages.json HTTP/1.1"
    assert {name.lower(): value for name, value in request.headers.items()} == {
        "host": f"127.0.0.1:{server.listener.getsockname()[1]}",
        "authorization": basic(ACCOUNT, TOKEN),
        "content-type": FORM,
        "content-length": str(len(request.body)),
        "accept-encoding": "identity",
        "user-agent": "optin",
    }
    assert form(request) == {
        "To": NUMBER,
        "From": "Books",
        "Body": BODY,
        "ValidityPeriod": "600",
        "StatusCallback": RECEIPT_URL,
    }


@pytest.mark.parametrize(("token", "asked"), [(TOKEN, True), ("", False)])
def test_a_key_sends_in_the_place_of_the_token(server: Server, token: str, asked: bool) -> None:
    """But only the token signs: without it no receipt is asked for."""
    made = gateway(server, key=KEY, key_secret=KEY_SECRET, token=token)
    send(made, receipt_url=RECEIPT_URL)
    [request] = server.requests
    assert request.headers["Authorization"] == basic(KEY, KEY_SECRET)
    assert ACCOUNT in request.line
    assert ("StatusCallback" in form(request)) is asked


@pytest.mark.parametrize(
    ("ours", "named", "expected"),
    [
        ({"sender": "Books"}, "Harbour", ("Harbour", None)),
        ({"sender": "", "service": SERVICE}, "", (None, SERVICE)),
        ({"sender": "Books", "service": SERVICE}, "", ("Books", SERVICE)),
    ],
)
def test_whom_it_comes_from(
    server: Server, ours: dict[str, str], named: str, expected: tuple[str | None, str | None]
) -> None:
    send(gateway(server, **ours), sender=named)
    sent = form(server.requests[0])
    assert (sent.get("From"), sent.get("MessagingServiceSid")) == expected


@pytest.mark.parametrize(("valid_for", "period"), [(61, "61"), (86_400, "36000"), (0, "1")])
def test_twilio_is_told_how_long_it_is_of_use(server: Server, valid_for: int, period: str) -> None:
    """Within the range that it takes, or it would refuse the text."""
    send(gateway(server), valid_for=valid_for)
    assert form(server.requests[0])["ValidityPeriod"] == period


# -- what is answered --------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b'{"sid": 17}',
        b'{"sid": "' + SID.encode() + b'\\n"}',
        b'{"sid": ' + b"9" * 5000 + b"}",
        b'{"sid": "' + SID.encode() + b'", "x": "' + b"x" * MAX_ANSWER + b'"}',
    ],
    ids=lambda answer: repr(answer[:40]),
)
def test_without_a_sid_a_2xx_is_an_unknown_attempt(server: Server, answer: bytes) -> None:
    server.answer = says(201, answer)
    with pytest.raises(SmsError, match=r"answered 201, but not that it took the text$") as caught:
        send(gateway(server))
    assert caught.value.fate is Fate.UNKNOWN


@pytest.mark.parametrize("secret", [NUMBER[1:], CODE])
def test_a_sid_that_tells_a_secret_is_not_kept(server: Server, secret: str) -> None:
    server.answer = says(201, json.dumps({"sid": f"SM{secret.rjust(32, 'a')}"}))
    assert send(gateway(server)) == ""


@pytest.mark.parametrize(
    ("status", "code", "fate"),
    [
        (400, "21610", Fate.OPTED_OUT),
        (403, 21610, Fate.OPTED_OUT),
        (400, 21211, Fate.REFUSED),
        (403, 21408, Fate.NOT_HERE),
        (400, 21212, Fate.TRY_ANOTHER),
        (429, 20429, Fate.TRY_ANOTHER),
        (400, 21999, Fate.NOT_HERE),  # one that is new
        (422, 21999, Fate.REFUSED),
        (500, 21211, Fate.UNKNOWN),  # a 5xx may have sent it, whatever it says
        (302, 21610, Fate.TRY_ANOTHER),  # and nothing is asked where it leads
    ],
)
def test_a_code_tells_what_became_of_the_text(
    server: Server, status: int, code: object, fate: Fate
) -> None:
    """The reason holds status and code alone: the words repeat number and text."""
    server.answer = says(status, error(code))
    with pytest.raises(SmsError) as caught:
        send(gateway(server))
    told = f"the gateway answered {status}" + (f" ({code})" if 400 <= status < 500 else "")
    assert (str(caught.value), caught.value.fate) == (told, fate)
    assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "[]",
        "[" * 60_000,
        error(True),
        error(int(CODE)),
        error("21610 "),
        error("\u0662\u0661\u0666\u0661\u0660"),
        error(21610) + " " * MAX_ANSWER,
    ],
    ids=lambda answer: answer[:30],
)
def test_without_a_code_the_status_tells(server: Server, answer: str) -> None:
    for status, fate in ((400, Fate.REFUSED), (401, Fate.TRY_ANOTHER), (500, Fate.UNKNOWN)):
        server.answer = says(status, answer)
        with pytest.raises(SmsError, match=f"^the gateway answered {status}$") as caught:
            send(gateway(server))
        assert caught.value.fate is fate


def test_it_waits_no_longer_than_it_may(server: Server) -> None:
    server.answer = hangs
    began = time.perf_counter()
    with pytest.raises(SmsError, match=r"within 0\.5 seconds"):
        send(gateway(server), patience=0.5)
    assert time.perf_counter() - began < 2


# -- its settings ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"account": ""}, "_ACCOUNT is not set"),
        ({"token": ""}, "_TOKEN or _KEY and _KEY_SECRET must be set"),
        ({"key": KEY}, "_KEY and _KEY_SECRET must be set both"),
        ({"key_secret": KEY_SECRET}, "_KEY and _KEY_SECRET must be set both"),
        ({"key": KEY, "token": ""}, "_KEY and _KEY_SECRET must be set both"),
        ({"sender": ""}, "_SENDER or _SERVICE must be set"),
    ],
)
def test_what_it_misses_is_told(server: Server, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=r"^OPTIN_GATEWAY_TWILIO_\w+ .*\.$") as caught:
        gateway(server, **changes)
    assert told in str(caught.value)
    secrets = (TOKEN, KEY, KEY_SECRET, SECRET)
    assert not [secret for secret in secrets if secret in str(caught.value)]


def test_without_its_package_the_start_is_stopped(
    settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.OPTIN_GATEWAYS = ("twilio",)
    settings.OPTIN_GATEWAY_TWILIO_ACCOUNT = ACCOUNT
    settings.OPTIN_GATEWAY_TWILIO_TOKEN = settings.OPTIN_GATEWAY_TWILIO_SENDER = "x"
    for name in ("twilio", "twilio.request_validator"):
        monkeypatch.setitem(sys.modules, name, None)
    [found] = checks.check_gateways()
    assert found.id == "optin.E106"
    assert "the package twilio is not installed: pip install --require-hashes" in found.msg


# -- secrets -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        says(201, json.dumps({"sid": f"{TOKEN} {NUMBER} {CODE}"})),
        says(400, error(21610)),
        says(400, error(f"21610 {TOKEN} {CODE}")),
        says(302, b"", f"Location: /{TOKEN}"),
        lambda line: None,
    ],
    ids=["accepted", "refused", "refused in other words", "redirected", "broken"],
)
def test_no_secret_is_told(
    server: Server, answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    """S-50: neither token, key, number nor code in a log, an error or a name."""
    server.answer = answer
    twilio = gateway(server, key=KEY, key_secret=KEY_SECRET)
    told = repr(twilio) + str(twilio)
    with caplog.at_level(logging.DEBUG):
        try:
            told += send(twilio, receipt_url=RECEIPT_URL)
        except SmsError as exc:
            told += f"{exc!r} {exc} {exc.__cause__!r} {exc.__context__!r}"
    # urllib3 names the path at this level; the account is no secret.
    told += caplog.text
    secrets = (TOKEN, KEY_SECRET, SECRET, NUMBER, NUMBER[3:], CODE, basic(KEY, KEY_SECRET))
    assert not [secret for secret in secrets if secret in told]


# -- receipts ----------------------------------------------------------------------


@pytest.fixture
def configured(server: Server, settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The service sends through ``server``."""
    settings.DEBUG = True  # the server speaks http
    settings.BASE_URL = "https://2fa.example.com"
    settings.OPTIN_GATEWAYS = ("twilio",)
    settings.OPTIN_GATEWAY_TWILIO_URL = base(server)
    settings.OPTIN_GATEWAY_TWILIO_ACCOUNT = ACCOUNT
    settings.OPTIN_GATEWAY_TWILIO_TOKEN = TOKEN
    settings.OPTIN_GATEWAY_TWILIO_SENDER = "Books"
    settings.OPTIN_RECEIPT_SECRET = SECRET
    # The real one, not the phone of the tests.
    monkeypatch.setattr(gateways, "for_region", lambda region: [gateways.make("twilio")])
    server.answer = says(201, json.dumps({"sid": SID, "status": "queued"}))
    return server


@pytest.fixture
def asked_for(configured: Server, user: User, file: File) -> str:
    """A text that Twilio took; the address that its receipts were asked for at."""
    assert opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN).outcome is SendOutcome.SENT
    return form(configured.requests[-1])["StatusCallback"]


def signature(url: str, facts: Mapping[str, str], token: str = TOKEN) -> str:
    """As Twilio's manual describes it, without Twilio's package."""
    words = url + "".join(name + facts[name] for name in sorted(facts))
    return base64.b64encode(hmac.digest(token.encode(), words.encode(), hashlib.sha1)).decode()


def facts(status: str = "delivered", **more: str) -> dict[str, str]:
    """What Twilio says, and what it is free to add."""
    said = {"AccountSid": ACCOUNT, "MessageSid": SID, "SmsSid": SID, "MessageStatus": status}
    return said | {"To": NUMBER, "From": "Books", "ApiVersion": "2010-04-01", "New": ""} | more


def call_back(
    url: str, said: Mapping[str, str], *, signed: str | None = None, **headers: str
) -> int:
    """Post *said* to the path of *url*, signed as Twilio does, or as told."""
    signed = signature(url, said) if signed is None else signed
    path = url.removeprefix(conf.base_url)
    headers = {"HTTP_X_TWILIO_SIGNATURE": signed, **headers}
    answer = Client().post(path, urlencode(said), content_type=FORM, **headers)  # type: ignore[arg-type]
    return answer.status_code


def text_now() -> tuple[str, str]:
    message = SmsMessage.objects.get()
    return message.state, message.reason


needs_services = pytest.mark.django_db(transaction=True)


@needs_services
@pytest.mark.parametrize(
    ("said", "state", "reason"),
    [
        (facts("read"), State.DELIVERED, ""),
        (facts("sent"), State.SENT, ""),
        (facts("a word to come"), State.SENT, ""),
        (facts("canceled"), State.FAILED, "the carrier: canceled"),
        (facts("undelivered", ErrorCode="30005"), State.FAILED, "the carrier: undelivered (30005)"),
        (facts("failed", ErrorCode=f"30005 {CODE}"), State.FAILED, "the carrier: failed"),
        (facts("failed", ErrorCode="21610"), State.FAILED, "the carrier: opted_out"),
        # Not of this text, which arrived.
        (facts("delivered", ErrorCode="21610"), State.DELIVERED, ""),
    ],
)
def test_what_a_receipt_says(
    asked_for: str, said: dict[str, str], state: State, reason: str
) -> None:
    assert call_back(asked_for, said) == 200
    assert text_now() == (state, reason)
    stopped = state == State.FAILED and said.get("ErrorCode") == "21610"
    digest = SmsMessage.objects.get().provider_user.number_digest
    assert Guard.objects.has_opted_out(digest) is stopped


def with_other(name: str, value: str) -> Callable[[str, dict[str, str]], int]:
    """Sign, and then change what was said."""

    def forge(url: str, said: dict[str, str]) -> int:
        return call_back(url, said | {name: value}, signed=signature(url, said))

    return forge


def twice_in_one(url: str, said: dict[str, str]) -> int:
    """The validator signs each name once with each value; which one counts is unsaid."""
    body = urlencode([("MessageStatus", "failed"), *said.items()])
    path, headers = url.removeprefix(conf.base_url), {"X-Twilio-Signature": signature(url, said)}
    return Client().post(path, body, content_type=FORM, headers=headers).status_code


def by_get(url: str, said: dict[str, str]) -> int:
    """With a signature of the address alone, and the facts in the query."""
    url = f"{url}&{urlencode(said)}"
    path = url.removeprefix(conf.base_url)
    wrong = {"X-Twilio-Signature": signature(url.partition("&")[0], {})}
    return Client().get(path, headers=wrong).status_code


FORGERIES = {
    "an empty one": lambda url, said: call_back(url, said, signed=""),
    "not ASCII": lambda url, said: call_back(url, said, signed="\u00e9" * 28),
    "another's token": lambda url, said: call_back(url, said, signed=signature(url, said, "other")),
    "another word": with_other("MessageStatus", "failed"),
    "a blank fact more": with_other("ErrorCode", ""),
    "no query signed": lambda url, said: call_back(
        url, said, signed=signature(url.partition("?")[0], said)
    ),
    "another text": lambda url, said: call_back(
        url.replace("sms-", "sms-1"), said, signed=signature(url, said)
    ),
    # Signed for the Host that the request claims: it is never asked.
    "the Host header": lambda url, said: call_back(
        url,
        said,
        signed=signature(url.replace("2fa.example.com", "testserver"), said),
        HTTP_HOST="testserver",
    ),
    "a word twice": twice_in_one,
    "a GET": by_get,
    "another secret": lambda url, said: call_back(url.replace(SECRET, SECRET.upper()), said),
}


@needs_services
@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
def test_forged(asked_for: str, forgery: Callable[[str, dict[str, str]], int]) -> None:
    """S-45: an answer as of an address that does not exist, and nothing changes."""
    assert forgery(asked_for, facts()) == 404
    assert text_now() == (State.SENT, "")


@needs_services
def test_the_same_but_right_is_taken(asked_for: str) -> None:
    """Or the forgeries would show nothing. A port that Twilio may add to what it signs too."""
    with_port = asked_for.replace("example.com/", "example.com:443/")
    said = facts("sent")
    assert call_back(asked_for, said, signed=signature(with_port, said)) == 200
    # Behind a proxy that passes another Host on, the address is still the public one.
    assert call_back(asked_for, facts(), HTTP_HOST="testserver") == 200
    assert text_now() == (State.DELIVERED, "")


@needs_services
def test_without_the_token_none_is_right(asked_for: str, settings: LazySettings) -> None:
    settings.OPTIN_GATEWAY_TWILIO_KEY = KEY
    settings.OPTIN_GATEWAY_TWILIO_KEY_SECRET = KEY_SECRET
    settings.OPTIN_GATEWAY_TWILIO_TOKEN = ""
    for token in ("", TOKEN, KEY_SECRET):
        assert call_back(asked_for, facts(), signed=signature(asked_for, facts(), token)) == 404
    assert text_now() == (State.SENT, "")


@needs_services
@pytest.mark.parametrize(
    "said",
    [{"MessageStatus": "delivered"}, {"MessageSid": SID}, facts(MessageSid=f"{SID}\n")],
    ids=ascii,
)
def test_nonsense_that_is_signed(asked_for: str, said: dict[str, str]) -> None:
    assert call_back(asked_for, said) == 400
    assert text_now() == (State.SENT, "")


@needs_services
@pytest.mark.parametrize(
    ("body", "status"),
    [(b"\xff=\xff", 400), (b"a=1&" * 200, 400), (b"{", 404)],
    ids=lambda value: repr(value)[:20],
)
def test_nonsense_that_is_not(asked_for: str, body: bytes, status: int) -> None:
    path = asked_for.removeprefix(conf.base_url)
    assert Client().post(path, body, content_type=FORM).status_code == status
    assert text_now() == (State.SENT, "")


@needs_services
def test_no_receipt_is_told_in_logs(asked_for: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        call_back(asked_for, facts())
        call_back(asked_for, facts(), signed="forged")
    told = caplog.text
    assert not [secret for secret in (TOKEN, NUMBER, NUMBER[3:], SID) if secret in told]


# -- end to end --------------------------------------------------------------------


@needs_services
def test_an_opt_in_is_texted_and_delivered(asked_for: str, configured: Server, user: User) -> None:
    message = SmsMessage.objects.get()
    assert asked_for == f"{conf.base_url}/receipts/twilio/{SECRET}?reference={message.reference}"
    assert (message.state, message.gateway) == (State.SENT, "twilio")
    assert message.gateway_message_id == SID
    sent = form(configured.requests[0])
    assert (sent["To"], sent["ValidityPeriod"]) == (NUMBER, "595")
    assert call_back(asked_for, facts()) == 200
    row = message.provider_user
    guess = opt_ins.verify_opt_in(user, row.file, row.pk, sent["Body"][:7], origin=ORIGIN)
    assert guess.outcome is CodeOutcome.OK


@needs_services
def test_a_stop_that_twilio_tells_of_holds(configured: Server, user: User, file: File) -> None:
    """21610: this text fails, and no other goes to that number."""
    configured.answer = says(400, error(21610))
    opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)
    assert text_now() == (State.FAILED, "the gateway answered 400 (21610)")
    event = AuditEvent.objects.get(kind=AuditEvent.Kind.NO_TEXTS)
    assert (event.client, event.outcome) == ("gateway:twilio", "stopped")
    tried = GatewayTry.objects.get()
    assert (tried.fate, tried.reason) == (Fate.OPTED_OUT, "the gateway answered 400 (21610)")
