"""Addresses, methods and the query."""

from conformance.checks.ping import ELSEWHERE
from conformance.goldens import CALLS, USER_CALLS
from conformance.registry import check
from conformance.session import Session
from conformance.wire import JSON, TEXT_XML

PROBE = {"ProviderUserId": ELSEWHERE}
"""With an ``Otp``: a request that is right in everything and comes to nothing."""


@check
def any_case(s: Session) -> None:
    """Paths match in upper and lower case, with or without a slash at the end. [1.1]"""
    for call in CALLS.values():
        refused = (400, "invalid_request") if call.is_token_call else (401, "not_authenticated")
        for path in (call.path.upper(), call.path.lower(), f"{call.path}/"):
            s.expect(s.send(call.method, path), *refused)


@check
def slashes_in_front(s: Session) -> None:
    """Several slashes at the beginning count as one. [1.1]"""
    for slashes in ("//", "///"):
        s.expect(s.send("GET", f"{slashes}authorisation/ping"), 401, "not_authenticated")
        s.expect(s.send("POST", f"{slashes}User/opt-in-to-2fa"), 401, "not_authenticated")


@check
def unknown(s: Session) -> None:
    """Any other path is 404. [1.1]"""
    for path in ("/User/", "/User/verify", "/User//opt-in-to-2fa", "/User/opt-in-to-2fa/x"):
        s.expect(s.send("POST", path), 404, "not_found")
        s.expect(s.send("GET", path, headers={"Accept": TEXT_XML}), 404, "not_found")
    for path in ("/authorisation/", "/events/x"):
        s.expect(s.send("GET", path), 404, "not_found")
    s.expect(s.send("POST", "/authorisation/token//"), 404, "not_found")


@check
def methods(s: Session) -> None:
    """Another method is 405. [1.1]"""
    for call in CALLS.values():
        code = "invalid_request" if call.is_token_call else "method_not_allowed"
        for method in ("PUT", "DELETE", "OPTIONS", "POST" if call.method == "GET" else "GET"):
            s.expect(s.send(method, call.path), 405, code)


@check
def override(s: Session) -> None:
    """No header overrides the method. [1.1]"""
    headers = {"X-HTTP-Method-Override": "POST"}
    s.expect(s.call("opt-in", method="GET", headers=headers), 405, "method_not_allowed")


@check
def names(s: Session) -> None:
    """Query parameters match in any case; unknown ones are ignored. [1.1]"""
    s.options.need("file", "access_key")
    key, file = s.options.access_key, str(s.options.file)
    body = PROBE | {"Otp": "0" * s.options.digits}
    for query in (
        {"wsaccesskey": key, "fileid": file},
        {"FILEID": file, "WSACCESSKEY": key},
        {"WsAccessKey": key, "FileId": file, "other": "1"},
    ):
        answer = s.send(
            "POST", s.target("verify", **query), s.write("verify", body), {"Content-Type": JSON}
        )
        s.expect(answer, 400, "otp_incorrect")


@check
def twice(s: Session) -> None:
    """A query parameter given twice is 400, in whatever case, known or not. [1.1]"""
    for more in ("FileId=1", "fileid=1", "x=1&X=2"):
        query = f"{s.query(s.options.file)}&{more}"
        s.expect(s.call("verify", query=query), 400, "invalid_request")
    for query in ("WsAccessKey=a&wsaccesskey=a", "WsAccessKey=&WSACCESSKEY="):
        s.expect(s.call("verify", query=query, credential="none"), 400, "invalid_request")


@check
def file_ids(s: Session) -> None:
    """FileId is 1 to 2147483647 in ASCII digits, without a leading zero. [1.3]"""
    for value in ("", "0", "0777", "-7", "%2B7", "7.0", "7e2", "true", "%207", "2147483648"):
        s.expect(s.call("verify", query=s.query(value)), 400, "invalid_request")
    s.expect(s.call("verify", query=s.query("%D9%A7")), 400, "invalid_request")  # Arabic 7
    for value in ("1", "2147483647"):
        if value != str(s.options.file):
            s.expect(s.call("verify", query=s.query(value)), 403, "file_access_denied")


@check
def file_is_required(s: Session) -> None:
    """The User/ calls need a FileId. [1.1]"""
    for name in USER_CALLS:
        query = s.query("").rpartition("FileId=")[0].rstrip("&")
        s.expect(s.call(name, query=query), 400, "invalid_request")
