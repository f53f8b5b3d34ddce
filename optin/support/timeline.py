"""What happened to one account, in one list: for "why did no text arrive?" (P-21).

Decisions with the rule that made them, texts, what gateways and carriers said of them,
codes entered, what staff did, mails. Newest first, a page at a time, with as many
queries for a thousand entries as for one; it reads and changes nothing.

A refused opt-in leaves no number, only its event: that is among them.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Coalesce

from optin import phones
from optin.audit import repeats
from optin.models import (
    AuditEvent,
    File,
    GatewayTry,
    Notice,
    ProviderUser,
    RefusalCount,
    SmsMessage,
    User,
)
from optin.models.audit import LAST
from optin.models.messages import State
from optin.models.refusal_counts import SEVERAL
from optin.origin import Face, network_of
from optin.support import messages, wording

NUMBERS_LOOKED_AT = 200
"""Events, newest first, whose numbers are those of the account, beside the stored ones."""

LOOKED_AT = 500
"""How many rows of each table are read for one page, at most: many may become one entry."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_POSITION = re.compile(r"([0-9]{1,17})-([0-5])-([0-9]{1,18})-([0-9]{1,18})", re.ASCII)

Kind = AuditEvent.Kind
M = TypeVar("M", bound=models.Model)


class What(StrEnum):
    """What an entry is about."""

    REQUEST = "request"  # of a text, and its decision
    CODE = "code"
    SIGN_IN = "sign_in"
    STAFF = "staff"
    ACCOUNT = "account"
    TEXT = "text"
    GATEWAY = "gateway"
    OUTCOME = "outcome"
    MAIL = "mail"


@dataclass(frozen=True, slots=True)
class Position:
    """Where in the list an entry stands: those after it are older.

    Events stand in the order of their ids, the order in which they were decided, which
    has an index; their times may differ from it a little. Other entries stand in the
    order of their times among them.
    """

    at: datetime
    rank: int  # of entries of one time: what follows from another one is newer
    pk: int
    event: int  # of the last event up to here, 0 for none

    def __str__(self) -> str:
        microseconds = (self.at - _EPOCH) // timedelta(microseconds=1)
        return f"{microseconds}-{self.rank}-{self.pk}-{self.event}"

    @classmethod
    def parse(cls, text: str) -> "Position | None":
        """Return the position that ``str`` wrote; nothing if *text* is none."""
        found = _POSITION.fullmatch(text)
        if found is None:
            return None
        at, rank, pk, event = map(int, found.groups())
        return cls(_EPOCH + timedelta(microseconds=at), rank, pk, event)


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened. What others wrote stands in ``quoted`` alone, as one line."""

    at: datetime
    what: What
    words: str
    details: tuple[str, ...]
    number: str  # "... 678", or ""
    who: str  # who did it, if it was somebody else than the person
    where: str
    quoted: str  # the reason of staff, or of a gateway
    bad: bool  # something was refused or failed
    position: Position

    @property
    def time(self) -> str:
        return wording.exact(self.at)

    @property
    def label(self) -> str:
        return _LABELS[self.what]


@dataclass(frozen=True, slots=True)
class Story:
    """One page of what happened."""

    entries: list[Entry]
    older: Position | None  # where the next page starts, if there is one


def timeline(user: User, *, before: Position | None = None, limit: int = 50) -> Story:
    """Return what happened to *user*, newest first, from below *before* if that is given.

    Equal refusals are one entry. So a page can have fewer than *limit* entries although there are
    older ones.
    """
    wanted = max(limit, LOOKED_AT)
    sources = [list(one) for one in (_events(user, before, wanted), *_others(user, before, wanted))]
    # If a source has more rows, entries older than its last row may be incomplete.
    ends = max((one[-1].key for one in sources if len(one) == wanted), default=None)
    found = [one for source in sources for one in source if ends is None or one.key >= ends]
    found.sort(key=lambda one: one.key, reverse=True)
    runs = repeats.in_runs(found, _alike, _is_noise, limit)
    taken = found[: sum(map(len, runs))]
    positions = _positions(taken, before)
    more = len(taken) < len(found) or ends is not None
    return Story(_in_words(runs, positions), positions[taken[-1].key] if more else None)


# -- reading -----------------------------------------------------------------------

_Key = tuple[datetime, int, int]
_EVENT, _MAIL, _TEXT, _TRY, _OUTCOME, _COUNT = range(6)
_EVENTS = {_EVENT, _COUNT}  # a count has no event yet, and is shown as one


@dataclass(frozen=True, slots=True)
class _Found:
    at: datetime  # by which it stands in the list
    rank: int
    row: Any

    @property
    def key(self) -> _Key:
        return self.at, self.rank, abs(self.row.pk)


def _events(user: User, before: Position | None, limit: int) -> Iterator[_Found]:
    """The events about *user*, those that concern them too, and those about their numbers.

    Apart, each by its index: one statement for all would read everything.
    """
    trail = AuditEvent.objects
    below = before.event if before and before.event else LAST
    of_numbers = trail.filter(
        pk__lt=below,
        user_id=None,
        number_digest__in=_numbers_of(user),
        kind__in=[Kind.DENY, Kind.SAFE, Kind.NO_TEXTS],
    ).order_by("-pk")
    sources = [trail.led_by(name, user.pk, below=below) for name in ("user_id", "other_user_id")]
    sources.append(of_numbers)
    events = {event.pk: event for source in sources for event in source[:limit]}
    at = before.at if before else None
    for pk in sorted(events, reverse=True)[:limit]:
        event = events[pk]
        # A later id never stands above: it was decided after.
        at = min(at, event.at) if at else event.at
        yield _Found(at, _EVENT, event)


def _numbers_of(user: User) -> set[str]:
    """The digests of the numbers of *user*, those that were refused at once too."""
    stored = ProviderUser.objects.filter(user=user).values_list("number_digest", flat=True)
    told = AuditEvent.objects.about(user).values_list("number_digest", flat=True)
    return {*stored, *told[:NUMBERS_LOOKED_AT]} - {""}


def _others(user: User, before: Position | None, limit: int) -> Iterator[Iterator[_Found]]:
    """The texts of *user*, what gateways and carriers said of them, and the mails."""
    codes = SmsMessage.objects.filter(pending_otp__provider_user__user=user).values("pk")
    own = codes.union(SmsMessage.objects.filter(replaced__user=user).values("pk"))
    texts = SmsMessage.objects.filter(pk__in=own).select_related(
        "pending_otp__provider_user", "replaced"
    )
    ended = texts.filter(state__in=[State.DELIVERED, State.FAILED, State.EXPIRED]).annotate(
        ended_at=Coalesce("delivered_at", "sent_at", "claimed_at", "created_at")
    )
    tries = GatewayTry.objects.filter(message__in=own)
    mails = Notice.objects.filter(user=user)
    yield _page(mails, _MAIL, "created_at", before, limit)
    yield _page(texts, _TEXT, "created_at", before, limit)
    yield _page(tries, _TRY, "at", before, limit)
    yield _page(ended, _OUTCOME, "ended_at", before, limit)
    counts = RefusalCount.objects.without_event(user)
    for one in _page(counts, _COUNT, "last_at", before, limit):
        yield iter([replace(one, row=repeats.as_event(one.row))])


def _page(
    rows: "models.QuerySet[M]", rank: int, clock: str, before: Position | None, limit: int
) -> Iterator[_Found]:
    """The newest *rows* by the time *clock* that stand after *before*."""
    if before:
        older = Q(**{f"{clock}__lt": before.at})
        if rank < before.rank:
            older |= Q(**{clock: before.at})
        elif rank == before.rank:
            older |= Q(**{clock: before.at, "pk__lt": before.pk})
        rows = rows.filter(older)
    for row in rows.order_by(f"-{clock}", "-pk")[:limit]:
        yield _Found(getattr(row, clock), rank, row)


# -- in words ----------------------------------------------------------------------


def _alike(found: _Found) -> tuple[object, ...]:
    """What the items of one entry have in common: for refusals, all but the single request.

    For noise the network, the face, the client, the number and the file may differ too, because
    a stranger can choose them.
    """
    event = found.row
    if found.rank not in _EVENTS or not (wording.is_refusal(event) or _is_noise(found)):
        return found.rank, event.pk
    chosen: tuple[object, ...] = ()
    if not _is_noise(found):
        network = network_of(event.ip or "", 24)
        chosen = event.face, network, event.client, event.number_digest, event.file_id
    rule = wording.rule_name(event.data), event.data.get("purpose")
    about = event.user_id, event.other_user_id, event.actor_id
    return event.kind, event.outcome, event.reason, rule, about, chosen


def _is_noise(found: _Found) -> bool:
    return found.rank in _EVENTS and repeats.may_come_from_anybody(found.row)


def _positions(found: Iterable[_Found], before: Position | None) -> dict[_Key, Position]:
    """Return the position of each of *found* by its key; they come after *before*."""
    last = before.event if before else 0
    positions = {}
    for one in found:
        if one.rank == _EVENT:
            last = one.row.pk
        positions[one.key] = Position(*one.key, last)
    return positions


def _in_words(runs: Sequence[Sequence[_Found]], positions: Mapping[_Key, Position]) -> list[Entry]:
    events = [one.row for run in runs for one in run if one.rank in _EVENTS]
    names, each = _names(events), repeats.spans(events)
    entries = []
    for run in runs:
        newest = run[0]
        entry = _WORDS[newest.rank](newest.row, names, positions[newest.key])
        if newest.rank in _EVENTS:
            told = [one.row for one in run]
            entry = _counted(entry, repeats.span_of(told, each), {one.face for one in told})
        entries.append(entry)
    return entries


def _counted(entry: Entry, span: repeats.Span, faces: set[str]) -> Entry:
    if span.count == 1:
        return entry
    networks = "from several networks" if span.network == SEVERAL else ""
    newest = f"the last event {entry.where}" if networks or len(faces) > 1 else entry.where
    first, last = wording.moment(span.first_at), wording.moment(span.last_at)
    return replace(
        entry,
        at=span.last_at,
        words=f"{entry.words}, {span.count} times",
        details=(f"the first time at {first}, the last time at {last}", *entry.details),
        where="; ".join(filter(None, [networks, newest])),
    )


@dataclass(frozen=True, slots=True)
class _Names:
    """Names of those whose ids events hold, looked up when shown."""

    users: Mapping[int, str]
    files: Mapping[int, str]


def _names(events: Iterable[AuditEvent]) -> _Names:
    events = list(events)
    users = {pk for one in events for pk in (one.actor_id, one.user_id, one.other_user_id) if pk}
    files = {one.file_id for one in events if one.file_id is not None}
    found = (
        User.objects.filter(pk__in=users).values_list("pk", "username"),
        File.objects.filter(pk__in=files).values_list("pk", "name"),
    )
    return _Names(*({pk: wording.plain(name) for pk, name in rows} for rows in found))


def _event(event: AuditEvent, names: _Names, position: Position) -> Entry:
    details = wording.reasons(event)
    if event.file_id is not None:
        name = names.files.get(event.file_id, "")
        details.append(f"file {event.file_id} {name}")
    if event.other_user_id:
        # Seen from either side, the other one.
        ids = {event.user_id, event.other_user_id}
        both = sorted(names.users.get(pk, str(pk)) for pk in ids if pk)
        details.append(f"concerns both accounts: {', '.join(both)}")
    return Entry(
        at=event.at,
        what=_what(event),
        words=wording.decided(event),
        details=tuple(details),
        number=phones.mask(event.last_three),
        who=_who(event, names),
        where=_where(event),
        quoted=wording.quoted(event.reason),
        bad=wording.is_refusal(event),
        position=position,
    )


def _what(event: AuditEvent) -> What:
    if event.reason or event.kind in {Kind.DENY, Kind.SAFE}:
        return What.STAFF
    return _WHAT.get(event.kind, What.ACCOUNT)


_WHAT: dict[str, What] = {
    Kind.OPT_IN: What.REQUEST,
    Kind.CHALLENGE: What.REQUEST,
    Kind.VERIFY_OPT_IN: What.CODE,
    Kind.CHECK: What.CODE,
    Kind.OPT_OUT: What.CODE,
    Kind.SIGN_IN: What.SIGN_IN,
    Kind.REFRESH: What.SIGN_IN,
    Kind.TOKEN: What.SIGN_IN,
}


def _who(event: AuditEvent, names: _Names) -> str:
    if event.actor_id and event.actor_id != event.user_id:
        return names.users.get(event.actor_id, str(event.actor_id))
    if event.face == Face.COMMAND:
        return "those who run the service"
    return ""


def _where(event: AuditEvent) -> str:
    """Say through which face and from where; the id leads to the lines of the log."""
    kind, _colon, pk = event.client.partition(":")
    request_id = wording.plain(event.request_id)
    client = f"{_CLIENTS[kind]} {wording.plain(pk)}" if kind in _CLIENTS else ""
    return ", ".join(
        filter(
            None,
            [
                _FACES[Face(event.face)] if event.face in _FACES else "",
                client,
                f"from {event.ip}" if event.ip else "",
                wording.plain(event.user_agent),
                f"request {request_id}" if request_id else "",
            ],
        )
    )


_FACES = {
    Face.API: "through the API",
    Face.TOKEN: "through a token call",
    Face.WEB: "on a page",
    Face.ADMIN: "in the admin",
    Face.COMMAND: "by a command",
}
_CLIENTS = {
    "key": "access key",
    "app": "application",
    "gateway": "gateway",
}


def _text(message: SmsMessage, names: _Names, position: Position) -> Entry:
    waits = message.state in {State.QUEUED, State.SENDING} and message.reason
    return Entry(
        at=message.created_at,
        what=What.TEXT,
        words=messages.text(message),
        details=tuple(messages.code_of(message.pending_otp)),
        number=message.provider_user.masked_number,
        who="",
        where="",
        quoted=messages.why(message.reason) if waits else "",
        bad=bool(waits) or message.state == State.WITHHELD,
        position=position,
    )


def _try(made: GatewayTry, names: _Names, position: Position) -> Entry:
    taken = made.fate == "accepted"
    theirs = wording.plain(made.gateway_message_id)
    return Entry(
        at=made.at,
        what=What.GATEWAY,
        words=messages.given(made),
        details=(f"its id of the text is {theirs}",) if theirs else (),
        number="",
        who="",
        where="",
        quoted=messages.why(made.reason),
        bad=not taken,
        position=position,
    )


def _outcome(message: Any, names: _Names, position: Position) -> Entry:
    failed = message.state != State.DELIVERED
    return Entry(
        at=message.ended_at,
        what=What.OUTCOME,
        words=messages.outcome(message),
        details=(),
        number=message.provider_user.masked_number,
        who="",
        where="",
        quoted=messages.why(message.reason) if failed else "",
        bad=failed,
        position=position,
    )


def _mail(notice: Notice, names: _Names, position: Position) -> Entry:
    return Entry(
        at=notice.created_at,
        what=What.MAIL,
        words=messages.mail(notice),
        details=(),
        number=phones.mask(notice.last_three),
        who="",
        where="",
        quoted=messages.why(notice.reason),
        bad=notice.state == State.FAILED,
        position=position,
    )


_WORDS: dict[int, Callable[[Any, _Names, Position], Entry]] = {
    _EVENT: _event,
    _MAIL: _mail,
    _TEXT: _text,
    _TRY: _try,
    _OUTCOME: _outcome,
    _COUNT: _event,
}
_LABELS = {
    What.REQUEST: "Request",
    What.CODE: "Code",
    What.SIGN_IN: "Sign-in",
    What.STAFF: "Staff",
    What.ACCOUNT: "Account",
    What.TEXT: "Text message",
    What.GATEWAY: "Gateway",
    What.OUTCOME: "Outcome",
    What.MAIL: "E-mail",
}
