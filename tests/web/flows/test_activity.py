"""The person's own events, in words (P-09)."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from optin.events import EVENTS, OTHERS
from optin.models import AuditEvent, File, User
from optin.operations import authenticators, opt_ins, tenants
from optin.origin import Face, Origin
from optin.outcomes import RevocationOutcome
from optin.support import wording
from optin.web import activity
from tests.kit.browser import Browser
from tests.kit.browser import sign_in as sign_in_on_pages
from tests.kit.people import NUMBER, ORIGIN, OTHER_NUMBER
from tests.kit.phone import Phone, wrong

pytestmark = pytest.mark.django_db(transaction=True)

Kind = AuditEvent.Kind
PHONE = (
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/140.0.0.0 Mobile Safari/537.36"
)


def event_of(kind: Kind, outcome: str, **data: Any) -> AuditEvent:
    return AuditEvent(at=timezone.now(), kind=kind, outcome=outcome, face=Face.WEB, data=data)


def said(kind: Kind, outcome: str, **data: Any) -> str:
    event = event_of(kind, outcome, **data)
    return activity.lines([event], 1)[0][0].what


def test_no_refusal_is_told_as_a_success_nor_the_reverse() -> None:
    """P-09."""
    for kind in Kind:
        rows = EVENTS[kind]
        right = {row.owner for row in rows.values() if row.is_done and row.owner}
        if not rows[OTHERS].is_done:
            right.discard(rows[OTHERS].owner)
        assert not right & {row.owner for row in rows.values() if not row.is_done}, kind
        if not rows[OTHERS].is_done:
            # These two left things as they were.
            done = [rows[o] for o in rows.keys() - {"unchanged", "restored"} if rows[o].is_done]
            words = {row.owner for row in done if row.owner and not row.counted}
            assert rows[OTHERS].owner not in words, kind


def test_a_removal_that_was_called_off_is_not_one_of_staff() -> None:
    said_of = said(Kind.REVOKE, RevocationOutcome.SIGNED_IN, own=True)
    assert said_of == "Removal of two-factor sign-in cancelled"


@pytest.mark.parametrize(
    ("kind", "data", "label"),
    [
        (Kind.VERIFY_OPT_IN, {}, "Two-factor sign-in turned on"),
        (Kind.VERIFY_OPT_IN, {"replaced": 3}, "Mobile number changed"),
        (Kind.CHECK, {"purpose": "sign_in", "by": "app"}, "Signed in with an app code"),
        (Kind.CHECK, {"purpose": "change", "by": "app"}, "Right code entered"),
        (Kind.OPT_OUT, {"removed": ["number", "app"]}, "Two-factor sign-in turned off"),
        (Kind.OPT_OUT, {"removed": ["app"]}, "Authenticator app removed"),
        (Kind.DISOWN, {"removed": ["email"]}, "“This wasn't me”: email address changed back"),
        (Kind.DISOWN, {"removed": []}, "“This wasn't me”: everybody signed out"),
        (Kind.REVOKE, {"own": True}, "Two-factor sign-in turned off, as asked for"),
    ],
)
def test_people_and_staff_read_one_label(kind: Kind, data: dict[str, Any], label: str) -> None:
    assert said(kind, "ok", **data).startswith(label)
    assert wording.decided(event_of(kind, "ok", **data)).startswith(label)


def test_own_events_with_where_they_came_from(user: User, phone: Phone, browser: Browser) -> None:
    """P-09.  "Wrong code entered, from 203.0.113.5, Chrome on Android"."""
    browser = Browser(PHONE, ip="203.0.113.5")
    sign_in_on_pages(browser)
    browser.go("/account/two-factor/number/")
    browser.send(number=NUMBER)
    browser.send(code=wrong(phone.code()))
    browser.send(code=phone.code())
    browser.go("/account/activity/")

    text = browser.page.text
    lines = [
        "Two-factor sign-in turned on",
        "Wrong code entered to verify a number",
        "Code sent to verify a number",
        "Signed in with the password",
    ]
    places = [text.index(line) for line in lines]
    assert places == sorted(places)  # newest first
    assert "from 203.0.113.5, Chrome on Android" in text
    assert "•••156" in text
    assert NUMBER not in browser.page.html
    assert NUMBER[3:] not in browser.page.html


def test_wrong_codes_of_different_kinds_do_not_become_one(user: User) -> None:
    """The owner decides by it what a thief tried."""
    with transaction.atomic():
        found: list[dict[str, Any]] = [{"try": 1}, {"try": 2}, {"by": "app"}]
        for n, data in enumerate(found):
            AuditEvent.objects.record(
                Kind.CHECK,
                "otp_incorrect",
                now=timezone.now() + timedelta(seconds=n),
                origin=ORIGIN,
                user_id=user.pk,
                last_three="678",
                data={"purpose": "sign_in", **data},
            )
    (line,), _ = activity.lines([*AuditEvent.objects.order_by("-pk")], 5)
    assert line.what == "Wrong code entered, to sign in, 3 times"


def test_nothing_of_other_people(
    ann: Browser, user: User, stranger: User, file: File, phone: Phone
) -> None:
    """P-09. Also where an event concerns both: who claims a number that somebody else has."""
    theirs = Origin(Face.WEB, actor_id=stranger.pk, ip="198.51.100.99", user_agent="Firefox/1")
    sending = opt_ins.opt_in(stranger, file, OTHER_NUMBER, origin=theirs)
    assert sending.provider_user_id
    opt_ins.opt_in(user, file, OTHER_NUMBER, origin=ORIGIN)
    ann.go("/account/activity/")
    assert "198.51.100.99" not in ann.page.html
    opt_ins.verify_opt_in(
        stranger, file, sending.provider_user_id, phone.code_to(OTHER_NUMBER), origin=theirs
    )
    first = AuditEvent.objects.filter(user_id=stranger.pk).order_by("-pk")[0].pk
    for address in ("/account/activity/", f"/account/activity/?before={first + 1}", "/account/"):
        ann.go(address)
        assert ann.page.status == 200
        assert "198.51.100.99" not in ann.page.html


def test_pages_of_events(ann: Browser, user: User) -> None:
    """P-09."""
    for n in range(45):
        # No two lines in a row are equal.
        tenants.refuse_access(user, n, f"refused_{n % 2}", origin=ORIGIN)
    ann.go("/account/activity/")
    pages = 1
    seen = re.findall(r"<time [^>]+>", ann.page.html)
    while older := [href for href in ann.page.links if href.startswith("?before=")]:
        ann.go(older[0])
        pages += 1
        seen += re.findall(r"<time [^>]+>", ann.page.html)
    assert (pages, len(seen)) == (3, 46)


def test_nonsense_in_the_address_is_no_fault(ann: Browser) -> None:
    for before in ("x", "-1", "1.5", "9" * 30, "\u0663", "1 or 1=1", "", "0", "1&before=2"):
        ann.go(f"/account/activity/?before={before}")
        assert ann.page.status == 200


def test_last_use_is_told(ann_on: Browser, user: User) -> None:
    """P-02."""
    ann_on.go("/account/two-factor/")
    used = authenticators.last_used(user)
    assert used
    assert timezone.localtime(used).strftime("%H:%M") in ann_on.page.text
    assert timezone.now() - used < timedelta(minutes=5)


def test_by_day_and_what_must_not_be_overlooked_in_bold(ann: Browser, user: User) -> None:
    """P-09."""
    now = timezone.now()
    hours = {Kind.EMAIL: 50, Kind.PASSWORD: 24, Kind.CHALLENGE: 0}
    with transaction.atomic():
        for kind, before in hours.items():
            outcome = {Kind.EMAIL: "ok", Kind.PASSWORD: "changed"}.get(kind, "sent")
            at = now - timedelta(hours=before)
            AuditEvent.objects.record(kind, outcome, now=at, origin=ORIGIN, user_id=user.pk)
    ann.go("/account/activity/")
    text = ann.page.text
    assert re.findall(r"<h2>(.+)</h2>", ann.page.html)[:2] == ["Today", "Yesterday"]
    assert text.index("Yesterday") < text.index("Password changed") < text.index("The email")
    assert "just now" in text
    bold = re.findall(r"<strong>(.+)</strong>", ann.page.html)
    assert bold == ["Password changed", "The email address was changed"]
