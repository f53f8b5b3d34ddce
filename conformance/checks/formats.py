"""The type of the answer."""

from conformance.goldens import CALLS, TOKEN_CALLS
from conformance.registry import check
from conformance.session import Session
from conformance.wire import FORM, JSON, MEDIA_TYPES, TEXT_JSON, TEXT_XML, XML

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"

# Accept, type of the body, type of the answer.
PREFERENCES = [
    ("text/xml, application/json", JSON, TEXT_XML),
    ("application/json, text/xml", TEXT_XML, JSON),
    ("application/json;q=0.5, text/xml", JSON, TEXT_XML),
    ("application/json;q=0.5, text/xml;q=0.6", JSON, TEXT_XML),
    ("Text/XML", JSON, TEXT_XML),
    ("text/xml; charset=utf-8", JSON, TEXT_XML),
    ("application/json;q=0, text/xml", JSON, TEXT_XML),
    ("application/json;q=x, text/xml;q=0.1", JSON, TEXT_XML),
    (BROWSER, JSON, XML),
]
FAMILIES = [
    ("text/*", TEXT_XML, TEXT_XML),
    ("text/*", XML, TEXT_JSON),
    ("application/*", XML, XML),
    ("application/*", TEXT_XML, JSON),
    ("text/xml;q=0, text/*;q=0.5", TEXT_XML, TEXT_JSON),
]
NOTHING_FITS = [
    ("*/*", TEXT_XML, TEXT_XML),
    ("text/html", TEXT_XML, TEXT_XML),
    ("text/html, */*;q=0.8", TEXT_XML, TEXT_XML),
    ("application/json;q=0", TEXT_XML, TEXT_XML),
    ("text/html", "text/plain", JSON),
    ("xml", JSON, JSON),
]


def _negotiated(s: Session, rows: list[tuple[str, str, str]]) -> None:
    for accept, sent, expected in rows:
        answer = s.call("opt-in", b"x", sent, accept, credential="none")
        s.expect(answer, 401, "not_authenticated")
        s.equal(answer, answer.media_type, expected, "the media type")


@check
def of_accept(s: Session) -> None:
    """The answer has the type that Accept names. [2.1]"""
    _negotiated(s, [(accept, sent, accept) for accept in MEDIA_TYPES for sent in MEDIA_TYPES])


@check
def of_body(s: Session) -> None:
    """Without Accept the answer has the type of the body, else JSON. [2.1]"""
    for kind in (*MEDIA_TYPES, "text/plain", None):
        answer = s.call("opt-in", b"x", kind, credential="none")
        s.equal(answer, answer.media_type, kind if kind in MEDIA_TYPES else JSON, "the media type")


@check
def preferences(s: Session) -> None:
    """The highest q wins, then the first; a malformed q is 0. [2.1]"""
    _negotiated(s, PREFERENCES)


@check
def families(s: Session) -> None:
    """In a family the type of the body comes first, then the order of the contract. [2.1]"""
    _negotiated(s, FAMILIES)


@check
def nothing_fits(s: Session) -> None:
    """Negotiation never fails: there is no 406. [2.1]"""
    _negotiated(s, NOTHING_FITS)


@check
def errors(s: Session) -> None:
    """404, 405, 413 and 415 are negotiated too. [2.1]"""
    for kind in MEDIA_TYPES:
        for answer, status, code in (
            (s.send("POST", "/User/x", headers={"Accept": kind}), 404, "not_found"),
            (s.call("verify", method="PUT", accept=kind), 405, "method_not_allowed"),
            (s.call("verify", b" " * 16385, accept=kind), 413, "too_large"),
            (s.call("verify", b"x", "text/csv", kind), 415, "unsupported_media_type"),
        ):
            s.expect(answer, status, code)
            s.equal(answer, answer.media_type, kind, "the media type")


@check
def token_errors(s: Session) -> None:
    """The token calls answer in the same types, in JSON to a form. [2.1]"""
    for name in TOKEN_CALLS:
        for kind in MEDIA_TYPES:
            answer = s.call(name, {"x": "1"}, kind)
            s.expect(answer, 400, "invalid_request")
            s.equal(answer, answer.media_type, kind, "the media type")
            if answer.is_xml and answer.tree is not None:
                s.equal(answer, answer.tree.tag, "OAuthGrantRequestError", "the root")
        answer = s.call(name, {"x": "1"}, FORM)
        s.equal(answer, answer.media_type, JSON, "the media type")


@check
def no_redirect(s: Session) -> None:
    """A call with a slash more or in another case is answered, not redirected. [1.1]"""
    for call in CALLS.values():
        answer = s.send(call.method, call.path.upper() + "/", b"{}", {"Content-Type": JSON})
        s.equal(answer, answer.headers.get("Location"), None, "Location")
