"""What happens in a sandbox changes nothing outside of it, and nobody is in both."""

import time
from datetime import timedelta

import pytest
from django.db.models import F
from django.utils import timezone

from optin.errors import Mixed, TestAccount
from optin.models import (
    AccessKey,
    AuditEvent,
    File,
    GatewayTry,
    Guard,
    Membership,
    SendCounter,
    SmsMessage,
    User,
)
from optin.operations import opt_ins, send_controls, staff, tenants
from optin.operations.sandbox import texts_of
from optin.origin import Face, Origin
from optin.outcomes import CodeOutcome, SendOutcome
from optin.runtime import metrics
from tests.kit.oauth import anybody, signed_in
from tests.kit.people import NUMBER, ORIGIN
from tests.kit.phone import Phone

pytestmark = pytest.mark.django_db(transaction=True)

COMMAND = Origin(Face.COMMAND)
STOPS = "+61491571491"


def turn_on(user: User, file: File, number: str = NUMBER) -> CodeOutcome:
    asked = opt_ins.opt_in(user, file, number, origin=ORIGIN)
    assert asked.provider_user_id
    code = texts_of(file)[0].body.split()[0]
    return opt_ins.verify_opt_in(user, file, asked.provider_user_id, code, origin=ORIGIN).outcome


def test_no_gateway_is_asked_and_nothing_is_counted(
    phone: Phone, tester: User, sandbox_file: File
) -> None:
    assert turn_on(tester, sandbox_file) is CodeOutcome.OK
    assert phone.messages == []
    assert SmsMessage.objects.get().gateway == "sandbox"
    assert not SendCounter.objects.exists()


def test_all_texts_stopped_are_the_real_ones(tester: User, sandbox_file: File) -> None:
    send_controls.stop_texts(reason="pumping", origin=COMMAND)
    opt_ins.opt_in(tester, sandbox_file, NUMBER, origin=ORIGIN)
    assert SmsMessage.objects.get().state == "delivered"


def test_a_stop_in_a_sandbox_is_none_outside(
    phone: Phone, tester: User, sandbox_file: File, user: User, file: File
) -> None:
    opt_ins.opt_in(tester, sandbox_file, STOPS, origin=ORIGIN)
    assert Guard.objects.filter(kind=Guard.Kind.OPTED_OUT).count() == 1
    asked = opt_ins.opt_in(user, file, STOPS, origin=ORIGIN)
    assert asked.outcome is SendOutcome.SENT
    assert not asked.is_withheld
    assert phone.messages[0][0] == STOPS


def test_a_withheld_text_takes_as_long_as_a_real_one(
    tester: User,
    sandbox_file: File,
    user: User,
    stranger: User,
    file: File,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The quick ones of a sandbox would tell which texts are withheld (S-38)."""
    opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)
    GatewayTry.objects.update(at=F("at") - timedelta(seconds=3))
    turn_on(tester, sandbox_file)
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    asked = opt_ins.opt_in(stranger, file, NUMBER, origin=ORIGIN)
    assert asked.is_withheld
    assert max(slept, default=0) == 3


def counted() -> dict[str, float]:
    (found,) = metrics.REQUESTS.collect()
    of_opt_ins = [each for each in found.samples if each.labels.get("route") == "opt-in"]
    return {s.labels["status"]: s.value for s in of_opt_ins if s.name.endswith("_count")}


@pytest.mark.parametrize("number", ["+61491577644", "+61491573770", "+61491572983"])
def test_an_answer_that_was_asked_for_is_counted_as_no_fault(
    sandbox_file: File, key: str, number: str
) -> None:
    """The alert about errors is one of the service's own."""
    before = counted()
    anybody().post(
        f"/User/opt-in-to-2fa?FileId={sandbox_file.pk}&WsAccessKey={key}",
        {"MobileNumber": number},
        "application/json",
    )
    after = counted()
    assert {name for name in after if after[name] != before.get(name, 0)} == {"rehearsed"}


def test_who_left_shows_no_codes_any_more(tester: User, sandbox_file: File) -> None:
    """The number stays with the file of the last opt-in, and so do the codes for signing in."""
    assert turn_on(tester, sandbox_file) is CodeOutcome.OK
    other = File.objects.create(id=901, name="Another Sandbox", is_sandbox=True)
    tenants.add_member(tester, other, origin=COMMAND)
    assert texts_of(sandbox_file)
    tenants.end_membership(tester, sandbox_file, origin=COMMAND)
    assert texts_of(sandbox_file) == []


@pytest.mark.parametrize("failures", [9, 49])
def test_operators_hear_of_no_lock_in_a_sandbox(
    tester: User, sandbox_file: File, failures: int
) -> None:
    """An opt-in ends it there, so there may be many. The trail has it."""
    asked = opt_ins.opt_in(tester, sandbox_file, NUMBER, origin=ORIGIN)
    User.objects.update(program_failures=failures)
    before = metrics.LOCKS._value.get(), metrics.DISABLINGS._value.get()
    opt_ins.verify_opt_in(
        tester, sandbox_file, asked.provider_user_id or 0, "0000000", origin=ORIGIN
    )
    tester.refresh_from_db()
    assert tester.program_locked_until or tester.program_disabled_at
    assert (metrics.LOCKS._value.get(), metrics.DISABLINGS._value.get()) == before


@pytest.mark.parametrize("reverse", [False, True])
def test_nobody_is_in_both(
    tester: User, sandbox_file: File, user: User, file: File, reverse: bool
) -> None:
    who, where = (user, sandbox_file) if reverse else (tester, file)
    before = Membership.objects.count(), AuditEvent.objects.count()
    with pytest.raises(Mixed):
        tenants.add_member(who, where, origin=COMMAND)
    assert (Membership.objects.count(), AuditEvent.objects.count()) == before


def test_a_test_account_gets_no_role(tester: User) -> None:
    with pytest.raises(TestAccount):
        staff.give_role(tester, "support", reason="new", origin=COMMAND)
    tester.refresh_from_db()
    assert not tester.is_staff


def test_the_texts_are_for_members_only(
    tester: User, sandbox_file: File, user: User, file: File, key: str
) -> None:
    opt_ins.opt_in(tester, sandbox_file, NUMBER, origin=ORIGIN)
    page = f"/account/sandbox/{sandbox_file.pk}/"
    assert anybody().get(page).status_code == 303
    assert signed_in(user.username).get(page).status_code == 404
    member = signed_in(tester.username)
    assert NUMBER in member.get(page).content.decode()
    assert member.get(f"/account/sandbox/{file.pk}/").status_code == 404
    assert page in member.get("/account/").content.decode()
    theirs = AccessKey.objects.make(user, file, timezone.now())[1]
    asked = [
        (sandbox_file.pk, key, 200),
        (sandbox_file.pk, theirs, 403),
        (file.pk, theirs, 404),
        (sandbox_file.pk, "", 401),
    ]
    for file_id, who, status in asked:
        answer = anybody().get(f"/sandbox/texts?FileId={file_id}&WsAccessKey={who}")
        assert answer.status_code == status
        assert answer["Cache-Control"] == "no-store"
