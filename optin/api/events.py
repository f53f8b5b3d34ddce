"""``GET /events``: the events of a file, for those who cannot receive webhooks."""

import re
from collections.abc import Mapping

from rest_framework.request import Request
from rest_framework.response import Response

from optin.api.answers import ApiError, Body
from optin.api.credentials import EVENT_SCOPES
from optin.api.views import UserCall, once
from optin.models import File
from optin.models.webhooks import MAX_SEQUENCE
from optin.operations import feed

MAX_LIMIT = 100

_NUMBER = re.compile("0|[1-9][0-9]{0,18}")


class EventsView(UserCall):
    http_method_names = ["get", "head"]
    scopes = EVENT_SCOPES
    # Set by admit, before the handler runs.
    after: int
    limit: int

    def admit_to_file(self, query: Mapping[str, list[str]]) -> None:
        self.after = _number(query, "after", 0, MAX_SEQUENCE, default=0)
        self.limit = _number(query, "limit", 1, MAX_LIMIT, default=MAX_LIMIT)
        super().admit_to_file(query)
        # The events are about everybody in the file.
        if not File.objects.managed_by(self.caller.user).filter(pk=self.file.pk).exists():
            self.refuse_access("file_access_denied", self.file.pk)

    def get(self, request: Request) -> Response:
        events = feed.after(self.file, self.after, limit=self.limit)
        last = events[-1].sequence if events else self.after
        found = [Body("Event", event.body()) for event in events]
        return Response(Body("EventList", {"events": found, "next": last}))


def _number(
    query: Mapping[str, list[str]], name: str, least: int, most: int, *, default: int
) -> int:
    if name not in query:
        return default
    text = once(query, name)
    if not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
        raise ApiError("invalid_request", f"{name} must be a whole number from {least} to {most}.")
    return int(text)
