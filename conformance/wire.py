"""Requests and answers, as bytes.

``http.client`` and no library above it: those mend what a check sends on purpose, such as a
path that begins with two slashes.
"""

import http.client
import json
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from defusedxml.ElementTree import fromstring

JSON, TEXT_JSON, XML, TEXT_XML = "application/json", "text/json", "application/xml", "text/xml"
MEDIA_TYPES = (JSON, TEXT_JSON, XML, TEXT_XML)
FORM = "application/x-www-form-urlencoded"

_PATIENCE = 30  # seconds that an answer may take


@dataclass(frozen=True)
class Request:
    """What is sent: *target* is the path below the base URL, with its query."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    is_chunked: bool = False

    @property
    def path(self) -> str:
        """The path in lower case, with one slash in front."""
        return "/" + self.target.partition("?")[0].lstrip("/").lower()

    def __str__(self) -> str:
        head = [f"{self.method} {self.target}", *(f"{n}: {v}" for n, v in self.headers.items())]
        shown = self.body[:300].decode("utf-8", "backslashreplace")
        rest = f"... ({len(self.body)} bytes)" if len(self.body) > 300 else ""
        return "\n".join([*head, *([shown + rest] if shown else [])])


@dataclass(frozen=True)
class Answer:
    """What came back for a request. ``tree`` and ``data`` read it as leniently as they can."""

    request: Request
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def content_type(self) -> str:
        return self.headers.get("Content-Type", "")

    @property
    def media_type(self) -> str:
        return self.content_type.partition(";")[0].strip().lower()

    @property
    def is_xml(self) -> bool:
        return "xml" in self.media_type

    @cached_property
    def tree(self) -> Element | None:
        """The root element of a body in XML; nothing where it is none."""
        try:
            return fromstring(self.body) if self.is_xml and self.body else None
        except (SyntaxError, ValueError):  # not well-formed; a DTD
            return None

    @cached_property
    def data(self) -> Any:
        """The body as JSON has it, also of one in XML; nothing where it cannot be read."""
        if self.tree is not None:
            return _value(self.tree)
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    def get(self, name: str) -> Any:
        """The property *name*; nothing where there is none."""
        return self.data.get(name) if isinstance(self.data, dict) else None

    @property
    def links(self) -> list[dict[str, Any]]:
        links = self.get("_links")
        return [link for link in links if isinstance(link, dict)] if isinstance(links, list) else []

    @property
    def code(self) -> str:
        """The code of a refusal, or "": ``error``, or the title of the last link."""
        if self.get("error") is not None:
            return str(self.get("error"))
        last = self.links[-1] if self.links else {}
        return str(last.get("title", "")) if last.get("rel") == "help" else ""

    @property
    def brief(self) -> str:
        return f"{self.status} {self.code}".strip()

    def __str__(self) -> str:
        shown = self.body[:600].decode("utf-8", "backslashreplace")
        return f"{self.status} {self.content_type}\n{shown}".strip()


def _value(element: Element) -> Any:
    if element.tag == "boolean":
        return element.text == "true"
    if element.tag in {"_links", "events"}:
        return [_value(child) for child in element]
    if len(element):
        return {child.tag: _value(child) for child in element}
    return element.text or ""


def write(model: str, properties: Mapping[str, object], media_type: str) -> bytes:
    """Return the body of a request in *media_type*; in XML, *model* is the root."""
    if "xml" not in media_type:
        return json.dumps(properties).encode()
    inside = "".join(f"<{name}>{escape(str(v))}</{name}>" for name, v in properties.items())
    return f"<{model}>{inside}</{model}>".encode()


class Wire:
    """The way to one server. Each request has a connection of its own."""

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"{base_url} is no http:// or https:// address")
        self.base_url = base_url.rstrip("/")
        self._host, self._port, self._netloc = parts.hostname, parts.port, parts.netloc
        self._prefix = parts.path.rstrip("/")
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None

    def send(self, request: Request) -> Answer:
        """Send *request* and read its answer.

        :raises OSError, http.client.HTTPException: where no answer of HTTP came.
        """
        connection = self._connection()
        try:
            connection.putrequest(
                request.method,
                self._prefix + request.target,
                skip_host=True,
                skip_accept_encoding=True,
            )
            for name, value in self._headers(request):
                connection.putheader(name, value.encode("latin-1"))
            try:
                chunks: Any = iter([request.body]) if request.is_chunked else request.body
                connection.endheaders(chunks or None, encode_chunked=request.is_chunked)
            except (BrokenPipeError, ConnectionResetError):
                pass  # a server may refuse a long body unread: its answer is there to read
            response = connection.getresponse()
            return Answer(request, response.status, response.msg, response.read())
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls:
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=_PATIENCE, context=self._tls
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=_PATIENCE)

    def _headers(self, request: Request) -> Iterable[tuple[str, str]]:
        given = {name.lower() for name in request.headers}
        if "host" not in given:
            yield "Host", self._netloc
        yield from request.headers.items()
        if request.is_chunked:
            yield "Transfer-Encoding", "chunked"
        elif "content-length" not in given and (request.body or request.method == "POST"):
            yield "Content-Length", str(len(request.body))
        yield "Connection", "close"
