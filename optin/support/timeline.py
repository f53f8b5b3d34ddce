"""What happened to one account, in one list: for "why did no text arrive?" (P-21).

Decisions with the rule that made them, texts, codes entered, what staff did, mails. A text is one
entry, from its request to the receipt of its carrier. Newest first, a page at a time, with as many
queries for a thousand entries as for one; it reads and changes nothing.

A refused opt-in stores no number. Its audit event is in the list all the same.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from django.db import models
from django.db.models import Q

from optin.audit import repeats
from optin.models import (
    AuditEvent,
    GatewayTry,
    Notice,
    PendingOtp,
    ProviderUser,
    RefusalCount,
    SmsMessage,
    User,
)
from optin.models.audit import LAST
from optin.models.refusal_counts import SEVERAL, network
from optin.origin import network_of
from optin.outcomes import CodeOutcome
from optin.support import entries, messages, wording
from optin.support.entries import Entry, Position, What

NUMBERS_LOOKED_AT = 200
"""Events, newest first, whose numbers are those of the account, beside the stored ones."""

LOOKED_AT = 500
"""How many rows of each table are read for one page, at most: many may become one entry."""


@dataclass(frozen=True, slots=True)
class Group:
    """Entries that are looked for together."""

    words: str
    what: frozenset[What]


GROUPS: dict[str, Group] = {
    "texts": Group("Text messages", frozenset({What.REQUEST, What.TEXT})),
    "codes": Group("Codes", frozenset({What.CODE})),
    "sign-in": Group("Sign-in", frozenset({What.SIGN_IN, What.CODE})),
    "account": Group("Account", frozenset({What.ACCOUNT})),
    "staff": Group("Staff", frozenset({What.STAFF})),
    "mails": Group("Emails", frozenset({What.MAIL})),
}

Kind = AuditEvent.Kind
M = TypeVar("M", bound=models.Model)


@dataclass(frozen=True, slots=True)
class Story:
    """One page of what happened."""

    entries: list[Entry]
    older: Position | None  # where the next page starts, if there is one


def timeline(
    user: User,
    *,
    before: Position | None = None,
    limit: int = 50,
    only: frozenset[What] | None = None,
) -> Story:
    """Return what happened to *user*, newest first, from below *before* if that is given.

    Equal refusals are one entry, and of *only* some kinds there may be none among the rows that
    are read. So a page can have fewer than *limit* entries although there are older ones.
    """
    wanted = max(limit, LOOKED_AT)
    sources = [list(one) for one in (_events(user, before, wanted), *_others(user, before, wanted))]
    # If a source has more rows, entries older than its last row may be incomplete.
    ends = max((one[-1].key for one in sources if len(one) == wanted), default=None)
    found = [one for source in sources for one in source if ends is None or one.key >= ends]
    found.sort(key=lambda one: one.key, reverse=True)
    requests = _requests(sources, before)
    told = {event.pk for event in requests.values()}
    wanted_ones = [
        one
        for one in found
        if (only is None or _what(one) in only) and not (one.rank == _EVENT and one.row.pk in told)
    ]
    runs = repeats.in_runs(wanted_ones, _alike, _goes_on, limit)
    taken = sum(map(len, runs))
    is_cut = taken < len(wanted_ones)
    last = wanted_ones[taken - 1] if is_cut else found[-1] if found else None
    positions = _positions(found, before)
    older = positions[last.key] if last and (is_cut or ends is not None) else None
    return Story(_in_words(runs, positions, requests), older)


# -- reading -----------------------------------------------------------------------

_Key = tuple[datetime, int, int]
_EVENT, _MAIL, _TEXT, _COUNT = range(4)
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
    """The texts of *user*, the mails, and refusals that were only counted."""
    codes = SmsMessage.objects.filter(pending_otp__provider_user__user=user).values("pk")
    own = codes.union(SmsMessage.objects.filter(news_to__user=user).values("pk"))
    texts = SmsMessage.objects.filter(pk__in=own).select_related(
        "pending_otp__provider_user", "news_to"
    )
    mails = Notice.objects.filter(user=user)
    yield _page(mails, _MAIL, "created_at", before, limit)
    yield _page(texts, _TEXT, "created_at", before, limit)
    counts = RefusalCount.objects.without_event(user)
    found = _page(counts, _COUNT, "last_at", before, limit)
    yield (replace(one, row=repeats.as_event(one.row)) for one in found)


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


def _requests(
    sources: Iterable[Iterable[_Found]], before: Position | None
) -> dict[int, AuditEvent]:
    """The granted requests whose texts have an entry that tells of them, by the id of the text."""
    rows = [one for source in sources for one in source]
    asked = {
        one.row.data["message"]: one.row
        for one in rows
        if one.rank == _EVENT and _what(one) is What.REQUEST and "message" in one.row.data
        if not wording.is_refusal(one.row)
    }
    texts = {one.row.pk for one in rows if one.rank == _TEXT}
    if before:
        # A text stands above its request: it may be the last entry of the page before.
        there = [pk for pk, event in asked.items() if pk not in texts and event.at >= before.at]
        texts |= set(SmsMessage.objects.filter(pk__in=there).values_list("pk", flat=True))
    return {pk: event for pk, event in asked.items() if pk in texts}


# -- in words ----------------------------------------------------------------------


def _alike(found: _Found) -> tuple[object, ...]:
    """The key by which items become one entry: for refusals, all but the single request.

    For noise the network, the face, the client, the number and the file may differ too, because
    a stranger can choose them.
    """
    event = found.row
    if _is_of_guesses(found) and found.rank == _TEXT:
        return _TEXT, event.provider_user.pk, messages.text(event, is_one=False), event.reason
    if _is_of_guesses(found) and found.rank == _MAIL:
        return _MAIL, event.kind, event.state, event.reason
    if found.rank not in _EVENTS or not (wording.is_refusal(event) or _goes_on(found)):
        return found.rank, event.pk
    chosen: tuple[object, ...] = ()
    if not _is_noise(found):
        network = network_of(event.ip or "", 24)
        chosen = event.face, network, event.client, event.number_digest, event.file_id
    rule = wording.rule_name(event.data), event.data.get("purpose")
    about = event.user_id, event.other_user_id, event.actor_id
    return event.kind, event.outcome, event.reason, rule, about, chosen


def _what(found: _Found) -> What:
    return entries.what_of(found.row) if found.rank in _EVENTS else _WHAT[found.rank]


_WHAT = {_MAIL: What.MAIL, _TEXT: What.TEXT}


def _is_noise(found: _Found) -> bool:
    return found.rank in _EVENTS and repeats.may_come_from_anybody(found.row)


def _goes_on(found: _Found) -> bool:
    """Whether what was going on before goes on after it."""
    return _is_noise(found) or _is_of_guesses(found)


def _is_of_guesses(found: _Found) -> bool:
    """Whether it is part of guessing codes, which a right code ends.

    A wrong code, the request for the next one, its text, and the mails that codes are refused.
    """
    row = found.row
    if found.rank == _MAIL:
        return row.kind in _MAILS_OF_GUESSES
    if found.rank == _TEXT:
        code = row.pending_otp
        return bool(code and code.tries and code.closed_as != PendingOtp.Closed.VERIFIED)
    return row.outcome == CodeOutcome.OTP_INCORRECT or (
        row.kind == Kind.CHALLENGE and not wording.is_refusal(row)
    )


_MAILS_OF_GUESSES = {
    *(Notice.Kind.LOCKED, Notice.Kind.DISABLED),
    *(Notice.Kind.PROGRAMS_LOCKED, Notice.Kind.PROGRAMS_OFF),
}


def _positions(found: Iterable[_Found], before: Position | None) -> dict[_Key, Position]:
    """Return the position of each of *found* by its key; they come after *before*."""
    last = before.event if before else 0
    positions = {}
    for one in found:
        if one.rank == _EVENT:
            last = one.row.pk
        positions[one.key] = Position(*one.key, last)
    return positions


def _in_words(
    runs: Sequence[Sequence[_Found]],
    positions: Mapping[_Key, Position],
    requests: Mapping[int, AuditEvent],
) -> list[Entry]:
    events = [one.row for run in runs for one in run if one.rank in _EVENTS]
    texts = _sent([one.row for run in runs for one in run if one.rank == _TEXT], requests)
    asked = [sent.request for sent in texts.values() if sent.request]
    names, each = entries.names_of([*events, *asked]), repeats.spans(events)
    told = []
    for run in runs:
        newest, rows = run[0], [one.row for one in run]
        if newest.rank == _TEXT:
            row: Any = [texts[text.pk] for text in rows]
        else:
            row = newest.row
        entry = _WORDS[newest.rank](row, names, positions[newest.key])
        if newest.rank in _EVENTS:
            span, faces = repeats.span_of(rows, each), {event.face for event in rows}
            entry = entries.counted(entry, span, faces)
        elif len(run) > 1:
            entry = entries.counted(entry, _span(run, texts), set())
        told.append(entry)
    return told


def _span(run: Sequence[_Found], texts: Mapping[int, entries.Sent]) -> repeats.Span:
    """Return how many texts or mails *run* is, when they were, and from where they were asked."""
    asked = [texts[one.row.pk].request for one in run if one.rank == _TEXT]
    places = {network(event.ip or "") for event in asked if event} or {""}
    place = places.pop() if len(places) == 1 else SEVERAL
    return repeats.Span(len(run), run[-1].at, run[0].at, place)


def _sent(
    texts: Iterable[SmsMessage], requests: Mapping[int, AuditEvent]
) -> dict[int, entries.Sent]:
    """Return each of *texts* with its request and what gateways said of it, by its id."""
    tries: dict[int, list[GatewayTry]] = {text.pk: [] for text in texts}
    for made in GatewayTry.objects.filter(message__in=tries).order_by("pk"):
        tries[made.message_id].append(made)
    return {
        text.pk: entries.Sent(text, requests.get(text.pk), tuple(tries[text.pk])) for text in texts
    }


_WORDS: dict[int, Callable[[Any, entries.Names, Position], Entry]] = {
    _EVENT: entries.of_event,
    _MAIL: entries.of_mail,
    _TEXT: entries.of_texts,
    _COUNT: entries.of_event,
}
