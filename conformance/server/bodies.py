"""The body of a request as properties (sections 1.2, 1.3 and 2.2 of the contract)."""

import json
import re
import string
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from defusedxml.ElementTree import fromstring

from conformance.wire import FORM, Request

CODES = {"opt-in": "0123456", "sign-in": "0234567", "opt-out": "0345678"}
"""The code of each purpose, always. They begin with a zero: some clients lose it."""

MOST_BYTES, _MOST_LEVELS, _MOST_ID = 16384, 16, 2147483647
_XSI = "{http://www.w3.org/2001/XMLSchema-instance}"
_UTF8 = {"utf-8", "utf8"}
_DASHES = r"[\s\u2010-\u2015-]"
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


@dataclass
class Malformed(Exception):
    """What is wrong with a body: a sentence that repeats nothing of it, and the section."""

    told: str
    section: str = "2.2"


def fold(name: str) -> str:
    """Return *name* without regard to ASCII case."""
    return name.translate(_LOWER)


def clean(code: str) -> str:
    """Return *code* without white space and dashes, as it counts."""
    return re.sub(_DASHES, "", code).upper()


def is_id(value: object) -> bool:
    """Whether *value* is an id: a number, or digits without a leading zero."""
    if isinstance(value, str) and re.fullmatch("[1-9][0-9]{0,9}", value):
        value = int(value)
    return type(value) is int and 1 <= value <= _MOST_ID


def read(request: Request, model: str) -> Any:
    """Return the properties in the body of *request*, with the names of the contract.

    :raises Malformed: where it cannot be read.
    """
    kind, _, parameters = request.headers.get("content-type", "").lower().partition(";")
    charset = re.search(r"charset=\"?([^\s;\"]*)", parameters)
    if charset and charset[1] not in _UTF8:
        raise Malformed("The charset is not utf-8.")
    try:
        text = request.body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Malformed("The body is not UTF-8.") from None
    if "\0" in text:
        raise Malformed("The body has a NUL in it.")
    if not request.body:
        return {}
    if kind.strip() == FORM:
        return _form(text)
    return _xml(text, model) if "xml" in kind else _json(text, names(model))


def _form(text: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=100)
    except ValueError:
        raise Malformed("The form has more than 100 fields.") from None
    _once([name for name, _ in pairs])
    return dict(pairs)


def _once(names: Collection[str]) -> None:
    if len({fold(name) for name in names}) < len(names):
        raise Malformed("A name was given twice in the body.")


def _json(text: str, names: Collection[str]) -> Any:
    def pairs(given: list[tuple[str, object]]) -> dict[str, object]:
        _once([name for name, _ in given])
        return dict(given)

    def constant(_: str) -> None:
        raise Malformed("NaN and Infinity are no JSON.")

    level = 0
    for bracket in re.findall(r"[\[\]{}]", re.sub(r'"(?:[^"\\]|\\.)*"', "", text)):
        level += 1 if bracket in "[{" else -1
        if level > _MOST_LEVELS:
            raise Malformed("The body is nested over 16 levels deep.")
    try:
        data = json.loads(
            text,
            object_pairs_hook=pairs,
            parse_constant=constant,
            parse_int=lambda digits: int(digits[:20]),  # more are too many for int(), and no id
        )
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Malformed("The body has half a surrogate pair in it.") from None
    except ValueError:
        raise Malformed("The body is not JSON.") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise Malformed("The body is not one JSON object.")
    known = {fold(name): name for name in names}
    return {known.get(fold(name), name): value for name, value in data.items()}


def _xml(text: str, model: str) -> dict[str, str | None]:
    declared = re.match(r"<\?xml[^>]*?encoding\s*=\s*[\"']([^\"']*)", text)
    if declared and declared[1].lower() not in _UTF8:
        raise Malformed("The XML declares another encoding than UTF-8.")
    try:
        root = fromstring(text.encode(), forbid_dtd=True)
    except (SyntaxError, ValueError):
        raise Malformed("The body is not well-formed XML, or has a DTD.") from None
    level = [root]
    for _ in range(_MOST_LEVELS):
        if any(element.tag.startswith("{") for element in level):
            raise Malformed("An element of the XML is in a namespace.")
        if any(not name.startswith(_XSI) for element in level for name in element.keys()):  # noqa: SIM118
            raise Malformed("The XML has an attribute that is not of xsi.")
        level = [child for element in level for child in element]
    if level:
        raise Malformed("The body is nested over 16 levels deep.")
    if root.tag != model:
        raise Malformed(f"The root of the XML is not {model}.")
    known = [child for child in root if child.tag in names(model)]
    if len({child.tag for child in known}) < len(known):
        raise Malformed("A property was given twice in the XML.")
    if any(len(child) for child in known):
        raise Malformed("A property of the XML has elements in it.")
    unknown = {child.tag: None for child in root if child not in known}
    return unknown | {
        child.tag: None if child.get(f"{_XSI}nil") in {"true", "1"} else child.text or ""
        for child in known
    }


# The properties of each model (1.2), with the fewest and the most characters; () is an id.
_REQUESTS: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "": {},
    "OptInTo2FARequest": {"MobileNumber": (1, MOST_BYTES)},  # too long: mobile_number_invalid
    "Verify2FAOptInRequest": {"ProviderUserId": (), "Otp": (1, 64)},
    "OptOutFrom2FARequest": {"Otp": (0, 64)},
    "OAuthPasswordCredentialsGrantRequest": {
        "grant_type": (1, MOST_BYTES),
        "username": (1, 254),
        "password": (1, 1024),
        "scope": (0, 1024),
        "verification_code": (0, 64),
    },
    "OAuthRefreshAccessTokenRequest": {
        "grant_type": (1, MOST_BYTES),
        "refresh_token": (1, 512),
        "scope": (0, 1024),
    },
}


def names(model: str) -> Collection[str]:
    """Return the properties that a request of *model* may have."""
    return _REQUESTS[model]


def faults(model: str, properties: Mapping[str, object]) -> list[Malformed]:
    """Return all that is wrong with the *properties* of a request of *model*."""
    found = [_fault(name, properties.get(name), *size) for name, size in _REQUESTS[model].items()]
    return [fault for fault in found if fault]


def _fault(name: str, value: object, *size: int) -> Malformed | None:
    if value in (None, ""):
        return Malformed(f"{name} is missing.", "1.2") if size[:1] != (0,) else None
    if not size:
        wrong = f"{name} is no id: 1 to 2147483647, in digits, without a leading zero."
        return None if is_id(value) else Malformed(wrong, "1.3")
    if not isinstance(value, str):
        if name == "Otp" and type(value) is int:
            return Malformed("Otp is a JSON number: a number loses leading zeros.", "1.3")
        return Malformed(f"{name} is not a string.", "1.2")
    if len(value) > size[1]:
        return Malformed(f"{name} is longer than {size[1]} characters.", "1.2")
    code = clean(value)
    if name == "Otp" and (code or size[0]) and not re.fullmatch("[0-9]{7}", code):
        lost = " It has lost its leading zero." if f"0{code}" in CODES.values() else ""
        return Malformed(f"Otp is not 7 digits.{lost}", "1.3")
    if name == "verification_code" and not re.fullmatch("|[0-9]{6,7}|[0-9A-TV-Z]{16}", code):
        return Malformed("verification_code is none of the codes that there are.", "1.3")
    return None
