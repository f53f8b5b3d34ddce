"""The home page of staff and the page of figures, and what they cost to show (P-20)."""

import csv
import io
import re
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
import time_machine
from django.conf import LazySettings
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from optin import keys
from optin.audit import seals
from optin.conf import Rate
from optin.models import (
    AuditEvent,
    EmailChange,
    Figure,
    File,
    GatewayHealth,
    Guard,
    ProviderUser,
    Revocation,
    SendCounter,
    SmsMessage,
    Span,
    User,
)
from optin.models.messages import State
from optin.operations import opt_ins, send_controls
from optin.support import statistics
from tests.kit.people import NOON, NUMBER, ORIGIN, OTHER_NUMBER
from tests.kit.phone import Phone
from tests.kit.staff import In, OnStaff, make_staff, whole_times
from tests.kit.trail import tell

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

HOME = "/admin/"
FIGURES = "/admin/figures/"
TODAY = date(2026, 11, 2)
DAY = timedelta(days=1)
STATEMENTS = 51
"""What both pages take together."""
Tables = dict[str, list[list[str]]]


def page(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200
    # The templates may break their lines as they like.
    return " ".join(response.content.decode().split())


def home(client: Client) -> str:
    return page(client, HOME)


def figures(client: Client) -> str:
    return page(client, FIGURES)


def tables(client: Client, address: str = FIGURES) -> Tables:
    """The words in each cell of each row, by table."""
    found = re.findall(r'<table[^>]* data-table="([\w-]+)"(.*?)</table>', page(client, address))
    return {
        slug: [
            [words(cell) for cell in re.findall(r"<t[dh]\b[^>]*>(.*?)</t[dh]>", row)]
            for row in re.findall(r"<tr\b.*?</tr>", table)
        ]
        for slug, table in found
    }


def words(html: str) -> str:
    return " ".join(unescape(re.sub("<[^>]+>", " ", html)).split())


def needs(client: Client) -> list[tuple[str, str]]:
    """What needs somebody, and where each leads."""
    block = whole_times(home(client)).partition('<ul class="needs">')[2].partition("</ul>")[0]
    return [
        (unescape(words), address)
        for address, words in re.findall(r'<a href="(.*?)">(.*?)</a>', block)
    ]


def counted(client: Client) -> int:
    """How many statements both pages take."""
    with CaptureQueriesContext(connection) as captured:
        home(client)
        figures(client)
    return len(captured)


def put(what: str, name: str = "", count: int = 1, day: date = TODAY, **more: Any) -> None:
    """Let there have been *count* of *what* on *day*."""
    start = statistics._midnight(day)
    span, _ = Span.objects.get_or_create(
        start=start,
        defaults={"end": start + DAY, "day": day, "made_at": NOON, "is_settled": True},
    )
    Figure.objects.create(span=span, day=day, what=what, name=name, count=count, **more)


@pytest.fixture
def month(db: None) -> None:
    for n in range(30):
        day = TODAY - n * DAY
        put("opt_in", "proved", 30, day)
        put("opt_in", "failed", 10, day)
        put("opt_in", "waiting", 1, day)
        put("budget", "", 45, day, cost=Decimal("2.0000"))
        put("lock", "locked", 2, day)
    put("opt_in", "proved", 1_000_000, TODAY - 30 * DAY)  # that is before the month


# -- what it says ------------------------------------------------------------------


def test_it_says_what_happened(
    signed_in: In, user: User, stranger: User, file: File, phone: Phone
) -> None:
    """One number proved, one waits; a text for each, at 0.05."""
    phone.price = Decimal("0.05")
    opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)
    row = ProviderUser.objects.get(user=user)
    opt_ins.verify_opt_in(user, file, row.pk, phone.code(), origin=ORIGIN)
    opt_ins.opt_in(stranger, file, OTHER_NUMBER, origin=ORIGIN)
    opt_ins.opt_in(stranger, file, OTHER_NUMBER, origin=ORIGIN)
    client = signed_in("auditor")

    told = tables(client)
    assert set(told) == {"conversion", "spend", "budgets"}
    assert told["conversion"][1] == ["Mon 2 Nov", "2", "1", "0", "1", "100 %"]
    assert told["spend"][1] == ["Mon 2 Nov", "2", "0 %", "0.10"]
    assert told["budgets"][1:] == [
        ["All files", "2", "10,000", "a day", "0 %", "2026-11-03 11:00 AEDT"],
        ["Signing in and changes", "0", "100,000", "a day", "0 %", "2026-11-03 11:00 AEDT"],
    ]


def test_each_chart_says_what_its_table_says(signed_in: In, month: None) -> None:
    """P-20. A column for each part of each day, as high as its number: the highest is all of it."""
    client = signed_in("auditor")
    html = figures(client)
    assert "Nothing before" not in html
    chart = html[html.index('id="chart-conversion"') : html.index('id="chart-spend"')]
    rect = r'<rect class="(\w+)" x="[\d.]+" y="[\d.]+" width="8" height="([\d.]+)">'
    heights = re.findall(rf"{rect}<title>(.*?)</title>", chart)
    assert len(heights) == 3 * 30
    # The axis goes up to 60.
    assert {look: float(height) for look, height, _ in heights} == pytest.approx(
        {"good": 30 / 60 * 100, "bad": 10 / 60 * 100, "open": 1 / 60 * 100}, abs=0.01
    )
    assert [says for *_, says in heights[-3:]] == [
        "Mon 2 Nov, verified: 30",
        "Mon 2 Nov, failed: 10",
        "Mon 2 Nov, waiting: 1",
    ]
    assert "verified 900" in chart
    assert 'role="img" aria-label="Conversion of opt-ins. Most: 41,' in chart
    assert len(tables(client)["conversion"]) == 31


# -- what needs somebody -----------------------------------------------------------


def test_nothing_needs_anybody(signed_in: In, active: ProviderUser) -> None:
    client = signed_in("auditor")
    assert needs(client) == []
    assert "Nothing needs attention." in home(client)


def test_each_page_tells_that_all_texts_are_stopped(signed_in: In, user: User) -> None:
    """By one statement more; its button is for who may end it (P-22)."""
    pages = [
        "/admin/",
        "/admin/figures/",
        "/admin/optin/file/",
        f"/admin/optin/user/{user.pk}/change/",
    ]
    support = signed_in("support")

    def told(client: Client) -> list[tuple[int, list[str]]]:
        found = []
        for page in pages:
            client.get(page)
            with CaptureQueriesContext(connection) as captured:
                html = client.get(page).content.decode()
            reads = sum('"optin_guard"' in each["sql"] for each in captured.captured_queries)
            found.append((reads, re.findall(r'(?s)<div class="stop".*?</div>', html)))
        return found

    before = [reads for reads, banners in told(support) if not banners]
    administrator = make_staff("administrator")
    origin = replace(ORIGIN, actor_id=administrator.pk)
    send_controls.stop_texts(reason="attack", origin=origin)
    assert [reads for reads, (_,) in told(support)] == before
    assert before[2] == 1
    for _reads, (banner,) in told(support):
        assert "by administrator" in re.sub("<[^>]+>", "", banner)
        assert "Allow all texts again" not in banner
    assert all(
        "Allow all texts again" in banner for _, (banner,) in told(signed_in("administrator"))
    )
    asked = signed_in("administrator").get("/admin/optin/guard/stop/").content.decode()
    assert "it would have hit 0 people: 0 texts to sign in" in asked
    make_staff("support").groups.clear()
    assert "All texts are stopped" in (html := support.get("/admin/").content.decode())
    assert "by administrator" not in html


def test_a_stop_says_how_many_people_it_would_have_hit(
    signed_in: In, active: ProviderUser, stranger: User, clock: time_machine.Traveller
) -> None:
    """Who had two texts counts once; who had one earlier, or one that was withheld, does not."""
    other = ProviderUser.objects.get(pk=active.pk)
    other.pk, other.user, other.number_digest = None, stranger, "other"
    other.save()
    now = timezone.now()
    before = now - timedelta(hours=25)
    for number, at, state in (
        (active, now, State.SENT),
        (active, now, State.FAILED),
        (other, now, State.WITHHELD),
        (other, before, State.SENT),
    ):
        SmsMessage.objects.create(news_to=number, created_at=at, state=state)
    asked = signed_in("administrator").get("/admin/optin/guard/stop/").content.decode()
    assert "it would have hit 1 person: 2 texts to sign in and 1 to opt in or out." in asked


def test_what_needs_somebody_leads_there(
    signed_in: In,
    active: ProviderUser,
    stranger: User,
    settings: LazySettings,
    clock: time_machine.Traveller,
) -> None:
    """P-20: stops, gateways, messages, budgets, prefixes, removals, seals: each with a link."""
    client, ends = signed_in("auditor"), NOON + timedelta(days=3)
    settings.OPTIN_SENDS_TOTAL = (Rate(10, 86_400),)
    settings.OPTIN_DELIVERY = "worker"  # which seals
    SendCounter.objects.update_or_create(
        scope="total/86400",
        key=keys.digest("counter", ""),
        window_start=NOON.replace(hour=0),
        defaults={"count": 8},
    )
    Guard.objects.create(kind="stop", covers="all", made_at=NOON)
    for key, region in (("a", "AU"), ("b", "AU"), ("c", "NZ"), ("d", "NZ")):
        until = NOON if key == "d" else ends
        Guard.objects.create(
            kind="breaker", covers="prefix", key=key, region=region, made_at=NOON, until=until
        )
    Guard.objects.create(kind="lift", covers="prefix", key="c", made_at=NOON, until=ends)
    GatewayHealth.objects.create(gateway="gone", failures=9)
    down = GatewayHealth.objects.create(
        gateway="simulator", failures=4, tripped_until=NOON + timedelta(minutes=8)
    )
    revocation = Revocation.objects.create(
        user=active.user, reason="lost", asked_at=NOON, due_at=NOON + DAY
    )
    SmsMessage.objects.create(news_to=active, created_at=NOON)
    tell("check")
    clock.shift(7 * 60)
    at = "/admin/optin"
    assert needs(client) == [
        (
            "Gateway simulator failed 4 times in a row: not used until 2026-11-02 23:08 AEDT.",
            f"{at}/gatewayhealth/{down.pk}/change/",
        ),
        (
            "1 text not sent yet: the oldest has waited for 7 minutes.",
            f"{at}/smsmessage/?state=queued",
        ),
        (
            "Budget “All files”: 8 of 10 texts used. It begins again at 2026-11-03 11:00 AEDT.",
            "/admin/figures/",
        ),
        ("2 prefixes are closed to opt-ins.", f"{at}/guard/?kind=breaker"),
        (
            "1 removal of second factors takes effect at 2026-11-03 23:00 AEDT: ann.",
            f"{at}/user/{active.user_id}/change/",
        ),
    ]
    for _words, address in needs(client):
        assert client.get(address).status_code == 200

    clock.shift(25 * 60)
    client = signed_in("auditor")
    oldest = AuditEvent.objects.earliest("pk")
    assert needs(client)[-1] == (
        "The audit log hasn't been sealed since 2026-11-02 23:00 AEDT.",
        f"{at}/auditevent/{oldest.pk}/change/",
    )
    seals.seal(timezone.now())
    assert "not sealed" not in home(client)

    Revocation.objects.create(
        user=stranger, reason="lost", asked_at=NOON, due_at=NOON + timedelta(minutes=1)
    )
    words, address = needs(client)[-1]
    assert words == (
        "2 removals of second factors are planned: one was due at 2026-11-02 23:01 AEDT, and has "
        "not been carried out."
    )
    assert address == f"{at}/auditevent/?kind=revocation"
    revocation.delete()


def test_that_was_not_me_is_told_for_a_day(
    signed_in: In,
    user: User,
    stranger: User,
    clock: time_machine.Traveller,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """G-08: one person by a link to their page, more by a link to the events; a refusal is none."""
    tell("disown", "invalid_grant", user_id=stranger.pk)
    assert needs(signed_in("auditor")) == []
    for _ in range(2):
        tell("disown", "secured", user_id=user.pk)
    one = "One person said “that wasn't me” in the last day: ann."
    assert needs(signed_in("auditor")) == [(one, f"/admin/optin/user/{user.pk}/change/")]
    clock.shift(timedelta(hours=23))
    for _ in range(3):
        tell("disown", "ok", user_id=stranger.pk)
    two = "2 people said “that wasn't me” in the last day."
    monkeypatch.setattr("optin.support.health.LOOKED_AT", 2)  # who says it often hides nobody
    assert (two, "/admin/optin/auditevent/?kind=disown") in needs(signed_in("auditor"))
    clock.shift(timedelta(hours=2))
    assert one.replace("ann", "ben") in [words for words, _ in needs(signed_in("auditor"))]


def test_a_new_address_is_told_of_once_it_is_late(
    signed_in: In, user: User, stranger: User, clock: time_machine.Traveller
) -> None:
    """It is its person's own affair, until nobody carries it out."""
    client = signed_in("auditor")
    for person in (user, stranger):
        EmailChange.objects.create(
            user=person, new_address="x@example.org", asked_at=NOON, proved_at=NOON, due_at=NOON
        )
    clock.shift(5 * 60 - 1)
    assert needs(client) == []
    clock.shift(1)
    words = (
        "2 new email addresses are due, but not in effect yet. "
        "The first was due at 2026-11-02 23:00 AEDT."
    )
    address = "/admin/optin/auditevent/?kind=email&amp;outcome=proved"
    assert needs(client) == [(words, address)]


@pytest.fixture
def jobs(db: None) -> None:
    """Two jobs that failed, and one that waits."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, status) VALUES"
            " ('upkeep', 'purge', 'failed'), ('upkeep', 'purge', 'failed'),"
            " ('upkeep', 'seal', 'todo')"
        )


@pytest.mark.postgresql
def test_jobs_that_failed_are_told_of(jobs: None, signed_in: In) -> None:
    """Workers keep them for a week."""
    client = signed_in("auditor")
    assert "2 background jobs failed in the last 7 days: purge." in home(client)


# -- as a file ---------------------------------------------------------------------


def csv_of(client: Client, slug: str) -> list[list[str]]:
    response = client.get(f"/admin/figures/{slug}.csv")
    assert response.status_code == 200
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response["Content-Disposition"] == (
        f'attachment; filename="figures-{slug}-2026-11-02.csv"'
    )
    return list(csv.reader(io.StringIO(response.content.decode())))


def test_each_table_is_a_file_too(signed_in: In, month: None) -> None:
    """With all rows, numbers as a spreadsheet reads them."""
    client = signed_in("auditor")
    addresses = re.findall(r'href="(/admin/figures/[^"]+\.csv)"', figures(client))
    slugs = [address.rpartition("/")[2].removesuffix(".csv") for address in addresses]
    assert set(slugs) == {"budgets", "conversion", "spend", "locks"}
    for slug in slugs:
        assert len(csv_of(client, slug)) > 1
    assert csv_of(client, "conversion")[:2] == [
        ["Day", "Started", "Verified", "Failed", "Waiting", "Conversion"],
        ["2026-11-02", "41", "30", "10", "1", "75 %"],
    ]
    assert len(csv_of(client, "locks")) == 31
    assert client.get("/admin/figures/nothing.csv").status_code == 404


def test_nothing_yet_is_said_calmly(signed_in: In) -> None:
    client = signed_in("auditor")
    html = figures(client)
    assert "There were no opt-ins" in html
    assert 'class="days"' not in html
    assert "These figures are old" not in html


# -- when it counts ----------------------------------------------------------------


def test_without_workers_who_looks_has_it_counted(
    signed_in: In, pending: ProviderUser, clock: time_machine.Traveller
) -> None:
    client = signed_in("auditor")
    assert "As of <strong>2026-11-02 23:00 AEDT</strong>" in whole_times(figures(client))
    ProviderUser.objects.all().delete()
    clock.shift(59)
    assert tables(client)["conversion"][1][1] == "1"
    clock.shift(1)
    assert "conversion" not in tables(client), "there is nothing left"


def test_with_workers_it_only_reads_and_says_when_nobody_counts(
    signed_in: In, pending: ProviderUser, settings: LazySettings, clock: time_machine.Traveller
) -> None:
    client = signed_in("auditor")
    settings.OPTIN_DELIVERY = "worker"
    assert "These figures are old" in figures(client)
    assert not Span.objects.exists()
    call_command("send_due")
    clock.shift(600)
    home(client)  # else the session is over
    clock.shift(300)
    assert "These figures are old" not in figures(client)
    clock.shift(1)
    html = figures(client)
    assert "These figures are old" in html
    assert "2026-11-02 23:00 AEDT" in html


# -- who may -----------------------------------------------------------------------


def test_staff_who_may_not_read_the_log_see_no_figures(signed_in: In, on_staff: OnStaff) -> None:
    client = signed_in("auditor")
    staff = on_staff("auditor")
    staff.groups.clear()
    staff.user_permissions.add(Permission.objects.get(codename="view_user"))
    html = home(client)
    assert "Needs attention" not in html
    assert "Find an account" in html
    for address in (FIGURES, f"{FIGURES}conversion.csv"):
        assert address not in html
        assert client.get(address).status_code == 403
    assert not Span.objects.exists()


# -- what it costs -----------------------------------------------------------------


def test_a_full_month_takes_as_many_statements_as_one_day(
    signed_in: In, pending: ProviderUser, request: pytest.FixtureRequest
) -> None:
    client = signed_in("auditor")
    figures(client)
    before = counted(client)
    assert before <= STATEMENTS
    Span.objects.all().delete()
    request.getfixturevalue("month")
    assert counted(client) == before
