"""Bodies of requests.

Most are a verify that is right in all but one thing, for an id that nobody has: a server that
reads the body says ``otp_incorrect``, and nothing is counted.
"""

from conformance.checks.ping import ELSEWHERE
from conformance.goldens import CALLS, NAMESPACES
from conformance.registry import check
from conformance.session import Session
from conformance.wire import JSON, MEDIA_TYPES, TEXT_XML, XML

ROOT = CALLS["verify"].model
READ = (400, "otp_incorrect")
MALFORMED = (400, "invalid_request")


def _json(s: Session, inside: str) -> bytes:
    """A body in JSON; ID and OTP stand for what is right."""
    return _filled(s, f"{{{inside}}}")


def _xml(s: Session, inside: str, attributes: str = "") -> bytes:
    return _filled(s, f"<{ROOT}{attributes}>{inside}</{ROOT}>")


def _filled(s: Session, text: str) -> bytes:
    return text.replace("ID", str(ELSEWHERE)).replace("OTP", "0" * s.options.digits).encode()


def _each(s: Session, bodies: list[bytes], kind: str, expected: tuple[int, str]) -> None:
    for body in bodies:
        s.expect(s.call("verify", body, kind), *expected)


_RIGHT_JSON = '"ProviderUserId": ID, "Otp": "OTP"'
_ID, _OTP = "<ProviderUserId>ID</ProviderUserId>", "<Otp>OTP</Otp>"


@check
def read(s: Session) -> None:
    """Each of the four types is read, with or without a charset of UTF-8. [2.2]"""
    for kind in MEDIA_TYPES:
        body = _xml(s, _ID + _OTP) if "xml" in kind else _json(s, _RIGHT_JSON)
        for written in (kind, kind.upper(), f"{kind}; charset=utf-8", f'{kind};charset="UTF-8"'):
            s.expect(s.call("verify", body, written), *READ)


@check
def sample(s: Session) -> None:
    """The vendor's sample, with its white space and declarations, is read. [2.2]"""
    _each(s, [_filled(s, f"{{\n  {_RIGHT_JSON.replace(', ', f',{chr(10)}  ')}\n}}")], JSON, READ)
    _each(s, [_xml(s, f"\n  {_ID}\n  {_OTP}\n", f" {NAMESPACES}")], XML, READ)


@check
def other_types(s: Session) -> None:
    """A body of another type, or of none, is 415. [2.2]"""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/*", None):
        answer = s.call("verify", _json(s, _RIGHT_JSON), kind)
        s.expect(answer, 415, "unsupported_media_type")
    s.expect(s.call("token", b"x=1", "text/plain"), 415, "invalid_request")


@check
def other_encodings(s: Session) -> None:
    """UTF-8 only: another encoding, declared or found, is 400; a byte order mark is read. [2.2]"""
    right, xml = _json(s, _RIGHT_JSON), _xml(s, _ID + _OTP)
    for kind, body in ((JSON, right), (XML, xml)):
        s.expect(s.call("verify", body, f"{kind}; charset=iso-8859-1"), *MALFORMED)
        s.expect(s.call("verify", body.decode().encode("utf-16"), kind), *MALFORMED)
        s.expect(s.call("verify", b"\xef\xbb\xbf" + body, kind), *READ)
    _each(s, [b'<?xml version="1.0" encoding="iso-8859-1"?>' + xml], XML, MALFORMED)
    _each(s, [b'<?xml version="1.0" encoding="utf-8"?>' + xml], XML, READ)
    _each(s, [right.replace(b"0", b"\xff", 1), right.replace(b"0", b"\x00", 1)], JSON, MALFORMED)


@check
def size(s: Session) -> None:
    """16 KiB are read; one byte more is 413, also in chunks. [2.2]"""
    body = _json(s, _RIGHT_JSON)
    for is_chunked in (False, True):
        most = s.call("verify", body.ljust(16384), is_chunked=is_chunked)
        s.expect(most, *READ)
        more = s.call("verify", body.ljust(16385), is_chunked=is_chunked)
        s.expect(more, 413, "too_large")
    s.expect(s.call("token", body.ljust(16385)), 413, "invalid_request")


@check
def depth(s: Session) -> None:
    """16 levels of nesting are read; 17 are 400. [2.2]"""
    for levels, expected in ((16, READ), (17, MALFORMED)):
        nested = "[" * (levels - 1) + "]" * (levels - 1)
        _each(s, [_json(s, f'{_RIGHT_JSON}, "x": {nested}')], JSON, expected)
        deep = "<x>" * (levels - 1) + "</x>" * (levels - 1)
        _each(s, [_xml(s, f"{_ID}{_OTP}{deep}")], XML, expected)


@check
def no_json(s: Session) -> None:
    """What is not one JSON object is 400. [2.2]"""
    _each(s, [b"x", b"[]", b"7", b'""', b"null null", b"  ", b'{"x":1,}', b"{}{}"], JSON, MALFORMED)
    _each(s, [_json(s, f'{_RIGHT_JSON}, "x": {v}') for v in ("NaN", "Infinity")], JSON, MALFORMED)


@check
def json_twice(s: Session) -> None:
    """A name given twice in JSON is 400, in any case, known or not. [2.2]"""
    more = ['"otp": "OTP"', '"x": 1, "X": 2', '"x": {"a": 1, "A": 1}']
    _each(s, [_json(s, f"{_RIGHT_JSON}, {each}") for each in more], JSON, MALFORMED)


@check
def json_names(s: Session) -> None:
    """Names in JSON match without regard to case; unknown ones are ignored. [2.2]"""
    bodies = ['"provideruserid": ID, "OTP": "OTP"', f'{_RIGHT_JSON}, "x": [1e999], "_links": []']
    _each(s, [_json(s, each.replace('"OTP":', '"oTP":')) for each in bodies], JSON, READ)


@check
def null(s: Session) -> None:
    """The literal null, and no body at all, count as an empty object. [2.2]"""
    for name in ("opt-in", "verify", "token", "refresh"):
        for body, kind in ((b"null", JSON), (b"", None), (b"{}", JSON)):
            s.expect(s.call(name, body, kind), *MALFORMED)


@check
def ids(s: Session) -> None:
    """An id in JSON is a number or digits, 1 to 2147483647. [1.3]"""
    _each(s, [_json(s, '"ProviderUserId": "ID", "Otp": "OTP"')], JSON, READ)
    for value in ("true", "1.0", "1e3", "0", "-1", '"01"', '"1 "', "2147483648", "[1]", '"+1"'):
        _each(s, [_json(s, f'"ProviderUserId": {value}, "Otp": "OTP"')], JSON, MALFORMED)


@check
def ids_in_xml(s: Session) -> None:
    """An id in XML is digits as they stand. [1.3]"""
    for value in ("01", "1.0", "true", " 1", "-1", "2147483648", ""):
        body = _xml(s, f"<ProviderUserId>{value}</ProviderUserId>{_OTP}")
        _each(s, [body], XML, MALFORMED)


@check
def otp_as_number(s: Session) -> None:
    """Otp as a JSON number is 400, and the sentence says why. [1.3]"""
    answer = s.call("verify", _json(s, '"ProviderUserId": ID, "Otp": 1234567'))
    s.expect(answer, *MALFORMED)
    said = str(answer.get("StatusMessage"))
    s.equal(answer, "leading zero" in said, True, "leading zeros in the sentence")


@check
def otp_spelling(s: Session) -> None:
    """White space and dashes in Otp are dropped; what is left is ASCII digits. [1.3]"""
    code = "0" * s.options.digits
    for otp in (f" {code[:3]} {code[3:]}\t", f"{code[:3]}-{code[3:]}", "\u2003\u2013" + code):
        s.expect(s.call("verify", {"ProviderUserId": ELSEWHERE, "Otp": otp}), *READ)
    for otp in (code + "0", code[1:], code[1:] + "a", code[1:] + "\u0661", "+" + code[1:], ""):
        for kind in (JSON, TEXT_XML):
            sent = {"ProviderUserId": ELSEWHERE, "Otp": otp}
            s.expect(s.call("verify", sent, kind), *MALFORMED)


@check
def root(s: Session) -> None:
    """In XML the root is the name of the model, in no namespace. [2.2]"""
    right = _xml(s, _ID + _OTP)
    others = ["OptInTo2FARequest", ROOT.lower(), f"x:{ROOT}"]
    bodies = [right.replace(ROOT.encode(), other.encode()) for other in others]
    _each(s, [*bodies, _xml(s, _ID + _OTP, ' xmlns="urn:x"')], XML, MALFORMED)


@check
def xml_names(s: Session) -> None:
    """In XML names are exact, children stand in any order, unknown ones are skipped. [2.2]"""
    _each(s, [_xml(s, _OTP + _ID), _xml(s, f"<x><Otp>1</Otp></x>{_ID}{_OTP}")], XML, READ)
    _each(s, [_xml(s, f"{_ID}<otp>OTP</otp>".replace("<otp>OTP", "<otp>1"))], XML, MALFORMED)


@check
def xml_twice(s: Session) -> None:
    """In XML a known property twice, with elements in it, or in a namespace is 400. [2.2]"""
    for more in (_OTP, '<Otp xmlns="urn:x">1</Otp>', '<x xmlns="urn:x"/>'):
        _each(s, [_xml(s, _ID + _OTP + more)], XML, MALFORMED)
    _each(s, [_xml(s, f"{_ID}<Otp>OTP<b/></Otp>")], XML, MALFORMED)


@check
def nil(s: Session) -> None:
    """xsi:nil is null: 400 for a required property. [2.2]"""
    absent = f'{_ID}<Otp xsi:nil="true"/>'
    answer = s.call("verify", _xml(s, absent, f" {NAMESPACES}"), XML)
    s.expect(answer, *MALFORMED)
    _each(s, [_xml(s, f'{_ID}<Otp xsi:nil="false">OTP</Otp>', f" {NAMESPACES}")], XML, READ)


@check
def dtd(s: Session) -> None:
    """A DTD of any kind, and any entity of one's own, is 400. [2.2]"""
    right = _xml(s, _ID + _OTP)
    entity = b'<!DOCTYPE x [<!ENTITY a "1">]>'
    outside = b'<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x">'
    _each(
        s, [f"<!DOCTYPE {ROOT}>".encode() + right, entity + right, outside + right], XML, MALFORMED
    )
    _each(s, [_xml(s, f"{_ID}<Otp>&nbsp;</Otp>")], XML, MALFORMED)


@check
def no_xml(s: Session) -> None:
    """What is not well-formed XML is 400; comments and CDATA change no value. [2.2]"""
    right = _xml(s, _ID + _OTP)
    _each(s, [b"x", b"{}", right[:-1], right + right, b"  "], XML, MALFORMED)
    _each(s, [_xml(s, f"{_ID}<Otp><!-- x --><![CDATA[OTP]]></Otp>")], XML, READ)


@check
def numbers(s: Session) -> None:
    """A MobileNumber that is none, or not a mobile's, is mobile_number_invalid. [1.3]"""
    for number in ("hello", "0491", "0491 570 156 0491 570 156 0491 570 156", "+61 2 5550 0123"):
        for kind in (JSON, TEXT_XML):
            s.expect(s.call("opt-in", {"MobileNumber": number}, kind), 400, "mobile_number_invalid")
    s.expect(s.call("opt-in", b'{"MobileNumber": 491570156}'), *MALFORMED)


@check
def regions(s: Session) -> None:
    """A mobile number of a country without texts is region_not_allowed. [4.2]"""
    falkland_islands = "+500 51234"  # a mobile number to which hardly any server sends texts
    number = "0491 572 549" if s.options.sandbox else falkland_islands
    answer = s.call("opt-in", {"MobileNumber": number})
    s.expect(answer, 400, "region_not_allowed")
