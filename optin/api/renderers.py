"""Answers in JSON and XML, and which of them a request gets.

The XML renderer of djangorestframework-xml writes a declaration and a root of its own;
here the root is the model's name, with the declarations of the vendor's samples, so
that .NET's ``XmlSerializer`` reads it.
"""

import json
from collections.abc import Iterable, Mapping
from io import StringIO
from typing import Any
from xml.sax.xmlreader import AttributesImpl

from django.utils.xmlutils import SimplerXMLGenerator
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework_xml.renderers import XMLRenderer

from optin.api.answers import Body

JSON = "application/json"
MEDIA_TYPES = (JSON, "text/json", "application/xml", "text/xml")
"""Media types of the calls, in order of preference."""

_NAMESPACES = {
    "xmlns:xsd": "http://www.w3.org/2001/XMLSchema",
    "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
}


class ApplicationJSON(JSONRenderer):
    media_type = JSON
    charset = "utf-8"
    ensure_ascii = True


class TextJSON(ApplicationJSON):
    media_type = "text/json"


class ApplicationXML(XMLRenderer):
    """Write a ``Body`` as its root element: no declaration, no white space between.

    A bare boolean, the answer of ping, is one element without any namespace. What is None has no
    element.
    """

    media_type = "application/xml"
    item_tag_name = "Link"

    def render(
        self,
        data: Body | bool | None,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> str:
        if data is None:
            return ""
        if isinstance(data, bool):
            return f"<boolean>{str(data).lower()}</boolean>"
        stream = StringIO()
        xml = SimplerXMLGenerator(stream, self.charset)
        xml.startElement(data.root, AttributesImpl(_NAMESPACES))
        # XmlSerializer reads elements in the order of the vendor's sample: links first.
        self._to_xml(xml, dict(sorted(data.items(), key=lambda item: item[0] != "_links")))
        xml.endElement(data.root)
        return stream.getvalue()

    def _to_xml(self, xml: SimplerXMLGenerator, data: Any) -> None:
        if isinstance(data, list):
            for item in data:
                name = item.root if isinstance(item, Body) else self.item_tag_name
                super()._to_xml(xml, {name: item})
        elif isinstance(data, dict):
            super()._to_xml(xml, {key: each for key, each in data.items() if each is not None})
        else:
            super()._to_xml(xml, data)


class TextXML(ApplicationXML):
    media_type = "text/xml"


class Scim(BaseRenderer):
    media_type = "application/scim+json"
    format = "scim"

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        return b"" if data is None else json.dumps(data).encode()


RENDERERS: list[type[BaseRenderer]] = [ApplicationJSON, TextJSON, ApplicationXML, TextXML]
_UNWANTED = (0.0, 0)  # a q-value, and minus the place in the header
_BY_MEDIA_TYPE = {renderer.media_type: renderer() for renderer in RENDERERS}


class Negotiation(BaseContentNegotiation):
    """Content negotiation that never fails."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        kind = media_type(request.META.get("CONTENT_TYPE", ""))
        return next((parser for parser in parsers if parser.media_type == kind), None)

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        renderer = renderer_for(request.META)
        return renderer, str(renderer.media_type)


def renderer_for(meta: Mapping[str, Any]) -> BaseRenderer:
    """Return the renderer for a request with these WSGI variables.

    ``Accept`` comes first. Where it is missing, or nothing in it but ``*/*`` fits, the
    answer has the type of the request's body; else it is JSON.
    """
    body = media_type(meta.get("CONTENT_TYPE", ""))
    own = body if body in _BY_MEDIA_TYPE else JSON
    return _BY_MEDIA_TYPE[_accepted(meta.get("HTTP_ACCEPT", ""), [own, *MEDIA_TYPES]) or own]


def asks_for_data(meta: Mapping[str, Any]) -> bool:
    """Whether a request with these WSGI variables wants JSON or XML rather than a page.

    It looks at ``Accept``. If that is missing, or only ``*/*`` fits, it looks at the type of the
    request's body.
    """
    body = media_type(meta.get("CONTENT_TYPE", ""))
    accepted = _accepted(meta.get("HTTP_ACCEPT", ""), ["text/html", *MEDIA_TYPES])
    return (accepted or body) in _BY_MEDIA_TYPE


def media_type(content_type: str) -> str:
    """Return the media type of a ``Content-Type`` header, without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def _accepted(header: str, offered: Iterable[str]) -> str | None:
    """Return the type of *offered* that *header* prefers; ``*/*`` does not count.

    The entry of a type overrides that of its family (RFC 9110, section 12.5.1). Among equals, the
    first in the header wins, then the first of *offered*.
    """
    wanted: dict[str, tuple[float, int]] = {}
    for place, entry in enumerate(header.lower().split(",")):
        name, *parameters = (part.strip() for part in entry.split(";"))
        wanted[name] = max(wanted.get(name, _UNWANTED), (_quality(parameters), -place))

    def rank(kind: str) -> tuple[float, int]:
        family = f"{kind.partition('/')[0]}/*"
        return wanted.get(kind) or wanted.get(family) or _UNWANTED

    best = max(offered, key=rank)
    return best if rank(best)[0] > 0 else None


def _quality(parameters: Iterable[str]) -> float:
    """Return the q-value among *parameters*: 1 without one, 0 for a malformed one."""
    text = next((p.removeprefix("q=") for p in parameters if p.startswith("q=")), "1")
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0 <= quality <= 1 else 0.0
