"""Token calls."""

from conformance.checks.ping import ELSEWHERE
from conformance.registry import check
from conformance.session import Session
from conformance.wire import FORM, JSON, MEDIA_TYPES, Answer

REFUSED = (400, "invalid_grant")
MALFORMED = (400, "invalid_request")


def _granted(s: Session, **more: str) -> Answer:
    return s.require(s.call("token", s.password(**more)), 200)


def _refresh(s: Session, token: object, kind: str = JSON, **more: str) -> Answer:
    body = {"grant_type": "refresh_token", "refresh_token": str(token), **more}
    return s.call("refresh", body, kind)


@check
def grant(s: Session) -> None:
    """A password gets a token, in each format and as a form, without a client id. [3.3]"""
    named = ("token", JSON), ("token", FORM), *(("token-2fa", kind) for kind in MEDIA_TYPES)
    for name, kind in named:
        answer = s.require(s.call(name, s.password(), kind), 200)
        s.equal(answer, answer.get("token_type"), "Bearer", "token_type")


@check
def wrong_client(s: Session) -> None:
    """A client id or a secret that is sent and wrong is 401 invalid_client. [3.3]"""
    for text in ("Y29uZm9ybWFuY2U6dW5rbm93bg==", "x"):  # conformance:unknown
        headers = {"Authorization": f"Basic {text}"}
        s.expect(s.call("token", s.password(), headers=headers), 401, "invalid_client")


@check
def default_scope(s: Session) -> None:
    """Without a scope the token is for full and each file of the person. [3.2]"""
    answer = _granted(s)
    words = str(answer.get("scope")).split()
    s.equal(answer, words[:1], ["full"], "the first word of the scope")
    s.options.need("file")
    s.equal(answer, f"fileid:{s.options.file}" in words, True, "the file in the scope")


@check
def asked_scope(s: Session) -> None:
    """The scope asked for is granted, in lower case and in the order of the contract. [3.2]"""
    s.options.need("file")
    file = f"fileid:{s.options.file}"
    for asked, granted in (
        (f"2fa {file}", f"2fa {file}"),
        (file, f"full {file}"),
        (f"FILEID:{s.options.file} Modify VIEW", f"modify view {file}"),
        (f"view 2fa 2fa {file}", f"2fa view {file}"),
    ):
        answer = _granted(s, scope=asked)
        s.equal(answer, answer.get("scope"), granted, "scope")


@check
def scope_of_others(s: Session) -> None:
    """An unknown word, and a file that is not the person's, are invalid_scope. [3.2]"""
    for asked in ("delete", f"fileid:{ELSEWHERE}", "fileid:", "full,2fa"):
        s.expect(s.call("token", s.password(scope=asked)), 400, "invalid_scope")


@check
def narrow(s: Session) -> None:
    """fileid narrows a token to its file. [3.2]"""
    s.options.need("file")
    token = s.token_for(f"2fa fileid:{s.options.file}")
    bearer = {"Authorization": f"Bearer {token}"}
    own = s.call("ping", credential="none", query=f"FileId={s.options.file}", headers=bearer)
    s.expect(own, 200)
    other = s.call("ping", credential="none", query=f"FileId={ELSEWHERE}", headers=bearer)
    s.expect(other, 403, "file_access_denied")


@check
def wrong_password(s: Session) -> None:
    """A wrong password and an unknown name get the same invalid_grant. [3.5]"""
    s.options.need("username")
    body = {"grant_type": "password", "password": "conformance-wrong"}
    answers = [
        s.call("token", body | {"username": name})
        for name in (s.options.username, "conformance-nobody")
    ]
    for answer in answers:
        s.expect(answer, *REFUSED)
        s.equal(answer, answer.body, answers[0].body, "the same body for each:")


@check
def other_grants(s: Session) -> None:
    """Another grant_type is unsupported_grant_type, before a missing field. [3.5]"""
    for name, grant_type in (("token", "client_credentials"), ("refresh", "password")):
        answer = s.call(name, {"grant_type": grant_type})
        s.expect(answer, 400, "unsupported_grant_type")


@check
def missing(s: Session) -> None:
    """A missing or malformed field is invalid_request. [3.5]"""
    whole = {"grant_type": "password", "username": "conformance-nobody", "password": "x"}
    for name in whole:
        less = {key: value for key, value in whole.items() if key != name}
        for kind in (*MEDIA_TYPES, FORM):
            s.expect(s.call("token", less, kind), *MALFORMED)
    for kind in (JSON, FORM):
        s.expect(s.call("refresh", {"grant_type": "refresh_token"}, kind), *MALFORMED)


@check
def malformed_code(s: Session) -> None:
    """A verification_code of no known shape is invalid_request. [1.3]"""
    body = {"grant_type": "password", "username": "conformance-nobody", "password": "x"}
    for code in ("1", "12345678", "abcdefg"):
        s.expect(s.call("token", body | {"verification_code": code}), *MALFORMED)


@check
def form_twice(s: Session) -> None:
    """A name given twice in a form is invalid_request. [2.2]"""
    body = b"grant_type=password&username=x&password=x&x=1&X=2"
    s.expect(s.call("token", body, FORM), *MALFORMED)


@check
def refresh(s: Session) -> None:
    """A refresh answers like token, in each format, and ends the access token before. [3.4]"""
    first = before = _granted(s)
    for kind in (FORM, *MEDIA_TYPES):
        answer = s.require(_refresh(s, before.get("refresh_token"), kind), 200)
        s.equal(answer, answer.get("scope"), first.get("scope"), "scope")
        for granted, brief in ((answer, (200, "")), (before, (401, "invalid_token"))):
            bearer = {"Authorization": f"Bearer {granted.get('access_token')}"}
            s.expect(s.call("ping", credential="none", headers=bearer), *brief)
        before = answer


@check
def same_refresh_token(s: Session) -> None:
    """A refresh repeats the refresh token, as it does by default, and it works again. [3.4]"""
    token = _granted(s).get("refresh_token")
    for _ in range(2):
        answer = s.require(_refresh(s, token), 200)
        s.equal(answer, answer.get("refresh_token") == token, True, "the same refresh_token:")


@check
def narrower_refresh(s: Session) -> None:
    """A refresh may ask for less; one for more is invalid_scope. [3.4]"""
    s.options.need("file")
    file = f"fileid:{s.options.file}"
    token = _granted(s, scope=f"full 2fa {file}").get("refresh_token")
    answer = s.require(_refresh(s, token, scope="2fa"), 200)
    s.equal(answer, answer.get("scope"), f"2fa {file}", "scope")
    more = _refresh(s, answer.get("refresh_token"), scope="view")
    s.expect(more, 400, "invalid_scope")


@check
def unknown_refresh(s: Session) -> None:
    """An unknown refresh token is invalid_grant. [3.5]"""
    s.expect(_refresh(s, "conformance-unknown"), *REFUSED)


@check
def not_a_bearer(s: Session) -> None:
    """A refresh token is no access token. [3.1]"""
    headers = {"Authorization": f"Bearer {_granted(s).get('refresh_token')}"}
    s.expect(s.call("ping", credential="none", headers=headers), 401, "invalid_token")


@check
def ignored_code(s: Session) -> None:
    """A code of a person without a second factor is ignored. [3.3]"""
    body = s.password(verification_code="0" * s.options.digits)
    s.expect(s.call("token-2fa", body), 200)
