"""``Idempotency-Key``: who sends a request again gets the first answer (docs/contract.md, 1.4)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from optin.models import AccessKey, AuditEvent, File, IdempotencyKey, Membership, User
from optin.operations import staff_actions
from tests.kit.clients import FORMATS, Answer, Api, bearer
from tests.kit.logs import lines
from tests.kit.people import NUMBER, ORIGIN, OTHER_NUMBER
from tests.kit.phone import Phone, wrong
from tests.kit.world import nothing_happens

pytestmark = pytest.mark.django_db(transaction=True)

KEY = "7f0c9a51-opt-in"
DAY = timedelta(hours=24)
Send = Callable[[], Answer]


@pytest.fixture
def api(access_key: str) -> Api:
    return Api(key=access_key)


@contextmanager
def nothing_decided(phone: Phone) -> Iterator[None]:
    """Assert that no row changes, no text leaves, and no event is added."""
    AccessKey.objects.update(last_used_at=timezone.now())
    events = AuditEvent.objects.count()
    with nothing_happens(phone):
        yield
    assert AuditEvent.objects.count() == events


def keyed(key: str = KEY) -> dict[str, Any]:
    return {"headers": {"Idempotency-Key": key}}


def activate(api: Api, phone: Phone) -> None:
    assert api.verify(api.opt_in(NUMBER).data["ProviderUserId"], phone.code()).status == 200


def opt_in(api: Api, phone: Phone) -> Send:
    return lambda: api.opt_in(NUMBER, **keyed())


def ask_to_opt_out(api: Api, phone: Phone) -> Send:
    activate(api, phone)
    return lambda: api.opt_out(**keyed())


def ask_to_opt_out_a_moment_later(api: Api, phone: Phone) -> Send:
    """No text is sent again so soon, and the ``Link`` says why."""
    activate(api, phone)
    api.opt_out()
    return lambda: api.opt_out(**keyed())


def opt_out(api: Api, phone: Phone) -> Send:
    activate(api, phone)
    api.opt_out()
    code = phone.code()
    return lambda: api.opt_out(code, **keyed())


def same(one: Answer, other: Answer) -> bool:
    """Whether they are the same, but for the id of the request."""
    headers = [{**answer.headers, "X-Request-Id": ""} for answer in (one, other)]
    return headers[0] == headers[1] and (one.status, one.content) == (other.status, other.content)


@pytest.mark.parametrize("media_type", FORMATS)
@pytest.mark.parametrize(
    "prepare", [opt_in, ask_to_opt_out, ask_to_opt_out_a_moment_later, opt_out]
)
def test_the_first_answer_is_given_again(
    api: Api,
    phone: Phone,
    clock: time_machine.Traveller,
    prepare: Callable[[Api, Phone], Send],
    media_type: str,
) -> None:
    api.media_type = media_type
    send = prepare(api, phone)
    first = send()
    assert first.brief in {(200, ""), (401, "2fa_code_required")}

    clock.shift(DAY - timedelta(seconds=1))
    with nothing_decided(phone):
        again = send()
    assert same(again, first)

    clock.shift(timedelta(seconds=1))
    events = AuditEvent.objects.count()
    send()
    assert AuditEvent.objects.count() > events


def test_the_first_answer_is_given_again_whatever_happened_since(
    api: Api, user: User, phone: Phone
) -> None:
    first = api.opt_in(NUMBER, **keyed())
    staff_actions.unlock(user, reason="a test", origin=ORIGIN)
    assert api.verify(first.data["ProviderUserId"], phone.code()).status == 200
    assert same(api.opt_in(NUMBER, **keyed()), first)
    asked = api.opt_out(**keyed())
    done = api.opt_out(phone.code(), **keyed("another"))
    User.objects.update(program_disabled_at=timezone.now())
    with nothing_decided(phone):
        assert same(api.opt_in(NUMBER, **keyed()), first)
        assert same(api.opt_out(**keyed()), asked)
        assert same(api.opt_out(phone.code(), **keyed("another")), done)


def test_the_same_key_with_another_body_is_refused(api: Api, phone: Phone) -> None:
    activate(api, phone)
    api.opt_out(**keyed())
    with nothing_decided(phone):
        refused = api.opt_out(phone.code(), **keyed())
    assert refused.brief == (400, "invalid_request")
    assert "another body" in refused.data["StatusMessage"]
    assert same(api.opt_out(**keyed()), api.opt_out(**keyed()))


def test_another_caller_file_or_call_is_another_request(
    user: User, stranger: User, file: File, other_file: File, access_key: str, phone: Phone
) -> None:
    """Two tokens of one application are the same caller: one may take the place of the other."""
    Membership.objects.create(user=user, file=other_file)
    by_key, by_token = Api(key=access_key), Api(token=bearer(user))
    another_key = AccessKey.objects.make(user, file, timezone.now())[1]
    first = by_key.opt_in(NUMBER, **keyed())

    assert by_token.opt_in(NUMBER, **keyed()).brief == (429, "send_limit")
    assert Api(key=another_key).opt_in(NUMBER, **keyed()).brief == (429, "send_limit")
    assert Api(token=bearer(stranger)).opt_in(NUMBER, **keyed()).status == 200
    elsewhere = by_token.opt_in(OTHER_NUMBER, query="FileId=888", **keyed())
    assert elsewhere.status == 200
    assert by_key.opt_out(**keyed()).brief == (409, "not_opted_in")
    assert IdempotencyKey.objects.count() == 3

    refreshed = Api(token=bearer(user))
    with nothing_decided(phone):
        assert same(by_key.opt_in(NUMBER, **keyed()), first)
        again = refreshed.opt_in(OTHER_NUMBER, query="FileId=888", **keyed())
    assert same(again, elsewhere)


def test_refusals_are_not_kept(api: Api, phone: Phone, clock: time_machine.Traveller) -> None:
    api.opt_in(NUMBER)
    assert api.opt_in(NUMBER, **keyed()).brief == (429, "send_limit")
    assert api.opt_in("12", **keyed()).brief == (400, "mobile_number_invalid")
    clock.shift(30)
    sent = api.opt_in(NUMBER, **keyed())
    assert (sent.status, len(phone.messages)) == (200, 2)
    api.verify(sent.data["ProviderUserId"], phone.code())
    api.opt_out()
    assert api.opt_out(wrong(phone.code()), **keyed()).brief == (400, "otp_incorrect")
    assert api.opt_out(phone.code(), **keyed()).status == 200


def test_what_a_key_cannot_be(api: Api, phone: Phone) -> None:
    """It is looked at after the body, and before what the operation decides."""
    with nothing_decided(phone):
        for key in ("", "x" * 65, "two words", "tab\tbed", "caf\xe9", "\x7f", "\x00"):
            for refused in (api.opt_in("12", **keyed(key)), api.opt_out(**keyed(key))):
                assert refused.brief == (400, "invalid_request")
                assert refused.data["StatusMessage"] == (
                    "Idempotency-Key must be 1 to 64 visible ASCII characters."
                )
    assert "JSON" in api.post("opt-in-to-2fa", "{", **keyed("")).data["StatusMessage"]
    assert api.opt_in(NUMBER, **keyed("~" * 64)).status == 200


def test_the_calls_without_it_ignore_it(api: Api, phone: Phone) -> None:
    row_id = api.opt_in(NUMBER).data["ProviderUserId"]
    assert api.verify(row_id, phone.code(), **keyed("two words")).status == 200
    assert api.verify(row_id, phone.code(), **keyed()).brief == (409, "already_verified")


def test_credentials_and_files_are_checked_at_each_request(
    api: Api, user: User, file: File, phone: Phone
) -> None:
    api.opt_in(NUMBER, **keyed())
    Membership.objects.update(active=False)
    assert api.opt_in(NUMBER, **keyed()).brief == (403, "file_access_denied")
    AccessKey.objects.update(revoked_at=timezone.now())
    assert api.opt_in(NUMBER, **keyed()).brief == (401, "invalid_token")


def test_the_log_line_of_a_repeat_leads_to_the_first_request(api: Api, phone: Phone) -> None:
    activate(api, phone)
    with contextmanager(lines)("json") as told:
        first, again = api.opt_out(**keyed()), api.opt_out(**keyed())

    ids = [answer.headers["X-Request-Id"] for answer in (first, again)]
    assert [line["request_id"] for line in told.requests] == ids
    assert [line.get("first_request_id") for line in told.requests] == [None, ids[0]]


def test_its_row_holds_neither_the_key_nor_the_body(api: Api, phone: Phone) -> None:
    activate(api, phone)
    api.opt_out()
    code = phone.code()
    api.opt_out(code, **keyed())
    api.opt_in(NUMBER, **keyed())
    stored = str(list(IdempotencyKey.objects.values()))
    assert [text for text in (KEY, code, NUMBER, NUMBER[1:], api.key) if text in stored] == []
