"""The page of an action: a GET shows what will happen, a POST does it.

It calls one service, the same as for every face, which also decides whether staff may act on this
person (S-37). What is shown once (a key, a secret, a number) stands in the answer to its POST,
and nowhere else: no session may hold it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import override
from django.views.decorators.http import require_http_methods

from optin.actions.base import Action, Done, NoForm, told
from optin.errors import OutOfReach, Refusal
from optin.origin import Face, Origin
from optin.outcomes import StaffOutcome
from optin.runtime.redirects import SeeOther
from optin.support.wording import plain

if TYPE_CHECKING:
    from optin.admin.rows import ReadOnlyAdmin

OFFERED: dict[str, Action] = {}
"""Every operation that has an address, by the name of that."""


def origin_of(request: HttpRequest) -> Origin:
    """Return which member of staff asks, and from where."""
    return Origin.of(Face.ADMIN, request.META, actor_id=request.user.pk)


_SETTLED = ("file_id", "who")
"""The fields that an address may fill in: whoever comes from the page of a file enters no id."""


def name_of(admin: "ModelAdmin[Any]") -> str:
    """Return how the names of the addresses of *admin* begin."""
    return f"{admin.opts.app_label}_{admin.opts.model_name}"


def url_of(
    action: Action, admin: "ReadOnlyAdmin", home: Callable[[Any], str], *, one: bool
) -> URLPattern:
    """Return the address of *action* below the list of *admin*: for *one* row, or for none.

    :param home: the page to which it leads back.
    """
    name = f"{name_of(admin)}_{action.name}"
    OFFERED[name] = action

    def view(request: HttpRequest, object_id: int | None = None) -> HttpResponse:
        if not request.user.has_perm(action.permission):
            raise PermissionDenied
        row = admin.model._default_manager.filter(pk=object_id).first() if object_id else None
        if object_id is not None and row is None:
            return _gone(request)
        return _answer(action, admin, request, row, home)

    route = f"<int:object_id>/{action.name}/" if one else f"{action.name}/"
    allowed = require_http_methods(["GET", "HEAD", "POST"])(view)
    pattern: URLPattern = path(route, admin.admin_site.admin_view(allowed), name=name)
    return pattern


def _gone(request: HttpRequest) -> HttpResponse:
    messages.warning(request, "This row no longer exists.")
    return SeeOther("admin:index")


def _settle(form: NoForm, request: HttpRequest) -> dict[str, Any]:
    """Return what the address fills in, by the names of the fields.

    :raises ValidationError: if it names what is not there.
    """
    names = [name for name in _SETTLED if name in form.fields and request.GET.get(name)]
    return {name: form.settle(name, request.GET[name]) for name in names}


def _answer(
    action: Action,
    admin: "ReadOnlyAdmin",
    request: HttpRequest,
    row: Any,
    home: Callable[[Any], str],
) -> HttpResponse:
    form = action.asks(request.POST if request.method == "POST" else None, row)
    try:
        settled = _settle(form, request)
    except ValidationError:
        return _gone(request)
    about = list(settled.values()) or ([row] if row else [])
    status = 422 if request.method == "POST" else 200
    done = _do(action, request, row, form) if form.is_valid() else None
    if done and done.outcome == StaffOutcome.OUT_OF_REACH:
        form.add_error(None, done.words)
        status, done = 403, None
    if file := settled.get("file_id"):
        back = reverse("admin:optin_file_change", args=[file.pk])
    else:
        back = home(row)  # it may be gone by now
    if done and not done.secret:
        level = messages.SUCCESS if done.is_done else messages.WARNING
        messages.add_message(request, level, done.words)
        return SeeOther(home(done.row) if done.row else back)
    context = {
        **admin.admin_site.each_context(request),
        **(admin.head(row) if row and not done else {}),
        "title": action.title,
        "says": action.says,
        "hits": action.hits(row) if action.hits and not done else "",
        "about": ", ".join(plain(getattr(each, "username", each)) for each in about),
        "form": form,
        "home": back,
        "done": done,
        "is_destructive": action.is_destructive,
    }
    return TemplateResponse(request, "admin/action.html", context, status=200 if done else status)


def _do(action: Action, request: HttpRequest, row: Any, form: NoForm) -> Done | None:
    """Do what *form* asks for. If that is refused, say why in the form."""
    form.cleaned_data.pop("ready", None)
    try:
        with override(None):  # mails are in the language of the person
            return action.do(row, form.cleaned_data, origin_of(request))
    except OutOfReach:
        return told(StaffOutcome.OUT_OF_REACH, {})
    except Refusal as exc:
        form.add_error(None, str(exc))
        return None


def links(
    admin: "ModelAdmin[Any]", actions: Any, request: HttpRequest, *row_id: object
) -> list[tuple[str, str, bool]]:
    """Return those of *actions* that whoever asks may ask for.

    :returns: of each its address, its title, and whether it takes something away.
    """
    at = f"admin:{name_of(admin)}"
    return [
        (reverse(f"{at}_{each.name}", args=row_id), each.title, each.is_destructive)
        for each in actions
        if request.user.has_perm(each.permission)
    ]
