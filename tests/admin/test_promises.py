"""G-05. The page of promises: the guess budget, the last rehearsals, the seals outside."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from optin.audit import seals
from optin.conf import Rate
from optin.models import AuditNote, File, Rehearsal, User
from optin.operations import opt_ins
from optin.support import statistics
from tests.kit.commands import run
from tests.kit.people import ORIGIN, number
from tests.kit.phone import Phone
from tests.kit.staff import In
from tests.kit.trail import tell
from tools.rehearsals.report import in_force

pytestmark = pytest.mark.django_db(transaction=True)

ADDRESS = "/admin/promises/"


def words(client: Client) -> str:
    """What the page says, without its markup."""
    response = client.get(ADDRESS)
    assert response.status_code == 200
    main = response.content.decode().partition('id="content-main"')[2]
    return " ".join(re.sub(r"<[^>]+>", " ", main).split())


def put(attack: str, *bounds: tuple[str, int, int], **changed: str) -> Rehearsal:
    """Store a rehearsal with the settings of now but for those that changed."""
    settings = in_force() | changed
    return Rehearsal.objects.create(
        attack=attack, at=timezone.now(), is_short=False, bounds=bounds, settings=settings
    )


# -- guesses -----------------------------------------------------------------------


def test_the_budget_is_that_of_the_settings_in_force(signed_in: In, settings: Any) -> None:
    client = signed_in("auditor")
    said = words(client)
    line = re.search(r"Together (\S+) (\S+) (\S+) (0\.\d\d %)", said)
    assert line
    assert line[4] in run("limits", "guesses")
    assert "within 1 % a year" in said
    settings.OPTIN_OTP_DIGITS = 6
    assert "above 1 % a year" in words(client)


# -- limits ------------------------------------------------------------------------


def test_each_limit_has_its_mode_and_what_it_would_have_refused(
    signed_in: In, settings: Any, clock: Any, user: User, file: File, phone: Phone
) -> None:
    settings.OPTIN_SENDS_PER_USER = (Rate(1, 60), Rate(2, 3600))
    settings.OPTIN_OBSERVE = ("OPTIN_SENDS_PER_USER",)
    for n in range(4):  # the window of an hour has two, that of a minute one
        opt_ins.opt_in(user, file, number(n), origin=ORIGIN)
        clock.shift(61 if n == 1 else 1)
    client = signed_in("auditor")
    assert "OPTIN_SENDS_PER_USER 1/60,2/3600 observe 0" in words(client)
    statistics.roll_up(timezone.now())
    said = words(client)
    assert "Some limits only observe." in said
    assert "OPTIN_SENDS_PER_USER 1/60,2/3600 observe 3" in said
    assert "OPTIN_SENDS_TOTAL 10000/86400 enforce 0" in said
    clock.shift(timedelta(days=7))
    settings.OPTIN_OBSERVE = ()
    said = words(signed_in("auditor"))
    assert "Some limits only observe." not in said
    assert "OPTIN_SENDS_PER_USER 1/60,2/3600 enforce 0" in said


# -- rehearsals --------------------------------------------------------------------


def test_what_is_promised_is_said_before_it_was_tried(signed_in: In) -> None:
    said = words(signed_in("auditor"))
    assert "Texts under one prefix in an hour of the clock: at most 100 Honest visits" in said
    assert "No result is stored yet. Run manage limits rehearse pumping --keep" in said
    assert "The promise" not in said.partition("Rehearsals of attacks")[2]


def test_the_last_rehearsal_is_shown_with_what_changed_since(signed_in: In, settings: Any) -> None:
    put("pumping", ("Texts under one prefix", 12, 100))
    put("bombing", ("Texts of strangers", 26, 20), OPTIN_RESEND_WAIT="5")
    client = signed_in("auditor")
    said = words(client)
    at = "in the rehearsal on 2026-11-02 23:00 AEDT."
    assert f"Pumping The promise held {at} Texts under one prefix: 12, at most 100" in said
    assert f"Bombing The promise was broken {at} Changed since then: " in said
    assert re.findall(r"Changed since then: (\w+) ?\.", said) == ["OPTIN_RESEND_WAIT"]
    settings.OPTIN_SENDS_PER_NUMBER = (Rate(1, 60),)
    assert words(client).count("Changed since then:") == 2


@pytest.mark.slow
def test_a_rehearsal_is_kept_where_that_is_asked_for(signed_in: In) -> None:
    run("limits", "rehearse", "bombing", "--short")
    assert not Rehearsal.objects.exists()
    for _ in range(2):
        run("limits", "rehearse", "bombing", "--short", "--keep")
    assert Rehearsal.objects.count() == 1
    said = words(signed_in("auditor"))
    assert "Bombing The promise held in the short rehearsal on" in said
    assert re.search(r"Honest visits that failed, of \d+: 0, at most \d+", said)
    assert "Changed since" not in said


# -- seals -------------------------------------------------------------------------


def test_who_has_no_notary_is_told_what_that_means(signed_in: In) -> None:
    assert "No notary gets the seals. Somebody who owns the database" in words(signed_in("auditor"))


def test_each_place_has_its_last_note(signed_in: In, settings: Any, clock: Any) -> None:
    settings.OPTIN_NOTARY = ("mail:a@example.com", "file:/var/notes")
    now = timezone.now()
    event = tell("check", at=now - timedelta(hours=1))
    seals.seal(now)
    AuditNote.objects.create(place="mail", seals=1, last_id=event.pk, line="note", at=now)
    client = signed_in("auditor")
    said = words(client)
    assert f"mail: last note 2026-11-02 23:00 AEDT, for events up to {event.pk}." in said
    assert "file:/var/notes: no note yet." in said
    assert "has waited" not in said
    clock.shift(timedelta(hours=27))
    said = words(signed_in("auditor"))
    assert "no note yet. A seal has waited for 27 hours." in said
    assert said.count("has waited") == 1


# -- what it costs --------------------------------------------------------------------


def test_more_rehearsals_take_no_more_statements(signed_in: In) -> None:
    client = signed_in("auditor")

    def statements() -> int:
        with CaptureQueriesContext(
            connection,
        ) as seen:
            words(client)
        return len(seen)

    before = statements()
    for attack in ("pumping", "guessing", "lockout"):
        put(attack, ("Texts", 1, 2))
    assert statements() == before
