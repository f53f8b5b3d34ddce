"""The entries of the timeline: one thing that happened to an account, in words for staff."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from oauth2_provider.models import get_application_model

from optin import phones
from optin.audit import repeats
from optin.audit.reading import count_in
from optin.models import AuditEvent, File, GatewayTry, Notice, Purpose, SmsMessage, User
from optin.models.messages import State
from optin.models.refusal_counts import SEVERAL
from optin.origin import Face, browser
from optin.support import messages, wording

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_POSITION = re.compile(r"([0-9]{1,17})-([0-3])-([0-9]{1,18})-([0-9]{1,18})", re.ASCII)

Kind = AuditEvent.Kind


class What(StrEnum):
    """What an entry is about."""

    REQUEST = "request"  # of a text, and its decision
    CODE = "code"
    SIGN_IN = "sign_in"
    STAFF = "staff"
    ACCOUNT = "account"
    TEXT = "text"
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
    position: Position
    details: tuple[str, ...] = ()
    number: str = ""  # "•••678"
    who: str = ""  # who did it, if it was somebody else than the person
    where: str = ""
    application: int | None = None  # that asked, if it is still there
    quoted: str = ""  # the reason of staff, or of a gateway
    bad: bool = False  # something was refused or failed
    steps: tuple[str, ...] = ()  # of a text, oldest first
    raw: tuple[str, ...] = ()  # as the browser and the log write it

    @property
    def time(self) -> str:
        return wording.exact(self.at)

    @property
    def label(self) -> str:
        return _LABELS[self.what]


@dataclass(frozen=True, slots=True)
class Names:
    """Names of those whose ids events hold, looked up when shown."""

    users: Mapping[int, str]
    files: Mapping[int, str]
    applications: Mapping[int, str]


def application_of(event: AuditEvent) -> int | None:
    """Return the id of the application that asked, if one did."""
    kind, _colon, pk = event.client.partition(":")
    return int(pk) if kind == "app" and pk.isdecimal() and len(pk) < 19 else None


def application_in(event: AuditEvent) -> int:
    """Return the id of the application that *event* is about; 0 if it is about none."""
    return count_in(event.data, "application") if event.kind == Kind.APPLICATION else 0


def application_names(ids: Iterable[int | None]) -> dict[int, str]:
    """Return the names of those applications that there still are."""
    found = get_application_model().objects.filter(
        pk__in={pk for pk in ids if pk and 0 < pk < 10**18}
    )
    return {pk: wording.plain(name) for pk, name in found.values_list("pk", "name") if name}


def names_of(events: Iterable[AuditEvent]) -> Names:
    events = list(events)
    users = {pk for one in events for pk in (one.actor_id, one.user_id, one.other_user_id) if pk}
    files = {one.file_id for one in events if one.file_id is not None}
    found = (
        User.objects.filter(pk__in=users).values_list("pk", "username"),
        File.objects.filter(pk__in=files).values_list("pk", "name"),
    )
    by_user, by_file = ({pk: wording.plain(name) for pk, name in rows} for rows in found)
    asked = (pk for one in events for pk in (application_of(one), application_in(one)))
    return Names(by_user, by_file, application_names(asked))


def of_event(event: AuditEvent, names: Names, position: Position) -> Entry:
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
        what=what_of(event),
        words=wording.decided(event),
        details=tuple(details),
        number=phones.mask(event.last_three),
        who=_who(event, names),
        where=_where(event, names),
        application=application_of(event) if application_of(event) in names.applications else None,
        quoted=wording.quoted(event.reason),
        bad=wording.is_refusal(event),
        raw=_raw(event),
        position=position,
    )


def what_of(event: AuditEvent) -> What:
    # An application has a reason, too, for what an identity provider does by SCIM.
    is_of_staff = event.reason and application_of(event) is None
    if is_of_staff or event.kind in {Kind.DENY, Kind.SAFE}:
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


def _who(event: AuditEvent, names: Names) -> str:
    if event.actor_id and event.actor_id != event.user_id:
        return names.users.get(event.actor_id, str(event.actor_id))
    if event.face == Face.COMMAND:
        return "operators"
    return ""


def _where(event: AuditEvent, names: Names) -> str:
    """Say through which face and from where."""
    kind, _colon, pk = event.client.partition(":")
    name = names.applications.get(application_of(event) or 0) or wording.plain(pk)
    client = f"{_CLIENTS[kind]} {name}" if kind in _CLIENTS else ""
    address = f"from {event.ip}" if event.ip else ""
    parts = [_FACES.get(event.face, ""), client, address, browser(event.user_agent)]
    return ", ".join(filter(None, parts))


def _raw(event: AuditEvent) -> tuple[str, ...]:
    """The browser as it calls itself, and the id that leads to the lines of the log."""
    found = {"User agent": event.user_agent, "Request": event.request_id}
    said = {name: wording.plain(text) for name, text in found.items()}
    return tuple(f"{name}: {text}" for name, text in said.items() if text)


_FACES: dict[str, str] = {
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


@dataclass(frozen=True, slots=True)
class Sent:
    """A text with what led to it and what came of it."""

    message: SmsMessage
    request: AuditEvent | None  # that was granted
    tries: tuple[GatewayTry, ...]  # oldest first


def of_texts(alike: Sequence[Sent], names: Names, position: Position) -> Entry:
    """Return the entry of texts that are alike, newest first: most often, of one."""
    message, request = alike[0].message, alike[0].request
    waits = message.state in {State.QUEUED, State.SENDING} and message.reason
    bad = bool(waits) or message.state in {State.FAILED, State.EXPIRED, State.WITHHELD}
    tries = [made for sent in alike for made in sent.tries]
    theirs = [made.gateway_message_id for made in tries if made.gateway_message_id]
    return Entry(
        at=message.created_at,
        what=What.TEXT,
        words=messages.text(message, is_one=len(alike) == 1),
        details=tuple(_reference(message)),
        who=_who(request, names) if request else "",
        where=_where(request, names) if request else "",
        quoted=messages.why(message.reason) if bad else "",
        bad=bad,
        steps=tuple(step for sent in reversed(alike) for step in _steps(sent, names, position)),
        raw=(
            *(f"Id of the text there: {wording.plain(one)}" for one in theirs),
            *(_raw(request) if request else ()),
        ),
        position=position,
    )


def _reference(message: SmsMessage) -> tuple[str, ...]:
    """The client's present reference for the number. It is not in the trail: it can be erased."""
    code = message.pending_otp
    if code is None or code.purpose != Purpose.OPT_IN or not code.provider_user.client_reference:
        return ()
    return (f"Client-Reference: {code.provider_user.client_reference}",)


def _steps(sent: Sent, names: Names, position: Position) -> Iterator[str]:
    message = sent.message
    if sent.request:
        asked = of_event(sent.request, names, position)
        yield _step(asked.at, asked.words, *asked.details)
    for made in sent.tries:
        yield _step(made.at, messages.given(made), messages.why(made.reason))
    if said := messages.outcome(message):
        ended = message.delivered_at or message.sent_at or message.claimed_at or message.created_at
        failed = message.state != State.DELIVERED
        yield _step(ended, said, messages.why(message.reason) if failed else "")
    yield from messages.code_of(message.pending_otp)


def _step(at: datetime, *said: str) -> str:
    return f"{wording.exact(at)}: {'; '.join(filter(None, said))}"


def of_mail(notice: Notice, names: Names, position: Position) -> Entry:
    return Entry(
        at=notice.created_at,
        what=What.MAIL,
        words=messages.mail(notice),
        number=phones.mask(notice.last_three),
        quoted=messages.why(notice.reason),
        bad=notice.state == State.FAILED,
        position=position,
    )


_LABELS = {
    What.REQUEST: "Text message",
    What.CODE: "Code",
    What.SIGN_IN: "Sign-in",
    What.STAFF: "Staff",
    What.ACCOUNT: "Account",
    What.TEXT: "Text message",
    What.MAIL: "Email",
}


def counted(entry: Entry, span: repeats.Span, faces: set[str]) -> Entry:
    """Return *entry* as the newest of several that are alike."""
    if span.count == 1:
        return entry
    networks = "from several networks" if span.network == SEVERAL else ""
    newest = f"the last event {entry.where}" if networks or len(faces) > 1 else entry.where
    return replace(
        entry,
        at=span.last_at,
        words=f"{entry.words}, {span.count} times {wording.between(span.first_at, span.last_at)}",
        where="; ".join(filter(None, [networks, newest])),
    )
