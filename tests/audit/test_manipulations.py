"""What an administrator of the database could do to the trail, each thing found (S-53).

Each row of ``WAYS`` is a way that was tried on a restored copy, whose triggers and constraints are
away, and how the findings begin that give it away. What only a copy of the seals can show is listed
apart, and so is what looks odd and is no finding.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone

from optin import keys
from optin.audit import integrity, repeats, seals
from optin.audit.reading import all_seals
from optin.audit.seals import Content
from optin.audit.search import within
from optin.models import AuditEvent, AuditSeal, File, ProviderUser, RefusalCount, User
from optin.models.audit import NAMED, REDIGESTED, forget_thread
from optin.operations import opt_ins, retention, tenants
from optin.origin import Face, Origin
from tests.kit.people import NUMBER
from tests.kit.phone import Phone
from tests.kit.tamper import (
    another,
    change,
    content_of,
    forge_restore,
    put,
    record,
    remove,
    run,
    sequence_ends_at,
    spoil_the_time,
    verify,
)
from tests.kit.trail import CHANGED, audit_trail_full, sql, unguarded

pytestmark = pytest.mark.django_db(transaction=True)

CLEAN, UNCHECKED, FOUND = 0, 2, 3
ORIGIN = Origin(Face.API, client="key:1", ip="192.0.2.1")
MINUTE = timedelta(minutes=1)
NAME = "audit_event_follows_another_alone"


def without_name(event: AuditEvent) -> AuditEvent:
    """Return *event* as a release before names wrote it."""
    event.previous = None
    event.digest = event.content_digest()
    return event


class Trail:
    """Ten events of before names, thirty with them, under three seals each; four not sealed.

    The four are those of an opt-in and a right code, after two others.
    """

    def __init__(self, clock: Any, user: User, file: File, phone: Phone) -> None:
        self.clock = clock
        first = record(timedelta(0))
        forget_thread()
        remove(first)
        put(*(without_name(another(first, reason=f"old {n}")) for n in range(10)), pk=1)
        sequence_ends_at(10)
        clock.shift(6 * MINUTE)
        seals.seal(timezone.now())
        clock.shift(timedelta(days=1))
        for _ in range(3):
            for n in range(10):
                record(timedelta(0), reason=f"number {n}")
                clock.shift(MINUTE / 10)
            clock.shift(6 * MINUTE)
            seals.seal(timezone.now())
        for n in range(2):
            record(timedelta(0), reason=f"not sealed {n}")
        opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)
        number = ProviderUser.objects.get()
        clock.shift(MINUTE / 3)
        opt_ins.verify_opt_in(user, file, number.pk, phone.code(), origin=ORIGIN)
        clock.shift(MINUTE)

    @property
    def seals(self) -> list[AuditSeal]:
        return list(AuditSeal.objects.order_by("first_id"))

    def event(self, pk: int) -> AuditEvent:
        return AuditEvent.objects.get(pk=pk)

    def events(self, first: int, last: int) -> list[AuditEvent]:
        return list(AuditEvent.objects.filter(pk__gte=first, pk__lte=last).order_by("pk"))

    @property
    def newest(self) -> AuditEvent:
        return AuditEvent.objects.latest("pk")


OLD_ONE, SEALED, FIRST_UNSEALED = 5, 25, 41


@pytest.fixture
def trail(clock: Any, user: User, file: File, phone: Phone) -> Trail:
    trail = Trail(clock, user, file, phone)
    ends = [(one.first_id, one.last_id) for one in trail.seals]
    assert ends == [(1, 10), (11, 20), (21, 30), (31, 40)]
    assert trail.newest.pk == 44
    return trail


@pytest.fixture
def constraints_are_away() -> Iterator[None]:
    """No unique name of the event before."""
    sql(f"DROP INDEX {NAME}")
    try:
        yield
    finally:
        with unguarded():
            sql("DELETE FROM optin_auditevent")
        sql(f"CREATE UNIQUE INDEX {NAME} ON optin_auditevent (previous) WHERE previous IS NOT NULL")


# -- the ways ----------------------------------------------------------------------


def swap(one: AuditEvent, two: AuditEvent) -> None:
    remove(one, two)
    put(one, pk=two.pk)
    put(two, pk=one.pk)


def remove_range(*ranges: AuditSeal) -> None:
    for one in ranges:
        remove(one, *AuditEvent.objects.filter(pk__gte=one.first_id, pk__lte=one.last_id))


def remove_all(trail: Trail) -> None:
    remove(*AuditEvent.objects.all(), *AuditSeal.objects.all())
    sequence_ends_at(0)


def remove_all_and_go_on(trail: Trail) -> None:
    """All that could tell is gone too, but the service writes on."""
    remove_all(trail)
    ProviderUser.objects.all().delete()
    record()


def cut_off_and_reset(trail: Trail) -> None:
    """The newest seals with their events, and all that is not sealed."""
    remove_range(*trail.seals[2:])
    remove(*trail.events(41, 44))
    sequence_ends_at(20)


def remove_newest(trail: Trail) -> None:
    remove(trail.newest)
    sequence_ends_at(43)


def remove_newest_and_go_on(trail: Trail) -> None:
    """It says nothing that another row says too."""
    record()
    remove(trail.newest)
    record()


def let_the_service_forget(trail: Trail) -> None:
    """Let its next event fail, and remove what it wrote before that."""
    record()
    with audit_trail_full(), pytest.raises(DatabaseError):
        record()
    remove(trail.newest)
    record()


def cut_the_line_at_a_commit(trail: Trail) -> None:
    """The service does not know of the event, which is there."""
    with transaction.atomic():
        event = record()
        connection.run_on_commit.clear()
    record()
    remove(event)


def add_after_what_failed(trail: Trail) -> None:
    """An event that stands where the next one of the service would."""
    event = record()
    with audit_trail_full(), pytest.raises(DatabaseError):
        record()
    forged = another(event)
    forged.previous, forged.digest = event.name(), "no digest"
    put(forged, pk=46)
    with suppress(DatabaseError), transaction.atomic():  # the constraint refuses it
        record()
    remove(event, trail.event(46))
    record()


def leave_a_gap_and_seal(trail: Trail) -> None:
    """More ids are missing inside than what is rolled back can leave unused."""
    sequence_ends_at(45 + integrity.SPARE[connection.vendor])
    record(timedelta(0))
    trail.clock.shift(6 * MINUTE)
    seals.seal(timezone.now())


def hide_below_all(trail: Trail) -> None:
    """A newer event under the lowest id hides that the newest one is gone."""
    put(another(trail.newest, at=timezone.now()), pk=-(2**63))
    remove_newest(trail)


def merge(trail: Trail) -> None:
    """One seal over two ranges, with the digest that is right, and without the key."""
    one, two = trail.seals[1:3]
    remove(two)
    change(one, last_id=30, count=20, digest=content_of(trail.events(11, 30)).digest())


def forge(trail: Trail) -> None:
    """A seal over what is not sealed yet."""
    content = content_of(trail.events(41, 44))
    values = {"at": timezone.now(), "key_id": trail.newest.key_id, "proof": "0" * 64}
    AuditSeal.objects.create(first_id=41, last_id=44, count=4, digest=content.digest(), **values)


def seal_anew(trail: Trail) -> None:
    """Remove all seals and what a thread wrote last, and let the service seal the rest."""
    forget_thread()
    record(timedelta(0), reason="of a command")
    trail.clock.shift(timedelta(days=3))
    remove(*AuditSeal.objects.all(), trail.newest)
    sequence_ends_at(44)
    seals.seal(timezone.now())


def make_anew(trail: Trail) -> None:
    """Change an event; make all digests and seals from there on anew, with the keys."""
    names: dict[str, str] = {}
    events = list(AuditEvent.objects.order_by("pk"))
    for event in events[14:]:
        before = f"{event.pk}:{event.digest[:NAMED]}"
        event.reason = "made anew" if event is events[14] else event.reason
        event.previous = names.get(event.previous or "", event.previous)
        event.digest = event.content_digest()
        names[before] = f"{event.pk}:{event.digest[:NAMED]}"
        change(event, reason=event.reason, previous=event.previous, digest=event.digest)
    for one in trail.seals[1:]:
        under = [event for event in events if one.first_id <= event.pk <= one.last_id]
        one.digest = content_of(under).digest()
        change(one, digest=one.digest, proof=one.own_proof())


def replay(trail: Trail) -> None:
    """An event that a copy of the service wrote, with the same key and other events before."""
    put(another(trail.newest, previous="44:0123456789abcdef"), pk=45)
    sequence_ends_at(45)


def replay_of_another_key(trail: Trail) -> None:
    made = another(trail.newest)
    made.key_id = "deadbeef"
    put(made, pk=45)
    sequence_ends_at(45)


def restore_older(trail: Trail) -> None:
    """Put an older copy in place, while the service runs on."""
    remove(*trail.events(41, 44))
    ProviderUser.objects.all().delete()
    sequence_ends_at(40)
    record()


def add_to_a_sealed_gap(trail: Trail) -> None:
    """Its digest is right: it comes from another copy of the trail."""
    sequence_ends_at(46)
    record(timedelta(0))
    trail.clock.shift(6 * MINUTE)
    seals.seal(timezone.now())
    put(another(trail.event(43)), pk=46)


def add_a_seal(trail: Trail) -> None:
    two = trail.seals[1]
    two.pk, two.first_id = None, 12
    two.save()


def remove_newest_seal(trail: Trail) -> None:
    remove(trail.seals[3])
    trail.clock.shift(70 * MINUTE)


Way = Callable[[Trail], object]

GONE = "named by later events, but removed or replaced"
WAYS: dict[str, tuple[Way, list[str]]] = {
    "change what an event from before names says": (
        lambda trail: change(trail.event(OLD_ONE), outcome="ok"),
        ["event 5: its content was changed"],
    ),
    "change the name of the event before": (
        lambda trail: change(trail.event(42), previous="0" * 32),
        ["event 42: its content was changed"],
    ),
    "take the name of the event before away": (
        lambda trail: change(trail.event(42), previous=None),
        ["event 42: its content was changed"],
    ),
    "change the digest of an event": (
        lambda trail: change(trail.event(SEALED), digest=trail.event(41).digest),
        ["event 25: its content was changed", "events 21 to 30: not those that were sealed"],
    ),
    "change the id of the key": (
        lambda trail: change(trail.event(SEALED), key_id="deadbeef"),
        [
            "event 25: its digest key came without a redigest",
            "event 26: its digest key came without a redigest",
            "event 25: digest key 'deadbeef' is not here",
            "events 21 to 30: not those that were sealed",
        ],
    ),
    "store an event that cannot be read": (
        lambda trail: spoil_the_time(trail.event(SEALED)),
        ["event 25: its content was changed"],
    ),
    "copy an event": (
        lambda trail: put(trail.event(SEALED), pk=45),
        ["2 events 25 to 45: copies of one event"],
    ),
    "copy an event from before names": (
        lambda trail: put(trail.event(OLD_ONE), pk=45),
        ["event 45: 146"],
    ),
    "move the newest event to a far id": (
        lambda trail: change(trail.newest, id=10**9),
        ["events up to 1000000000: added, because no id after 44 was given out"],
    ),
    "add an event into a sealed range": (add_to_a_sealed_gap, ["events 41 to 47: 1 added"]),
    # Found also without the first finding.
    "add an event under the lowest id": (
        hide_below_all,
        ["events up to 0: 1 added", "the newest events: removed, because the "],
    ),
    "add an event of a copy of the service": (replay, [f"event 44: {GONE}"]),
    "add an event under another key": (
        replay_of_another_key,
        ["event 45: its digest key came without a redigest"],
    ),
    "exchange two sealed events": (
        lambda trail: swap(trail.event(24), trail.event(26)),
        ["events 21 to 30: not those that were sealed"],
    ),
    "exchange two events that are not sealed": (
        lambda trail: swap(trail.event(41), trail.event(42)),
        [f"2 events 41 to 42: {GONE}"],
    ),
    "remove a sealed event": (
        lambda trail: remove(trail.event(SEALED)),
        ["events 21 to 30: 1 missing", f"event 25: {GONE}"],
    ),
    "remove an event that is not sealed": (
        lambda trail: remove(trail.event(42)),
        [f"event 42: {GONE}"],
    ),
    "remove many events before they are sealed": (leave_a_gap_and_seal, ["events 45 to "]),
    "remove the newest event": (
        remove_newest,
        ["the newest events: removed, because the verified_at of a "],
    ),
    "remove the newest event, and the service goes on": (
        remove_newest_and_go_on,
        [f"event 45: {GONE}"],
    ),
    "let the service forget the newest event, and remove it": (
        let_the_service_forget,
        [f"event 45: {GONE}"],
    ),
    "cut the line at a commit, and remove the event": (
        cut_the_line_at_a_commit,
        [f"event 45: {GONE}"],
    ),
    "let the service follow a forged event": (add_after_what_failed, [f"event 45: {GONE}"]),
    "cut off the newest, and reset the sequence": (
        cut_off_and_reset,
        ["the newest events: removed, because the issued_at of a code is later"],
    ),
    "remove everything, and reset the sequence": (
        remove_all,
        ["the newest events: removed, because the verified_at of a "],
    ),
    "remove everything, and the service goes on": (remove_all_and_go_on, [f"event 44: {GONE}"]),
    "put an older copy in place of a running service": (restore_older, [f"event 44: {GONE}"]),
    "remove the oldest seal with its events": (
        lambda trail: remove_range(trail.seals[0]),
        ["events 1 to 10: their seal was removed"],
    ),
    "remove the newest seal with its events": (
        lambda trail: remove_range(trail.seals[3]),
        [f"event 40: {GONE}"],
    ),
    "remove a seal": (
        lambda trail: remove(trail.seals[1]),
        ["events 11 to 20: their seal was removed"],
    ),
    "remove the newest seal": (
        remove_newest_seal,
        ["events 31 to 44: 14 not sealed for over an hour"],
    ),
    "forge a seal": (forge, ["seal over events 41 to 44: it was changed or forged"]),
    "merge two seals": (merge, ["seal over events 11 to 30: it was changed or forged"]),
    "add a seal over a part of another": (
        add_a_seal,
        [
            "seal over events 12 to 20: it was changed or forged",
            "seal over events 12 to 20: it was added, others are there already",
        ],
    ),
    "add a seal under the lowest id": (
        lambda trail: change(trail.seals[0], first_id=-(2**63)),
        ["seal over events -9223372036854775808 to 10: it was changed or forged"],
    ),
    "store a seal that cannot be read": (
        lambda trail: spoil_the_time(trail.seals[1]),
        ["seal over events 11 to 20: it was changed or forged"],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WAYS)
def test_it_is_found(trail: Trail, constraints_are_away: None, name: str) -> None:
    """S-53."""
    way, findings = WAYS[name]
    way(trail)
    status, lines = run()
    assert status == FOUND
    missing = [text for text in findings if not any(line.startswith(text) for line in lines[:-1])]
    assert not missing, lines


def test_each_column_of_an_event_is_proved(trail: Trail) -> None:
    """And no other event is suspected. The name and the key lead to more findings: see above."""
    for pk, (column, value) in enumerate(CHANGED.items(), start=15):
        if column not in {"key_id", "previous"}:
            event = trail.event(pk)
            change(event, **{column: event.at + value if column == "at" else value})
    changed = [pk for pk, name in enumerate(CHANGED, 15) if name not in {"key_id", "previous"}]
    assert verify() == [f"event {pk}: its content was changed" for pk in changed]


def test_each_column_of_a_seal_is_proved(trail: Trail) -> None:
    one = trail.seals[3]
    day = timedelta(days=1)
    for column, value in {
        "last_id": 41,
        "count": 11,
        "digest": "0" * 64,
        "at": one.at - day,
        "proof": "0" * 64,
    }.items():
        change(one, **{column: value})
        end = trail.seals[3].last_id
        assert f"seal over events 31 to {end}: it was changed or forged" in verify()
        change(one, **{column: getattr(one, column)})
    assert verify() == []


def test_the_sequence_tells_of_what_is_gone(trail: Trail) -> None:
    """Some ids may be lost to what was rolled back, on PostgreSQL; not as many as these."""
    spare = integrity.SPARE[connection.vendor]
    sequence_ends_at(44 + spare)
    assert verify() == []
    sequence_ends_at(45 + spare)
    assert verify() == [f"events 45 to {45 + spare}: removed, because their ids were given out"]


def test_seals_that_were_made_anew_cannot_be_checked(
    trail: Trail, constraints_are_away: None
) -> None:
    """The service itself made them; what was gone by then, nothing in the database tells."""
    seal_anew(trail)
    status, lines = run()
    assert status == UNCHECKED
    assert lines[:-1] == [
        "events 1 to 44: sealed 3 days late; only copies of seals show what was there before"
    ]


def test_an_event_under_the_lowest_id_empties_no_search(trail: Trail) -> None:
    """Staff who look for the events of a day find them all the same."""
    day = timezone.now() - timedelta(days=1), timezone.now() + 10 * MINUTE
    found = list(within(AuditEvent.objects.all(), *day))
    assert found
    put(another(trail.newest, at=timezone.now() + timedelta(days=1)), pk=-(2**63))
    assert list(within(AuditEvent.objects.all(), *day)) == found


@pytest.mark.parametrize(("hours", "is_found"), [(2, False), (5, True)])
def test_sealing_that_was_held_off_cannot_be_checked(
    trail: Trail, caplog: pytest.LogCaptureFixture, hours: int, is_found: bool
) -> None:
    """By a forged seal, which is gone again; the service wrote all the time."""
    values = {"digest": "0" * 64, "at": timezone.now(), "key_id": "0" * 8, "proof": "0" * 64}
    forged = AuditSeal.objects.create(first_id=9 * 10**18, last_id=9 * 10**18, count=1, **values)
    for _ in range(hours * 6):
        record(timedelta(0))
        trail.clock.shift(10 * MINUTE)
        assert seals.seal(timezone.now()) == 0
    assert "nothing sealed: the newest seal ends above all events" in caplog.text
    remove(forged)
    assert seals.seal(timezone.now()) == 1
    status, lines = run()
    assert status == (UNCHECKED if is_found else 0)
    assert [line for line in lines if f"sealed {hours} hours late" in line] == lines[:is_found]


def test_a_seal_that_the_database_refuses_is_an_error(trail: Trail) -> None:
    """If no other sealer was first, somebody keeps it from being made."""
    trail.clock.shift(6 * MINUTE)
    sql("CREATE UNIQUE INDEX one_seal ON optin_auditseal ((count > 0)) WHERE first_id > 30")
    try:
        with pytest.raises(IntegrityError):
            seals.seal(timezone.now())
    finally:
        sql("DROP INDEX one_seal")


def refuse_twice(trail: Trail, user: User) -> None:
    """By each of two keys, an hour ago: two events, and two counts that none tells of."""
    for key in ("key:1", "key:2"):
        for _ in range(2):
            tenants.refuse_access(
                user, 888, "file_access_denied", origin=Origin(Face.API, client=key)
            )
    trail.clock.shift(timedelta(hours=1))
    seals.seal(timezone.now())


@pytest.mark.parametrize("by", ["tell", "the next refusal"])
def test_a_count_that_was_told_cannot_be_removed(trail: Trail, user: User, by: str) -> None:
    """Several are told in one transaction, of which a thread remembers the last event."""
    refuse_twice(trail, user)
    if by == "tell":
        assert repeats.tell(timezone.now()) == 2
    else:
        tenants.refuse_access(
            user, 888, "file_access_denied", origin=Origin(Face.API, client="key:1")
        )
    assert verify() == []
    told = AuditEvent.objects.filter(data__has_key="repeated").earliest("pk")
    remove(told)
    assert f"event {told.pk}: named by later events, but removed or replaced" in verify()


def test_no_row_of_refusals_has_a_decision_signed(trail: Trail, user: User) -> None:
    """Whoever writes to that table does not get an event that they made up, with its digest."""
    refuse_twice(trail, user)
    for outcome in ("ok", "unchanged"):
        RefusalCount.objects.update(kind="revoke", outcome=outcome, count=99)
        assert repeats.tell(timezone.now()) == 0
    assert not AuditEvent.objects.filter(kind="revoke").exists()


@pytest.mark.parametrize("last", [["no", "fields"], {"face": None}, {"client": "secret " * 9}])
def test_a_row_of_refusals_that_cannot_be_told_keeps_no_other_back(
    trail: Trail,
    user: User,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    last: Any,
) -> None:
    monkeypatch.setattr(repeats, "CHUNK", 1)
    refuse_twice(trail, user)
    RefusalCount.objects.filter(pk=RefusalCount.objects.earliest("pk").pk).update(last=last)
    told = repeats.tell(timezone.now())
    errors = [line for line in caplog.get_records("call") if line.levelname == "ERROR"]
    assert 0 < told + len(errors) <= 3
    assert not RefusalCount.objects.due(timezone.now()).exclude(last=last).exists()
    assert "secret" not in caplog.text
    assert [line for line in verify() if "changed" in line] == []


# -- by copies alone ---------------------------------------------------------------


@pytest.fixture
def log(tmp_path: Path, trail: Trail) -> str:
    """The seals as another machine has them."""
    path = tmp_path / "log"
    path.write_text("".join(f"{one.line()}\n" for one in trail.seals), encoding="utf-8")
    return str(path)


def restore_yesterday(trail: Trail) -> None:
    """Put an older copy of the whole database in place, and start the service anew."""
    cut_off_and_reset(trail)
    ProviderUser.objects.all().delete()
    forget_thread()
    record()


def remove_every_trace(trail: Trail) -> None:
    remove_all(trail)
    ProviderUser.objects.all().delete()


@pytest.mark.parametrize("way", [restore_yesterday, remove_every_trace, seal_anew, make_anew])
def test_copies_tell_what_the_database_cannot(
    trail: Trail, log: str, constraints_are_away: None, way: Way
) -> None:
    """G-09."""
    way(trail)
    assert run()[0] != FOUND
    assert run("--copies", log)[0] == FOUND


@pytest.mark.parametrize(
    ("key_id", "finding"),
    [
        ("", "event 46: it names no digest key"),
        ("deadbeef", "event 46: a restore that no digest key here proves"),
        ("deadbeef", "event 45: its digest key came without a redigest"),
        (None, "event 46: its content was changed"),
    ],
)
def test_a_restore_that_no_key_proves_excuses_nothing(
    trail: Trail, log: str, key_id: str | None, finding: str
) -> None:
    cut_off_and_reset(trail)
    ProviderUser.objects.all().delete()
    forge_restore(21, 44, key_id=keys.digest_key_id() if key_id is None else key_id)
    forget_thread()
    status, lines = run("--copies", log)
    assert status == FOUND
    assert {finding, "events 21 to 30: their seal was removed"} <= {*lines}


def test_nothing_is_made_anew_without_a_key(trail: Trail) -> None:
    for event in AuditEvent.objects.all():
        change(event, key_id="", reason="made anew")
    for one in trail.seals:
        change(one, key_id="")
    status, lines = run()
    assert status == FOUND
    assert {
        "event 1: it names no digest key",
        "seal over events 1 to 10: it was changed or forged",
    } <= {*lines}


# -- no false alarms ---------------------------------------------------------------


def outage(trail: Trail) -> None:
    """Nothing is written in it, and little before it and after it is not sealed yet."""
    trail.clock.shift(20 * 60 * MINUTE)
    record(timedelta(0))
    trail.clock.shift(6 * MINUTE)
    assert seals.seal(timezone.now()) == 1


def rolled_back(trail: Trail) -> None:
    for _ in range(3):
        with transaction.atomic():
            record()
            transaction.set_rollback(True)
    record()
    record()


def clocks_apart(trail: Trail) -> None:
    for seconds in (0, 5, -5, 60, -60, 0):
        record(timedelta(seconds=seconds))


def two_in_a_transaction(trail: Trail) -> None:
    with transaction.atomic():
        record()
        record()
    record()


def quiet_and_purged(trail: Trail) -> None:
    """Nobody came for years; then retention is over, and the service goes on.

    Its next event names one that was purged.
    """
    seals.seal(timezone.now() + 6 * MINUTE)
    trail.clock.shift(timedelta(days=780))
    with unguarded():  # by the clock of the database they are young
        assert retention.purge(origin=Origin(Face.COMMAND))["audit_events"] == 44
    record(timedelta(0))


@pytest.mark.parametrize(
    "way",
    [
        outage,
        rolled_back,
        clocks_apart,
        two_in_a_transaction,
        pytest.param(quiet_and_purged, marks=pytest.mark.slow),
    ],
)
def test_it_is_no_finding(trail: Trail, way: Way) -> None:
    way(trail)
    assert run()[1][:-1] == []
    trail.clock.shift(6 * MINUTE)
    assert run("--seal")[1][:-1] == []


# -- a new digest key --------------------------------------------------------------


@pytest.fixture
def redigested(trail: Trail, settings: Any) -> Trail:
    """The trail of a release that changed the digest key. The former one is here too."""
    trail.clock.shift(6 * MINUTE)
    seals.seal(timezone.now())
    former = settings.OPTIN_DIGEST_KEY
    for key in (b"x" * 32, b"y" * 32):
        settings.OPTIN_OLD_DIGEST_KEYS = (settings.OPTIN_DIGEST_KEY, former)
        settings.OPTIN_DIGEST_KEY = key
        trail.clock.shift(MINUTE * 2)
        record_redigest()
        forget_thread()
        record(timedelta(0))
        trail.clock.shift(6 * MINUTE)
        seals.seal(timezone.now())
    return trail


def record_redigest() -> None:
    sealed = Content()
    for one in all_seals():
        sealed.add(one.first_id, one.key_id, one.proof)
    with transaction.atomic():
        AuditEvent.objects.record(
            AuditEvent.Kind.KEYS,
            REDIGESTED,
            now=timezone.now(),
            origin=Origin(Face.COMMAND),
            data={"seals": sealed.count, "sealed": sealed.digest()},
        )


def test_a_new_digest_key_is_no_finding(redigested: Trail) -> None:
    status, lines = run()
    assert (status, lines[:-1]) == (CLEAN, [])


def test_without_the_former_key_that_part_cannot_be_checked(
    redigested: Trail, settings: Any
) -> None:
    settings.OPTIN_OLD_DIGEST_KEYS = ()
    status, lines = run()
    assert status == UNCHECKED
    assert [line for line in lines[:-1] if not line.endswith("is not here")] == []


def test_who_knows_the_former_key_cannot_change_what_is_under_it(redigested: Trail) -> None:
    event = redigested.event(SEALED)
    event.reason = "another"
    change(event, reason=event.reason, digest=event.content_digest())
    over = next(one for one in redigested.seals if one.first_id <= SEALED <= one.last_id)
    over.digest = content_of(redigested.events(over.first_id, over.last_id)).digest()
    change(over, digest=over.digest, proof=over.own_proof())

    status, lines = run()

    assert status == FOUND
    redigests = AuditEvent.objects.filter(kind=AuditEvent.Kind.KEYS)
    assert {f"seals before event {told.pk}: not those of the redigest" for told in redigests} <= {
        *lines
    }


def test_seals_that_a_redigest_told_of_may_not_go(redigested: Trail) -> None:
    remove(*redigested.seals, *redigested.events(1, SEALED))
    first = AuditEvent.objects.filter(kind=AuditEvent.Kind.KEYS).order_by("pk")[0]
    assert f"seals before event {first.pk}: not those of the redigest" in run()[1]
