"""Bodies that the parsers refuse, beside those of conformance.checks.bodies."""

from hypothesis import strategies as st

ROOT = "Verify2FAOptInRequest"

MARK = "zebra7391"
"""Stands in most of the refused bodies: no answer may repeat it."""

XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
XSD = 'xmlns:xsd="http://www.w3.org/2001/XMLSchema"'
UTF16 = '<?xml version="1.0" encoding="UTF-16"?>'


def xml(inside: str, attributes: str = "") -> bytes:
    """The request's element with *inside* in it."""
    return f"<{ROOT}{attributes}>{inside}</{ROOT}>".encode()


def otp(inside: str, attributes: str = "") -> bytes:
    return xml(f"<ProviderUserId>7</ProviderUserId><Otp{attributes}>{inside}</Otp>")


def nested_json(levels: int) -> bytes:
    """An object whose lists and objects are nested *levels* deep, itself included."""
    return b'{"x":' * (levels - 1) + b"{}" + b"}" * (levels - 1)


def nested_xml(levels: int) -> bytes:
    return xml("<x>" * (levels - 1) + "</x>" * (levels - 1))


LAUGHS = (
    '<!DOCTYPE x [<!ENTITY a "ha">'
    + "".join(
        f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    + f"]><{ROOT}><Otp>&i;{MARK}</Otp></{ROOT}>"
)

JSON_REFUSED = {
    "a property twice": f'{{"Otp":"{MARK}","Otp":"{MARK}"}}'.encode(),
    "an unknown property twice, with other letters": '{"Éa":1,"ÉA":2}'.encode(),
    "a property twice, by escapes": b'{"Otp":"0123456","\\u004ftp":"0123456"}',
    "-Infinity, unknown": b'{"x":[-Infinity]}',
    "an escaped NUL": b'{"Otp":"\\u0000"}',
    "an escaped NUL, unknown": b'{"x":[["\\u0000"]]}',
    "a lone surrogate": b'{"Otp":"\\ud800"}',
    "a lone surrogate, unknown": b'{"x":"a\\udfffb"}',
    "a lone surrogate in UTF-8": b'{"Otp":"\xed\xa0\x80"}',
    "an overlong encoding": b'{"Otp":"\xc0\xb0"}',
    "two byte order marks": b"\xef\xbb\xbf\xef\xbb\xbf{}",
    "17 levels of objects": nested_json(17),
    "100 000 levels": nested_json(100_000),
    "100 000 opening brackets": b"[" * 100_000,
}

XML_REFUSED = {
    "a DTD of its own": f"<!DOCTYPE {ROOT} [<!ELEMENT Otp ANY>]>".encode() + otp(MARK),
    "a DTD from elsewhere": f'<!DOCTYPE x SYSTEM "http://127.0.0.1:9/{MARK}">'.encode() + otp("1"),
    "an unused entity": f'<!DOCTYPE x [<!ENTITY a "{MARK}">]>'.encode() + otp("0123456"),
    "entities of entities": LAUGHS.encode(),
    "an external entity": b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]>' + otp("&a;"),
    "a parameter entity": b'<!DOCTYPE x [<!ENTITY % a SYSTEM "http://127.0.0.1:9/x"> %a;]>'
    + otp("1"),
    "an attribute default": b'<!DOCTYPE x [<!ATTLIST Otp a CDATA "1">]>' + otp("0123456"),
    "an XInclude": xml(
        '<Otp><xi:include xmlns:xi="http://www.w3.org/2001/XInclude" parse="text" '
        'href="file:///etc/hostname"/></Otp>'
    ),
    "an XInclude, unknown": xml(
        '<x><xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="/etc/hostname"/></x>'
    ),
    "a prefixed root": f'<a:{ROOT} xmlns:a="urn:a"><Otp>{MARK}</Otp></a:{ROOT}>'.encode(),
    "a prefixed property": xml("<a:Otp>0123456</a:Otp>", ' xmlns:a="urn:a"'),
    "a namespace, unknown and within": xml('<x><y xmlns="urn:a"/></x>'),
    "an element of xsi": xml("<xsi:Otp>0123456</xsi:Otp>", f" {XSI}"),
    "a property twice, one nil": xml(f'<Otp xsi:nil="true"/><Otp>{MARK}</Otp>', f" {XSI}"),
    "a property in a property": otp(f"<Otp>{MARK}</Otp>"),
    "an attribute": otp(MARK, ' type="string"'),
    "an attribute on the root": xml("<Otp>0123456</Otp>", f' version="{MARK}"'),
    "an attribute, unknown and within": xml(f'<x><y z="{MARK}"/></x>'),
    "an attribute of xml:": otp("0123456", ' xml:space="preserve"'),
    "an attribute of what begins like xsi": xml(
        '<Otp a:nil="true">0123456</Otp>', ' xmlns:a="http://www.w3.org/2001/XMLSchema-instance}x"'
    ),
    "a NUL": otp("012\x003456"),
    "a reference to a surrogate": otp("&#xD800;"),
    "invalid UTF-8": b"<" + ROOT.encode() + b"><Otp>\xff</Otp></" + ROOT.encode() + b">",
    "UTF-16, declared and found": (UTF16 + otp("0123456").decode()).encode("utf-16"),
    "UTF-16, declared only": (UTF16 + otp("0123456").decode()).encode(),
    "UTF-7, declared and found": b'<?xml version="1.0" encoding="utf-7"?>'
    + otp("0123456").replace(b"<", b"+ADw-").replace(b">", b"+AD4-"),
    "an unknown encoding": b'<?xml version="1.0" encoding="' + MARK.encode() + b'"?>' + otp("1"),
    "a mark, and Latin-1 declared": b'\xef\xbb\xbf<?xml version="1.0" encoding="latin-1"?>'
    + otp("0123456"),
    "two byte order marks": b"\xef\xbb\xbf\xef\xbb\xbf" + otp("0123456"),
    "17 levels below a property": otp("<x>" * 15 + "</x>" * 15),
    "100 000 levels": nested_xml(100_000),
    "100 000 opening tags": b"<a>" * 100_000,
}

FORM_REFUSED = {
    "a property twice": f"Otp={MARK}&Otp={MARK}".encode(),
    "a property twice, by escapes": f"Otp={MARK}&%4Ftp=1".encode(),
    "an unknown property twice": b"x=1&x=2",
    "a NUL": b"Otp=\x00",
    "an escaped NUL": b"Otp=%00",
    "an escaped NUL, unknown": b"x=%00",
    "invalid UTF-8": b"Otp=\xff",
    "invalid UTF-8, escaped": b"Otp=%ff",
    "a surrogate, escaped": b"Otp=%ED%A0%80",
    "101 properties": "&".join(f"a{n}={n}" for n in range(101)).encode(),
}

_WORDS = [
    *("<", ">", "/>", "</", "<!--", "-->", "<![CDATA[", "]]>", "<?xml version='1.0'?>", "&#", ";"),
    *("&amp;", "&lt;", "<!DOCTYPE", "<!ENTITY", "xmlns", "xsi:nil='true'", "=", "&", "+", "%"),
    *("%00", "{", "}", "[", "]", '"', ",", ":", "\\u", "\\ud800", "NaN", "1e999", "null", "true"),
    *("0123456", "Otp", "otp", "ProviderUserId", f"<{ROOT}>", f"</{ROOT}>", "<Otp>", "</Otp>"),
    *('{"Otp":"', '"}', "\x00", "\ufeff", "\n", " ", "é", "\u212a", XSI),
]
_SOUP = st.lists(st.sampled_from(_WORDS), max_size=30).map(lambda words: "".join(words).encode())
BODIES = st.one_of(
    st.binary(max_size=200),
    _SOUP,
    st.tuples(_SOUP, st.binary(max_size=3), _SOUP).map(b"".join),
    _SOUP.map(lambda body: xml("").replace(b"><", b">" + body + b"<")),
    st.sampled_from(
        [b for table in (JSON_REFUSED, XML_REFUSED) for b in table.values() if len(b) < 999]
    ),
)
