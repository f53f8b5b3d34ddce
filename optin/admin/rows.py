"""How rows are shown: read only, newest first, never counted.

Lists go on from the last row that was shown (``before=``), by the primary key: the next
page of ten million rows costs what the first does. Only the filters of a list can be asked
for; any other look-up by the address is refused.
"""

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, tzinfo
from functools import partial
from itertools import compress
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin import ShowFacets, SimpleListFilter
from django.contrib.admin.templatetags.admin_list import result_headers, results
from django.contrib.admin.views.main import ChangeList
from django.db import models
from django.forms import Select
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import mark_safe
from django.utils.text import capfirst
from django.views.decorators.http import require_safe

from optin import phones
from optin.actions.base import Action
from optin.admin.actions import links, name_of, url_of
from optin.admin.times import short
from optin.conf import conf
from optin.models import File, User
from optin.models.factors import has_factor
from optin.operations import staff
from optin.support import wording
from optin.support.wording import plain

BEFORE = "before"
_ID = re.compile(r"[1-9][0-9]{0,17}")

Shown = Callable[[Any], Any]


def masked(text: object) -> str:
    """``plain``, with what may be a number in full cut to its last three digits (S-51).

    For what is written by staff or by gateways, who are asked not to name one.
    """
    return wording.quoted(str(text))


def at(moment: datetime | None, zone: tzinfo | None = None) -> str:
    """Return a time to the second, with its zone."""
    return wording.exact(moment, zone) if moment else "-"


def clock(moment: datetime | None) -> str:
    """Write a time, and within a day how long ago it is. The head of its column names its zone."""
    if moment is None:
        return "-"
    now = timezone.now()
    ago = wording.ago(moment, now) if abs(now - moment) < timedelta(days=1) else ""
    return format_html('{} <small class="ago">{}</small>', short(moment, at(moment)), ago)


def text(
    field: str, title: str = "", *, says: Callable[[Any], str] = plain, css: str = ""
) -> Shown:
    """Return the column of a field; by default, of a text that anybody may have written.

    :param css: the class of its cells in the page.
    """

    @admin.display(description=title or field.removesuffix("_at").replace("_", " "))
    def shown(row: Any) -> str:
        return says(getattr(row, field)) or "-"

    shown.__name__ = css or shown.__name__
    return shown


when = partial(text, says=clock, css="time")
reason = partial(text, "reason", says=masked, css="reason")  # there may be a number in it
number = text("last_three", "number", says=phones.mask, css="number")


def flag(field: str, title: str, *, yes: str, no: str = "-", is_bad: bool = False) -> Shown:
    """Return the column of a yes or no in words: Django's red cross would look like an error.

    :param is_bad: whether the no is a bad state.
    """
    return text(field, title, says=lambda value: yes if value else tagged(no, is_bad=is_bad))


def state(*bad: str) -> Shown:
    """Return the column of the ``state`` of a row, which is one of its choices."""

    @admin.display(description="state")
    def shown(row: Any) -> str:
        return tagged(row.get_state_display(), is_bad=row.state in bad)

    return shown


def tagged(words: str, *, is_bad: bool) -> str:
    """Return the words of a state, as a tag if it is a bad one."""
    return format_html('<span class="tag bad">{}</span>', words) if is_bad else words


def whole_number(asked: str) -> int | None:
    """Return the id that *asked* is, if it can be one."""
    return int(asked) if _ID.fullmatch(asked) else None


def account_link(user_id: int | None, name: str = "") -> str:
    """Return a link to the page of an account."""
    if user_id is None:
        return "-"
    address = reverse("admin:optin_user_change", args=[user_id])
    return format_html('<a href="{}">{}</a>', address, plain(name) or f"user {user_id}")


def note_factors(users: Sequence[Any]) -> None:
    """Note for each of *users* as ``is_on`` whether two-factor sign-in is on.

    Asked for with the rows of a list, the factors of everybody would be read.
    """
    found = User.objects.filter(has_factor(), pk__in=[user.pk for user in users])
    on = set(found.values_list("pk", flat=True))
    for user in users:
        user.is_on = user.pk in on


@admin.display(description="account")
def account(row: Any) -> str:
    """The column of the account that a row with a ``user`` belongs to."""
    user: User = row.user
    return account_link(user.pk, user.get_username())


@admin.display(description="file")
def file(row: Any) -> str:
    """The column of the file that a row belongs to."""
    if row.file is None:
        return "-"
    address = reverse("admin:optin_file_change", args=[row.file.pk])
    return format_html('<a href="{}">{}</a>', address, plain(row.file))


def _with_head(cell: str, head: dict[str, Any]) -> str:
    """Return *cell*, an element of Django's, with what it is, and whether there is nothing."""
    is_empty = mark_safe(" data-empty") if cell.endswith(">-</td>") else ""
    # Django has made it safe.
    tag, rest = mark_safe(cell[:3]), mark_safe(cell[3:])  # noqa: S308
    return format_html('{} data-head="{}"{}{}', tag, capfirst(head["text"]), is_empty, rest)


class Pages(ChangeList):
    """A list by pages, of which nobody knows how many there are."""

    older: str | None = None
    newest: str | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        older = ", older" if self.newest else ""
        self.title = f"{capfirst(self.opts.verbose_name_plural)}{older}"
        self.zone = conf.time_zone

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        """The search. An empty field asks for nothing."""
        found: dict[str, Any] = super().get_filters_params(params)
        return {
            name: given for name, given in found.items() if name != BEFORE and given[-1:] != [""]
        }

    def get_query_string(self, new_params: Any = None, remove: Any = None) -> str:
        empty = {name: None for name, value in self.params.items() if not value}
        return super().get_query_string({**empty, BEFORE: None, **(new_params or {})}, remove)

    def get_ordering(self, request: HttpRequest, queryset: Any) -> list[Any]:
        return ["-pk"]

    def table(self) -> tuple[list[Any], list[list[str]]]:
        """Return the heads of the columns, and the cells of each row, each with its head.

        On a phone a row is a card, so each cell has to say what it is. A column in which no row
        has anything is left out.
        """
        heads, rows = list(result_headers(self)), [list(row) for row in results(self)]
        kept = [any(not row[n].endswith(">-</td>") for row in rows) for n in range(len(heads))]
        heads = list(compress(heads, kept))
        return heads, [[*map(_with_head, compress(row, kept), heads)] for row in rows]

    @property
    def asked(self) -> list[tuple[str, str]]:
        """The filters that are set, in words, each with the address of the list without it."""
        specs: list[Any] = self.filter_specs
        return [
            (
                f"{capfirst(spec.title.removesuffix(' id'))}: {spec.said}",
                self.get_query_string(remove=[spec.parameter_name]),
            )
            for spec in specs
            if spec.value()
        ]

    @property
    def is_wrong(self) -> bool:
        """Whether a filter asks for what cannot be."""
        specs: list[Any] = self.filter_specs
        return any(spec.is_wrong for spec in specs)

    def read(self, before: int | None) -> int | None:
        """Read the rows of the page; return after which one the next page begins."""
        rows = self.queryset.filter(pk__lt=before) if before else self.queryset
        found = list(rows[: self.list_per_page + 1])
        self.result_list = found[: self.list_per_page]
        return found[self.list_per_page - 1].pk if len(found) > self.list_per_page else None

    def get_results(self, request: HttpRequest) -> None:
        before = whole_number(request.GET.get(BEFORE, ""))
        if further := self.read(before):
            self.older = self.get_query_string({BEFORE: further})
        if before:
            self.newest = self.get_query_string()
        self.result_count = len(self.result_list)
        self.full_result_count = None
        self.show_full_result_count = self.can_show_all = self.multi_page = False
        self.show_admin_actions = False
        self.paginator = self.model_admin.get_paginator(request, self.result_list, 1)
        self.model_admin.look_up(self.result_list)  # type: ignore[attr-defined]


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows of one kind, to look at. ``shown`` is all that is shown of one."""

    actions = None
    list_per_page = 50
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    view_on_site = False
    sortable_by = ()
    change_list_template = "admin/list.html"
    change_form_template = "admin/row.html"
    of_list: tuple[Action, ...] = ()
    """What staff can ask for on the page of the list."""
    of_one: tuple[Action, ...] = ()
    """What they can ask for on the page of one row."""
    leads_to = "changelist"
    """The page after an action on one row: the list, or ``change``, the page of the row."""
    shown: ClassVar[tuple[Any, ...]] = ()
    in_file: tuple[Any, ...] = ()  # the columns on the page of a file
    says = ""  # what the rows are, above the list
    nothing = "There are none."  # what a list says that has no rows

    def __init_subclass__(cls) -> None:
        cls.fields = cls.readonly_fields = cls.shown

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm(staff.sees(self.model)))

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def lookup_allowed(self, lookup: str, value: Any, request: Any = None) -> bool:
        filters: Any = self.list_filter
        return lookup in {each.parameter_name for each in filters}

    def to_field_allowed(self, request: HttpRequest, to_field: str) -> bool:
        return False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return Pages

    def get_urls(self) -> list[URLPattern]:
        """The list and one row; no history, which would be empty, and no way to write."""
        name = name_of(self)

        def view(page: Any) -> Any:
            return self.admin_site.admin_view(require_safe(page))

        def home(row: Any) -> str:
            rows = self.model._default_manager
            if row and self.leads_to == "change" and rows.filter(pk=row.pk).exists():
                return reverse(f"admin:{name}_change", args=[row.pk])
            return reverse(f"admin:{name}_changelist")

        return [
            path("", view(self.changelist_view), name=f"{name}_changelist"),
            *self.own_urls(),
            *(url_of(each, self, home, one=False) for each in self.of_list),
            *(url_of(each, self, home, one=True) for each in self.of_one),
            path("<int:object_id>/change/", view(self._row), name=f"{name}_change"),
        ]

    def own_urls(self) -> list[URLPattern]:
        """More addresses."""
        return []

    def offered(self, row: Any) -> Sequence[Action]:
        """Return what would change anything for *row*."""
        return [each for each in self.of_one if each.changes(row)]

    def beside(self, row: Any, request: HttpRequest) -> dict[str, Any]:
        """Return what the page of *row* shows beside its fields."""
        return {}

    def head(self, row: Any) -> dict[str, Any]:
        """Return how *row* stands, for the pages of what is done to it."""
        return {}

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        useful = [each for each in self.of_list if each.changes(None)]
        tools = {"tools": links(self, useful, request)}
        return super().changelist_view(request, {**tools, **(extra_context or {})})

    def _row(self, request: HttpRequest, object_id: int) -> HttpResponse:
        named = {"title": f"{capfirst(self.opts.verbose_name)} {object_id}", "subtitle": ""}
        return self.change_view(request, str(object_id), extra_context=named)

    def render_change_form(  # type: ignore[override]
        self, request: HttpRequest, context: Any, obj: Any = None, **kwargs: Any
    ) -> Any:
        context["tools"] = links(self, self.offered(obj), request, obj.pk)
        for name in ("subtitle", "original"):
            context[name] = plain(context[name] or "")
        context |= self.beside(obj, request)
        return super().render_change_form(request, context, obj=obj, **kwargs)

    def look_up(self, rows: Sequence[Any]) -> None:
        """Read what a page of rows shows besides them, for all at once."""


class Filter(SimpleListFilter):
    """A filter that finds nothing if what is asked for cannot be."""

    is_wrong = False

    @property
    def asked(self) -> str:
        return (self.value() or "").strip()

    @property
    def said(self) -> str:
        """What is asked for, as the page says it."""
        return plain(self.asked)

    def wanted(self) -> Any:
        """What is asked for; nothing if it is nothing, or cannot be."""
        return self.read(self.asked) if self.asked else None

    def read(self, asked: str) -> Any:
        """Return the value that *asked* is, or nothing if it can be none."""
        return whole_number(asked)

    def queryset(self, request: Any, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        value = self.wanted()
        if value is None:
            self.is_wrong = bool(self.asked)
            return queryset.none() if self.is_wrong else queryset
        return self.narrow(queryset, value)

    def narrow(self, queryset: models.QuerySet[Any], value: Any) -> models.QuerySet[Any]:
        return queryset.filter(**{str(self.parameter_name): value})


class Choice(Filter):
    """A filter by one of a few values of a field."""

    template = "admin/choice_filter.html"
    choices_of: Sequence[tuple[str, Any]] = ()

    def lookups(self, request: Any, model_admin: Any) -> Sequence[tuple[str, Any]]:
        return self.choices_of

    def choices(self, changelist: Any) -> Any:
        select = Select(choices=[("", "All"), *self.choices_of])
        at = f"filter-{self.parameter_name}"
        yield {"id": at, "select": select.render(str(self.parameter_name), self.asked, {"id": at})}

    @property
    def said(self) -> str:
        return str(dict(self.choices_of).get(self.asked, plain(self.asked)))

    def read(self, asked: str) -> str | None:
        return asked if asked in dict(self.choices_of) else None


def choice(field: str, choices: Sequence[tuple[str, Any]], title: str = "") -> type[Choice]:
    """Return the filter by *field*, which has one of *choices*."""
    named = {"title": title or field, "parameter_name": field, "choices_of": list(choices)}
    return type(f"By_{field}", (Choice,), named)


class Typed(Filter):
    """A filter whose value is typed in."""

    template = "admin/typed_filter.html"
    input_type = "text"

    def lookups(self, request: Any, model_admin: Any) -> Sequence[tuple[str, Any]]:
        return [("", "")]

    def choices(self, changelist: Any) -> Any:
        yield {
            "name": self.parameter_name,
            "value": plain(self.value() or ""),
            "type": self.input_type,
            "is_wrong": self.is_wrong,
        }


class ById(Typed):
    """A filter by the id of a row that has a name, or of one that has none."""

    names: ClassVar[dict[str, Any]] = {
        "user_id": User.objects.values_list("username", flat=True),
        "file_id": File.objects.values_list("name", flat=True),
    }

    @property
    def said(self) -> str:
        names = self.names.get(str(self.parameter_name))
        found = names.filter(pk=self.wanted()).first() if names is not None else None
        return plain(found or self.asked)


def by_id(field: str, title: str) -> type[ById]:
    """Return the filter by an id, typed in."""
    return type(f"By_{field}", (ById,), {"title": title, "parameter_name": field})
