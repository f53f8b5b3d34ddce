"""Lists: by pages that nobody counts, by filters that nobody bends (P-22, P-23)."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from optin.admin import site
from optin.admin.audit import Happened
from optin.admin.navigation import GROUPS
from optin.audit import repeats
from optin.events import EVENTS, OTHERS, words_of
from optin.models import (
    AccessKey,
    AuditEvent,
    File,
    Notice,
    ProviderUser,
    RefusalCount,
    SmsMessage,
    User,
)
from optin.origin import Face, Origin
from tests.kit.people import NOON, NUMBER, make_user
from tests.kit.staff import LISTS as LISTED
from tests.kit.staff import MAY, In, World, ids
from tests.kit.stored import code_of, number_of, text_of
from tests.kit.trail import tell

pytestmark = pytest.mark.django_db(transaction=True)

LOG = "/admin/optin/auditevent/"
LISTS = sorted(name for name in MAY if name.endswith("_changelist"))


def record(count: int = 1, kind: str = "check", **facts: Any) -> None:
    for _ in range(count):
        tell(kind, **{"at": NOON, **facts})


def read(client: Client, address: str, **query: Any) -> str:
    response = client.get(address, query)
    assert response.status_code == 200, response.status_code
    return response.content.decode()


def test_equal_refusals_are_shown_with_their_number(
    signed_in: In, clock: time_machine.Traveller
) -> None:
    """While their hour goes on, and after it; in the file too, whose numbers are not cut."""
    client = signed_in("auditor")
    record(3, outcome="locked")
    record(3, kind="sign_in", outcome="invalid_grant", only_count=True)  # no event tells of one
    assert "Code rejected after too many wrong ones, 3 times" in read(client, LOG, outcome="locked")
    first = AuditEvent.objects.get(outcome="locked")
    assert "3 times by now, the last time at" in read(client, f"{LOG}{first.pk}/change/")
    RefusalCount.objects.update(count=200_001)
    clock.shift(3600)
    repeats.tell(timezone.now())
    client = signed_in("auditor")
    said = r"Code rejected after too many wrong ones, ([0-9]+) times"
    assert re.findall(said, read(client, LOG, outcome="locked")) == ["200000"]
    last = AuditEvent.objects.filter(outcome="locked").latest("pk")
    assert "200000 more between" in read(client, f"{LOG}{last.pk}/change/")
    counted = AuditEvent.objects.get(outcome="invalid_grant")
    assert "200001 times between" in read(client, f"{LOG}{counted.pk}/change/")
    answer: Any = client.post(f"{LOG}export/?outcome=locked")
    assert "200000 more between" in b"".join(answer.streaming_content).decode()


def test_each_list_stands_in_one_group(world: World, signed_in: In) -> None:
    """P-27. And whoever may not see a list is not led to it."""
    pages = [page for group in GROUPS.values() for page in group]
    listed = [page.name for page in pages if page.name != "figures"]
    assert sorted(listed) == LISTS
    for who in ("support", "superuser"):
        client = signed_in(who)
        html = read(client, "/admin/")
        for page in pages:
            is_seen = client.get(page.address).status_code == 200
            assert (f'href="{page.address}"' in html) is is_seen, (who, page)


# -- pages -------------------------------------------------------------------------


def test_pages_go_on_from_the_last_row(signed_in: In) -> None:
    record(120)
    client = signed_in("auditor")
    everything = list(AuditEvent.objects.order_by("-id").values_list("id", flat=True))
    seen: list[int] = []
    address = LOG
    while address:
        html = read(client, address)
        seen += ids(html)
        older = re.search(r'href="(\?before=\d+)" rel="next"', html)
        address = LOG + older[1] if older else ""

    assert seen == everything
    assert 'href="?">Newest' in html


def queries(client: Client, address: str) -> list[str]:
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert client.get(address).status_code == 200
    return [query["sql"] for query in captured.captured_queries]


def test_the_log_takes_the_same_statements_however_long_it_is(
    signed_in: In, file: File, user: User, stranger: User
) -> None:
    """... and counts nothing."""
    client = signed_in("auditor")
    client.get(LOG)
    for query in ("", "?kind=check", "?from=2026-11-01&until=2026-11-30", f"?user_id={user.pk}"):
        record(2, user_id=user.pk, file_id=file.pk, other_user_id=stranger.pk)
        few = queries(client, LOG + query)
        record(70, user_id=stranger.pk, file_id=file.pk, other_user_id=user.pk)
        many = queries(client, LOG + query)
        assert len(few) == len(many), query
        assert not [sql for sql in many if "COUNT(" in sql.upper()]


def text(n: int, file: File) -> None:
    """A code that was texted to somebody, who has a key; and a text and a mail with news."""
    user = make_user(f"more{n}", file)
    row = number_of(user, file, f"+6149157{n:04d}", NOON)
    text_of(code_of(row, NOON), NOON)
    SmsMessage.objects.create(news_to=row, created_at=NOON)
    Notice.objects.create(user=user, kind="activated", created_at=NOON)
    AccessKey.objects.make(user, file, NOON)


@pytest.mark.slow
@pytest.mark.parametrize("name", LISTS)
def test_lists_take_the_same_statements_for_many_rows(
    world: World, signed_in: In, file: File, name: str
) -> None:
    """... and none counts its rows."""
    client, path = signed_in("superuser"), world.address(name)
    text(0, file)
    client.get(path)
    few = len(queries(client, path))
    for n in range(1, 30):
        text(n, file)
    many = queries(client, path)
    assert len(many) == few
    assert not [sql for sql in many if "COUNT(" in sql.upper()]


def test_the_log_goes_back_90_days_and_further_if_asked(signed_in: In) -> None:
    """P-22: a range of time bounds what a page reads. So does the export."""
    for days in (200, 91, 90, 1):
        record(at=NOON - timedelta(days=days), reason=str(days))
    client = signed_in("auditor")

    def reasons(html: str) -> list[str]:
        return [AuditEvent.objects.get(pk=pk).reason for pk in ids(html)]

    html = read(client, LOG, kind="check")
    assert reasons(html) == ["1", "90"]
    further = re.search(r'href="(\?[^"]*)">Look further back', html)
    assert further
    html = read(client, LOG + further[1].replace("&amp;", "&"))
    assert reasons(html) == ["91"]
    html = read(client, LOG, kind="check", **{"from": "2026-01-01"})
    assert reasons(html) == ["1", "90", "91", "200"]
    assert "Look further back" not in html


# -- filters -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "found"),
    [
        pytest.param({"kind": "suspend"}, ["suspend"], id="event"),
        pytest.param({"outcome": "otp_incorrect"}, ["wrong"], id="outcome"),
        pytest.param({"face": "command"}, ["suspend"], id="face"),
        pytest.param({"user_id": "41"}, ["wrong", "suspend"], id="user"),
        pytest.param({"file_id": "777"}, ["wrong"], id="file"),
        pytest.param({"from": "2026-11-03"}, ["late"], id="from"),
        pytest.param({"until": "2026-11-01"}, ["early"], id="until"),
        pytest.param(
            {"from": "2026-11-02", "until": "2026-11-02"}, ["wrong", "suspend"], id="one-day"
        ),
        pytest.param({"user_id": "41", "kind": "check"}, ["wrong"], id="both"),
        pytest.param({"kind": "check:ok"}, ["late", "early"], id="label"),
        pytest.param({"kind": "check:ok", "outcome": "otp_incorrect"}, [], id="another-outcome"),
        pytest.param({"kind": "nonsense"}, [], id="unknown-event"),
        pytest.param({"kind": "check:nonsense"}, [], id="unknown-label"),
        pytest.param({"kind": "a\0"}, [], id="event-with-nul"),
        pytest.param({"outcome": "ok\0"}, [], id="outcome-with-nul"),
        pytest.param({"face": "\0"}, [], id="face-with-nul"),
        pytest.param({"user_id": "x"}, [], id="no-id"),
        pytest.param({"user_id": "9" * 40}, [], id="huge-id"),
        pytest.param({"from": "yesterday"}, [], id="no-day"),
        pytest.param({"from": "9999-12-31"}, [], id="last-day-there-is"),
        pytest.param({"until": "0001-01-01"}, [], id="first-day-there-is"),
    ],
)
def test_filters(signed_in: In, query: dict[str, str], found: list[str]) -> None:
    """P-22."""
    record(at=datetime(2026, 11, 1, 1, tzinfo=UTC), reason="early")
    record(user_id=41, kind="suspend", origin=Origin(Face.COMMAND), reason="suspend")
    record(user_id=41, outcome="otp_incorrect", file_id=777, reason="wrong")
    record(at=NOON + timedelta(days=1, hours=3), reason="late")

    pks = ids(read(signed_in("auditor"), LOG, **query))

    assert [AuditEvent.objects.get(pk=pk).reason for pk in pks] == found


@pytest.mark.slow
@pytest.mark.parametrize("kind", EVENTS)
def test_each_event_is_found_by_its_label_alone(kind: str) -> None:
    """One for each outcome, also of a later release, and for facts that have their own words."""
    own = {"own": kind == AuditEvent.Kind.REVOKE}
    facts = [{}, own, {"replaced": True}, {"stopped": False}, {"removed": ["app"]}]
    for outcome in {*EVENTS[kind], "signed_in", "later"} - {OTHERS}:
        for number, data in enumerate(facts):
            record(kind=kind, outcome=outcome, data=data, user_id=number)
    labels: dict[int, str] = {}
    whole, *parts = Happened.groups[AuditEvent.Kind(kind).label].items()
    for _, (words, said_so) in parts:
        for event in AuditEvent.objects.filter(said_so):
            assert event.pk not in labels
            labels[event.pk] = words
    events = AuditEvent.objects.filter(whole[1][1])
    for event in events if parts else ():
        said = words_of(kind, event.outcome, event.data).staff
        assert said in labels.get(event.pk, "").split(" / ")
    assert len(events) == AuditEvent.objects.count()


@pytest.mark.parametrize(
    ("path", "choices"),
    [
        ("/admin/optin/user/?is_staff=", {"": 2, "1": 1, "0": 0, "nonsense": 0}),
        ("/admin/optin/provideruser/?state=", {"": 1, "active": 1, "released": 0, "nonsense": 0}),
    ],
)
def test_what_is_no_choice_finds_nothing(
    active: ProviderUser, signed_in: In, path: str, choices: dict[str, int]
) -> None:
    """Else an address with an error in it shows everything as if it had been asked for."""
    client = signed_in("auditor")
    row = rf'href="{path.partition("?")[0]}\d+/change/[?"]'
    found = {value: len(set(re.findall(row, read(client, path + value)))) for value in choices}
    assert found == choices


def test_an_event_that_was_written_late_is_in_its_day(signed_in: In) -> None:
    """Its id is higher than that of an event that began after it."""
    midnight = datetime(2026, 11, 2, 0, tzinfo=timezone.get_current_timezone())
    record(at=midnight - timedelta(seconds=2), reason="before")
    record(at=midnight + timedelta(seconds=1), reason="after")
    record(at=midnight - timedelta(seconds=1), reason="late")
    client = signed_in("auditor")

    def reasons(**query: str) -> set[str]:
        return {AuditEvent.objects.get(pk=pk).reason for pk in ids(read(client, LOG, **query))}

    assert reasons(**{"from": "2026-11-02"}) == {"after"}
    assert reasons(until="2026-11-01") == {"before", "late"}


# -- how rows are shown ------------------------------------------------------------


def test_filters_stay_when_one_opens_a_row_and_comes_back(signed_in: In) -> None:
    record(60, user_id=41)
    record(60, user_id=42)
    client = signed_in("auditor")
    older = re.search(r'href="(\?[^"]+)" rel="next"', read(client, f"{LOG}?user_id=41&kind=check"))
    assert older
    here = f"{LOG}{older[1].replace('&amp;', '&')}"
    shown = ids(read(client, here))
    link = re.search(rf'"({LOG}{shown[0]}/change/[^"]*)"', read(client, here))
    assert link
    back = re.search(rf'"({LOG}\?[^"]*before[^"]*)"', read(client, link[1].replace("&amp;", "&")))
    assert back
    assert ids(read(client, back[1].replace("&amp;", "&"))) == shown


def _admin_of(model: Any) -> Any:
    return site._registry[model]


@pytest.mark.parametrize("name", sorted(LISTED))
def test_an_empty_list_says_what_would_be_there(signed_in: In, name: str) -> None:
    """... and what no filter leaves, that filters are set."""
    client, model = signed_in("superuser"), LISTED[name]
    empty = not model._default_manager.exists()
    address, listed = reverse(f"admin:{name}_changelist"), _admin_of(model)
    if empty:
        assert listed.nothing in read(client, address)
    if listed.list_filter:
        html = read(client, address, **{listed.list_filter[-1].parameter_name: "nonsense"})
        assert "No results." in html
        assert "Clear the filters" in html
    assert empty or name == "optin_user"


# -- what a page shows -------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MAY))
def test_no_page_holds_a_secret_or_a_number(
    world: World,
    signed_in: In,
    user: User,
    access_key: str,
    name: str,
) -> None:
    """S-50, S-51: no number, no digest, no ciphertext, no hash of a password, no key."""
    client = signed_in("superuser")
    row = ProviderUser.objects.get()
    code = row.pending_otps.latest("pk")
    user.refresh_from_db()
    html = client.post(world.address(name)) if name == "find" else client.get(world.address(name))
    text = b"".join(html) if html.streaming else html.content
    secrets = [
        *(NUMBER, NUMBER[3:], row.number_encrypted, row.number_digest),
        *(user.password, access_key, code.nonce, code.code(), user.get_session_auth_hash()),
    ]
    assert [secret for secret in secrets if secret and secret.encode() in text] == []
