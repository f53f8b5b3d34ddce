"""The home page of staff: figures of today and of 30 days, and what they cost to show (P-20)."""

import re
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from html.parser import HTMLParser
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

from optin import codes, keys
from optin.conf import Rate
from optin.models import (
    AuditEvent,
    Figure,
    File,
    Guard,
    PendingOtp,
    ProviderUser,
    Purpose,
    SendCounter,
    SmsMessage,
    Span,
    User,
)
from optin.models.messages import State
from optin.operations import opt_ins
from optin.support import statistics
from tests.kit.people import NOON, NUMBER, ORIGIN, OTHER_NUMBER, make_user
from tests.kit.phone import Phone
from tests.kit.staff import In, OnStaff
from tests.kit.trail import analyze_trail

pytestmark = pytest.mark.django_db(transaction=True)

HOME = "/admin/"
TODAY = date(2026, 11, 2)
DAY = timedelta(days=1)
Tables = dict[str, list[list[str]]]


class Reader(HTMLParser):
    """Reads the tables of the page, and what of it the policy would refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: Tables = {}
        self.rows: list[list[str]] = []
        self.in_cell = False
        self.styled: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if "style" in given or tag == "style" or any(name.startswith("on") for name in given):
            self.styled.append(tag)
        if tag == "table":
            self.rows = self.tables.setdefault(given.get("data-table") or "", [])
        elif tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"} and self.rows:
            self.rows[-1].append("")
            self.in_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th"}:
            self.in_cell = False

    def handle_data(self, data: str) -> None:
        if self.in_cell:
            self.rows[-1][-1] = f"{self.rows[-1][-1]} {data}".strip()


def home(client: Client) -> str:
    response = client.get(HOME)
    assert response.status_code == 200
    # The templates may break their lines as they like.
    return " ".join(response.content.decode().split())


def tables(client: Client) -> Tables:
    reader = Reader()
    reader.feed(home(client))
    assert reader.styled == []
    return reader.tables


def sums(client: Client) -> dict[str, tuple[str, str]]:
    return {name: (today, month) for name, today, month in tables(client)["sums"][1:]}


def counted(client: Client) -> int:
    """How many statements the page takes."""
    with CaptureQueriesContext(connection) as captured:
        home(client)
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
        put("text", "delivered", 50, day, cost=Decimal("2.2500"))
        put("text", "failed", 5, day)
        put("budget", "", 45, day, cost=Decimal("2.0000"))
        put("country", "AU", 45, day, verified=30)
        put("gateway", "first", 40, day, verified=20)
        put("gateway", "second", 5, day, verified=5)
        put("prefix", "0a1b2c3d", 20, day, verified=1)
        put("lock", "locked", 2, day)
        put("refused", "", 3, day)
    put("opt_in", "proved", 1_000_000, TODAY - 30 * DAY)  # that is before the month


# -- what it says ------------------------------------------------------------------


def test_it_says_what_happened(
    signed_in: In, user: User, stranger: User, file: File, phone: Phone
) -> None:
    """One number proved, one waits; a text for each, at 0.05; and one was refused."""
    phone.price = Decimal("0.05")
    opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)
    row = ProviderUser.objects.get(user=user)
    opt_ins.verify_opt_in(user, file, row.pk, phone.code(), origin=ORIGIN)
    opt_ins.opt_in(stranger, file, OTHER_NUMBER, origin=ORIGIN)
    opt_ins.opt_in(stranger, file, OTHER_NUMBER, origin=ORIGIN)
    client = signed_in("auditor")

    told = tables(client)
    assert {name: (today, month) for name, today, month in told["sums"][1:]} == {
        "Opt-ins started": ("2", "2"),
        "Opt-ins verified": ("1", "1"),
        "Opt-ins failed": ("0", "0"),
        "Opt-ins waiting for the code": ("1", "1"),
        "Conversion: verified, of those verified or failed": ("100 %", "100 %"),
        "Texts": ("2", "2"),
        "Texts delivered": ("0", "0"),
        "Texts sent, no receipt yet": ("2", "2"),
        "Texts failed": ("0", "0"),
        "Texts not sent: the code no longer worked": ("0", "0"),
        "Texts waiting to be sent": ("0", "0"),
        "Cost of all texts": ("0.10", "0.10"),
        "Requests for a text that a limit refused": ("1", "1"),
        "Accounts locked": ("0", "0"),
        "Accounts whose texted codes were disabled": ("0", "0"),
    }
    assert told["opt-ins"][1] == ["Mon 2 Nov", "2", "1", "0", "1", "100 %"]
    assert told["texts"][1] == ["Mon 2 Nov", "2", "0", "2", "0", "0", "0", "0.10"]
    assert told["spend"][1] == ["Mon 2 Nov", "2", "0 %", "0.10", "1"]
    assert told["locks"][1] == ["Mon 2 Nov", "0", "0"]
    assert told["country"][1] == ["AU", "2", "1", "50 %", "2", "1", "50 %"]
    assert told["gateway"][1] == ["phone", "2", "1", "50 %", "2", "1", "50 %"]
    assert told["budgets"][1:] == [
        ["All files", "2", "10,000", "0 %", "2026-11-03 11:00 AEDT"],
        ["Signing in and changes", "0", "100,000", "0 %", "2026-11-03 11:00 AEDT"],
        ["Harbour Books (777)", "2", "1,000", "0 %", "2026-11-03 11:00 AEDT"],
    ]


def test_it_sums_30_days(signed_in: In, month: None) -> None:
    told = sums(signed_in("support"))
    assert told["Opt-ins started"] == ("41", "1,230")
    assert told["Conversion: verified, of those verified or failed"] == ("75 %", "75 %")
    assert told["Texts"] == ("55", "1,650")
    assert told["Cost of all texts"] == ("2.25", "67.50")
    assert told["Accounts locked"] == ("2", "60")


def test_each_chart_says_what_its_table_says(signed_in: In, month: None) -> None:
    """A column for each part of each day, as high as its number: the highest is all of it."""
    client = signed_in("auditor")
    page = home(client)
    chart = page[page.index('id="chart-opt-ins"') : page.index('id="chart-texts"')]
    heights = re.findall(
        r'<rect class="(\w+)" x="[\d.]+" y="[\d.]+" width="8" height="([\d.]+)"', chart
    )
    assert len(heights) == 90
    assert {look: float(height) for look, height in heights} == pytest.approx(
        {"good": 30 / 41 * 100, "bad": 10 / 41 * 100, "open": 1 / 41 * 100}, abs=0.01
    )
    assert len(tables(client)["opt-ins"]) == 31
    assert 'role="img" aria-label="Opt-ins, day by day. Most on' in chart


def test_a_budget_of_a_day_is_drawn_where_it_can_be_seen(
    signed_in: In, month: None, settings: LazySettings
) -> None:
    settings.OPTIN_SENDS_TOTAL = (Rate(90, 86_400),)
    client = signed_in("auditor")
    page = home(client)
    assert '<line class="limit" x1="0" x2="300" y1="0" y2="0" />' in page
    assert "budget of a day: 90" in page
    assert tables(client)["spend"][1][2] == "50 %"
    settings.OPTIN_SENDS_TOTAL = (Rate(10_000, 86_400),)
    assert "budget of a day" not in home(client)


def test_a_prefix_is_named_with_what_is_in_force_for_it(signed_in: In, month: None) -> None:
    guard = Guard.objects.create(
        kind=Guard.Kind.BREAKER,
        covers=Guard.Covers.PREFIX,
        key=Guard.prefix_of(NUMBER),
        region="AU",
        made_at=NOON,
        until=NOON + DAY,
    )
    name = statistics.name_of_prefix(guard)
    put("prefix", name, 50)
    told = tables(signed_in("auditor"))["prefix"]
    assert told[1][0] == "0a1b2c3d"  # 570 that nobody proved
    assert told[2][0] == f"{name} (AU, closed by breaker {guard.pk})"


def test_a_name_of_a_file_is_text(signed_in: In, pending: ProviderUser) -> None:
    File.objects.update(name="<script>x</script>\u202e")
    page = home(signed_in("auditor"))
    assert "&lt;script&gt;x&lt;/script&gt;" in page
    assert "\u202e" not in page


def test_nothing_yet_is_said_calmly(signed_in: In) -> None:
    page = home(signed_in("auditor"))
    assert "There were no opt-ins" in page
    assert 'class="days"' not in page
    assert "These figures are old" not in page


# -- when it counts ----------------------------------------------------------------


def test_without_workers_who_looks_has_it_counted(
    signed_in: In, pending: ProviderUser, clock: time_machine.Traveller
) -> None:
    client = signed_in("auditor")
    assert "As of <strong>2026-11-02 23:00 AEDT</strong>" in home(client)
    ProviderUser.objects.all().delete()
    clock.shift(59)
    assert sums(client)["Opt-ins started"] == ("1", "1")
    clock.shift(1)
    assert sums(client)["Opt-ins started"] == ("0", "0")


def test_with_workers_it_only_reads_and_says_when_nobody_counts(
    signed_in: In, pending: ProviderUser, settings: LazySettings, clock: time_machine.Traveller
) -> None:
    client = signed_in("auditor")
    settings.OPTIN_DELIVERY = "worker"
    assert "These figures are old" in home(client)
    assert not Span.objects.exists()
    call_command("roll_up")
    assert "These figures are old" not in home(client)
    clock.shift(600)
    home(client)  # else the session is over
    clock.shift(300)
    assert "These figures are old" not in home(client)
    clock.shift(1)
    page = home(client)
    assert "These figures are old" in page
    assert "As of <strong>2026-11-02 23:00 AEDT</strong>" in page


def test_it_says_from_when_on_it_knows(signed_in: In, pending: ProviderUser) -> None:
    assert "Nothing before 2026-11-02 23:00 AEDT was counted." in home(signed_in("auditor"))


def test_after_a_month_it_need_not(signed_in: In, month: None) -> None:
    assert "Nothing before" not in home(signed_in("auditor"))


# -- who may -----------------------------------------------------------------------


@pytest.mark.parametrize("role", ["auditor", "support", "administrator", "superuser"])
def test_each_role_sees_it(signed_in: In, role: str) -> None:
    assert 'id="figures"' in home(signed_in(role))


def test_staff_who_may_not_read_the_log_see_no_figures(signed_in: In, on_staff: OnStaff) -> None:
    client = signed_in("auditor")
    staff = on_staff("auditor")
    staff.groups.clear()
    staff.user_permissions.add(Permission.objects.get(codename="view_user"))
    page = home(client)
    assert 'id="figures"' not in page
    assert "Find an account" in page
    assert not Span.objects.exists()


# -- what it costs -----------------------------------------------------------------


def test_a_full_month_takes_as_many_statements_as_one_day(
    signed_in: In, pending: ProviderUser, request: pytest.FixtureRequest
) -> None:
    client = signed_in("auditor")
    home(client)
    before = counted(client)
    Span.objects.all().delete()
    request.getfixturevalue("month")
    put("file", "777", 5)
    for n in range(1000, 1050):
        File.objects.create(id=n, name=f"file {n}")
        put("file", str(n), 7)
    assert counted(client) == before


def crowd(file: File, rows: int, days: int) -> None:
    """So many opt-ins, one after the other in so many days, with all that they leave."""
    user = make_user("crowd", file)
    step = timedelta(days=days) / rows
    row = ProviderUser.objects.create(
        user=user,
        file=file,
        number_encrypted="x",
        number_digest="d",
        last_three="156",
        created_at=NOON,
    )
    pending = PendingOtp.objects.bulk_create(
        [
            PendingOtp(
                provider_user=row,
                purpose=Purpose.OPT_IN if n % 2 else Purpose.SIGN_IN,
                file=file if n % 2 else None,
                nonce=codes.new_nonce(),
                key_id="k",
                digits=7,
                issued_at=NOON - n * step,
                expires_at=NOON - n * step + timedelta(minutes=10),
                closed_at=NOON,
                closed_as="proved" if n % 3 else "other_proved",
            )
            for n in range(rows)
        ],
        batch_size=5000,
    )
    SmsMessage.objects.bulk_create(
        [
            SmsMessage(
                pending_otp=code,
                created_at=code.issued_at,
                state=State.SENT if code.pk % 3 else State.DELIVERED,
                gateway="first" if code.pk % 2 else "second",
            )
            for code in pending
        ],
        batch_size=5000,
    )
    AuditEvent.objects.bulk_create(
        [
            AuditEvent(
                at=code.issued_at,
                kind="check",
                outcome="otp_incorrect",
                face="web",
                data={"locked_until": "x"} if code.pk % 5 == 0 else {},
                key_id="k",
                digest="d",
            )
            for code in pending
        ],
        batch_size=5000,
    )
    SendCounter.objects.bulk_create(
        [
            SendCounter(
                scope=scope,
                key=keys.digest("counter", f"{n % 500}"),
                window_start=NOON - n * step,
                count=9,
            )
            for n in range(rows)
            for scope in ("prefix/3600", "region/3600", "asked-ip/300")
        ],
        batch_size=5000,
    )


BIG = ("smsmessage", "pendingotp", "auditevent", "sendcounter")


def plans(captured: CaptureQueriesContext) -> Iterator[tuple[str, str]]:
    """How PostgreSQL answers each statement that reads."""
    for query in captured.captured_queries:
        sql = query["sql"]
        if sql.startswith("SELECT") and "optin_" in sql:
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN {sql}")
                yield sql, "\n".join(line for (line,) in cursor.fetchall())


@pytest.mark.slow
@pytest.mark.postgresql
def test_of_many_rows_an_hour_is_counted_by_an_index_and_the_page_reads_none(
    signed_in: In, file: File, clock: time_machine.Traveller
) -> None:
    """Of 20 000 opt-ins in 30 days, neither an hour nor the page scans a table of them."""
    crowd(file, 20_000, 30)
    client = signed_in("auditor")
    with connection.cursor() as cursor:
        for table in set(BIG) - {"auditevent"}:
            cursor.execute(f"ANALYZE optin_{table}")
    analyze_trail()
    statistics.roll_up(timezone.now())  # all 30 days
    assert statistics.read(NOON).of("text").count > 19_000
    clock.shift(61)
    with connection.cursor() as cursor:
        for table in ("figure", "span"):
            cursor.execute(f"ANALYZE optin_{table}")
    with CaptureQueriesContext(connection) as captured:
        assert statistics.roll_up(timezone.now()) >= 1
    seen = set()
    for sql, plan in plans(captured):
        for table in BIG:
            assert f"Seq Scan on optin_{table}" not in plan, f"{sql}\n{plan}"
            if f"optin_{table}" in plan:
                seen.add(table)
    assert seen == set(BIG)
    with CaptureQueriesContext(connection) as captured:
        home(client)
    for sql, plan in plans(captured):
        for table in BIG:
            if f"optin_{table}" in sql:  # the running budgets, by their unique index
                assert table == "sendcounter", sql
                assert "Seq Scan" not in plan, plan
    assert len(captured) < 25
