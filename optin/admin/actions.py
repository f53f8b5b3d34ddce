"""Operations that staff ask for: each on a page of its own, with a reason.

A GET shows what will happen, a POST does it: one service, the same as for every face, which
also decides whether staff may act on this person (S-37). What is shown once (a key, a secret,
a number) stands in the answer to its POST, and nowhere else: no session may hold it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.apps import apps
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.text import capfirst
from django.views.decorators.http import require_http_methods

from optin.admin.rows import plain
from optin.admin.site import origin_of, site
from optin.errors import OutOfReach, Refusal
from optin.models.reasons import MAX_REASON
from optin.origin import Origin
from optin.outcomes import RevocationOutcome, SendOutcome, StaffOutcome
from optin.runtime.redirects import SeeOther

OFFERED: "dict[str, Action]" = {}
"""Every operation that has an address, by the name of that."""


class ReasonForm(forms.Form):
    """Why it is done: kept in the audit trail for as long as that."""

    reason = forms.CharField(
        max_length=MAX_REASON,
        label="Reason",
        help_text="Kept in the audit trail. Do not enter a phone number or a password.",
        widget=forms.Textarea(attrs={"rows": 3, "autocomplete": "off"}),
    )

    def __init__(self, data: Any, row: Any) -> None:
        super().__init__(data)
        self.row = row


@dataclass(frozen=True, slots=True)
class Done:
    """The result: words for the next page, a secret that is shown once, or a refusal."""

    words: str
    level: int = messages.SUCCESS
    secret: str = ""
    status: int = 200


_DONE = frozenset[str](
    {
        *(StaffOutcome.OK, SendOutcome.SENT, SendOutcome.RESENT),
        *(RevocationOutcome.PLANNED, RevocationOutcome.WITHDRAWN),
    }
)


def told(outcome: str, words: Mapping[Any, str]) -> Done:
    """Say what became of an operation."""
    if outcome == StaffOutcome.OUT_OF_REACH:
        return Done(OutOfReach.message, status=403)
    done = outcome in _DONE
    said = words.get(outcome) or f"Nothing was done: {outcome.replace('_', ' ')}."
    return Done(said, messages.SUCCESS if done else messages.WARNING)


@dataclass(frozen=True, slots=True)
class Action:
    """One operation, as a page: who may ask for it, what it says, what it calls."""

    name: str
    title: str
    permission: str
    says: str
    do: Callable[[Any, dict[str, Any], Origin], Done]
    form: type[ReasonForm] | Callable[[Any, Any], forms.Form] = ReasonForm
    is_destructive: bool = False
    """Whether it takes something away from people. Its button is red."""

    def page(self, model: str, find: Callable[[int], Any], home: Callable[[Any], str]) -> Any:
        """Return the view; *find* the row that it is about, *home* its own page."""
        app, _, kind = model.rpartition("_")
        rows = f"{capfirst(apps.get_model(app, kind)._meta.verbose_name_plural)}"

        def view(request: HttpRequest, object_id: int | None = None) -> HttpResponse:
            if not request.user.has_perm(self.permission):
                raise PermissionDenied
            row = None if object_id is None else find(object_id)
            if object_id is not None and row is None:
                messages.warning(request, "This row no longer exists.")
                return SeeOther("admin:index")
            return self._answer(request, row, home(row), (f"admin:{model}_changelist", rows))

        return site.admin_view(require_http_methods(["GET", "HEAD", "POST"])(view))

    def _answer(
        self, request: HttpRequest, row: Any, home: str, above: tuple[str, str]
    ) -> HttpResponse:
        form = self.form(request.POST if request.method == "POST" else None, row)
        for field in form.fields.values():  # the summary of what is wrong names each
            field.error_messages["required"] = f"{field.label or 'This'}: nothing was entered."
            # Django's own repeats what was sent.
            field.error_messages["invalid_choice"] = f"{field.label}: choose one from the list."
        status = 422 if request.method == "POST" else 200
        done = None
        if form.is_valid():
            try:
                done = self.do(row, form.cleaned_data, origin_of(request))
            except OutOfReach:
                done = told(StaffOutcome.OUT_OF_REACH, {})
            except Refusal as exc:
                form.add_error(None, str(exc))
        if done and done.status == 403:
            form.add_error(None, done.words)
            status, done = 403, None
        if done and not done.secret:
            messages.add_message(request, done.level, done.words)
            return SeeOther(home)
        context = {
            **site.each_context(request),
            "title": self.title,
            "says": self.says,
            "about": plain(getattr(row, "username", row) if row else ""),
            "form": form,
            "home": home,
            "above": above,
            "done": done,
            "is_destructive": self.is_destructive,
        }
        status = 200 if done else status
        return TemplateResponse(request, "admin/action.html", context, status=status)

    def urls(
        self, model: str, find: Callable[[int], Any], home: Callable[[Any], str], *, one: bool
    ) -> URLPattern:
        """Return its address below the list of *model*: for *one* row, or for none."""
        OFFERED[f"{model}_{self.name}"] = self
        route = f"<int:object_id>/{self.name}/" if one else f"{self.name}/"
        pattern: URLPattern = path(route, self.page(model, find, home), name=f"{model}_{self.name}")
        return pattern
