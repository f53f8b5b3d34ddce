"""The page of an account: who it is, what helps now, what is wrong, what happened (P-21, P-23)."""

import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape

import pytest
from django.conf import LazySettings
from django.test import Client
from django.utils import timezone

from optin.actions.accounts import ACTIONS
from optin.models import EmailChange, File, ProposedNumber, ProviderUser, Purpose, User
from optin.operations import (
    challenges,
    email_changes,
    opt_ins,
    revocations,
    send_controls,
    staff_actions,
)
from optin.operations.factors import Standing
from optin.origin import Face, Origin
from optin.support.diagnosis import Why
from tests.kit.people import NUMBER, ORIGIN, OTHER_NUMBER
from tests.kit.phone import Phone, wrong
from tests.kit.staff import In, OnStaff, ask, whole_times
from tests.kit.trail import tell

pytestmark = pytest.mark.django_db(transaction=True)

COMMAND = Origin(Face.COMMAND)
CHROME = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/140.0 Safari/537.36"
)
PAGE = Origin(Face.WEB, ip="192.0.2.1", user_agent=CHROME, request_id="r-17")


def page_of(client: Client, user: User, query: str = "") -> str:
    response = client.get(f"/admin/optin/user/{user.pk}/change/{query}")
    assert response.status_code == 200
    return unescape(whole_times(response.content.decode()))


def offered(html: str) -> tuple[list[str], list[str]]:
    """The actions of the head: the buttons, and those of the menu."""
    acts = html.split('<div class="acts">')[1].split("</section>")[0]
    buttons = re.findall(r'<a class="button" href="[^"]*">([^<]*)</a>', acts)
    return buttons, re.findall(r"<li>\s*<a href=\"[^\"]*\">([^<]*)</a>", acts)


# -- what can be done --------------------------------------------------------------


def nothing(user: User) -> None:
    pass


def lock(user: User) -> None:
    until = timezone.now() + timedelta(minutes=5)
    User.objects.filter(pk=user.pk).update(otp_failures=10, otp_locked_until=until)


def miss_once(user: User) -> None:
    User.objects.filter(pk=user.pk).update(otp_failures=1)


def suspend(user: User) -> None:
    staff_actions.suspend(user, reason="lost", origin=COMMAND)


def plan(user: User) -> None:
    revocations.plan(user, reason="lost", origin=COMMAND)


def have_no_mail(user: User) -> None:
    User.objects.filter(pk=user.pk).update(email="")


def wait_for_a_text(user: User) -> None:
    challenges.challenge(user, Purpose.SIGN_IN, origin=PAGE)


def wait_and_be_locked(user: User) -> None:
    wait_for_a_text(user)
    lock(user)


def turn_off(user: User) -> None:
    staff_actions.revoke(user, reason="asked", origin=COMMAND)


def deactivate(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


LATER = "Remove all second factors in 24 hours"


@pytest.mark.parametrize(
    ("happen", "state", "buttons", "menu"),
    [
        (nothing, "Two-factor on", ["Suspend"], [LATER]),
        (miss_once, "Two-factor on", ["Suspend"], ["Unlock", LATER]),
        (lock, "Locked", [], ["Suspend", LATER]),
        (suspend, "Suspended", [], [LATER]),
        (plan, "Removal planned", ["Suspend"], []),
        (wait_for_a_text, "Two-factor on", ["Suspend"], [LATER]),
        (have_no_mail, "Two-factor on", ["Suspend"], []),
        (turn_off, "Two-factor off", [], ["Send an invitation"]),
        (deactivate, "Deactivated", [], ["Suspend"]),
    ],
)
def test_what_helps_is_a_button_and_what_changes_nothing_is_absent(
    user: User,
    active: ProviderUser,
    signed_in: In,
    happen: Callable[[User], None],
    state: str,
    buttons: list[str],
    menu: list[str],
) -> None:
    happen(user)
    html = page_of(signed_in("support"), user)
    assert offered(html) == (buttons, menu)
    first = re.search(r'<p class="state">\s*<span class="tag[^>]*>([^<]*)<', html)
    assert first
    assert first[1] == state


def test_another_text_to_a_number_that_may_be_mistyped_is_no_button(
    user: User, file: File, signed_in: In
) -> None:
    opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)
    assert offered(page_of(signed_in("support"), user)) == (
        [],
        ["Send the code again", "Send an invitation"],
    )


@pytest.mark.parametrize("role", ["auditor", "support"])
def test_who_may_not_act_on_this_person_is_offered_nothing(
    signed_in: In, on_staff: OnStaff, role: str
) -> None:
    """An auditor may act on nobody: that it is this person is not the reason."""
    superior = on_staff("administrator")
    html = page_of(signed_in(role), superior)
    assert offered(html) == ([], [])
    assert ("You cannot act on this account" in html) is (role == "support")


def test_who_asked_for_a_removal_can_withdraw_it_from_somebody_who_has_risen(
    user: User, active: ProviderUser, signed_in: In, on_staff: OnStaff
) -> None:
    origin = Origin(Face.ADMIN, actor_id=on_staff("support").pk)
    revocations.plan(user, reason="lost", origin=origin)
    User.objects.filter(pk=user.pk).update(is_staff=True, is_superuser=True)
    html = page_of(signed_in("support"), user)
    assert html.count(f'href="/admin/optin/user/{user.pk}/withdraw/"') == 1
    assert offered(html) == ([], [])


def test_a_proposed_number_is_in_the_head(user: User, signed_in: In) -> None:
    """P-21. Its last three digits only."""
    ProposedNumber.of(user, NUMBER, "provider", timezone.now()).save()
    page = page_of(signed_in("auditor"), user)
    assert "•••156, by an identity provider at" in page
    assert NUMBER[3:9] not in page
    assert "The number •••156 is only proposed." in page
    assert "Turn it on" in page


def test_a_text_to_another_number_than_the_proposed_one_says_so(
    user: User, file: File, signed_in: In
) -> None:
    """P-21."""
    ProposedNumber.of(user, OTHER_NUMBER, "import", timezone.now()).save()
    opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)
    support, said = signed_in("support"), "that an import proposed is different: •••157."
    assert said in page_of(support, user)
    ProposedNumber.of(user, NUMBER, "import", timezone.now()).save()
    assert "is different" not in page_of(support, user)


def test_an_invitation_helps_whoever_has_no_password(user: User, signed_in: In) -> None:
    """P-21. The button stands under the cause."""
    user.set_unusable_password()
    user.save()
    page = page_of(signed_in("support"), user)
    assert "This person cannot sign in: the account has no password." in page
    cause = page.split(f'data-cause="{Why.NO_PASSWORD}"')[1]
    assert f'href="/admin/optin/user/{user.pk}/invite/"' in cause.split("data-cause")[0]


def test_a_number_that_was_taken_over_says_so(
    user: User, active: ProviderUser, signed_in: In
) -> None:
    """P-21, S-56: in the head, among the numbers, and in the timeline of the import."""
    ProviderUser.objects.update(taken_over_at=timezone.now(), taken_over_by="a letter")
    verified = {"at": timezone.now().isoformat(), "by": "a letter"}
    tell("person", "imported", user_id=user.pk, data={"taken_over": verified}, last_three="156")
    client = signed_in("auditor")
    assert page_of(client, user).count("verified there at") == 2
    row = client.get(f"/admin/optin/provideruser/{active.pk}/change/").content.decode()
    assert "active, taken over, not yet proved here" in row


def test_a_new_address_that_waits_is_in_the_head(user: User, signed_in: In) -> None:
    support = signed_in("support")
    assert "New email" not in page_of(support, user)
    standing = Standing(timezone.now())
    email_changes.ask(user, "new@example.org", standing=standing, origin=ORIGIN)
    assert "new@example.org, not confirmed yet" in page_of(support, user)
    email_changes.prove(user, EmailChange.objects.get(), standing=standing, origin=ORIGIN)
    assert "new@example.org, from 2026-11-03 23:00:00 AEDT on" in page_of(support, user)


@pytest.mark.slow
@pytest.mark.parametrize("action", [each.name for each in ACTIONS])
@pytest.mark.parametrize(
    "happen", [nothing, lock, suspend, plan, wait_for_a_text, wait_and_be_locked, turn_off]
)
def test_what_is_on_offer_does_something_and_what_is_not_does_nothing(
    user: User,
    active: ProviderUser,
    signed_in: In,
    settings: LazySettings,
    happen: Callable[[User], None],
    action: str,
) -> None:
    """What the page offers, and what the operations do, are decided in two places: they agree.

    P-23.
    """
    settings.OPTIN_RESEND_WAIT = (0,)
    happen(user)
    client, address = signed_in("administrator"), f"/admin/optin/user/{user.pk}/{action}/"
    is_offered = f'href="{address}"' in page_of(client, user)
    body = {"reason": "x", "role": "support", "ready": "on"}
    answer = client.post(address, body, follow=True)
    assert ('class="success"' in answer.content.decode()) is is_offered


def test_a_code_without_tries_is_not_sent_again_after_an_unlock(
    user: User, active: ProviderUser, signed_in: In, phone: Phone
) -> None:
    client, used_up = signed_in("support"), "The last code has no tries left"
    wait_for_a_text(user)
    for tries, is_used_up in ((4, False), (1, True)):
        for _ in range(tries):
            challenges.check(user, Purpose.SIGN_IN, wrong(phone.code()), origin=PAGE)
        lock(user)
        html = ask(client, f"optin/user/{user.pk}/unlock/", reason="known here")
        assert "Unlocked." in html
        assert (f"{used_up}: they must ask for a new code." in html) is is_used_up
        assert ("Send the code again" in html) is not is_used_up


# -- what may be wrong -------------------------------------------------------------


@pytest.mark.parametrize(
    ("happen", "why", "action"),
    [
        (lock, "locked", "unlock"),
        (wait_and_be_locked, "locked", "unlock"),
        (suspend, "suspended", "resume"),
        (plan, "revocation_waits", "withdraw"),
        (wait_for_a_text, "not_confirmed", "resend"),
    ],
)
def test_what_helps_against_a_cause_stands_under_it_alone(
    user: User,
    active: ProviderUser,
    signed_in: In,
    happen: Callable[[User], None],
    why: str,
    action: str,
) -> None:
    """P-21."""
    happen(user)
    address = f'href="/admin/optin/user/{user.pk}/{action}/"'
    cause = rf'data-cause="{why}">(?:(?!</li>).)*{re.escape(address)}'
    html = page_of(signed_in("support"), user)
    assert re.search(cause, html, re.DOTALL)
    assert html.count(address) == 1
    assert not re.search(cause, page_of(signed_in("auditor"), user), re.DOTALL)


def test_a_cause_that_no_button_stands_for_is_told_at_each_question(
    user: User, active: ProviderUser, signed_in: In
) -> None:
    """ "See above" may be any of several causes."""
    lock(user)
    for role, times in (("support", 1), ("auditor", 2)):
        assert page_of(signed_in(role), user).count("No code is accepted, and no text") == times


@pytest.mark.parametrize("other", [False, True])
def test_wrong_codes_from_elsewhere_are_told_before_anybody_unlocks(
    user: User, active: ProviderUser, signed_in: In, *, other: bool
) -> None:
    """P-21. With the last right code beside them, on the page of the account and of the unlock."""
    thief = Origin(Face.WEB, ip="203.0.113.77", user_agent=CHROME.replace("X11; Linux", "Windows"))
    tell("check", "ok", user_id=user.pk, origin=PAGE)
    for _ in range(5):
        tell("check", "otp_incorrect", user_id=user.pk, origin=thief if other else PAGE)
    lock(user)
    client, first = signed_in("support"), "First ask them to change the password"
    asked = unescape(client.get(f"/admin/optin/user/{user.pk}/unlock/").content.decode())
    place = "203.0.113.77, Chrome on Windows" if other else "192.0.2.1, Chrome on Linux"
    for html in (page_of(client, user), asked):
        assert f"The wrong codes came from {place}. The last right code came from 192.0.2.1" in html
        assert (first in html) is other


def test_what_helps_everybody_is_offered_to_who_may_do_it(
    user: User, file: File, signed_in: In
) -> None:
    send_controls.stop_texts(reason="attack", origin=COMMAND)
    opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)
    address = '<a class="button" href="/admin/optin/guard/allow/">Allow all texts again</a>'
    assert address in page_of(signed_in("administrator"), user)
    assert address not in page_of(signed_in("support"), user)


# -- what happened -----------------------------------------------------------------


def record(user: User, kind: str, outcome: str, times: int = 1) -> None:
    for _ in range(times):
        tell(kind, outcome, user_id=user.pk, origin=PAGE)


def test_what_repeats_is_folded_and_what_is_raw_is_out_of_sight(user: User, signed_in: In) -> None:
    record(user, "check", "otp_incorrect", times=5)
    html = page_of(signed_in("support"), user)
    assert "Wrong code entered, 5 times in 1 second" in html
    shown, raw = re.sub(r"(?s)<details>.*?</details>", "", html), html
    assert "on a page, from 192.0.2.1, Chrome on Linux" in shown
    for each in (f"User agent: {CHROME}", "Request: r-17"):
        assert each in raw
        assert each not in shown


def happened(html: str) -> int:
    """How many entries the timeline has."""
    return html.partition("events timeline")[2].partition("</ol>")[0].count('<span class="tag')


def test_one_kind_alone_is_shown_and_paged(user: User, signed_in: In) -> None:
    record(user, "check", "ok", times=60)
    record(user, "sign_in", "signed_in")
    client = signed_in("support")
    for query in ("", "?show=", "?show=nonsense"):
        html = page_of(client, user, query)
        assert "Signed in with the password" in html
        assert re.search(r'<a href="\?#happened" aria-current="true">Everything', html)

    html = page_of(client, user, "?show=codes")
    assert happened(html) == 50
    assert "Signed in with the password" not in html
    assert re.search(r'<a href="\?show=codes#happened" aria-current="true">', html)
    older = re.search(r'href="(\?show=codes&before=[0-9-]+)" rel="next"', html)
    assert older

    second = page_of(client, user, older[1])
    assert happened(second) == 10
    assert 'href="?show=codes">Newest' in second
    assert "What may be wrong" not in second
