"""Bodies in: JSON, XML and forms, read strictly.

Each parser returns a flat ``dict`` of the properties that the request's model knows;
what it does not know is left out. Anything ambiguous is refused: two readers of one
body must not see two things.

The XML parser of djangorestframework-xml guesses types, which would break one code in
ten (``0123456`` becomes 123456), takes any root, keeps the last of two equal elements
and fails on deep input. Here leaves are text, the root is the model's name, and the
limits act while parsing.
"""

import json
import logging
import math
import re
import string
from collections.abc import Mapping
from typing import IO, Any
from urllib.parse import parse_qsl
from xml.etree.ElementTree import ParseError as MalformedXML

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser
from django.http import HttpRequest
from rest_framework.parsers import FormParser, JSONParser
from rest_framework_xml.parsers import XMLParser

from optin.api.answers import ApiError

MAX_BODY = 16 * 1024
"""Bytes of a body; a larger one is refused before it is parsed."""

MAX_DEPTH = 16
"""Levels of nesting that are looked at; a deeper body is refused."""

_UTF8 = {"utf-8", "utf8"}
_BOM = b"\xef\xbb\xbf"
# Each charset that a content type names: one of two is as good as none.
_CHARSET = re.compile(r";\s*charset\*?\s*=\s*\"?([^\s;\"]*)", re.IGNORECASE)
_XSI = "{http://www.w3.org/2001/XMLSchema-instance}"
# A lone surrogate cannot be written in UTF-8, a NUL cannot be kept by PostgreSQL.
_UNFIT = re.compile("[\x00\ud800-\udfff]")
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)

logger = logging.getLogger("optin.api")


class MalformedBody(Exception):
    """The body is not what its content type says; the message never repeats it."""


def read_body(request: HttpRequest) -> bytes | None:
    """Return the body, or nothing if it breaks off or is badly chunked.

    :raises ApiError: if it is larger than ``MAX_BODY``.
    """
    declared = request.META.get("CONTENT_LENGTH") or ""
    # A text of more digits is no number to int(), and larger in any case.
    length = int(declared[:20]) if declared.isascii() and declared.isdigit() else None
    if length is not None and length > MAX_BODY:
        raise ApiError("too_large")
    # Without a length there is a body only if it is chunked; Django would not read it.
    stream = request if declared else request.META.get("wsgi.input")
    if stream is None or not (declared or request.META.get("wsgi.input_terminated")):
        return b""
    try:
        body: bytes = stream.read(MAX_BODY + 1)
    except Exception as exc:
        # Servers raise what they like for a body that breaks off or is badly chunked. Not
        # their words, which may repeat it.
        logger.info("a body could not be read: %s", type(exc).__name__)
        return None
    if len(body) > MAX_BODY:
        raise ApiError("too_large")
    # A part is not the whole: half a password is not a wrong one.
    return None if length is not None and len(body) < length else body


class ApplicationJSON(JSONParser):
    """One JSON object. ASCII letters in names may be in upper or lower case.

    The vendor's client posts the literal ``null`` where it has nothing to send.
    """

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        data = read_json(stream.read(), media_type)
        known = {name.lower(): name for name in _fields(parser_context)}
        return {known[fold(name)]: value for name, value in data.items() if fold(name) in known}


def read_json(body: bytes, media_type: str | None) -> dict[str, Any]:
    """Return the object that *body* is; the literal ``null`` is an empty one.

    :raises MalformedBody: if it is none, or holds what cannot be kept.
    """
    try:
        data = json.loads(
            _decode(body, media_type),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_int=_whole,
        )
    except (ValueError, RecursionError) as exc:
        raise MalformedBody("The body is not well-formed JSON.") from exc
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise MalformedBody("The body must be one JSON object.")
    _check(data, MAX_DEPTH)
    return data


class TextJSON(ApplicationJSON):
    media_type = "text/json"


class ApplicationXML(XMLParser):
    """One element, named after the model, that holds its properties as text."""

    media_type = "application/xml"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, str | None]:
        context = parser_context or {}
        text = _decode(stream.read(), media_type)
        reader = _Properties(context["root"], set(_fields(context)))
        parser = DefusedXMLParser(target=reader, encoding="utf-8", forbid_dtd=True)
        parser.parser.XmlDeclHandler = _check_declaration
        try:
            parser.feed(text.encode())
            parser.close()
        except (MalformedXML, DefusedXmlException, ValueError) as exc:
            raise MalformedBody("The body is not well-formed XML without a DTD.") from exc
        return reader.properties


class TextXML(ApplicationXML):
    media_type = "text/xml"


class Form(FormParser):
    """An HTML form, for token calls only (RFC 6749, appendix B)."""

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        text = _decode(stream.read(), media_type)
        try:
            pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=100)
        except ValueError as exc:
            raise MalformedBody("The body is not a well-formed form.") from exc
        data = _unique(pairs)
        _check(data, MAX_DEPTH)
        return {name: data[name] for name in _fields(parser_context) if name in data}


class _Properties:
    """Reads one flat element; the target of an XML parser, so limits act at once."""

    def __init__(self, root: str, known: set[str]) -> None:
        self.properties: dict[str, str | None] = {}
        self._root = root
        self._known = known
        self._path: list[str] = []
        self._text: list[str] = []
        self._nil = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag.startswith("{") or any(not name.startswith(_XSI) for name in attributes):
            raise MalformedBody(
                "Elements must be in no namespace, with no attributes but those of xsi."
            )
        self._path.append(tag)
        if len(self._path) > MAX_DEPTH:
            raise MalformedBody("The body is nested too deeply.")
        if self._path[0] != self._root:
            raise MalformedBody(f"The root element must be {self._root}.")
        if len(self._path) == 2:
            if tag in self.properties:
                raise MalformedBody("A property is given twice.")
            self._text = []
            self._nil = attributes.get(f"{_XSI}nil", "").strip() in {"true", "1"}
        elif len(self._path) > 2 and self._path[1] in self._known:
            raise MalformedBody("A property holds elements.")

    def data(self, text: str) -> None:
        if len(self._path) == 2:
            self._text.append(text)

    def end(self, tag: str) -> None:
        if len(self._path) == 2 and tag in self._known:
            self.properties[tag] = None if self._nil else "".join(self._text)
        self._path.pop()

    def close(self) -> None:
        """Nothing is left to do: the parser has checked that all is closed."""


def _decode(body: bytes, content_type: str | None) -> str:
    """Return the text of *body*, which is UTF-8 with or without a byte order mark."""
    if any(name.lower() not in _UTF8 for name in _CHARSET.findall(content_type or "")):
        raise MalformedBody("The body must be in UTF-8.")
    try:
        text = body.removeprefix(_BOM).decode("utf-8")
    except UnicodeDecodeError as exc:
        raise MalformedBody("The body must be in UTF-8.") from exc
    if text.startswith("\ufeff"):
        raise MalformedBody("The body has two byte order marks.")
    if "\x00" in text:
        raise MalformedBody("The body holds a NUL.")
    return text


def _check_declaration(version: str, encoding: str | None, standalone: int) -> None:
    if encoding and encoding.lower() not in _UTF8:
        raise MalformedBody("The body must be in UTF-8.")


def _fields(context: Mapping[str, Any] | None) -> list[str]:
    return list((context or {})["fields"])


def fold(name: str) -> str:
    """Return *name* with ASCII letters in lower case."""
    # Not lower(): that also turns the Kelvin sign into a k.
    return name.translate(_LOWER)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len({fold(name) for name in data}) != len(pairs):
        raise MalformedBody("A property is given twice.")
    return data


def _refuse_constant(name: str) -> None:
    raise ValueError("not a JSON number")


def _whole(text: str) -> float:
    """Return a number; infinity where int() might refuse it for its length, as float() does.

    No property takes a number so large, and one that is not known is ignored.
    """
    return int(text) if len(text) < 20 else math.inf


def _check(value: object, depth: int) -> None:
    """Refuse what is nested more than *depth* levels or holds text unfit to keep."""
    if isinstance(value, str):
        if _UNFIT.search(value):
            raise MalformedBody("The body holds text that is not Unicode.")
    elif isinstance(value, dict):
        _check(list(value.keys()), depth)
        _check(list(value.values()), depth)
    elif isinstance(value, list):
        if depth == 0:
            raise MalformedBody("The body is nested too deeply.")
        for inner in value:
            _check(inner, depth - 1)
