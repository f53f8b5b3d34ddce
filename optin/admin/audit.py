"""The audit log: filtered, exported, never changed (P-22)."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from itertools import chain
from typing import Any, ClassVar

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.views.decorators.http import require_POST

from optin.admin.actions import origin_of
from optin.admin.rows import (
    Choice,
    Pages,
    ReadOnlyAdmin,
    Typed,
    account_link,
    at,
    by_id,
    choice,
    masked,
    number,
    reason,
    text,
    when,
)
from optin.admin.site import site
from optin.admin.times import times
from optin.audit import repeats
from optin.audit.reading import count_in, time_in
from optin.audit.repeats import Span
from optin.audit.search import RANGE, batches, within
from optin.events import OTHERS, labels
from optin.models import AuditEvent
from optin.operations import staff
from optin.origin import Face
from optin.support import wording
from optin.support.cells import cell, lines
from optin.support.entries import application_in, application_of, names_of
from optin.support.wording import plain

_BATCH = 2000
_KNOWN = 5000
"""Cells that an export remembers, because many events have the same ones."""
_OF_REPEATS = frozenset({"since", "until", "repeated", "alone"})
_JSON = json.JSONEncoder(sort_keys=True)


class Day(Typed):
    input_type = "date"

    def read(self, asked: str) -> datetime | None:
        try:
            day = date.fromisoformat(asked)
        except ValueError:
            return None
        # There must be time before and after it.
        if not date.min.year < day.year < date.max.year:
            return None
        return timezone.make_aware(datetime.combine(day, time.min))

    def narrow(self, queryset: models.QuerySet[Any], value: datetime) -> models.QuerySet[Any]:
        return queryset  # see Log


class From(Day):
    title, parameter_name = "first day", "from"


class Until(Day):
    title, parameter_name = "last day", "until"


class Outcome(Typed):
    title = parameter_name = "outcome"

    def read(self, asked: str) -> str | None:
        return asked if asked.isprintable() else None


def _options(kind: AuditEvent.Kind) -> Iterator[tuple[str, tuple[str, Q]]]:
    """Yield the filters for *kind*, each by its value, with its words: all, and each label."""
    by_label = labels(kind)
    if len(by_label) == 1:
        yield kind.value, (kind.label, Q(kind=kind.value))
        return
    yield kind.value, (f"{kind.label} (all)", Q(kind=kind.value))
    named = set(chain(*by_label.values()))
    for label, outcomes in by_label.items():
        if label:
            name = "others" if OTHERS in outcomes else outcomes[0]
            yield f"{kind}:{name}", (label, _filter_for(kind, outcomes, named))


def _filter_for(kind: AuditEvent.Kind, outcomes: Sequence[str], named: set[str]) -> Q:
    """Return the filter for *outcomes*, where ``OTHERS`` stands for all that are not *named*."""
    if OTHERS in outcomes:
        return Q(kind=kind.value) & ~Q(outcome__in=sorted(named.difference(outcomes)))
    return Q(kind=kind.value, outcome__in=outcomes)


class Happened(Choice):
    """A filter by the label of events, or by their kind."""

    title, parameter_name = "what happened", "kind"
    groups: ClassVar = {kind.label: dict(_options(kind)) for kind in AuditEvent.Kind}
    choices_of = tuple(
        (title, [(value, words) for value, (words, _) in options.items()])
        for title, options in groups.items()
    )
    options: ClassVar = dict(chain.from_iterable(each.items() for each in groups.values()))

    @property
    def said(self) -> str:
        return str(self.options[self.asked][0] if self.wanted() else plain(self.asked))

    def read(self, asked: str) -> Q | None:  # type: ignore[override]
        return self.options[asked][1] if asked in self.options else None

    def narrow(self, queryset: models.QuerySet[Any], value: Q) -> models.QuerySet[Any]:
        return queryset.filter(value)


SAVED = {
    "By staff": "?face=admin",
    "By command": "?face=command",
    "Texts refused by a limit": "?outcome=send_limit",
    "Texts withheld": "?outcome=withheld",
    "Refused by a lock": "?outcome=locked",
    "Numbers of two accounts": "?outcome=mobile_number_in_use",
    "Numbers seen in full": "?kind=reveal",
    "Numbers searched": "?kind=search",
    "Exports": "?kind=export",
}
"""Filters that are often asked for, as links."""

ABOUT = ("kind", "outcome", "face", "user_id", "file_id", "from", "until")


class Log(Pages):
    """The list of events: of 90 days, or of those that staff name."""

    looked_back_to = ""
    earlier = ""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> Any:
        events = super().get_queryset(request, exclude_parameters)
        specs: list[Any] = self.filter_specs
        asked = {spec.parameter_name: spec.wanted() for spec in specs}
        first, last = asked["from"], asked["until"]
        if first is None:
            day = timezone.localdate(last or timezone.now()) - RANGE
            first = timezone.make_aware(datetime.combine(day, time.min))
            earlier = AuditEvent.objects.filter(at__lt=first).order_by("at", "pk")
            if earlier.values_list("pk").first():
                self.looked_back_to = at(first)
                self.earlier = self.get_query_string({"until": str(day - timedelta(days=1))})
        return within(events, first, last + timedelta(days=1) if last else None)


_THROUGH = text("face", "through", says=lambda face: str(Face(face).label))


@admin.register(AuditEvent, site=site)
class AuditEventAdmin(ReadOnlyAdmin):
    change_list_template = "admin/events.html"
    list_display = (
        when("at"),
        "happened",
        "about",
        "asked",
        _THROUGH,
        reason(),
        number,
        "file",
    )
    nothing = "No event yet. Each decision of the service is kept here, with who asked for it."
    list_filter = (
        Happened,
        Outcome,
        choice("face", Face.choices, "through"),
        by_id("user_id", "account id"),
        by_id("file_id", "file id"),
        From,
        Until,
    )
    shown = (
        when("at"),
        "happened",
        text("outcome"),
        "facts",
        reason(),
        "about",
        "other",
        number,
        "file",
        "provider_user_id",
        _THROUGH,
        "actor",
        "client_name",
        text("ip", "IP address"),
        text("user_agent"),
        text("request_id"),
    )

    @admin.display(description="what happened")
    def happened(self, event: Any) -> str:
        count = self._span(event).count
        said = wording.decided(event)
        if pk := application_in(event):
            said += f": {event.names.applications.get(pk, f'application {pk}')}"
        return said + (f", {count} times" if count > 1 else "")

    @admin.display(description="account")
    def about(self, event: AuditEvent) -> str:
        return account_link(event.user_id, self._name(event, event.user_id))

    @admin.display(description="second account")
    def other(self, event: AuditEvent) -> str:
        return account_link(event.other_user_id, self._name(event, event.other_user_id))

    @admin.display(description="by")
    def actor(self, event: AuditEvent) -> str:
        return account_link(event.actor_id, self._name(event, event.actor_id))

    @admin.display(description="by")
    def asked(self, event: AuditEvent) -> str:
        """Who asked, a member of staff or an application: in one column, for lists."""
        is_application = event.actor_id is None and application_of(event)
        return self.client_name(event) if is_application else self.actor(event)

    @admin.display(description="client")
    def client_name(self, event: Any) -> str:
        pk, client = application_of(event), plain(event.client) or "-"
        name = event.names.applications.get(pk)
        if name is None:
            return client
        address = reverse("admin:oauth2_provider_application_change", args=[pk])
        return format_html('<a href="{}">{}</a>', address, name)

    @admin.display(description="file")
    def file(self, event: Any) -> str:
        if event.file_id is None:
            return "-"
        return f"{event.names.files.get(event.file_id, '')} ({event.file_id})".strip()

    @admin.display(description="facts")
    def facts(self, event: AuditEvent) -> str:
        data, several = _facts(event)
        span = self._span(event)
        if span.count > 1 and not several:
            several = f"{span.count} times by now, the last time at {at(span.last_at)}"
        told = [f"{k}: {masked(v)}" for k, v in data.items()]
        return times(", ".join(filter(None, [*told, several])) or "-")

    def _span(self, event: Any) -> Span:
        """Return how many equal refusals *event* tells of by now."""
        return event.spans[event.pk]  # type: ignore[no-any-return]

    def _name(self, event: Any, user_id: int | None) -> str:
        return event.names.users.get(user_id, "gone") if user_id else ""

    def look_up(self, rows: Sequence[AuditEvent]) -> None:
        names, spans = names_of(rows), repeats.spans(rows)
        for event in rows:
            event.names, event.spans = names, spans  # type: ignore[attr-defined]

    def beside(self, row: AuditEvent, request: HttpRequest) -> dict[str, Any]:
        self.look_up([row])
        return {}

    # -- taken away as a file ------------------------------------------------------

    def own_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(require_POST(self.export))
        return [path("export/", view, name="optin_auditevent_export")]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[Log]:
        return Log

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        may = {"saved": SAVED, "may_export": request.user.has_perm(staff.EXPORT)}
        return super().changelist_view(request, {**may, **(extra_context or {})})

    def export(self, request: HttpRequest) -> HttpResponseBase:
        """The events that the filters of the address leave, as CSV: streamed, and audited."""
        if not request.user.has_perm(staff.EXPORT):
            raise PermissionDenied
        page: Any = self.get_changelist_instance(request)
        filters = {name: masked(request.GET[name])[:64] for name in ABOUT if request.GET.get(name)}
        staff.record_export(filters, origin=origin_of(request))
        response = StreamingHttpResponse(
            _lines(page.queryset), content_type="text/csv; charset=utf-8"
        )
        response["Content-Disposition"] = 'attachment; filename="audit-events.csv"'
        return response


COLUMNS = (
    "id", "at", "event", "outcome", "face", "account id", "account", "second account id",
    "by id", "by", "file id", "number ends in", "client", "ip", "user agent", "request id",
    "reason", "facts", "what happened",
)  # fmt: skip
_READ = (
    "at", "kind", "outcome", "face", "user_id", "other_user_id", "actor_id", "file_id",
    "last_three", "client", "ip", "user_agent", "request_id", "reason", "data",
)  # fmt: skip


def _lines(events: models.QuerySet[AuditEvent]) -> Iterator[str]:
    """Write the events batch by batch: the memory needed stays the same.

    Each batch is a statement of its own, and nothing is open between two of them: neither a
    transaction nor a cursor, however slow whoever reads it is.
    """
    yield lines([COLUMNS])
    known = lru_cache(_KNOWN)(cell)
    zone = timezone.get_current_timezone()
    rows = events.values_list("pk", *_READ, named=True)  # in half of the time
    for batch in batches(rows, _BATCH):
        names = names_of(batch).users
        yield lines(map(known, _row(event, names, zone)) for event in batch)


def _row(event: AuditEvent, names: Mapping[int, str], zone: tzinfo) -> list[object]:
    def name(pk: int | None) -> str:
        return names.get(pk, "") if pk else ""

    return [
        event.pk, at(event.at, zone), event.kind, event.outcome, event.face, event.user_id,
        name(event.user_id), event.other_user_id, event.actor_id, name(event.actor_id),
        event.file_id, event.last_three, event.client, event.ip, event.user_agent,
        event.request_id, masked(event.reason), _data(event),
        wording.decided(event),
    ]  # fmt: skip


def _facts(event: AuditEvent) -> tuple[dict[str, Any], str]:
    """Return what decided, and for equal refusals how many there were, and when."""
    data = dict(event.data)
    if _OF_REPEATS.isdisjoint(data):
        return data, ""
    since, until = (time_in(data, name) for name in ("since", "until"))
    count, alone = count_in(data, "repeated"), data.get("alone", False)
    data = {name: value for name, value in data.items() if name not in _OF_REPEATS}
    if not (since and until):
        return data, ""
    many = f"{count} times" if alone else f"{count} more"
    return data, f"{many} between {at(since)} and {at(until)}"


def _data(event: AuditEvent) -> str:
    data, times = _facts(event)
    return " ".join(filter(None, [masked(_JSON.encode(data)), times]))
