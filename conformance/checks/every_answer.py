"""Every answer of the run.

These laws look at all answers that the checks above got, so that what is wrong everywhere is
told once, by its own name.
"""

import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from conformance import goldens
from conformance.goldens import CALLS, SENTENCES, TOKEN_SENTENCES
from conformance.registry import check
from conformance.session import Session
from conformance.wire import MEDIA_TYPES, Answer


def _is_token_call(call: str) -> bool:
    return bool(call) and CALLS[call].is_token_call


def _read(s: Session) -> Iterator[tuple[str, Answer]]:
    """The answers that have a body."""
    return ((call, a) for call, a in s.api_answers() if a.request.method != "HEAD")


def _model(call: str, answer: Answer) -> str:
    if answer.status == 200:
        return CALLS[call].result if call else "BaseResponseModel"
    return "OAuthGrantRequestError" if _is_token_call(call) else "BaseResponseModel"


def _base_responses(s: Session) -> Iterator[tuple[str, Answer]]:
    return ((c, a) for c, a in _read(s) if _model(c, a) == "BaseResponseModel")


@check
def content_type(s: Session) -> None:
    """Content-Type is one of the four types, with charset=utf-8. [2.1]"""
    known = [f"{kind}; charset=utf-8" for kind in MEDIA_TYPES]
    for _, answer in s.api_answers():
        s.equal(answer, answer.content_type in known, True, "a type with charset=utf-8:")


@check
def cache_control(s: Session) -> None:
    """Cache-Control: no-store. [5.3]"""
    for _, answer in s.api_answers():
        s.equal(answer, answer.headers.get("Cache-Control"), "no-store", "Cache-Control")


@check
def request_id(s: Session) -> None:
    """X-Request-Id, another one each time. [5.3]"""
    seen: set[str] = set()
    for answer in s.answers:
        own = answer.headers.get("X-Request-Id", "")
        s.equal(answer, bool(own) and own not in seen, True, "an X-Request-Id of its own:")
        seen.add(own)


@check
def challenge(s: Session) -> None:
    """WWW-Authenticate: Bearer on each 401, and on 403 insufficient_scope. [5.3]"""
    for _, answer in s.api_answers():
        if answer.status in {401, 403} and answer.request.method != "HEAD":
            expected = goldens.CHALLENGES.get(answer.code)
            s.equal(answer, answer.headers.get("WWW-Authenticate"), expected, "WWW-Authenticate")


@check
def allow(s: Session) -> None:
    """Allow on each 405. [5.3]"""
    for call, answer in s.api_answers():
        if answer.status == 405 and call:
            s.equal(answer, answer.headers.get("Allow"), CALLS[call].allow, "Allow")


@check
def retry_after(s: Session) -> None:
    """Retry-After on each 429 and 503, in whole seconds. [5.3]"""
    for _, answer in s.api_answers():
        if answer.status in {429, 503}:
            told = answer.headers.get("Retry-After", "")
            s.equal(answer, bool(re.fullmatch("[1-9][0-9]*", told)), True, "Retry-After:")


@check
def help_link(s: Session) -> None:
    """Link on each refusal of a call leads to the help for its code. [5.3]"""
    for _, answer in s.api_answers():
        if answer.code:
            code = goldens.HELP.get((answer.status, answer.code), answer.code)
            page = f"{s.options.base_url}/Help/Errors#{code}"
            cause = "" if answer.code == "otp_incorrect" else r"(\.\w+)?"
            told = answer.headers.get("Link", "")
            is_right = re.fullmatch(rf'<{re.escape(page)}{cause}>; rel="help"', told)
            s.equal(answer, page if is_right else told, page, "Link to")


@check
def no_help_link(s: Session) -> None:
    """No 200 has a Link: so nothing tells that a text was withheld. [5.3]"""
    for _, answer in s.api_answers():
        if answer.status == 200:
            s.equal(answer, answer.headers.get("Link"), None, "Link")


@check
def cookies(s: Session) -> None:
    """No call sets a cookie. [3.1]"""
    for _, answer in s.api_answers():
        s.equal(answer, answer.headers.get("Set-Cookie"), None, "Set-Cookie")


@check
def no_500(s: Session) -> None:
    """No input of a client leads to a 500. [2.4]"""
    for _, answer in s.api_answers():
        is_asked = any(answer is asked for asked in s.asked_for)
        is_fault = answer.status == 500 or answer.status > 503
        s.equal(answer, is_fault and not is_asked, False, "a 5xx:")


@check
def code_and_status(s: Session) -> None:
    """Each refusal of a User/ call and of ping has a code of the table, with its status. [4.1]"""
    for _, answer in _base_responses(s):
        if answer.status != 200:
            status, _ = SENTENCES.get(answer.code, (0, ""))
            s.equal(answer, answer.status, status, f"the status of {answer.code or 'no code'}:")


@check
def error_and_status(s: Session) -> None:
    """Each refusal of a token call has an error of the table, with its status. [3.5]"""
    for call, answer in _read(s):
        if answer.status != 200 and _is_token_call(call):
            known = (answer.status, answer.code) in TOKEN_SENTENCES
            s.equal(answer, known, True, "a status and an error of the table:")


@check
def sentence(s: Session) -> None:
    """Each refusal, and each 200 of verify and opt-out, has a sentence for people. [5.1]"""
    for call, answer in _read(s):
        model = _model(call, answer)
        name = {"BaseResponseModel": "StatusMessage", "OAuthGrantRequestError": "error_description"}
        said = answer.get(name[model]) if model in name else None
        if said is not None:  # another law looks for the property
            is_one = isinstance(said, str) and re.fullmatch(r"\S(.*\S)?[.!?]", said)
            s.equal(answer, bool(is_one), True, "one line that ends as a sentence does:")


@check
def seconds(s: Session) -> None:
    """The sentence of a 429 has the seconds of Retry-After. [6]"""
    for _, answer in _read(s):
        wait = answer.headers.get("Retry-After")
        said = answer.get("StatusMessage") or answer.get("error_description")
        if answer.status == 429 and wait and said:  # another law looks for the property
            told = re.findall("[0-9]+", str(said))
            s.equal(answer, wait in told, True, f"{wait} seconds in the sentence:")


@check
def properties(s: Session) -> None:
    """An answer in JSON has the properties of its model, in order, of their types. [1.2]"""
    for call, answer in _read(s):
        model = _model(call, answer)
        if answer.is_xml or model == "boolean":
            continue
        s.equal(answer, goldens.shape(answer.data), goldens.expected_shape(model), model)
        for link in answer.links:
            s.equal(answer, goldens.shape(link), goldens.expected_shape("Link"), "Link")


@check
def json_bytes(s: Session) -> None:
    """JSON has no white space, and escapes characters beyond ASCII. [2.3]"""
    for _, answer in _read(s):
        if not answer.is_xml:
            written = goldens.json_bytes(answer.data)
            s.equal(answer, answer.body.decode("utf-8", "replace"), written.decode(), "the body")


@check
def elements(s: Session) -> None:
    """An answer in XML has the root and the elements of its model, links first. [2.3]"""
    for call, answer in _read(s):
        model = _model(call, answer)
        if not answer.is_xml or model == "boolean":
            continue
        tree = answer.tree
        expected = [model, *sorted(goldens.MODELS.get(model, ()), key=lambda n: n != "_links")]
        got = [] if tree is None else [tree.tag, *(child.tag for child in tree)]
        s.equal(answer, got, expected, "root and elements")
        for link in _links_in(tree):
            names = [link.tag, *(part.tag for part in link)]
            s.equal(answer, names, ["Link", *goldens.MODELS["Link"]], "a link")


def _links_in(tree: Element | None) -> list[Element]:
    found = None if tree is None else tree.find("_links")
    return [] if found is None else list(found)


@check
def xml_bytes(s: Session) -> None:
    """XML has no declaration, no white space, xsd and xsi on its root in this order. [2.3]"""
    for _, answer in _read(s):
        if answer.is_xml:
            written = b"" if answer.tree is None else goldens.xml_bytes(answer.tree)
            s.equal(answer, answer.body.decode("utf-8", "replace"), written.decode(), "the body")


@check
def links(s: Session) -> None:
    """Each answer has the links of the table, and no others. [5.2]"""
    for call, answer in _base_responses(s):
        if answer.code in SENTENCES or answer.status == 200:
            base, file = s.options.base_url, s.file_of(answer)
            expected = goldens.links(base, call, answer.code, file)
            s.equal(answer, answer.links, expected, "_links")


@check
def keys_in_links(s: Session) -> None:
    """No link has a WsAccessKey. [5.2]"""
    for _, answer in _base_responses(s):
        found = [link for link in answer.links if "wsaccesskey" in str(link).lower()]
        s.equal(answer, found, [], "links with a WsAccessKey:")


@check
def nothing_repeated(s: Session) -> None:
    """No refusal has a key, a password, a token, a code or a number in it. [5.1]"""
    for _, answer in _read(s):
        if answer.status != 200:
            said = answer.body.decode("utf-8", "replace")
            s.equal(answer, s.secrets.hide(said) == said, True, "nothing secret:")
