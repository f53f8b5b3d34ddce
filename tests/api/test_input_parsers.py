"""Bodies in: what the parsers refuse, what they read, and that there is nothing between."""

import io
import json
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework.parsers import BaseParser

from optin.api import parsers
from optin.api.parsers import MalformedBody
from tests.api.bodies import (
    BODIES,
    FORM_REFUSED,
    JSON_REFUSED,
    MARK,
    ROOT,
    XML_REFUSED,
    XSD,
    XSI,
    otp,
    xml,
)

FIELDS = ["ProviderUserId", "Otp"]
CONTEXT = {"root": ROOT, "fields": FIELDS}

JSON = [parsers.ApplicationJSON, parsers.TextJSON]
XML = [parsers.ApplicationXML, parsers.TextXML]
EVERY: list[type[BaseParser]] = [*JSON, *XML, parsers.Form]


REFUSED = [
    *(pytest.param(p, b, id=f"{p.media_type}: {n}") for p in JSON for n, b in JSON_REFUSED.items()),
    *(pytest.param(p, b, id=f"{p.media_type}: {n}") for p in XML for n, b in XML_REFUSED.items()),
    *(pytest.param(parsers.Form, b, id=f"form: {n}") for n, b in FORM_REFUSED.items()),
]

# What the process opens or connects to, while it is watched.
_touched: list[str] | None = None


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if _touched is not None and event in {"open", "socket.connect", "socket.getaddrinfo"}:
        _touched.append(f"{event} {arguments}")


sys.addaudithook(_audit)


@contextmanager
def watched() -> Iterator[list[str]]:
    """Collect what the process opens or connects to within the block."""
    global _touched
    touched: list[str] = []
    _touched = touched
    try:
        yield touched
    finally:
        _touched = None


def read(parser: type[BaseParser], body: bytes, content_type: str = "") -> Any:
    return parser().parse(io.BytesIO(body), content_type or str(parser.media_type), CONTEXT)


# -- refused -----------------------------------------------------------------------


@pytest.mark.parametrize(("parser", "body"), REFUSED)
def test_refused(parser: type[BaseParser], body: bytes) -> None:
    """S-20, S-21, S-22, S-23. Refused, fetching nothing, repeating nothing, within 50 ms.

    Of processor time: other work on the machine does not count, nor does, in the best of three,
    what else this process has to do.
    """
    with watched() as touched, pytest.raises(MalformedBody) as caught:
        read(parser, body)

    assert not touched
    assert MARK not in str(caught.value)
    assert len(body) > 16 * 1024 or min(_seconds_to_refuse(parser, body) for _ in range(3)) < 0.05


def _seconds_to_refuse(parser: type[BaseParser], body: bytes) -> float:
    started = time.process_time()
    with pytest.raises(MalformedBody):
        read(parser, body)
    return time.process_time() - started


@pytest.mark.parametrize("parser", EVERY)
@pytest.mark.parametrize(
    "parameters",
    [
        *('charset="latin1"', "charset=", "charset=utf-8; charset=utf-16", "x=1;CHARSET = utf-16"),
        *("charset=utf-16; charset=utf-8", "charset*=utf-8''utf-16"),
    ],
)
def test_content_type_that_names_another_encoding(
    parser: type[BaseParser], parameters: str
) -> None:
    """S-22: whatever the body is, it was declared to be something else."""
    with pytest.raises(MalformedBody):
        read(parser, GOOD[parser], f"{parser.media_type}; {parameters}")


# -- read --------------------------------------------------------------------------

GOOD: dict[type[BaseParser], bytes] = {
    **dict.fromkeys(JSON, b'{"ProviderUserId":"7","Otp":"0123456"}'),
    **dict.fromkeys(XML, otp("0123456")),
    parsers.Form: b"ProviderUserId=7&Otp=0123456",
}


@pytest.mark.parametrize("parser", EVERY)
def test_utf8_with_or_without_a_mark(parser: type[BaseParser]) -> None:
    """S-22."""
    for body in (GOOD[parser], b"\xef\xbb\xbf" + GOOD[parser]):
        for parameters in ("", "; charset=utf-8", ';charset="UTF-8"', "; a=b"):
            properties = read(parser, body, f"{parser.media_type}{parameters}")
            assert properties == {"ProviderUserId": "7", "Otp": "0123456"}


@pytest.mark.parametrize("parser", JSON)
@pytest.mark.parametrize(
    ("body", "properties"),
    [
        pytest.param('{"otp":"1"}', {"Otp": "1"}, id="lower case"),
        pytest.param('{"PROVIDERUSERID":7}', {"ProviderUserId": 7}, id="upper case, a number"),
        pytest.param('{"Otp":null}', {"Otp": None}, id="null"),
        pytest.param('{"Otp":["1","2"]}', {"Otp": ["1", "2"]}, id="a list stays a list"),
        pytest.param('{"Otp":1234567}', {"Otp": 1234567}, id="a number stays a number"),
        pytest.param('{"Otp":true}', {"Otp": True}, id="a boolean stays a boolean"),
        pytest.param('{"Otp":"\\ud83d\\ude00"}', {"Otp": "\U0001f600"}, id="a surrogate pair"),
        pytest.param('{"Otp":"1","x":{"Otp":"2"}}', {"Otp": "1"}, id="a name further in"),
        pytest.param('{"x":[{"a":1},{"a":2}]}', {}, id="one name in two objects"),
        pytest.param('{"Prov\u0130derUserId":7}', {}, id="a dotted I"),
        pytest.param('{"Otp":"1","x":{"y":-1e999}}', {"Otp": "1"}, id="1e999, unknown"),
        pytest.param(f'{{"Otp":"1","x":{"9" * 5000}}}', {"Otp": "1"}, id="5000 digits, unknown"),
    ],
)
def test_json_is_read(parser: type[BaseParser], body: str, properties: dict[str, Any]) -> None:
    assert read(parser, body.encode()) == properties


@pytest.mark.parametrize("parser", JSON)
@pytest.mark.parametrize("name", ["to\u212aen", "TO\u212aEN", "\u017fcope", "pa\u017fsword"])
def test_letters_that_only_look_alike_are_other_names(parser: type[BaseParser], name: str) -> None:
    """The Kelvin sign and the long s become k and s in ``lower()`` or ``casefold()``."""
    context = {"root": "X", "fields": ["token", "scope", "password"]}
    body = json.dumps({name: "1"}).encode()

    assert parser().parse(io.BytesIO(body), "application/json", context) == {}


@pytest.mark.parametrize("parser", XML)
@pytest.mark.parametrize(
    ("body", "value"),
    [
        pytest.param(otp("0123456"), "0123456", id="leading zero"),
        pytest.param(otp("+61491570156"), "+61491570156", id="no number"),
        pytest.param(otp("1e5"), "1e5", id="no decimal"),
        pytest.param(otp(""), "", id="empty"),
        pytest.param(otp(" 1 "), " 1 ", id="blanks stay"),
        pytest.param(b"<?xml version='1.0' encoding='UTF-8'?>" + otp("1"), "1", id="declaration"),
        pytest.param(b"<!-- a --><?b c?>" + otp("1") + b"<!-- d -->\n", "1", id="prolog"),
        pytest.param(xml("<Otp>1</Otp>", f" {XSD} {XSI}"), "1", id="xsd and xsi declared"),
        pytest.param(xml("<Otp>1</Otp>", ' xmlns=""'), "1", id="no namespace, declared"),
        pytest.param(
            xml("<Otp>1</Otp>", f' {XSI} xsi:schemaLocation="urn:a http://127.0.0.1:9/"'),
            "1",
            id="a place of a schema",
        ),
        pytest.param(xml('<Otp xsi:type="xsd:int">01</Otp>', f" {XSD} {XSI}"), "01", id="a type"),
        pytest.param(xml('<Otp xsi:nil="true"/>', f" {XSI}"), None, id="nil"),
        pytest.param(xml('<Otp i:nil="true"/>', f" {XSI.replace(':xsi', ':i')}"), None, id="i:nil"),
        pytest.param(xml('<Otp xsi:nil="false">1</Otp>', f" {XSI}"), "1", id="not nil"),
        pytest.param(xml("<x><Otp>9</Otp></x><Otp>1</Otp>"), "1", id="an unknown subtree"),
        pytest.param(xml("<x>1</x><x>2</x><Otp>1</Otp>"), "1", id="an unknown element twice"),
        pytest.param(xml("<otp>9</otp><Otp>1</Otp>"), "1", id="another case is another name"),
        pytest.param(xml("8<x/>9<Otp>1</Otp>"), "1", id="text between elements"),
    ],
)
def test_xml_is_read(parser: type[BaseParser], body: bytes, value: str | None) -> None:
    """S-21: a value is its text, however it is written."""
    with watched() as touched:
        properties = read(parser, body)

    assert properties["Otp"] == value
    assert properties.keys() <= set(FIELDS)
    assert not touched


@pytest.mark.parametrize(
    ("body", "properties"),
    [
        (b"Otp=0123456&ProviderUserId=7", {"Otp": "0123456", "ProviderUserId": "7"}),
        (b"Otp=01+23%2B456", {"Otp": "01 23+456"}),
        (b"Otp=%C3%A9", {"Otp": "é"}),
        (b"Otp", {"Otp": ""}),
        (b"otp=1&x=2", {}),
        (b"Otp=1;ProviderUserId=2", {"Otp": "1;ProviderUserId=2"}),
        (b"&".join(b"a%d=1" % n for n in range(99)) + b"&Otp=1", {"Otp": "1"}),
    ],
)
def test_form_is_read(body: bytes, properties: dict[str, str]) -> None:
    assert read(parsers.Form, body) == properties


# -- whatever is sent --------------------------------------------------------------


def _is_plain(value: object) -> bool:
    """Whether *value* is JSON that can be kept: no NaN, Unicode text."""
    if isinstance(value, str):
        return "\x00" not in value and value.encode().decode() == value
    if isinstance(value, dict):
        return all(_is_plain(name) and _is_plain(inner) for name, inner in value.items())
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, float):
        return not math.isnan(value)
    return value is None or isinstance(value, bool | int)


@settings(max_examples=400, deadline=None)
@given(parser=st.sampled_from(EVERY), body=BODIES)
def test_any_bytes_are_refused_or_a_flat_dict(parser: type[BaseParser], body: bytes) -> None:
    """The law: no other exception, no other name, no value that cannot be kept."""
    try:
        properties = read(parser, body)
    except MalformedBody:
        return
    assert type(properties) is dict
    assert properties.keys() <= set(FIELDS)
    if parser in JSON:
        assert all(map(_is_plain, properties.values()))
    else:
        assert all(v is None or (isinstance(v, str) and _is_plain(v)) for v in properties.values())


# XML has no control characters but these; a bare return would become a line feed.
_XML_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]) | st.sampled_from("\t\n"))
_WRITTEN = [
    escape,
    lambda text: f"<![CDATA[{text.replace(']]>', ']]]]><![CDATA[>')}]]>",
    lambda text: "".join(f"&#{ord(char)};" for char in text),
    lambda text: "".join(f"&#x{ord(char):x};" for char in text),
    lambda text: f"<!-- 9 -->{escape(text)}",
    lambda text: f"{escape(text)}<?a 9?>",
]


@settings(max_examples=200, deadline=None)
@given(parts=st.lists(st.tuples(_XML_TEXT, st.sampled_from(_WRITTEN)), max_size=5))
def test_how_a_value_is_written_does_not_change_it(parts: list[tuple[str, Any]]) -> None:
    """S-21: comments, CDATA, instructions and references in any mix."""
    value = "".join(text for text, _ in parts)
    body = otp("".join(write(text) for text, write in parts))

    assert read(parsers.ApplicationXML, body)["Otp"] == value


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18) + 1, 10**18 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(
    value=_VALUES, swap=st.lists(st.booleans(), min_size=3, max_size=3), ascii_only=st.booleans()
)
def test_json_values_are_read_as_they_were_written(
    value: object, swap: list[bool], ascii_only: bool
) -> None:
    name = "".join(c.swapcase() if s else c for c, s in zip("Otp", swap, strict=True))
    body = json.dumps({name: value}, ensure_ascii=ascii_only).encode()

    assert read(parsers.ApplicationJSON, body) == {"Otp": value}
