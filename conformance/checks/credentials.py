"""Credentials."""

from conformance.checks.ping import ELSEWHERE
from conformance.goldens import USER_CALLS
from conformance.registry import check
from conformance.session import Session
from conformance.wire import JSON, TEXT_XML

NOBODY = (401, "not_authenticated")
BAD = (401, "invalid_token")


@check
def neither(s: Session) -> None:
    """Neither credential: 401 not_authenticated. [3.1]"""
    for name in USER_CALLS:
        s.expect(s.call(name, credential="none"), *NOBODY)
        s.expect(s.call(name, credential="none", query="FileId=1&WsAccessKey="), *NOBODY)


@check
def other_schemes(s: Session) -> None:
    """A scheme other than Bearer is ignored; an empty token is invalid. [3.1]"""
    for header, refused in (("Basic eDp4", NOBODY), ("Token x", NOBODY), ("Bearer ", BAD)):
        answer = s.call("ping", credential="none", headers={"Authorization": header})
        s.expect(answer, *refused)


@check
def scheme_in_any_case(s: Session) -> None:
    """The word Bearer is read in upper and lower case. [3.1]"""
    for scheme in ("bearer", "BEARER"):
        headers = {"Authorization": f"{scheme} {s.token}"}
        s.expect(s.call("ping", credential="none", headers=headers), 200)


@check
def unknown_token(s: Session) -> None:
    """An unknown token: 401 invalid_token. [3.1]"""
    for name in ("ping", *USER_CALLS):
        headers = {"Authorization": "Bearer conformance-unknown"}
        s.expect(s.call(name, credential="none", headers=headers), *BAD)


@check
def unknown_key(s: Session) -> None:
    """An unknown access key: 401 invalid_token. [3.1]"""
    for name in ("ping", *USER_CALLS):
        answer = s.call(name, credential="none", query="FileId=1&WsAccessKey=conformance-unknown")
        s.expect(answer, *BAD)


@check
def key_and_token(s: Session) -> None:
    """Both credentials of one person for the file serve. [3.1]"""
    s.options.need("file", "access_key")
    headers = {"Authorization": f"Bearer {s.token}"}
    s.expect(s.call("ping", query=s.query(s.options.file), headers=headers), 200)


@check
def one_is_bad(s: Session) -> None:
    """If both credentials are sent, each must be valid. [3.1]"""
    s.options.need("file", "access_key")
    wrong = {"Authorization": "Bearer conformance-unknown"}
    s.expect(s.call("ping", query=s.query(s.options.file), headers=wrong), *BAD)
    right = {"Authorization": f"Bearer {s.token}"}
    query = f"FileId={s.options.file}&WsAccessKey=conformance-unknown"
    s.expect(s.call("ping", credential="none", query=query, headers=right), *BAD)


@check
def of_two_people(s: Session) -> None:
    """Credentials of two people: 401 invalid_token. [3.1]"""
    s.options.need("other_file", "other_access_key")
    headers = {"Authorization": f"Bearer {s.token}"}
    target = s.target(
        "ping", WsAccessKey=s.options.other_access_key, FileId=str(s.options.other_file)
    )
    s.expect(s.send("GET", target, headers=headers), *BAD)


@check
def other_file(s: Session) -> None:
    """A file that does not exist, and one of others, get the same 403. [3.1]"""
    files = [ELSEWHERE, *([s.options.other_file] if s.options.other_file else [])]
    for name in USER_CALLS:
        answers = [s.call(name, query=s.query(file)) for file in files]
        for answer in answers:
            s.expect(answer, 403, "file_access_denied")
            s.equal(answer, answer.body, answers[0].body, "the same body for each:")


@check
def token_for_another_file(s: Session) -> None:
    """A token does not open a file that is not the person's. [3.1]"""
    answer = s.call("verify", credential="token", query=f"FileId={ELSEWHERE}")
    s.expect(answer, 403, "file_access_denied")


@check
def elsewhere(s: Session) -> None:
    """A token counts in its header only, a key in the query only. [3.1]"""
    s.options.need("file", "access_key")
    token, key, file = s.token, s.options.access_key, s.options.file
    body = {"MobileNumber": "x", "access_token": token, "WsAccessKey": key}
    for answer in (
        s.call("opt-in", body, credential="none"),
        s.call("ping", credential="none", query=f"access_token={token}&FileId={file}"),
        s.call("ping", credential="none", headers={"WsAccessKey": key}),
    ):
        s.expect(answer, *NOBODY)
    for answer in (
        s.send("GET", s.target("ping", WsAccessKey=token)),
        s.call("ping", credential="none", headers={"Authorization": f"Bearer {key}"}),
    ):
        s.expect(answer, *BAD)


@check
def cookies(s: Session) -> None:
    """Cookies are ignored. [3.1]"""
    headers = {"Cookie": "sessionid=x; csrftoken=y"}
    s.expect(s.call("ping", credential="none", headers=headers), *NOBODY)
    s.expect(s.call("ping", headers=headers), 200)


@check
def scopes(s: Session) -> None:
    """full, 2fa and modify allow the User/ calls; view allows ping only. [3.2]"""
    s.options.need("file")
    for scope in ("full", "2fa", "modify", "view"):
        bearer = {"Authorization": f"Bearer {s.token_for(scope)}"}
        s.expect(s.call("ping", credential="none", headers=bearer), 200)
        for kind in (JSON, TEXT_XML):
            answer = s.call("verify", b"x", kind, credential="none", headers=bearer)
            refused = (403, "insufficient_scope") if scope == "view" else (400, "invalid_request")
            s.expect(answer, *refused)
