"""The check of the whole audit trail: what was changed, removed, added or copied (S-53).

Four things prove an event. Each is made with the digest key:

- its own digest proves its content;
- the next event of the same thread names it, which proves that it was there, and under which id.
  If two events name the same event, one of them is a copy;
- the seal over its range proves that the range had no other events;
- the next seal proves that seal: it begins where that one ends. The first begins at 1.

A new digest key of an earlier release proves all seals that were there before it. A new key
or a restore that no key at hand proves explains nothing: whoever owns the database can add its row.

No event names the newest ones, and no seal follows theirs. Their removal shows in the sequence of
ids and in the times of other rows, unless somebody changed these too. If they were sealed, it also
shows in the copies of their seals that are kept elsewhere (``verify_copies``).
"""

import hmac
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.db import connection, models
from django.db.models import Count, Max, Min

from optin import keys
from optin.audit import restores
from optin.audit.reading import NEVER, UNREADABLE, all_seals, chunks, events_of, rows_of
from optin.audit.seals import SHORTEST_RETENTION, Content, drawn
from optin.models import AuditEvent, AuditSeal, PendingOtp, ProviderUser, SmsMessage, User
from optin.models.audit import LAST, NAMED, REDIGESTED

APART = timedelta(minutes=15)
"""By how much an event may be older than one with a lower id.

The time is read when an operation begins, the id is drawn when it ends: a server gives up
after 30 seconds (``gunicorn.conf.py``). Clocks more than 5 seconds apart break codes (S-65).
"""

OVERDUE = timedelta(minutes=70)
"""If nothing else seals, an hourly ``purge`` does: then an event has waited 65 minutes at most."""

LATE = timedelta(days=1)
"""Operators would notice sooner that nothing seals. A shorter time may be an outage, in which there
are no events."""

SPARE = {"postgresql": 1000, "sqlite": 0}
"""How many ids in a row rolled back transactions may leave unused.

While the table takes no event (a full disk), each call uses up an id,
until the proxies see that no server is ready: 100 calls a second, for ten seconds. PostgreSQL also
skips up to 32 ids after a crash. SQLite uses an id again after a roll-back.

Somebody could hide that many events only until they are sealed, because a seal has a count, or
until a later event of the same thread names them.
"""

BLOCK = 10**9
"""Ids of one month, at most, up to 0.28.0."""

_NAMES = 20_000  # of events, in memory at a time
_EVER = datetime.min.replace(tzinfo=UTC)
_NAME = re.compile(rf"([0-9]{{1,18}}):([0-9a-f]{{{NAMED}}})")


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with the trail, or (with ``unchecked``) could not be checked."""

    text: str
    unchecked: bool = False


@dataclass(slots=True)
class Tally:
    """How far a check has come."""

    last_id: int = 0
    events: int = 0
    seals: int = 0
    purged: int = 0
    unsealed: int = 0
    copies: int = 0
    lost: list[restores.Gap] = field(default_factory=list)
    progress: Callable[["Tally"], None] = lambda tally: None
    """Called after each chunk of events."""

    def add(self, events: Sequence[AuditEvent]) -> None:
        self.events += len(events)
        self.last_id = events[-1].pk
        self.progress(self)


def verify(
    now: datetime, tally: Tally, *, kept: timedelta = SHORTEST_RETENTION
) -> Iterator[Finding]:
    """Check all events and seals, in constant memory; count in *tally*.

    A range without events is taken as purged, and is no finding, if its seal is older than *kept*
    and no older range has events left.
    """
    yield from _check_copies()
    tally.lost = restores.gaps(former=True)
    pins = _pins()
    sealed = Content()
    walk = _Walk(tally, now - kept, pinned_before=_newest(pins))
    yield from walk.over(-LAST - 1, 0)
    if walk.content.count:
        yield Finding(f"events up to 0: {walk.content.count} added")
    next_id = 1
    purging = True
    for one in all_seals():
        tally.seals += 1
        sealed.add(one.first_id, one.key_id, one.proof)
        yield from _check_seal(one, next_id)
        if pin := pins.pop(sealed.count, None):
            yield from pin.check(sealed)
        if one.first_id > next_id:
            yield from walk.over(next_id, one.first_id - 1)
        yield from walk.over(one.first_id, one.last_id)
        difference = _difference(walk.content, one)
        # Looked at again: it may have been purged between two chunks.
        if difference and purging and one.at < now - kept and not events_of(one).exists():
            tally.purged += one.count
        else:
            purging = False
            yield from _different(one, difference)
            yield from walk.late(one)
            if not difference:
                yield from walk.gaps
        next_id = max(next_id, one.last_id + 1)
    for pin in pins.values():
        yield from pin.check(sealed)
    before = drawn()  # later ids may be of events that were not read
    yield from walk.over(next_id, LAST)
    tally.unsealed = walk.content.count
    yield from walk.gaps
    yield from _check_unsealed(now, next_id)
    yield from _check_sequence(before, max(tally.last_id, next_id - 1))
    yield from _check_traces(now - kept)


def verify_newest(now: datetime, tally: Tally, *, kept: timedelta) -> Iterator[Finding]:
    """Check the newest seal, the events that it covers, and those after it; count in *tally*.

    :param kept: as for ``verify``.
    """
    tally.lost = restores.gaps(former=True)
    walk = _Walk(tally, now - kept, pinned_before=_newest(_pins()))
    newest = AuditSeal.objects.order_by("-first_id").first()
    next_id = 1
    if newest:
        yield from _check_seal(newest, newest.first_id)
        yield from walk.over(newest.first_id, newest.last_id)
        purged = newest.at < now - kept and not walk.content.count
        yield from () if purged else _different(newest, _difference(walk.content, newest))
        next_id = newest.last_id + 1
    before = drawn()
    yield from walk.over(next_id, LAST)
    yield from walk.gaps
    yield from _check_sequence(before, max(tally.last_id, next_id - 1))


def verify_copies(lines: Iterable[str], tally: Tally) -> Iterator[Finding]:
    """Compare the seals with the copies of them in *lines* of logs; count in *tally*."""
    for number, line in enumerate(lines, start=1):
        copy = AuditSeal.from_line(line)
        if copy is None:
            continue
        tally.copies += 1
        if keys.has_digest_key(copy.key_id) and not _same(copy.proof, copy.own_proof()):
            yield Finding(f"line {number}: this copy of a seal was changed", unchecked=True)
            continue
        stored = AuditSeal.objects.filter(first_id=copy.first_id).first()
        lost = [gap for gap in tally.lost if gap.overlap(copy.first_id, copy.last_id)]
        if any(copy.at <= gap.at for gap in lost):
            continue  # it was made after the backup, and before the restore
        if stored is None:
            yield Finding(f"{_range(copy)}: their seal was removed")
            content = Content()
            for chunk in chunks(copy.first_id, copy.last_id):
                for event in chunk:
                    content.add(event.pk, event.key_id, event.digest)
            yield from _different(copy, _difference(content, copy))
        elif stored.line() != copy.line():
            yield Finding(f"{_range(copy)}: their seal is not the one that was logged")


# -- event by event ----------------------------------------------------------------


@dataclass(slots=True)
class _Walk:
    """Walks over the events in the order of their ids, and remembers what the next checks need."""

    tally: Tally
    purged_before: datetime
    """Ranges whose seal is older than this may have been purged."""
    pinned_before: int
    """The id of the newest redigest that is proved, and tells of the seals before it."""
    content: Content = field(default_factory=Content)
    """The content of the last range."""
    due: datetime | None = None
    """When that range had to be sealed: the time of its second event that names another."""
    gaps: list[Finding] = field(default_factory=list)
    """Places where more ids in a row are missing than rolled-back transactions leave unused."""
    _first: bool = True
    _newest: datetime = _EVER
    _key_id: str | None = None
    _names: dict[int, str] = field(default_factory=dict)
    """The digests by which events of the last chunk are named."""

    def over(self, first: int, last: int) -> Iterator[Finding]:
        """Check the events from *first* to *last*, each by itself and with those before."""
        self.content, self.due, self._first, self.gaps = Content(), None, True, []
        next_id = max(first, 1)
        spare = SPARE[connection.vendor]
        for chunk in chunks(first, last):
            for event in chunk:
                self.content.add(event.pk, event.key_id, event.digest)
                if event.pk - next_id > spare:
                    missing = _given_out(next_id, event.pk - 1)
                    missing -= sum(gap.overlap(next_id, event.pk - 1) for gap in self.tally.lost)
                    if missing > spare:
                        gap = f"events {next_id} to {event.pk - 1}: removed before they were sealed"
                        self.gaps.append(Finding(gap))
                next_id = event.pk + 1
                yield from self._check_place(event)
            yield from _check_digests(chunk)
            yield from self._check_previous(chunk)
            self.tally.add(chunk)

    def late(self, one: AuditSeal) -> Iterator[Finding]:
        """Report *one* if it was made long after its events: it may replace a removed seal.

        In an outage, too, nothing is sealed. But then there are no events either.
        """
        due = self.due
        if due is None or one.at == NEVER:
            return
        if any(due <= gap.at <= one.at for gap in self.tally.lost):
            return  # the backup was made before it was sealed
        while_it_ran = AuditEvent.objects.filter(
            pk__gt=0, at__gt=due + OVERDUE, at__lt=one.at - OVERDUE
        )
        late = one.at - due
        if late > LATE or (late > 2 * OVERDUE and while_it_ran.exists()):
            yield Finding(
                f"{_range(one)}: sealed {_long(late)} late; only copies of seals "
                "show what was there before",
                unchecked=True,
            )

    def _check_place(self, event: AuditEvent) -> Iterator[Finding]:
        """Check the order of times and keys."""
        if event.at != NEVER:
            if self._newest - event.at > APART:
                apart = (self._newest - event.at) // timedelta(minutes=1)
                yield Finding(f"event {event.pk}: {apart} minutes older than one with a lower id")
                self._newest = event.at
            self._newest = max(self._newest, event.at)
            if event.previous is not None:
                if not self._first and self.due is None:
                    self.due = event.at
                self._first = False
        if self._key_id not in {None, event.key_id} and not self._begins_a_key(event):
            yield Finding(f"event {event.pk}: its digest key came without a redigest")
        self._key_id = event.key_id

    def _begins_a_key(self, event: AuditEvent) -> bool:
        """Whether *event* is a redigest: the first event under a new key.

        One whose key is not here any more is believed if a later one, which is proved, tells of
        the seals over it.
        """
        if (event.kind, event.outcome) != (AuditEvent.Kind.KEYS, REDIGESTED):
            return False
        return event.pk < self.pinned_before or event.is_proved()

    def _check_previous(self, chunk: Sequence[AuditEvent]) -> Iterator[Finding]:
        """Check that the events exist that those of *chunk* name."""
        named: dict[int, tuple[str, int]] = {}
        for event in chunk:
            if name := _NAME.fullmatch(event.previous or ""):
                named[int(name[1])] = name[2], event.pk
        known = self._names
        self._names = {event.pk: event.digest[:NAMED] for event in chunk}
        known = known | self._names
        far = AuditEvent.objects.filter(pk__in=[pk for pk in named if pk not in known])
        known.update((pk, digest[:NAMED]) for pk, digest in far.values_list("pk", "digest"))
        gone = sorted(
            (pk for pk, (digest, by) in named.items() if pk >= by or known.get(pk) != digest),
            reverse=True,
        )
        missing: list[int] = []
        for pk in gone:
            if any(gap.overlap(pk, pk) for gap in self.tally.lost):
                continue  # a process that ran before the restore and after it
            if pk not in known and self._was_purged(pk):
                break  # and so were events with lower ids
            missing.append(pk)
        if missing:
            which = _these(missing[::-1])
            yield Finding(f"{which}: named by later events, but removed or replaced")

    def _was_purged(self, pk: int) -> bool:
        one = AuditSeal.objects.filter(first_id__lte=pk, last_id__gte=pk).first()
        if one is None or one.at >= self.purged_before:
            return False
        return not AuditEvent.objects.filter(pk__gt=0, pk__lte=one.last_id).exists()


def _check_digests(chunk: Sequence[AuditEvent]) -> Iterator[Finding]:
    """Check the own digest of each event."""
    foreign: dict[str, list[int]] = {}
    for event in chunk:
        if keys.has_digest_key(event.key_id):
            if not event.is_proved():
                yield Finding(f"event {event.pk}: its content was changed")
        elif not event.key_id:
            yield Finding(f"event {event.pk}: it names no digest key")
        else:
            foreign.setdefault(event.key_id, []).append(event.pk)
            if event.kind == AuditEvent.Kind.RESTORE:
                yield Finding(f"event {event.pk}: a restore that no digest key here proves")
    for key_id, ids in foreign.items():
        yield Finding(f"{_these(ids)}: digest key {key_id!r} is not here", unchecked=True)


def _check_copies() -> Iterator[Finding]:
    """Find events that name the same one before them; a constraint allows none."""
    after = ""
    while True:
        names = AuditEvent.objects.filter(previous__gt=after).order_by("previous")
        counted = names.values_list("previous").annotate(count=Count("pk"))
        chunk = list(counted[:_NAMES])
        for name, count in chunk:
            if count > 1:
                ids = AuditEvent.objects.filter(previous=name).order_by("pk")
                yield Finding(f"{_these(ids.values_list('pk', flat=True))}: copies of one event")
        if len(chunk) < _NAMES:
            return
        after = chunk[-1][0] or ""


# -- the ends of the trail ---------------------------------------------------------


def _check_unsealed(now: datetime, next_id: int) -> Iterator[Finding]:
    """Check the events after the last seal: they must be young."""
    rest = AuditEvent.objects.filter(pk__gte=next_id)
    old = rest.filter(at__lt=now - OVERDUE).aggregate(
        count=Count("pk"), first=Min("pk"), last=Max("pk")
    )
    if old["count"]:
        yield Finding(
            f"events {old['first']} to {old['last']}: {old['count']} not sealed for over an hour"
        )


def _check_sequence(before: int | None, newest: int) -> Iterator[Finding]:
    """Compare the sequence, as it was *before* and as it is now, with the *newest* id."""
    after = drawn()
    if before is None or after is None:
        yield Finding("the sequence of ids: this role may not read it", unchecked=True)
        return
    if _given_out(newest + 1, before) > SPARE[connection.vendor]:
        yield Finding(f"events {newest + 1} to {before}: removed, because their ids were given out")
    if newest > after:
        yield Finding(f"events up to {newest}: added, because no id after {after} was given out")


def _given_out(first: int, last: int) -> int:
    """Return how many of these ids were given out, in the block of the id after *last*.

    Up to 0.28.0, PostgreSQL skipped the rest of a block when a month began.
    """
    if connection.vendor == "postgresql":
        first = max(first, (last + 1) // BLOCK * BLOCK)
    return last - first + 1


_TRACES: tuple[tuple[type[models.Model], str, timedelta], ...] = (
    (PendingOtp, "issued_at", timedelta(0)),
    (SmsMessage, "created_at", timedelta(0)),
    (ProviderUser, "verified_at", timedelta(0)),
    (ProviderUser, "released_at", timedelta(0)),
    # Django writes it a moment later.
    (User, "last_login", timedelta(minutes=1)),
)
"""Times that are written together with an event, and by how much they may be later than it."""


def _check_traces(since: datetime) -> Iterator[Finding]:
    """Look for rows newer than the newest event: their event is missing."""
    traces = [
        (model._meta.verbose_name, name, at - later)
        for model, name, later in _TRACES
        if (at := model._default_manager.aggregate(at=Max(name))["at"]) and at > since
    ]
    # Read after these rows: an event that is added meanwhile does no harm.
    newest = _newest_time()
    for kind, name, at in traces:
        if at > newest:
            yield Finding(f"the newest events: removed, because the {name} of a {kind} is later")


def _newest_time() -> datetime:
    try:
        return AuditEvent.objects.filter(pk__gt=0).aggregate(at=Max("at"))["at"] or _EVER
    except UNREADABLE:
        return NEVER  # that is a finding of its own


# -- seals -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Pin:
    """What a redigest (of a release before 0.29) says of all seals before it.

    Whoever knows the former key could make these seals anew, and the events under them.
    """

    event_id: int
    digest: str

    def check(self, sealed: Content) -> Iterator[Finding]:
        if not _same(self.digest, sealed.digest()):
            yield Finding(f"seals before event {self.event_id}: not those of the redigest")


def _pins() -> dict[int, _Pin]:
    """Return the pins by the number of seals that they tell of."""
    events = AuditEvent.objects.led_by("kind", AuditEvent.Kind.KEYS).filter(outcome=REDIGESTED)
    found = {}
    for event in rows_of(events, "key_id", "digest", "previous"):
        seals, digest = event.data.get("seals"), event.data.get("sealed")
        # Redigests of releases before 0.13 tell nothing of them.
        if isinstance(seals, int) and isinstance(digest, str) and seals and event.is_proved():
            found[seals] = _Pin(event.pk, digest)
    return found


def _newest(pins: dict[int, _Pin]) -> int:
    return max((pin.event_id for pin in pins.values()), default=0)


def _check_seal(one: AuditSeal, next_id: int) -> Iterator[Finding]:
    if one.key_id and not keys.has_digest_key(one.key_id):
        yield Finding(f"seal over {_range(one)}: digest key {one.key_id!r} is not here", True)
    elif not one.key_id or not _same(one.proof, one.own_proof()):
        yield Finding(f"seal over {_range(one)}: it was changed or forged")
    if one.first_id > next_id:
        yield Finding(f"events {next_id} to {one.first_id - 1}: their seal was removed")
    if one.first_id < next_id:
        yield Finding(f"seal over {_range(one)}: it was added, others are there already")


def _difference(content: Content, one: AuditSeal) -> str:
    """What happened to the events since they were sealed, or nothing."""
    if content.count < one.count:
        return f"{one.count - content.count} missing"
    if content.count > one.count:
        return f"{content.count - one.count} added"
    return "" if _same(content.digest(), one.digest) else "not those that were sealed"


def _different(one: AuditSeal, difference: str) -> Iterator[Finding]:
    if difference:
        yield Finding(f"{_range(one)}: {difference}")


def _range(one: AuditSeal) -> str:
    return f"events {one.first_id} to {one.last_id}"


def _long(time: timedelta) -> str:
    return f"{time.days} days" if time > LATE else f"{time // timedelta(hours=1)} hours"


def _these(ids: Iterable[int]) -> str:
    first, *rest = ids
    return f"{1 + len(rest)} events {first} to {rest[-1]}" if rest else f"event {first}"


def _same(found: str, expected: str) -> bool:
    return hmac.compare_digest(str(found).encode(), expected.encode())
