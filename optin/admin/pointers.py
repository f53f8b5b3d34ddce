"""The pages to which a request id leads staff, and why the request ended as it did (G-07)."""

import re
from datetime import timedelta
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from optin.models import AuditEvent, User
from optin.support import requests
from optin.support.diagnosis import Cause, Known, explain
from optin.support.entries import Position
from optin.support.wording import decided, moment

_ID = re.compile("-?[0-9]{1,18}", re.ASCII)


def place(event: AuditEvent, asked: str) -> str:
    """Return where an account shows *event*, to which the request id *asked* leads."""
    below = event.pk
    if below < 0:  # it was only counted
        earlier = AuditEvent.objects.filter(pk__gt=0, at__lte=event.at).order_by("-at", "-pk")
        below = earlier.values_list("pk", flat=True).first() or 0
    above = Position(event.at + timedelta(microseconds=1), _LAST_RANK, 0, below + 1)
    query = {"before": above, "led": event.pk, "request_id": requests.spelled(asked)}
    return f"{reverse('admin:optin_user_change', args=[event.user_id])}?{urlencode(query)}"


_LAST_RANK = 3


def told(event: AuditEvent, asked: str, request: HttpRequest) -> dict[str, str]:
    """Return it in words, and the address of the page on which it stands, if there is one."""
    said = f"{decided(event)}, at {moment(event.at)}"
    if event.user_id:
        return {"words": said, "address": place(event, asked)}
    may_see = event.pk > 0 and request.user.has_perm("optin.view_auditevent")
    address = reverse("admin:optin_auditevent_change", args=[event.pk]) if may_see else ""
    return {"words": f"{said}, of no account", "address": address}


def why(request: HttpRequest, user: User) -> list[Cause] | None:
    """Return the cause of that to which a request id led; None if none did."""
    asked = request.GET.get("led", "")
    event = requests.event_of(user, int(asked)) if _ID.fullmatch(asked) else None
    if event is None:
        return None
    cause = explain(event, Known(user, timezone.now(), event))
    return [cause] if cause else []
