"""The ``User/`` calls, and the order in which any call is refused.

A view reads its body, calls one operation and writes its answer. ``Call`` holds what
all have in common; the steps of ``Call.initial`` stand in the order of
docs/contract.md, section 2.
"""

import io
import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cached_property, wraps
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework.exceptions import ValidationError
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from optin import codes
from optin.api import parsers
from optin.api.answers import (
    RETRY_UNAVAILABLE,
    ApiError,
    Body,
    Link,
    base_response,
    help_headers,
    help_link,
    link,
)
from optin.api.credentials import CALL_SCOPES, Caller, authenticate
from optin.api.renderers import RENDERERS, Negotiation, asks_for_data
from optin.api.serializers import (
    Model,
    OptInTo2FARequest,
    OptOutFrom2FARequest,
    Verify2FAOptInRequest,
    parse_id,
)
from optin.causes import Why
from optin.errors import Busy, OnlyFiction, Refusal, SandboxRefusal
from optin.models import File, IdempotencyKey, Purpose
from optin.models.factors import MAX_REFERENCE, REFERENCE
from optin.operations import challenges, opt_ins, tenants
from optin.operations.sending import Sending
from optin.operations.verification import Verification
from optin.origin import Face, Origin
from optin.outcomes import CodeOutcome, SendOutcome
from optin.runtime import logs, throttle

logger = logging.getLogger("optin.api")


class Call(APIView):
    """One call of the contract."""

    authentication_classes = []
    permission_classes = []
    renderer_classes = RENDERERS
    content_negotiation_class = Negotiation
    parser_classes: list[type[BaseParser]] = [
        parsers.ApplicationJSON,
        parsers.TextJSON,
        parsers.ApplicationXML,
        parsers.TextXML,
    ]
    http_method_names = ["post"]
    face = Face.API
    format_kwarg = None
    caller: Caller | None = None
    client = ""  # what spoke for the user, for the trail
    file: File | None = None
    body: bytes | None = b""

    # -- the way in ----------------------------------------------------------------

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse what can be refused before the operation is known."""
        request.accepted_renderer, request.accepted_media_type = self.perform_content_negotiation(
            request
        )
        if str(request.method).lower() not in self.http_method_names:
            raise ApiError("method_not_allowed", allow=", ".join(self.allowed_methods))
        self.body = parsers.read_body(request._request)
        query = query_of(request.META)
        access_key = once(query, "wsaccesskey")
        # The file is read with the caller; whether the id may stand there is looked at later.
        file_id = parse_id(query.get("fileid", [""])[0])
        self.caller = self.identify(request.META, access_key, file_id)
        if self.caller:
            self.client = self.caller.client
            logs.add(user_id=self.caller.user.pk, client=self.client)
        if any(len(values) > 1 for values in query.values()):
            raise _repeated()
        self.admit(query)

    def identify(
        self, meta: Mapping[str, str], access_key: str, file_id: int | None
    ) -> Caller | None:
        """Return who calls, where a call asks for that.

        :param file_id: of the query, if it is well-formed.

        :raises ApiError: 401.
        """
        return None

    def admit(self, query: Mapping[str, list[str]]) -> None:
        """Refuse a query that is not well-formed, and a caller who may not do this."""

    def read(self, shape: type[Model]) -> dict[str, Any]:
        """Return the body as *shape* has it, under our own names.

        :raises ApiError: 415, or 400 with a message that names the field.
        """
        try:
            return shape.validated(self.parse(shape))
        except ValidationError as exc:
            raise ApiError("invalid_request", _first_message(exc.detail)) from None

    def parse(self, shape: type[Model]) -> dict[str, Any]:
        """Return the known properties of the body, under their wire names."""
        if self.body == b"":
            return {}
        negotiator = self.get_content_negotiator()
        parser = negotiator.select_parser(self.request, self.get_parsers())
        if parser is None:
            raise ApiError("unsupported_media_type")
        if self.body is None:
            raise ApiError("invalid_request", "The body could not be read.")
        context = {"root": shape.model_name(), "fields": shape.field_names()}
        content_type = self.request.META.get("CONTENT_TYPE", "")
        try:
            data: Any = parser.parse(io.BytesIO(self.body), content_type, context)
        except parsers.MalformedBody as exc:
            raise ApiError("invalid_request", str(exc)) from None
        return dict(data)

    @cached_property
    def origin(self) -> Origin:
        actor_id = self.caller.user.pk if self.caller else None
        return Origin.of(self.face, self.request.META, actor_id=actor_id, client=self.client)

    # -- the way out ---------------------------------------------------------------

    def handle_exception(self, exc: Exception) -> Response:
        """Turn every exception into an answer; what is not a refusal is logged."""
        error = error_of(exc)
        # For the line of this request.
        logs.add(code=error.code)
        if error.status >= 500 and not isinstance(exc, Busy | SandboxRefusal):
            logger.exception("a call failed")
        if isinstance(exc, SandboxRefusal):
            # For what counts it. A client cannot name it: its headers begin with HTTP_.
            self.request.META["SANDBOX_REFUSAL"] = True
        headers = error.headers | help_headers(error)
        return Response(self.refusal(error), status=error.status, headers=headers)

    def refusal(self, error: ApiError) -> Body:
        links = [*self.next_links(error.code), help_link(error.code)]
        return base_response(error.message, links)

    def next_links(self, code: str) -> list[Link]:
        """The links to what the client can do after a refusal with *code*."""
        return []

    def finalize_response(
        self, request: Request, response: Any, *args: Any, **kwargs: Any
    ) -> Response:
        answer: Response = super().finalize_response(request, response, *args, **kwargs)
        answer["Cache-Control"] = "no-store"
        return answer


class NotFound(Call):
    """Any address below ``/User/`` and ``/authorisation/`` that is no call."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise ApiError("not_found")

    @property
    def default_response_headers(self) -> dict[str, str]:
        """Without the framework's ``Allow``, which would be empty: no method is allowed here."""
        return {"Vary": "Accept"}


def not_found_beside(page: Callable[[HttpRequest], HttpResponse]) -> Callable[..., HttpResponse]:
    """Return the view for addresses that do not exist: *page*, or the answer of the API.

    It needs no CSRF token, because it changes nothing: a client that posts to a wrong address
    must learn that it is wrong.
    """
    data = NotFound.as_view()

    @csrf_exempt
    @wraps(page)
    def view(request: HttpRequest) -> HttpResponse:
        return data(request) if asks_for_data(request.META) else page(request)

    return view


class CallerCall(Call):
    """A call for a user, by bearer token or access key."""

    # Set by identify, before any handler runs.
    caller: Caller
    # Set by admit: how long to wait, if the caller sends too many requests.
    wait: timedelta | None = None

    def identify(self, meta: Mapping[str, str], access_key: str, file_id: int | None) -> Caller:
        return authenticate(meta, access_key, file_id)

    def admit(self, query: Mapping[str, list[str]]) -> None:
        # Counted before all refusals, answered after 403. A throttled refusal writes no event.
        self.wait = throttle.hit(self.caller.user.pk)
        self.admit_to_file(query)
        if self.wait:
            raise ApiError("throttled", retry_after=self.wait)

    def admit_to_file(self, query: Mapping[str, list[str]]) -> None:
        """Refuse a malformed ``FileId``, and a caller who may not use the file."""
        raise NotImplementedError

    def open_file(self, file_id: int) -> File:
        """Return the file, if the caller may use it.

        :raises ApiError: 403.
        """
        file = self.caller.file(file_id)
        if file is None:
            self.refuse_access("file_access_denied", file_id)
        return file

    def refuse_access(self, code: str, file_id: int) -> NoReturn:
        if self.wait:
            raise ApiError(code)
        tenants.refuse_access(self.caller.user, file_id, code, origin=self.origin)
        raise ApiError(code)


class UserCall(CallerCall):
    """A call for a user under a file."""

    scopes = CALL_SCOPES
    # Set by admit, before any handler runs.
    file: File
    file_id: int | None = None

    def admit_to_file(self, query: Mapping[str, list[str]]) -> None:
        self.file_id = file_id = _file_id(query)
        if not self.caller.may_call(self.scopes):
            self.refuse_access("insufficient_scope", file_id)
        self.file = self.open_file(file_id)

    def idempotency_key(self) -> IdempotencyKey | None:
        """Return the ``Idempotency-Key`` of the request, if it has one."""
        meta = self.request.META
        key = _visible(meta, "Idempotency-Key")
        match = self.request.resolver_match
        if not key or not match:
            return None
        sent = (self.caller.user.pk, self.client, match.view_name, self.file.pk)
        return IdempotencyKey.of(key, self.body or b"", *sent, request_id=meta["REQUEST_ID"])

    def link(self, rel: str, call: str, title: str) -> Link:
        return link(rel, f"/User/{call}?FileId={self.file_id}", title)


class OptInView(UserCall):
    def post(self, request: Request) -> Response:
        body = self.read(OptInTo2FARequest)
        sending = opt_ins.opt_in(
            self.caller.user,
            self.file,
            body["mobile_number"],
            origin=self.origin,
            reference=_visible(request.META, "Client-Reference"),
            key=self.idempotency_key(),
        )
        if not sending.is_text:
            raise _refusal(sending, sending.why)
        return Response(Body("OptInTo2FAResult", {"ProviderUserId": sending.provider_user_id}))

    def next_links(self, code: str) -> list[Link]:
        if code == SendOutcome.ALREADY_OPTED_IN:
            return [self.link("related", "opt-out-from-2fa", "Turn two-factor off")]
        return []


class VerifyView(UserCall):
    def post(self, request: Request) -> Response:
        body = self.read(Verify2FAOptInRequest)
        result = opt_ins.verify_opt_in(
            self.caller.user, self.file, body["provider_user_id"], body["otp"], origin=self.origin
        )
        if result.outcome is not CodeOutcome.OK:
            raise _refusal(result)
        off = self.link("related", "opt-out-from-2fa", "Turn two-factor off")
        return Response(base_response("Two-factor authentication is on.", [off]))

    def next_links(self, code: str) -> list[Link]:
        again = self.link("self", "verify-2fa-opt-in", "Try again")
        new = self.link("related", "opt-in-to-2fa", "Send a new code")
        if code == CodeOutcome.OTP_INCORRECT:
            return [again, new]
        return [new] if code in {CodeOutcome.OTP_EXPIRED, CodeOutcome.OTP_EXHAUSTED} else []


class OptOutView(UserCall):
    def post(self, request: Request) -> Response:
        otp = codes.clean(self.read(OptOutFrom2FARequest)["otp"] or "")
        key = self.idempotency_key()
        if not otp:
            self._send_code(key)
        result = challenges.opt_out(self.caller.user, self.file, otp, origin=self.origin, key=key)
        if result.outcome is not CodeOutcome.OK:
            raise _refusal(result)
        if result.stays_on:
            return Response(base_response(_STAYS_ON))
        on = self.link("related", "opt-in-to-2fa", "Turn two-factor on")
        return Response(base_response("Two-factor authentication is off.", [on]))

    def _send_code(self, key: IdempotencyKey | None) -> NoReturn:
        sending = challenges.challenge(
            self.caller.user, Purpose.OPT_OUT, origin=self.origin, file=self.file, key=key
        )
        if sending.is_text or sending.outcome is SendOutcome.WAITING:
            raise ApiError("2fa_code_required", why=sending.why)
        raise _refusal(sending, sending.why)

    def next_links(self, code: str) -> list[Link]:
        again = self.link("self", "opt-out-from-2fa", "Send the code")
        new = self.link("related", "opt-out-from-2fa", "Send a new code")
        return {
            "2fa_code_required": [again],
            CodeOutcome.OTP_INCORRECT: [again, new],
            CodeOutcome.OTP_EXPIRED: [new],
            CodeOutcome.OTP_EXHAUSTED: [new],
        }.get(code, [])


_STAYS_ON = (
    "The mobile number is no longer used. Two-factor authentication stays on, with another "
    "second factor."
)


class PingView(CallerCall):
    """Tells whether credentials are valid, and whether they may use a file.

    Tokens of every scope may ask. If the query names no file, a key is checked for its own file.
    """

    http_method_names = ["get", "head"]

    def admit_to_file(self, query: Mapping[str, list[str]]) -> None:
        file_id = _file_id(query) if "fileid" in query else self.caller.key_file_id
        if file_id is not None:
            self.open_file(file_id)

    def get(self, request: Request) -> Response:
        return Response(True)


def query_of(meta: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the query's parameters by name, without regard to ASCII case."""
    query: dict[str, list[str]] = {}
    for name, value in parse_qsl(meta.get("QUERY_STRING", ""), keep_blank_values=True):
        query.setdefault(name.lower() if name.isascii() else name, []).append(value)
    return query


def once(query: Mapping[str, list[str]], name: str) -> str:
    """Return the parameter called *name*, in lower case; "" if it was not sent.

    :raises ApiError: 400, if it was sent twice.
    """
    values = query.get(name, [""])
    if len(values) > 1:
        raise _repeated()
    return values[0]


def _visible(meta: Mapping[str, Any], header: str) -> str:
    """Return the *header* of a request, of visible characters; "" without one.

    :raises ApiError: 400, if it is empty, too long or has others.
    """
    text: str | None = meta.get(f"HTTP_{header.upper().replace('-', '_')}")
    if text is None:
        return ""
    if not REFERENCE.fullmatch(text):
        raise ApiError(
            "invalid_request", f"{header} must be 1 to {MAX_REFERENCE} visible ASCII characters."
        )
    return text


def _file_id(query: Mapping[str, list[str]]) -> int:
    file_id = parse_id(once(query, "fileid"))
    if file_id is None:
        raise ApiError("invalid_request", "FileId must be a whole number from 1 to 2147483647.")
    return file_id


def _repeated() -> ApiError:
    return ApiError("invalid_request", "A query parameter is given twice.")


def _first_message(errors: Any) -> str:
    """Return one sentence that names the field; it never repeats the value."""
    field, messages = next(iter(errors.items()))
    if messages[0].code in {"required", "null"}:
        return f"{field} is required."
    return f"{field} {messages[0]}"


def _refusal(result: Sending | Verification, why: Why | None = None) -> ApiError:
    message = _ONLY_PROGRAMS if result.only_programs else ""
    return ApiError(result.outcome, message, retry_after=result.retry_after, why=why)


_ONLY_PROGRAMS = "This application can use no codes of this account. Contact support."


_SANDBOX_WAITS = {"throttled": timedelta(seconds=1), "unavailable": RETRY_UNAVAILABLE}


def error_of(exc: Exception) -> ApiError:
    if isinstance(exc, ApiError):
        return exc
    if isinstance(exc, Busy):
        return ApiError(exc.code, exc.message, retry_after=RETRY_UNAVAILABLE)
    if isinstance(exc, SandboxRefusal):
        wait = _SANDBOX_WAITS.get(exc.code)
        return ApiError(exc.code, retry_after=wait)
    if isinstance(exc, OnlyFiction):
        return ApiError(exc.code, exc.message)
    if isinstance(exc, Refusal):
        return ApiError(exc.code, exc.message if exc.code == "invalid_request" else "")
    if isinstance(exc, (DatabaseError, InterfaceError)):
        return ApiError("unavailable", retry_after=RETRY_UNAVAILABLE)
    return ApiError("internal_error")
