"""How requests are read."""

from typing import Any

from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.utils.http import parse_header_parameters


class Request(WSGIRequest):
    """A request whose ``Content-Type`` may be nonsense; its query and its form are in UTF-8.

    Django reads the type before any middleware runs, and the query in its ``charset``. It
    fails on badly encoded parameters (``a*=bogus''x``) and on a charset that is none of text
    (``rot13``): the server would answer 500 to anybody. Here a type that cannot be read, or
    names another encoding, is none at all.
    """

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        try:
            kind, parameters = parse_header_parameters(meta.get("CONTENT_TYPE", ""))
        except ValueError:
            kind, parameters = "", {}
        if parameters.get("charset", "utf-8").lower() not in {"utf-8", "utf8"}:
            kind, parameters = "", {}
        self.content_type, self.content_params = kind, parameters


class Handler(WSGIHandler):
    request_class = Request
