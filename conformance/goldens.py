"""The contract as tables: calls, models, codes, sentences, links, headers.

Sections are those of docs/contract.md. Nothing here is computed from what a server said.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape


@dataclass(frozen=True)
class Call:
    """A call of section 1.1: its path, the models of its request and of its 200."""

    path: str
    model: str
    result: str
    allow: str = "POST"

    @property
    def is_token_call(self) -> bool:
        return self.result == "OAuthAccessTokenGrant"

    @property
    def method(self) -> str:
        return self.allow.partition(",")[0]

    @property
    def is_user_call(self) -> bool:
        return self.path.startswith("/User/")


_SIGN_IN = "OAuthPasswordCredentialsGrantRequest"
_REFRESH = "OAuthRefreshAccessTokenRequest"
CALLS = {
    "opt-in": Call("/User/opt-in-to-2fa", "OptInTo2FARequest", "OptInTo2FAResult"),
    "verify": Call("/User/verify-2fa-opt-in", "Verify2FAOptInRequest", "BaseResponseModel"),
    "opt-out": Call("/User/opt-out-from-2fa", "OptOutFrom2FARequest", "BaseResponseModel"),
    "token": Call("/authorisation/token", _SIGN_IN, "OAuthAccessTokenGrant"),
    "token-2fa": Call("/authorisation/token-2fa", _SIGN_IN, "OAuthAccessTokenGrant"),
    "refresh": Call("/authorisation/refresh", _REFRESH, "OAuthAccessTokenGrant"),
    "ping": Call("/authorisation/ping", "", "boolean", allow="GET, HEAD"),
    "events": Call("/events", "", "EventList", allow="GET, HEAD"),
}
USER_CALLS = [name for name, call in CALLS.items() if call.is_user_call]
TOKEN_CALLS = [name for name, call in CALLS.items() if call.is_token_call]
CALL_OF_PATH = {call.path.lower(): name for name, call in CALLS.items()}

# Section 1.2: the properties of each answer, in order, with their types in JSON.
MODELS: dict[str, dict[str, type]] = {
    "OptInTo2FAResult": {"ProviderUserId": int},
    "BaseResponseModel": {"StatusMessage": str, "_links": list},
    "Link": {"rel": str, "href": str, "method": str, "title": str},
    "OAuthAccessTokenGrant": {
        "access_token": str,
        "token_type": str,
        "expires_in": int,
        "refresh_token": str,
        "scope": str,
    },
    "OAuthGrantRequestError": {"error": str, "error_description": str},
    "EventList": {"events": list, "next": int},
}

# Section 4.1. The sentence of invalid_request names the fault: it is any.
SENTENCES: dict[str, tuple[int, str]] = {
    "invalid_request": (400, ""),
    "otp_incorrect": (400, "The code is not right."),
    "otp_expired": (400, "The code has expired. Ask for a new one."),
    "otp_exhausted": (400, "The code was entered wrongly too often. Ask for a new one."),
    "mobile_number_invalid": (400, "That is not a mobile number."),
    "region_not_allowed": (400, "Mobile numbers of that country cannot be used here."),
    "not_authenticated": (401, "Sign in first: send an OAuth 2 bearer token."),
    "invalid_token": (401, "The token or access key is not valid."),
    "2fa_code_required": (401, "Enter the code that was sent to your mobile phone."),
    "insufficient_scope": (403, "The token does not allow this call."),
    "file_access_denied": (403, "You cannot use this file."),
    "factor_disabled": (
        403,
        "Codes by text message are switched off for this account. Contact support.",
    ),
    "not_found": (404, "There is nothing here."),
    "method_not_allowed": (405, "That method is not allowed here."),
    "already_verified": (409, "This mobile number is verified already."),
    "already_opted_in": (409, "Two-factor authentication is on already."),
    "not_opted_in": (409, "Two-factor authentication is not on."),
    "mobile_number_in_use": (409, "Another account uses this mobile number. Contact support."),
    "endpoint_limit": (409, "This file has 5 webhook endpoints. Remove one first."),
    "old_secret_signs": (409, "The old secret still signs. Another new secret would end it."),
    "cursor_gone": (410, "The events after this one are not kept. Begin again with after=0."),
    "too_large": (413, "The body is too large."),
    "unsupported_media_type": (415, "This content type is not accepted."),
    "locked": (429, "Too many wrong codes. Try again in {wait}."),
    "send_limit": (429, "No further text message can be sent now. Try again in {wait}."),
    "throttled": (429, "Too many requests. Try again in {wait}."),
    "internal_error": (500, "Something went wrong on our side."),
    "unavailable": (503, "The service cannot do this now. Nothing happened; try again later."),
}

# Section 3.5.
TOKEN_SENTENCES: dict[tuple[int, str], tuple[str, ...]] = {
    (400, "invalid_request"): ("",),
    (405, "invalid_request"): (SENTENCES["method_not_allowed"][1],),
    (413, "invalid_request"): (SENTENCES["too_large"][1],),
    (415, "invalid_request"): (SENTENCES["unsupported_media_type"][1],),
    (400, "unsupported_grant_type"): ("This call does not serve that grant_type.",),
    (400, "unauthorized_client"): ("Sign-in by password is not enabled on this server.",),
    (400, "invalid_scope"): ("The scope names a file or a word that cannot be granted.",),
    (400, "invalid_grant"): (
        "The user name or the password is not right.",
        "The code is not right, or not valid any more.",
        "The refresh token is not valid any more. Sign in again.",
    ),
    (401, "invalid_client"): ("The client id or its secret is not right.",),
    (401, "2fa_code_required"): (
        "Two-factor authentication is on. Send the code as verification_code.",
    ),
    (429, "temporarily_unavailable"): ("Too many attempts. Try again in {wait}.",),
    (500, "server_error"): ("Something went wrong on our side.",),
    (503, "temporarily_unavailable"): (
        "The service cannot do this now. Nothing happened; try again later.",
        "The service cannot do this now. Try again later.",
    ),
}

# Section 5.3: the code in a Link, where it is not the error of a token call.
HELP = {
    (405, "invalid_request"): "method_not_allowed",
    (413, "invalid_request"): "too_large",
    (415, "invalid_request"): "unsupported_media_type",
}

# Section 5.1.
SUCCESSES = {
    "verify": ("Two-factor authentication is on.",),
    "opt-out": (
        "Two-factor authentication is off.",
        "The mobile number is no longer used. Two-factor authentication stays on, with another "
        "second factor.",
    ),
}

# Section 5.2: rel, call and title of what comes before the link to help. "" is a success.
_Next = tuple[str, str, str]
_NEW_CODE: _Next = ("related", "opt-in", "Send a new code")
_NEW_CODE_OUT: _Next = ("related", "opt-out", "Send a new code")
LINKS: dict[tuple[str, str], list[_Next]] = {
    ("verify", ""): [("related", "opt-out", "Turn two-factor off")],
    ("opt-in", "already_opted_in"): [("related", "opt-out", "Turn two-factor off")],
    ("verify", "otp_incorrect"): [("self", "verify", "Try again"), _NEW_CODE],
    ("verify", "otp_expired"): [_NEW_CODE],
    ("verify", "otp_exhausted"): [_NEW_CODE],
    ("opt-out", "2fa_code_required"): [("self", "opt-out", "Send the code")],
    ("opt-out", "otp_incorrect"): [("self", "opt-out", "Send the code"), _NEW_CODE_OUT],
    ("opt-out", "otp_expired"): [_NEW_CODE_OUT],
    ("opt-out", "otp_exhausted"): [_NEW_CODE_OUT],
    ("opt-out", ""): [("related", "opt-in", "Turn two-factor on")],
}

# Section 5.3.
REALM = 'Bearer realm="api"'
CHALLENGES = {
    "not_authenticated": REALM,
    "2fa_code_required": REALM,
    "invalid_token": f'{REALM}, error="invalid_token"',
    "insufficient_scope": f'{REALM}, error="insufficient_scope"',
    "invalid_client": 'Basic realm="oauth"',
}


def links(base_url: str, call: str, code: str, file_id: str) -> list[dict[str, str]]:
    """Return the links of the answer *code* ("" for a 200) to *call* under *file_id*."""
    found = [
        {
            "rel": rel,
            "href": f"{base_url}{CALLS[to].path}?FileId={file_id}",
            "method": "POST",
            "title": title,
        }
        for rel, to, title in LINKS.get((call, code), [])
    ]
    if code:
        href = f"{base_url}/Help/Errors#{code}"
        found.append({"rel": "help", "href": href, "method": "GET", "title": code})
    return found


# In a sandbox the last two digits of a number decide: the call, and the code that it answers. These
# are the numbers of the Australian regulator (ACMA) that nobody has. An opt-out answers so only at
# first, but for the code that expires.
OPT_OUT_FAILS_FOR = 10  # seconds after the number was verified
SANDBOX = {
    "0491 572 665": ("opt-in", "send_limit"),
    "0491 573 770": ("opt-in", "internal_error"),
    "0491 572 983": ("opt-in", "unavailable"),
    "0491 577 644": ("opt-in", "throttled"),
    "0491 571 804": ("opt-in", "locked"),
    "0491 574 632": ("opt-in", "factor_disabled"),
    "0491 572 549": ("opt-in", "region_not_allowed"),
    "0491 574 118": ("verify", "otp_expired"),
    "0491 573 087": ("verify", "mobile_number_in_use"),
    "0491 579 760": ("verify", "internal_error"),
    "0491 578 888": ("verify", "unavailable"),
    "0491 578 148": ("verify", "throttled"),
    "0491 579 212": ("opt-out", "otp_expired"),
    "0491 579 455": ("opt-out", "send_limit"),
    "0491 576 801": ("opt-out", "locked"),
    "0491 577 426": ("opt-out", "throttled"),
    "0491 575 789": ("opt-out", "internal_error"),
    "0491 576 398": ("opt-out", "unavailable"),
}


# Section 2.3.
NAMESPACES = (
    'xmlns:xsd="http://www.w3.org/2001/XMLSchema" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
)


def json_bytes(data: object) -> bytes:
    """Return *data* as the contract writes it: no white space, other characters escaped."""
    return json.dumps(data, separators=(",", ":")).encode()


def xml_bytes(tree: Element) -> bytes:
    """Return *tree* as the contract writes it: no declaration, no white space in between."""
    inside = _inside(tree)
    declared = "" if tree.tag == "boolean" else f" {NAMESPACES}"
    return f"<{tree.tag}{declared}>{inside}</{tree.tag}>".encode()


def _inside(element: Element) -> str:
    if not len(element):
        return escape(element.text or "")
    return "".join(f"<{child.tag}>{_inside(child)}</{child.tag}>" for child in element)


def shape(data: object) -> object:
    """Return the names of *data* in their order and the types of its values, to be compared."""
    if isinstance(data, Mapping):
        return [f"{name}: {_kind(value)}" for name, value in data.items()]
    return _kind(data)


def expected_shape(model: str) -> object:
    return [f"{name}: {_name(kind)}" for name, kind in MODELS[model].items()]


def _kind(value: Any) -> str:
    return _name(type(value))


def _name(kind: type) -> str:
    return {int: "number", str: "string", list: "array", bool: "boolean"}.get(kind, kind.__name__)
