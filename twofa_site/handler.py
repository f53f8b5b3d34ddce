"""How requests are read."""

from typing import Any

from django.core.exceptions import BadRequest
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest


class Request(WSGIRequest):
    """A request whose ``Content-Type`` may be nonsense.

    Django reads its parameters before any middleware runs, and fails on badly encoded
    ones (``a*=bogus''x``): the server would answer 500 to anybody. Here such a type is
    none at all.
    """

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        try:
            super()._set_content_type_params(meta)  # type: ignore[misc]
        except (ValueError, BadRequest):
            self.content_type, self.content_params = "", {}


class Handler(WSGIHandler):
    request_class = Request
