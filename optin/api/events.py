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

LATEST = "latest"

_NUMBER = re.compile("0|[1-9][0-9]{0,18}")


class ManagerCall(UserCall):
    """A call about the events of a file: they are about everybody in it."""

    scopes = EVENT_SCOPES

    def admit_to_file(self, query: Mapping[str, list[str]]) -> None:
        super().admit_to_file(query)
        if not File.objects.managed_by(self.caller.user).filter(pk=self.file.pk).exists():
            self.refuse_access("file_access_denied", self.file.pk)


class EventsView(ManagerCall):
    http_method_names = ["get", "head"]
    # Set by admit, before the handler runs.
    after: int | None  # None for the latest
    limit: int

    def admit_to_file(self, query: Mapping[str, list[str]]) -> None:
        is_latest = once(query, "after") == LATEST
        self.after = None if is_latest else _number(query, "after", 0, MAX_SEQUENCE, default=0)
        self.limit = _number(query, "limit", 1, MAX_LIMIT, default=MAX_LIMIT)
        super().admit_to_file(query)

    def get(self, request: Request) -> Response:
        after = feed.latest(self.file) if self.after is None else self.after
        events = [] if self.after is None else feed.after(self.file, after, limit=self.limit)
        last = events[-1].sequence if events else after
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
