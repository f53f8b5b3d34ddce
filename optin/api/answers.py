"""Every answer that is not a success: one table of codes, and how one is written.

The code is the stable, machine-readable name (docs/contract.md, section 4). It stands
as the ``title`` of the last link of an answer, and names its anchor on the page
``/Help/Errors``, which is made from this table too.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from optin.conf import conf
from optin.outcomes import whole_seconds
from optin.support.diagnosis import EXPLAINED, Why

Link = dict[str, str]


class Body(dict[str, object]):
    """The data of an answer, with the name that it has as an XML root element."""

    def __init__(self, root: str, data: dict[str, object]) -> None:
        super().__init__(data)
        self.root = root


@dataclass(frozen=True, slots=True)
class Row:
    """One code: its HTTP status, its sentence for a person, what it means."""

    status: int
    message: str
    meaning: str

    def sentence(self, wait: int | None = None) -> str:
        """Return the message; for a 429 with the seconds to *wait*.

        They are in the sentence too, because some clients show no headers.
        """
        return self.message if self.status != 429 else f"{self.message} {_try_again(wait)}"

    @property
    def example(self) -> str:
        """The sentence as an answer may have it."""
        return self.sentence(wait=42)


def _try_again(wait: int | None) -> str:
    if wait is None:
        return "Try again later."
    return f"Try again in {wait} second{'' if wait == 1 else 's'}."


# The formatter would give each argument a line.
# fmt: off
ERRORS: dict[str, Row] = {
    "invalid_request": Row(400, "The request is not well-formed.",
        "A parameter or a field is missing, malformed or given twice, or the body is not what its "
        "content type says. Nothing was counted."),
    "otp_incorrect": Row(400, "The code is not right.",
        "The code is wrong; or there is nothing to prove under this id: it is unknown, not yours, "
        "under another file, or has no code waiting. The answer is the same for all. Let the "
        "person enter the newest code again, or call opt-in-to-2fa (or opt-out-from-2fa) for a "
        "new one."),
    "otp_expired": Row(400, "The code has expired. Ask for a new one.",
        "Your code is older than its lifetime. Call opt-in-to-2fa again for a new one."),
    "otp_exhausted": Row(400, "The code was entered wrongly too often. Ask for a new one.",
        "Your code has used up its tries. Call opt-in-to-2fa again for a new one; the count of "
        "wrong codes stays."),
    "mobile_number_invalid": Row(400, "That is not a mobile number.",
        "MobileNumber is not a valid mobile number. Write it as 0499 999 999 or +61 499 999 999."),
    "region_not_allowed": Row(400, "Mobile numbers of that country cannot be used here.",
        "MobileNumber belongs to a region to which this service sends no texts. Let the person "
        "enter another number, or ask the operators for the region."),
    "not_authenticated": Row(401, "Sign in first: send an OAuth 2 bearer token.",
        "The request has neither a bearer token nor a WsAccessKey."),
    "invalid_token": Row(401, "The token or access key is not valid.",
        "The token has expired or was revoked, the key is unknown or revoked, its user is "
        "deactivated, or both were sent and do not belong to one user."),
    "2fa_code_required": Row(401, "Enter the code that was sent to your mobile phone.",
        "The call needs a code; one was texted now or a moment ago. Send it with the same call."),
    "insufficient_scope": Row(403, "The token does not allow this call.",
        "The token needs the scope full, 2fa or modify; to read events or manage endpoints, full "
        "or events. An access key cannot manage endpoints."),
    "file_access_denied": Row(403, "You cannot use this file.",
        "The file does not exist, or you are no active member of it, or the token or key is for "
        "another file. The answer is the same for all."),
    "factor_disabled": Row(
        403, "Codes by text message are switched off for this account. Contact support.",
        "Too many wrong codes disabled the second factor, for everybody or for access keys and "
        "tokens, or staff suspended it. Two-factor sign-in stays required: a code of an app or a "
        "recovery code still works there. An opt-in gets this too where the file takes a number "
        "only beside an app or a passkey."),
    "not_found": Row(404, "There is nothing here.",
        "No call has this address, or the file has no such endpoint."),
    "method_not_allowed": Row(405, "That method is not allowed here.",
        "See the Allow header for the methods that are."),
    "already_verified": Row(409, "This mobile number is verified already.",
        "ProviderUserId is your active number and no code is waiting for it."),
    "already_opted_in": Row(409, "Two-factor authentication is on already.",
        "You have an active number, authenticator app or passkey. Opt a number out first, or "
        "change it in the browser. An app or a passkey can be removed in the browser only."),
    "not_opted_in": Row(409, "Two-factor authentication is not on.",
        "You have no active number to release. opt-in-to-2fa turns it on."),
    "mobile_number_in_use": Row(409, "Another account uses this mobile number. Contact support.",
        "The code was right, but the number is another user's active one. The code is used up. "
        "Let the person opt in with another number (opt-in-to-2fa), or ask support."),
    "endpoint_limit": Row(409, "This file has 5 webhook endpoints. Remove one first.",
        "The file has as many webhook endpoints as it may have."),
    "old_secret_signs": Row(409, "The old secret still signs. Another new secret would end it.",
        "The secret was replaced less than 24 hours ago. Wait; or send OldSecret with end, and the "
        "old secret stops at once."),
    "cursor_gone": Row(410, "The events after this one are not kept. Begin again with after=0.",
        "The event that follows after is older than 30 days; or there is no event with this "
        "number yet, as after a restore of the database."),
    "too_large": Row(413, "The body is too large.",
        "A body may have 16 KiB at most."),
    "unsupported_media_type": Row(415, "This content type is not accepted.",
        "The content type of the body is none of application/json, text/json, application/xml and "
        "text/xml. Token calls also take forms."),
    "locked": Row(429, "Too many wrong codes.",
        "Too many wrong codes have locked the account, or its access keys and tokens, for a "
        "while. Until then, right codes get this answer too. The seconds are also in the "
        "Retry-After header."),
    "send_limit": Row(429, "No further text message can be sent now.",
        "A limit on text messages is reached, the last one was sent a moment ago, or somebody "
        "answered STOP from the active number. After a STOP, its owner must send START, or turn "
        "texts on again on the pages of the service. A code that was sent stays valid. The "
        "seconds are also in the Retry-After header."),
    "throttled": Row(429, "Too many requests.",
        "The seconds to wait are also in the Retry-After header."),
    "internal_error": Row(500, "Something went wrong on our side.",
        "Please report it, with the X-Request-Id header."),
    "unavailable": Row(503, "The service cannot do this now. Nothing happened; try again later.",
        "The database or the audit trail cannot be written; or, at a sign-in, too many passwords "
        "are being checked. See the Retry-After header."),
}

TOKEN_ERRORS: dict[str, Row] = {
    "invalid_grant": Row(400, "The user name or the password is not right.",
        "The user name, the password or the refresh token is wrong or no longer valid; or the "
        "code is wrong, expired or used up, or texted while the factor is disabled; or, after "
        "many wrong codes, the authenticator app needs two codes in a row: send the next one too. "
        "The answer is the same for all codes."),
    "invalid_scope": Row(400, "The scope names a file or a word that cannot be granted.",
        "scope holds an unknown word, or a file that is not open to the user."),
    "unsupported_grant_type": Row(400, "This call does not serve that grant_type.",
        "grant_type is not the one of this call."),
    "unauthorized_client": Row(400, "Sign-in by password is not enabled on this server.",
        "The operator has not enabled clients without a client id."),
    "invalid_client": Row(401, "The client id or its secret is not right.",
        "The request has a client id and a secret (HTTP Basic), and they are not valid. No call "
        "needs them."),
    "2fa_code_required": Row(
        401, "Two-factor authentication is on. Send the code as verification_code.",
        "The password is right, and a code is needed; one was texted now or a moment ago if a "
        "mobile number is the factor."),
    "temporarily_unavailable": Row(429, "Too many attempts.",
        "Too many calls, passwords or wrong codes, or no further text can be sent now. The "
        "seconds are also in the Retry-After header."),
}
# fmt: on
"""The decisions of the token calls, by their RFC 6749 error code."""

_OF_TEXTS = (
    *(Why.RESEND_WAIT, Why.NUMBER_LIMIT, Why.USER_LIMIT, Why.CLIENT_LIMIT, Why.FILE_BUDGET),
    *(Why.TOTAL_BUDGET, Why.PREFIX_CLOSED, Why.ANSWERED_STOP, Why.ALL_STOPPED, Why.SIM_UNKNOWN),
)
_CODES_OF_TEXTS = ("send_limit", "temporarily_unavailable")
_BARRED = (Why.DISABLED, Why.SUSPENDED, Why.SIM_SWAPPED)

CAUSES: dict[str, tuple[Why, ...]] = {
    "2fa_code_required": (Why.RESEND_WAIT, *_BARRED, Why.PASSKEY_ONLY),
    "factor_disabled": (*_BARRED, Why.TEXTS_END),
    "send_limit": _OF_TEXTS,
    "temporarily_unavailable": (
        *(Why.PASSWORD_LIMIT, Why.LOCKED, Why.NUMBER_LIMIT, Why.USER_LIMIT, Why.ADDRESS_LIMIT),
        *(Why.TOTAL_BUDGET, Why.ANSWERED_STOP, Why.ALL_STOPPED, Why.SIM_UNKNOWN),
    ),
}
"""Codes with several causes, which the ``Link`` of a refusal tells apart (G-07).

Only causes that are about the caller or name nobody: a code that stands for what must not be told
apart, such as ``otp_incorrect``, has none (S-09, S-38).
"""

_STOPPED = (
    "No text message is sent to this number: somebody answered STOP from it. Its owner can send "
    "START, or contact support."
)
_SWITCHED_OFF = (
    "Two-factor authentication is on, and codes by text message are switched off. Send a code of "
    "the authenticator app or a recovery code as verification_code, or contact support."
)
_PASSKEY_ONLY = (
    "Two-factor authentication is on by a passkey, which works in a browser only. Send a recovery "
    "code as verification_code."
)
_SAID_OF: dict[tuple[str, Why], str] = {
    # Nobody knows when this ends: no time to try again would be true.
    **dict.fromkeys([(code, Why.ANSWERED_STOP) for code in _CODES_OF_TEXTS], _STOPPED),
    ("factor_disabled", Why.TEXTS_END): (
        "A mobile number can be added here only beside an authenticator app or a passkey. Set up "
        "one of these first, on the pages of the service."
    ),
    # No text comes.
    **dict.fromkeys([("2fa_code_required", why) for why in _BARRED], _SWITCHED_OFF),
    ("2fa_code_required", Why.PASSKEY_ONLY): _PASSKEY_ONLY,
}
"""The sentence of a code where that of its row would be untrue for the cause."""

_OAUTH_ERROR_OF_STATUS = {500: "server_error", 503: "temporarily_unavailable"}

RETRY_UNAVAILABLE = timedelta(seconds=5)
"""When to try again after a 503."""

REALM = 'Bearer realm="api"'
CLIENT_REALM = 'Basic realm="oauth"'


class ApiError(Exception):
    """One row of the table, as the answer to a request."""

    rows: ClassVar[dict[str, Row]] = ERRORS

    def __init__(
        self,
        code: str,
        message: str = "",
        *,
        retry_after: timedelta | None = None,
        allow: str = "",
        why: Why | None = None,
    ) -> None:
        super().__init__(code)
        self.code = code
        self.why = why
        self._message = message
        self.retry_after = retry_after
        self.allow = allow

    @property
    def status(self) -> int:
        return self.rows[self.code].status

    @property
    def anchor(self) -> str:
        """The anchor in ``/Help/Errors`` that explains it: the code, or one of its causes."""
        return (
            anchor_of(self.code, self.why) if self.why in CAUSES.get(self.code, ()) else self.code
        )

    @property
    def wait(self) -> int | None:
        """Seconds until the client may try again, rounded up: after that wait it is not refused."""
        if self.retry_after is None:
            return None
        return whole_seconds(self.retry_after)

    @property
    def message(self) -> str:
        """One or two sentences for a person."""
        said = self._message or (_SAID_OF.get((self.code, self.why)) if self.why else None)
        return said or self.rows[self.code].sentence(self.wait)

    @property
    def oauth_code(self) -> str:
        """The RFC 6749 code: 400, 405, 413 and 415 are all one there."""
        return _OAUTH_ERROR_OF_STATUS.get(self.status, "invalid_request")

    @property
    def headers(self) -> dict[str, str]:
        """The headers that the status asks for (S-61)."""
        headers: dict[str, str] = {}
        if self.code in {"not_authenticated", "2fa_code_required"}:
            headers["WWW-Authenticate"] = REALM
        if self.code in {"invalid_token", "insufficient_scope"}:
            headers["WWW-Authenticate"] = f'{REALM}, error="{self.code}"'
        if self.code == "invalid_client":
            headers["WWW-Authenticate"] = CLIENT_REALM
        if self.allow:
            headers["Allow"] = self.allow
        if self.wait is not None:
            headers["Retry-After"] = str(self.wait)
        return headers


class TokenError(ApiError):
    """A decision of a token call."""

    rows = TOKEN_ERRORS

    @property
    def oauth_code(self) -> str:
        return self.code


def link(rel: str, path: str, title: str, method: str = "POST") -> Link:
    """Return a link below the configured address, never below a request's ``Host``."""
    return {"rel": rel, "href": f"{conf.base_url}{path}", "method": method, "title": title}


def help_link(code: str) -> Link:
    return link("help", f"/Help/Errors#{code}", code, "GET")


def anchor_of(code: str, why: Why | None) -> str:
    return f"{code}.{why}"


def causes_of(code: str) -> dict[str, str]:
    """Return what ``/Help/Errors`` says of each cause of *code*, by its anchor."""
    return {anchor_of(code, why): EXPLAINED[why].client for why in CAUSES.get(code, ())}


def help_headers(error: ApiError) -> dict[str, str]:
    """Return the link to the help of a refused request.

    In a header, because the body of a refusal is the same for all whom it must not tell apart.
    """
    return {"Link": f'<{conf.base_url}/Help/Errors#{error.anchor}>; rel="help"'}


def base_response(message: str, links: Iterable[Link] = ()) -> Body:
    return Body("BaseResponseModel", {"StatusMessage": message, "_links": list(links)})


def scim_error(status: int, scim_type: str | None, detail: str | None) -> Body:
    """Return an error of SCIM (RFC 7644, section 3.12)."""
    data = {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
        "status": str(status),
        "scimType": scim_type,
        "detail": detail,
    }
    return Body("Error", {name: value for name, value in data.items() if value is not None})


def oauth_error(error: ApiError) -> Body:
    return Body(
        "OAuthGrantRequestError", {"error": error.oauth_code, "error_description": error.message}
    )
