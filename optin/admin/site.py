"""Who may come in: staff, in a session that has proved a second factor (S-37).

They sign in on the pages that everybody uses, which are told where to lead back to.
"""

from collections.abc import Callable
from functools import update_wrapper
from typing import Any
from urllib.parse import urlencode, urlsplit

from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.template.response import TemplateResponse
from django.urls import Resolver404, URLPattern, URLResolver, path, resolve, reverse
from django.utils import timezone, translation
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST, require_safe

from optin.admin import figures, home, navigation
from optin.conf import conf
from optin.models.factors import has_active_factor
from optin.operations import staff
from optin.outcomes import By
from optin.runtime.redirects import local
from optin.support import health
from optin.support.wording import moment, plain

View = Callable[..., HttpResponseBase]

_LEFT_OUT = frozenset(
    # Nothing here writes rows by forms, so nothing needs to look others up; and a password is
    # changed where everybody changes it.
    # ``navigation`` has what the pages of each application would list.
    {
        *("autocomplete", "view_on_site", "login", "logout"),
        *("password_change", "password_change_done", "app_list"),
    }
)

_ONLY_SENT_TO = {
    "find": "admin:index",
    "logout": "admin:index",
    "stay": "admin:index",
    "optin_auditevent_export": "admin:optin_auditevent_changelist",
}
"""Addresses that only take what is sent, with the page on which to go on after signing in."""

_NOT_DONE = "Nothing was done: your session had ended. Sign in, and do it again."


class StaffSite(AdminSite):
    site_url = None  # the header has its own links
    index_template = "admin/home.html"
    index_title = "Staff"
    enable_nav_sidebar = False  # Django's needs a script
    # The service has a page of its own for an address that is none.
    final_catch_all_view = False

    def __init__(self) -> None:
        super().__init__()
        self.pages: list[URLPattern] = []  # that belong to no list of rows

    def has_permission(self, request: HttpRequest) -> bool:
        user: Any = request.user
        # Verified by a factor that is still there: django-otp looks at its row each time.
        verified = user.is_active and user.is_staff and user.is_verified()
        return bool(verified and not _by_suspended(request) and not _has_ended(request))

    def login(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Lead to what is still missing: the sign-in, a second factor, the proof of it."""
        user: Any = request.user
        then = _page(local(request.GET.get("next", ""))) or reverse("admin:index")
        if self.has_permission(request):
            return HttpResponseRedirect(then)
        if not user.is_authenticated:
            return _lead("sign-in", then)
        if not (user.is_active and user.is_staff):
            raise PermissionDenied
        if _has_ended(request):
            return _lead("confirm", then)  # which leads to what took its place
        if has_active_factor(user):
            return _lead("prove", then)
        return _lead("two-factor", then)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        urls = [url for url in super().get_urls() if getattr(url, "name", "") not in _LEFT_OUT]
        return [
            path("login/", self.login, name="login"),
            path("logout/", require_POST(_sign_out), name="logout"),
            path("stay/", self.admin_view(require_POST(_stay)), name="stay"),
            path("figures/", self.admin_view(self.figures), name="figures"),
            path("figures/<slug:table>.csv", self.admin_view(self.figures_csv), name="figures_csv"),
            *self.pages,
            *urls,
        ]

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        inner = super().admin_view(view, cacheable)

        def spoken(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            refused = request.method == "POST" and not self.has_permission(request)
            # For a stranger, who has no session, none is to be stored.
            if refused and request.session.keys():
                # On the next page, whichever that is.
                request.session.update({"flash": _NOT_DONE, "flash_refused": True})
            with translation.override("en-au"):
                response: HttpResponseBase = inner(request, *args, **kwargs)
                if isinstance(response, TemplateResponse):
                    response.render()
            return response

        return update_wrapper(spoken, view)

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        return []  # ``navigation`` has the lists

    @method_decorator(require_safe)
    def index(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:  # type: ignore[override]
        return super().index(request, {**home.context(request), **(extra_context or {})})

    @method_decorator(require_safe)
    def figures(self, request: HttpRequest) -> TemplateResponse:
        context = {**self.each_context(request), **figures.context(request), "title": "Figures"}
        return TemplateResponse(request, "admin/figures.html", context)

    @method_decorator(require_safe)
    def figures_csv(self, request: HttpRequest, table: str) -> HttpResponse:
        return figures.file(request, table)

    def not_found(self, request: HttpRequest) -> HttpResponse | None:
        """Return the page for an address below this site that is none; only staff have one."""
        if not (request.path.startswith(reverse("admin:index")) and self.has_permission(request)):
            return None
        with translation.override("en-au"):
            context = {**self.each_context(request), "title": "Page not found"}
            return render(request, "admin/404.html", context, status=404)

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        name = f"{conf.service_name} staff".strip()
        user: Any = request.user
        more = {
            "site_title": name,
            "site_header": name,
            "own_name": plain(user.get_username()),
            "may_find": user.has_perm("optin.view_user"),
            "desk": navigation.groups(request),
            "here": navigation.above(request),
            "stop": _stop(user) if self.has_permission(request) else "",
            "may_allow": user.has_perm(staff.SEND_CONTROLS),
            "session": _session(request),
        }
        return {**super().each_context(request), **more}


def _stop(user: Any) -> str:
    """Say since when all texts are stopped, and by whom to who has a role; "" if they are not."""
    stop: Any = health.stop_of_texts()
    if stop is None:
        return ""
    by = f", by {plain(stop.by)}" if stop.by and user.get_all_permissions() else ""
    return f"since {moment(stop.made_at)}{by}"


def _by_suspended(request: HttpRequest) -> bool:
    """Whether it was proved by texts to a number that staff suspended since (S-07a).

    A stolen phone, perhaps. Who proved it by a recovery code, or does so now, may come in.
    """
    user: Any = request.user
    suspended = getattr(user.otp_device, "suspended_at", None) is not None
    return suspended and request.session.get("factor_by") != By.RECOVERY


def _has_ended(request: HttpRequest) -> bool:
    """Whether another session has taken the place of this one: a thief may have the old cookie."""
    return "ends" in request.session


def _sign_out(request: HttpRequest) -> HttpResponse:
    """Sign out where everybody does: 307 keeps it a POST, with its token."""
    response = HttpResponse(status=307)
    response["Location"] = reverse("sign-out")
    return response


def _stay(request: HttpRequest) -> HttpResponse:
    """Say how long the session lasts now: any request lengthens it, up to its longest time."""
    return JsonResponse(_session(request))


def _session(request: HttpRequest) -> dict[str, int]:
    """In how many seconds the session ends, and in how many at the latest.

    ``web`` notes when, among the WSGI variables: a client cannot name them.
    """
    now, ends = timezone.now(), ("SESSION_ENDS_AT", "SESSION_ENDS_AT_LATEST")
    left, most = (int((request.META.get(name, now) - now).total_seconds()) for name in ends)
    return {"left": left, "most": most}


def _lead(page: str, then: str) -> HttpResponse:
    return HttpResponseRedirect(f"{reverse(page)}?{urlencode({'next': then})}")


def _page(asked: str) -> str:
    """Return *asked*, or what is seen instead of an address that only takes what is sent."""
    try:
        match = resolve(urlsplit(asked).path)
    except Resolver404:
        return asked
    instead = _ONLY_SENT_TO.get(match.url_name or "") if match.app_name == "admin" else None
    return reverse(instead) if instead else asked


site = StaffSite()
