"""The webhook endpoints of the files that a person manages (P-24): a list, and a page for each."""

from collections.abc import Callable
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _

from optin.errors import (
    EndpointGone,
    EndpointPaused,
    NotAMember,
    OldSecretSigns,
    TooManyEndpoints,
    UnfitEndpoint,
)
from optin.models import File, WebhookEndpoint, WebhookTry
from optin.operations import webhooks
from optin.operations.webhooks import Member
from optin.outcomes import StaffOutcome
from optin.runtime.redirects import SeeOther
from optin.support import wording
from optin.web import sessions, words
from optin.web.forms import EndpointForm, Form, SampleForm, SecretForm, SequenceForm
from optin.web.pages import demand, form_page, page, signed_in

_TRIES_SHOWN = 20


@form_page
@signed_in
def integrations(request: HttpRequest) -> HttpResponse:
    """All endpoints, by file, and a way to add one."""
    files = list(File.objects.managed_by(demand(request)).order_by("name", "pk"))
    if not files:
        raise Http404
    found = WebhookEndpoint.objects.filter(file__in=files).order_by("pk")
    of_file: dict[int, list[WebhookEndpoint]] = {file.pk: [] for file in files}
    for endpoint in found:
        of_file[endpoint.file_id].append(endpoint)
    listed = [(file, of_file[file.pk]) for file in files]
    return page(request, "integrations.html", files=listed, most=webhooks.MAX_ENDPOINTS)


@form_page
@signed_in
def add(request: HttpRequest, file_id: int) -> HttpResponse:
    """Add an endpoint to a file; the answer shows its secret, and nothing else ever does."""
    file = File.objects.managed_by(demand(request)).filter(pk=file_id).first()
    if file is None:
        raise Http404
    form = EndpointForm(request.POST or None)
    if form.is_valid():
        data = form.cleaned_data
        try:
            endpoint, secret = webhooks.make(file, **data, **_who(request))
        except NotAMember:
            raise Http404 from None
        except UnfitEndpoint:
            form.add_error("url", words.wrong_endpoint())
        except TooManyEndpoints:
            form.add_error(None, _("This organisation has 5 endpoints. Remove one first."))
        else:
            return _show(request, endpoint, secret)
    return page(request, "integration_add.html", form, file=file)


def _show(
    request: HttpRequest, endpoint: WebhookEndpoint, secret: str, *, replaced: bool = False
) -> HttpResponse:
    """Show a secret, in the answer to the form: no session may hold it."""
    return page(
        request, "integration_secret.html", endpoint=endpoint, secret=secret, replaced=replaced
    )


@form_page
@signed_in
def integration(request: HttpRequest, pk: int) -> HttpResponse:
    """One endpoint: what can be done with it, and each attempt to send it an event."""
    found = WebhookEndpoint.objects.managed_by(demand(request)).select_related("file", "made_by")
    endpoint = found.filter(pk=pk).first()
    if endpoint is None:
        raise Http404
    if request.method != "POST":
        return _of(request, endpoint)
    act = _ACTS.get(request.POST.get("do", ""))
    if act is None:
        return SeeOther(request.path)
    try:
        return act(request, endpoint)
    except (EndpointGone, NotAMember):
        raise Http404 from None


def _of(request: HttpRequest, endpoint: WebhookEndpoint, **refused: Form) -> HttpResponse:
    before = request.GET.get("before", "")
    tries = endpoint.tries.order_by("-pk")
    if before.isascii() and before.isdigit() and len(before) < 19:
        tries = tries.filter(pk__lt=int(before))
    shown = list(tries[: _TRIES_SHOWN + 1])
    skipped = endpoint.tries.filter(skipped=True).order_by("-pk")[:_TRIES_SHOWN]
    failed = endpoint.failed
    now = {"url": endpoint.url, "description": endpoint.description, "kinds": endpoint.wanted}
    forms: dict[str, Any] = {
        "change": EndpointForm(initial=now),
        "test": SampleForm(),
        "again": SequenceForm(),
        "secret": SecretForm(),
        **refused,
    }
    return page(
        request,
        "integration.html",
        next(iter(refused.values()), None),
        endpoint=endpoint,
        **forms,
        has_old_secret=endpoint.has_old_secret(timezone.now()),
        failed=failed and (failed, _said(failed)),
        skipped=[(each, _said(each)) for each in skipped],
        tries=[(each, _said(each)) for each in shown[:_TRIES_SHOWN]],
        older=shown[_TRIES_SHOWN - 1].pk if len(shown) > _TRIES_SHOWN else None,
        is_older=bool(before),
    )


def _said(made: WebhookTry) -> str:
    """Return what the server answered, or why it did not; a number with its end only (S-51)."""
    said = made.answer or made.reason
    plain = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in said)
    return wording.quoted(plain)


# -- what can be done with one -----------------------------------------------------


def _change(request: HttpRequest, endpoint: WebhookEndpoint) -> HttpResponse:
    form = EndpointForm(request.POST)
    if form.is_valid():
        try:
            webhooks.change(endpoint, **form.cleaned_data, **_who(request))
        except UnfitEndpoint:
            form.add_error("url", words.wrong_endpoint())
        else:
            sessions.flash(request, _("The endpoint was changed."))
            return SeeOther(request.path)
    return _of(request, endpoint, change=form)


def _secret(request: HttpRequest, endpoint: WebhookEndpoint) -> HttpResponse:
    form = SecretForm(request.POST)
    form.full_clean()
    try:
        secret = webhooks.replace_secret(endpoint, **form.cleaned_data, **_who(request))
    except OldSecretSigns:
        form.add_error("ends_old", _("Tick this first, or wait until the old secret has stopped."))
        return _of(request, endpoint, secret=form)
    return _show(request, endpoint, secret, replaced=True)


def _switch(request: HttpRequest, endpoint: WebhookEndpoint) -> HttpResponse:
    on = request.POST["do"] == "on"
    webhooks.switch(endpoint, on=on, **_who(request))
    return _done(request, _("The endpoint is on.") if on else _("The endpoint is off."))


def _skip(request: HttpRequest, endpoint: WebhookEndpoint) -> HttpResponse:
    form = SequenceForm(request.POST)
    if form.is_valid():
        done = webhooks.skip(endpoint, **form.cleaned_data, **_who(request))
        if done is StaffOutcome.OK:
            return _done(request, _("The event was skipped."))
    return _done(request, _("The endpoint doesn't wait for this event any more."), refused=True)


def _again(request: HttpRequest, endpoint: WebhookEndpoint) -> HttpResponse:
    form = SequenceForm(request.POST)
    if form.is_valid():
        done = webhooks.send_again(endpoint, **form.cleaned_data, **_who(request))
        if done is StaffOutcome.OK:
            return _done(request, _("The events will be sent again."))
        form.add_error("sequence", _("The endpoint hasn't been sent this event yet."))
    return _of(request, endpoint, again=form)


def _test(request: HttpRequest, endpoint: WebhookEndpoint) -> HttpResponse:
    form = SampleForm(request.POST)
    if not form.is_valid():
        return _of(request, endpoint, test=form)
    try:
        webhooks.send_test(endpoint, **form.cleaned_data, **_who(request))
    except EndpointPaused:
        return _done(request, _("The endpoint is paused: no test is sent to it."), refused=True)
    return _done(
        request, _("The test is on its way. Load this page again to see what became of it.")
    )


def _remove(request: HttpRequest, endpoint: WebhookEndpoint) -> HttpResponse:
    webhooks.remove(endpoint, **_who(request))
    sessions.flash(request, _("The endpoint was removed."))
    return SeeOther("integrations")


def _done(request: HttpRequest, said: str, *, refused: bool = False) -> HttpResponse:
    sessions.flash(request, said, refused=refused)
    return SeeOther(request.path)


_ACTS: dict[str, Callable[[HttpRequest, WebhookEndpoint], HttpResponse]] = {
    "change": _change,
    "secret": _secret,
    "on": _switch,
    "off": _switch,
    "skip": _skip,
    "again": _again,
    "test": _test,
    "remove": _remove,
}


def _who(request: HttpRequest) -> dict[str, Any]:
    """What each operation asks of a session."""
    member = Member(sessions.user_of(request), sessions.standing(request))
    return {"member": member, "origin": sessions.origin_of(request)}
