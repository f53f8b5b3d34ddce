"""The page of a sandbox: the texts to its members."""

from django.http import Http404, HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from optin.models import File
from optin.models.messages import State
from optin.operations import sandbox
from optin.web.pages import page, signed_in
from optin.web.sessions import user_of


@require_safe
@signed_in
def texts(request: HttpRequest, file_id: int) -> HttpResponse:
    """The texts of the last day, the newest first, for the members of a sandbox."""
    file = File.objects.open_to(user_of(request)).filter(pk=file_id, is_sandbox=True).first()
    if file is None:
        raise Http404
    found = [(text, _STATES[State(text.state)]) for text in sandbox.texts_of(file)]
    return page(request, "sandbox.html", file=file, texts=found)


_STATES = {
    State.QUEUED: _("Waiting to be sent"),
    State.SENDING: _("Waiting to be sent"),
    State.SENT: _("Sent, no receipt yet"),
    State.DELIVERED: _("Delivered"),
    State.FAILED: _("Not delivered"),
    State.EXPIRED: _("Not sent: its code no longer works"),
}
