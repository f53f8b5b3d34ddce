"""What happened to an account, in words for the person whose it is (P-09)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from django.utils.translation import gettext as _

from optin.audit import repeats
from optin.events import words_of
from optin.models import AuditEvent, Passkey
from optin.models.refusal_counts import SEVERAL
from optin.origin import Face, browser, network_of
from optin.outcomes import By, CodeOutcome, SignInOutcome
from optin.phones import mask
from optin.support.wording import PROVED_BY, purpose_of, says_all
from optin.web.words import ago, day, moment

Kind = AuditEvent.Kind


@dataclass(frozen=True, slots=True)
class Told:
    """One event in words."""

    at: datetime  # of the last, if it happened several times
    what: str
    where: str  # "from 203.0.113.5, Chrome on Android"
    since: str = ""  # when it happened first, if several times
    is_security: bool = False  # whether it must not be overlooked

    @property
    def day(self) -> str:
        return day(self.at)

    @property
    def ago(self) -> str:
        return ago(self.at)


def lines(events: Sequence[AuditEvent], limit: int) -> tuple[list[Told], int]:
    """Put *events*, newest first, into words for the person whom they are about (P-09).

    Repeated events are one line: what anybody can cause whatever the network, others by network.

    :returns: *limit* lines at most, and how many of the events they cover.
    """
    each, names = repeats.spans(events), _names_of_passkeys(events)
    alike = partial(_alike, names=names)
    runs = repeats.in_runs(events, alike, repeats.may_come_from_anybody, limit)
    found = [_line(run, repeats.span_of(run, each), names) for run in runs]
    return found, sum(map(len, runs))


Names = Mapping[int | None, str]
"""What people call their passkeys, by id. The trail does not keep the names."""


def _names_of_passkeys(events: Sequence[AuditEvent]) -> Names:
    """Return the names of the passkeys that *events* tell of, and that were not removed since."""
    ids = {event.data["passkey"]: event.user_id for event in events if _is_of_passkey(event)}
    if not ids:
        return {}
    theirs = Passkey.objects.filter(pk__in=ids, user__in={*ids.values()})
    return dict(theirs.values_list("pk", "name"))


def _is_of_passkey(event: AuditEvent) -> bool:
    return event.kind == Kind.PASSKEY and "passkey" in event.data


def _alike(event: AuditEvent, names: Names) -> tuple[str, ...]:
    """The key by which events become one line.

    Of those that strangers can cause, the words alone, and for failed sign-ins not even these: a
    stranger has any number of networks, and must not fill the page by different ways.
    """
    if not repeats.may_come_from_anybody(event):
        network = network_of(event.ip or "", 24)
        return event.kind, event.outcome, event.face, network, _what(event, names)
    if event.kind == Kind.SIGN_IN and event.outcome in _NO_ENTRY:
        return (event.kind,)
    return event.kind, _short(event)


_NO_ENTRY = {SignInOutcome.INVALID_GRANT, SignInOutcome.NOT_NOW}


def _line(run: list[AuditEvent], span: repeats.Span, names: Names) -> Told:
    is_one = len({(event.last_three, _short(event)) for event in run}) == 1
    if span.count > 1 and run[0].kind in _OF_ANY_FACTOR and run[0].outcome != CodeOutcome.OK:
        is_one = False  # they are counted together, whichever factor each was for
    what = _what(run[0], names) if is_one else "; ".join(dict.fromkeys(map(_short, run)))
    row = words_of(run[0].kind, run[0].outcome, run[0].data)
    return told(what, _where(run, span), span, is_security=row.is_security)


_OF_ANY_FACTOR = {Kind.CHECK, Kind.OPT_OUT}


def told(what: str, where: str, span: repeats.Span, *, is_security: bool = False) -> Told:
    """Say what happened as often, and when, as *span* has it."""
    if span.count == 1:
        return Told(span.last_at, what, where, is_security=is_security)
    what = _("%(what)s, %(n)s times") % {"what": what, "n": span.count}
    first = _("the first time: %(time)s") % {"time": moment(span.first_at)}
    return Told(span.last_at, what, where, first, is_security)


def _what(event: AuditEvent, names: Names) -> str:
    by, said = event.data.get("by", ""), _short(event)
    if by in {By.APP, By.PASSKEY, By.RECOVERY}:  # then it was not the number that was verified
        return said if says_all(event) else f"{said}, {_(PROVED_BY[by])}"
    if _is_of_passkey(event) and (name := names.get(event.data["passkey"])):
        return f"{said}: {name}"
    if event.last_three and event.kind != Kind.DISOWN:
        return f"{said} ({mask(event.last_three)})"
    return said


def _short(event: AuditEvent) -> str:
    purpose = purpose_of(event)
    return ", ".join(filter(None, [_said(event), _(purpose) if purpose else ""]))


def _said(event: AuditEvent) -> str:
    # For a withheld text, the words that the person was told.
    outcome = event.data.get("told", event.outcome)
    words = words_of(event.kind, outcome, event.data).owner
    return _(words) if words else event.get_kind_display()


def _where(run: list[AuditEvent], span: repeats.Span) -> str:
    """Say from where all of *run* came, and through what, as far as that is one."""
    newest, programs = run[0], {_program(event) for event in run}
    if all(event.face == Face.COMMAND for event in run):
        return _("by an administrator")
    if span.network == SEVERAL:
        place = _("from several networks")
    else:
        place = _("from %(ip)s") % {"ip": newest.ip} if newest.ip else ""
    return ", ".join(filter(None, [place, programs.pop() if len(programs) == 1 else ""]))


def _program(event: AuditEvent) -> str:
    if event.face in {Face.API, Face.TOKEN}:
        return _("through an app")
    return browser(event.user_agent)
