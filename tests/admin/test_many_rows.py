"""The log with a million events: no page reads more than its range of time (P-22).

That a plan has an index is not enough: an index can be gone through from end to end. So
each statement is run, and what it read is counted.
"""

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection, transaction
from django.db.models import Q
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django.fixtures import Settings

from optin.admin.audit import Happened
from optin.audit.search import RANGE
from optin.models import AuditEvent, File, ProviderUser, User
from optin.support import statistics
from tests.admin import events
from tests.admin.events import BUSY, FILE, LEFT, LEFT_FILE, QUIET, SMALL_FILE
from tests.kit.people import NOON, NUMBER
from tests.kit.staff import In, ids
from tests.kit.tamper import remove

pytestmark = [
    pytest.mark.long,
    pytest.mark.postgresql,
    pytest.mark.django_db(transaction=True),
]

LOG = "/admin/optin/auditevent/"
ACCOUNT = "/admin/optin/user/{}/change/"
MANY = 1_000_000
PAGE = 50
IN_RANGE = MANY * 2 // 7
"""Events of 200 days, the longest range that is asked for."""
SMALL = {"auth_permission", "django_content_type"}

DAY = (NOON - timedelta(days=200)).date().isoformat()
OLD_DAY = (NOON - timedelta(days=600)).date().isoformat()
MONTH = f"from={DAY}&until={(NOON - timedelta(days=170)).date().isoformat()}"

ALONE = [
    *("kind=check", "kind=suspend", "kind=token", "kind=erase"),
    *("outcome=ok", "outcome=send_limit", "outcome=mobile_number_in_use", "outcome=issued"),
    *("outcome=nonsense", "outcome=a", "face=web", "face=admin", "face=command"),
    *(f"user_id={pk}" for pk in (BUSY, LEFT, QUIET, 999)),
    *(f"file_id={pk}" for pk in (FILE, LEFT_FILE, SMALL_FILE, 999)),
]
"""What is common, rare, common only until a year ago, and what is not there at all."""

TOGETHER = [
    "kind=check&outcome=ok",
    "kind=check:others",
    "kind=token:code_reused",
    "kind=sign_in&outcome=otp_incorrect",  # never
    "kind=verify_opt_in&outcome=mobile_number_in_use",
    "kind=token&outcome=nonsense",
    "face=admin&kind=check",  # never
    "face=web&kind=token",  # never
    f"user_id={BUSY}&kind=check",
    f"user_id={BUSY}&outcome=locked",
    f"user_id={BUSY}&kind=erase",
    f"user_id={LEFT}&kind=refresh",  # never
    f"user_id={LEFT}&file_id={LEFT_FILE}",
    f"user_id={QUIET}&face=web",
    f"file_id={FILE}&kind=token",
    f"file_id={LEFT_FILE}&kind=check",
    f"file_id={LEFT_FILE}&kind=refresh",  # never
    f"file_id={SMALL_FILE}&outcome=ok",
    f"file_id={FILE}&kind=check&outcome=locked",
    f"file_id={LEFT_FILE}&kind=refresh&face=web&outcome=ok",
    f"from={DAY}&until={DAY}",
    f"from={OLD_DAY}&until={OLD_DAY}",
    MONTH,
    f"from={DAY}",
    f"until={OLD_DAY}",
    "from=2030-01-01",
    "until=2001-01-01",
    f"from={DAY}&until={DAY}&kind=check",
    f"from={DAY}&until={DAY}&kind=suspend",
    f"{MONTH}&kind=token",
    f"{MONTH}&user_id={BUSY}",
    f"{MONTH}&user_id={LEFT}",
    f"{MONTH}&file_id={LEFT_FILE}&kind=check",
    f"until={OLD_DAY}&file_id={LEFT_FILE}&outcome=send_limit",
]
"""Two facts and more, days among them: often together, seldom, never."""


def seed(count: int, **facts: Any) -> None:
    with connection.cursor() as cursor:
        events.fill(cursor, count, digest=ProviderUser.digest_of(NUMBER), **facts)


@pytest.fixture
def client(signed_in: In) -> Client:
    """Staff, and an account that has a number and much to tell."""
    file = File.objects.create(id=FILE, name="Harbour Books")
    for pk, name in ((BUSY, "busy"), (LEFT, "left"), (QUIET, "quiet")):
        User.objects.create(pk=pk, username=name, password="!")
    digest = ProviderUser.digest_of(NUMBER)
    ProviderUser.objects.create(
        user_id=BUSY,
        file=file,
        number_encrypted="-",
        number_digest=digest,
        last_three="678",
        confirmed=True,
        created_at=NOON,
        verified_at=NOON,
    )
    client = signed_in("auditor")
    for address in (LOG, ACCOUNT.format(QUIET)):  # what is read once in a process
        client.get(address)
    return client


# -- what a statement reads --------------------------------------------------------


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def faults(sql: str, most: int, setting: str) -> list[str]:
    """Run the statement again: does it read a table from end to end, or more than *most* rows?"""
    with transaction.atomic(), connection.cursor() as cursor:
        if setting:
            cursor.execute(setting)
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}")
        found = cursor.fetchone()[0]
    (top,) = found if isinstance(found, list) else json.loads(found)
    wrong = []
    for node in nodes(top["Plan"]):
        if "Relation Name" not in node:
            continue
        read = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        read = (read + node.get("Rows Removed by Index Recheck", 0)) * node["Actual Loops"]
        table = node["Relation Name"]
        if table in SMALL:
            continue
        if table.startswith("optin_auditevent") and "Seq" in node["Node Type"] and read:
            wrong.append(f"{node['Node Type']} on {table}")
        if read > most:
            wrong.append(f"{read} rows of {table}")
    # An index may be gone through without a row being read.
    blocks = top["Plan"]["Shared Hit Blocks"] + top["Plan"]["Shared Read Blocks"]
    if blocks > 2 * most + 100:
        wrong.append(f"{blocks} blocks")
    return [f"{each}: {sql}" for each in wrong]


class Bound:
    """Requests whose statements are watched: how many there are, and what they read."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.faults: list[str] = []
        self.counts: dict[str, int] = {}

    def ask(self, address: str, most: int, *, name: str = "", post: Any = None) -> Any:
        with CaptureQueriesContext(connection) as captured:
            ask = self.client.get if post is None else self.client.post
            response: Any = ask(address, post)
        assert response.status_code in {200, 303}, address
        statements = [query["sql"] for query in captured.captured_queries]
        # Names of what stands on the page are looked up where there is something.
        self.counts[name or address] = sum('"optin_auditevent"' in sql for sql in statements)
        assert len(statements) <= 39, address
        setting = ""
        for sql in statements:
            if sql.startswith(("SET LOCAL", "COMMIT")):
                setting = sql.removeprefix("COMMIT")
            if sql.startswith("SELECT") and "FOR " not in sql[-20:]:
                found = faults(sql, most, setting)
                self.faults += [f"{address}: {fault}" for fault in found]
            assert "COUNT(" not in sql.upper() or "optin_auditevent" not in sql, sql
        return response


def older(html: str) -> str:
    found = re.search(r'href="(\?[^"]*)" rel="next"', html)
    return found[1].replace("&amp;", "&") if found else ""


def expected(query: str) -> list[int]:
    """The page that *query* asks for, by the plainest of all ways."""
    facts: dict[str, Any] = dict(each.split("=") for each in query.split("&") if each)
    days = Q()
    until = facts.pop("until", "")
    if until:
        last = datetime.fromisoformat(until) + timedelta(days=1)
        days &= Q(at__lt=timezone.make_aware(last))
    since = (until and datetime.fromisoformat(until).date()) or timezone.localdate()
    first = datetime.fromisoformat(facts.pop("from", (since - RANGE).isoformat()))
    days &= Q(at__gte=timezone.make_aware(first))
    if "kind" in facts:
        days &= Happened.options[facts.pop("kind")][1]
    if "before" in facts:
        facts["pk__lt"] = facts.pop("before")
    found = AuditEvent.objects.filter(days, **facts).order_by("-pk")
    return list(found.values_list("pk", flat=True)[:PAGE])


@pytest.fixture(autouse=True)
def no_throttle(settings: Settings) -> None:
    """One member of staff looks at hundreds of pages."""
    settings.OPTIN_REQUESTS_PER_USER = ()


def test_each_page_of_a_million_events_reads_no_more_than_its_range(client: Client) -> None:
    """P-22."""
    bound = Bound(client)
    few = Bound(client)
    seed(5000, end=NOON - events.SPAN)
    for query in [*ALONE, *TOGETHER]:
        few.ask(f"{LOG}?{query}", IN_RANGE)
    few.ask(LOG, IN_RANGE)
    for name, address, post in others():
        few.ask(address, IN_RANGE, name=name, post=post)
    # What was recorded meanwhile would be newer than events with higher ids.
    remove(*AuditEvent.objects.filter(at__gte=NOON))

    seed(MANY, end=NOON)
    middle = AuditEvent.objects.latest("pk").pk - MANY // 2

    # The list, page by page, and from the middle.
    html = bound.ask(LOG, 60).content.decode()
    for _ in range(3):
        assert len(ids(html)) == PAGE
        html = bound.ask(LOG + older(html), 60).content.decode()
    for query in ["", *ALONE, *TOGETHER]:
        html = bound.ask(f"{LOG}?{query}", IN_RANGE).content.decode()
        assert ids(html) == expected(query), query
        query = f"{query}&before={middle}".lstrip("&")
        html = bound.ask(f"{LOG}?{query}", IN_RANGE).content.decode()
        assert ids(html) == expected(query), query
    for name, address, post in others():
        bound.ask(address, 500, name=name, post=post)

    assert not bound.faults, "\n".join(bound.faults)
    assert {name: bound.counts[name] for name in few.counts} == few.counts


CROWD = 100_000


def crowd(at: str = "now()") -> None:
    """As many people, each with a number, a code, a text and a mail of the time *at*."""
    statements = """
        INSERT INTO optin_user (id, username, email, password, first_name, last_name, is_staff,
            is_active, is_superuser, date_joined, otp_failures, session_epoch, last_attempt,
            last_attempt_as)
        SELECT 2000000 + n, 'p' || n, 'p' || n || '@example.com', '!', '', '', n % 25000 = 9,
            true, false, {at}, 0, 0, '', '' FROM generate_series(1, {n}) AS n;
        INSERT INTO optin_provideruser (id, user_id, file_id, name, confirmed, number_encrypted,
            number_digest, last_three, created_at, verified_at, released_at, suspended_at)
        SELECT 2000000 + n, 2000000 + n, {file}, '', n % 10 <> 1, '-', md5(n::text), '678', {at},
            {at}, CASE WHEN n % 10 = 1 THEN {at} END, CASE WHEN n % 25000 = 8 THEN {at} END
        FROM generate_series(1, {n}) AS n;
        INSERT INTO optin_pendingotp (id, provider_user_id, purpose, file_id, nonce, key_id,
            digits, tries, issued_at, expires_at, closed_as)
        SELECT 2000000 + n, 2000000 + n, 'opt_in', {file}, n::text, 'k', 7, 0, {at},
            {at} + interval '10 minutes', '' FROM generate_series(1, {n}) AS n;
        INSERT INTO optin_smsmessage (id, state, tries, unknown_attempts, reason, created_at,
            language, pending_otp_id, gateway, gateway_message_id, segments, cost)
        SELECT 2000000 + n, CASE WHEN n % 25000 = 7 THEN 'failed' ELSE 'delivered' END, 1, 0, '',
            {at}, '', 2000000 + n, 'one', '', 1, 0 FROM generate_series(1, {n}) AS n;
        INSERT INTO optin_notice (id, state, tries, unknown_attempts, reason, created_at,
            language, user_id, kind, last_three)
        SELECT 2000000 + n, CASE WHEN n % 25000 = 6 THEN 'failed' ELSE 'sent' END, 1, 0, '',
            {at}, '', 2000000 + n, 'activated', '678' FROM generate_series(1, {n}) AS n;
    """
    with connection.cursor() as cursor:
        cursor.execute(statements.format(n=CROWD, file=FILE, at=at))
        cursor.execute("ANALYZE")


def test_lists_of_many_rows_are_found_in_the_same_time(client: Client) -> None:
    seed(60_000, end=NOON)
    crowd()
    bound = Bound(client)
    last = 2_000_000 + CROWD
    for path, queries in {
        "user": ["", f"before={last // 2}", "is_staff=1"],
        "provideruser": [
            "",
            "state=active",
            "state=suspended",
            "state=released",
            f"user_id={last - 9}",
            f"file_id={FILE}",
            "file_id=5",
        ],
        "smsmessage": ["", "state=failed", "state=delivered"],
        "notice": ["", "state=failed", f"user_id={last - 9}"],
    }.items():
        for query in queries:
            for before in ("", f"&before={last - CROWD // 2}"):
                bound.ask(f"/admin/optin/{path}/?{query}{before}", 600)
    for pk in (last, last - CROWD // 2):
        bound.ask(ACCOUNT.format(pk), 60)
    assert not bound.faults, "\n".join(bound.faults)


def test_an_hour_is_counted_by_an_index_and_so_the_figures_are_read(
    client: Client, clock: time_machine.Traveller, settings: Settings
) -> None:
    """P-20."""
    seed(60_000, end=NOON)
    crowd(at=f"('{NOON}'::timestamptz - n * interval '26 seconds')")
    statistics.roll_up(timezone.now())  # all 30 days
    assert statistics.read(NOON).of("opt_in").count > CROWD * 0.9
    clock.shift(61)
    with CaptureQueriesContext(connection) as captured:
        assert statistics.roll_up(timezone.now()) >= 1
    found = [query["sql"] for query in captured if query["sql"].startswith("SELECT")]
    assert [fault for sql in found for fault in faults(sql, 2000, "")] == []
    for table in ("smsmessage", "pendingotp", "auditevent"):
        assert f"optin_{table}" in str(found)
    settings.OPTIN_DELIVERY = "worker"
    bound = Bound(client)
    for address in ("/admin/", "/admin/figures/"):
        bound.ask(address, 2000)
    assert not bound.faults, "\n".join(bound.faults)


def others() -> list[tuple[str, str, Any]]:
    """What else reads the events: the pages of accounts, and the search for a number."""
    return [
        ("busy", ACCOUNT.format(BUSY), None),
        ("left", ACCOUNT.format(LEFT), None),
        ("quiet", ACCOUNT.format(QUIET), None),
        ("number", "/admin/find/", {"who": NUMBER}),
        ("name", "/admin/find/", {"who": "busy"}),
    ]
