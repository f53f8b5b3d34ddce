"""OAuth 2 for clients with an id."""

from urllib.parse import urlencode

from conformance.registry import check
from conformance.session import Session
from conformance.wire import FORM, Answer

FORM_TYPE = {"Content-Type": FORM}


def _post(s: Session, endpoint: str, **fields: str) -> Answer:
    return s.send("POST", f"/o/{endpoint}/", urlencode(fields).encode(), FORM_TYPE)


@check
def metadata(s: Session) -> None:
    """The metadata names the base URL as issuer, and its endpoints below it. [3.6]"""
    answer = s.require(s.send("GET", "/.well-known/oauth-authorization-server"), 200)
    base = s.options.base_url
    s.equal(answer, answer.get("issuer"), base, "issuer")
    for name in ("authorization", "token", "revocation", "introspection"):
        given = str(answer.get(f"{name}_endpoint"))
        s.equal(answer, given.startswith(f"{base}/o/"), True, f"{name}_endpoint below {base}/o/:")


@check
def unknown_client(s: Session) -> None:
    """An unknown client is 401 invalid_client, with a challenge of Basic. [3.6]"""
    answer = _post(s, "token", grant_type="client_credentials", client_id="x")
    s.expect(answer, 401, "invalid_client")
    s.equal(answer, answer.headers.get("WWW-Authenticate"), 'Basic realm="oauth"', "the challenge")
    s.equal(answer, answer.body, b'{"error": "invalid_client"}', "the body")


@check
def no_password(s: Session) -> None:
    """The password grant is refused. [3.6]"""
    s.options.need("client_id", "client_secret")
    client = {"client_id": s.options.client_id, "client_secret": s.options.client_secret}
    answer = _post(s, "token", grant_type="password", username="x", **client)
    s.expect(answer, 400, "unsupported_grant_type")


@check
def nothing_in_the_query(s: Session) -> None:
    """Nothing may stand in the query of the POST endpoints. [3.6]"""
    target = "/o/token/?grant_type=client_credentials"
    s.expect(s.send("POST", target, b"client_id=x", FORM_TYPE), 400, "invalid_request")


@check
def token_without_a_user(s: Session) -> None:
    """A token of client_credentials has no user: all calls answer 401 invalid_token. [3.6]"""
    s.options.need("client_id", "client_secret")
    client = {"client_id": s.options.client_id, "client_secret": s.options.client_secret}
    granted = s.require(_post(s, "token", grant_type="client_credentials", **client), 200)
    bearer = {"Authorization": f"Bearer {granted.get('access_token')}"}
    for name in ("ping", "verify", "opt-out"):
        answer = s.call(name, credential="none", headers=bearer)
        s.expect(answer, 401, "invalid_token")
