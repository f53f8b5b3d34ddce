"""The pages to which a reference leads staff, and why the request ended as it did (G-07)."""

import re
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from optin.models import User
from optin.runtime.references import spelled
from optin.support import references
from optin.support.diagnosis import Cause, Known, explain
from optin.support.references import Led
from optin.support.wording import decided, moment

_ID = re.compile(r"-?[0-9]{1,18}", re.ASCII)


def place(led: Led, asked: str) -> str:
    """Return where an account shows what the reference *asked* leads to."""
    query = {"before": led.position, "led": led.event.pk, "reference": spelled(asked)}
    return f"{reverse('admin:optin_user_change', args=[led.event.user_id])}?{urlencode(query)}"


def told(led: Led, asked: str, request: HttpRequest) -> dict[str, str]:
    """Return it in words, and the address of the page on which it stands, if there is one."""
    event, user = led.event, request.user
    said = f"{decided(event)}, at {moment(event.at)}"
    if event.user_id:
        return {"words": said, "address": place(led, asked)}
    may_see = event.pk > 0 and user.has_perm("optin.view_auditevent")
    address = reverse("admin:optin_auditevent_change", args=[event.pk]) if may_see else ""
    return {"words": f"{said}, of no account", "address": address}


def why(request: HttpRequest, user: User) -> list[Cause] | None:
    """Return the cause of that to which a reference led; None if none did."""
    asked = request.GET.get("led", "")
    event = references.event_of(user, int(asked)) if _ID.fullmatch(asked) else None
    if event is None:
        return None
    cause = explain(event, Known(user, timezone.now(), event))
    return [cause] if cause else []
