"""Faults that a client can order, and whose words hold all that it sent.

For a server of the tests only: ``tests.logs.faulty_settings`` puts this in.
"""

from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from optin.api.views import VerifyView
from optin.messaging import wording
from optin.operations import opt_ins
from twofa_site.handler import Handler


class Faults:
    """Raise where ``X-Fault`` or the user agent says, with the secrets in the message."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response
        verify, serve, text_for = opt_ins.verify_opt_in, Handler.__call__, wording.text_for

        def verify_or_fail(
            user: Any, file: Any, pk: int, otp: str, *, origin: Any, **more: Any
        ) -> Any:
            if origin.user_agent == "fault":
                try:
                    raise ValueError(f"cannot read {otp}")
                except ValueError as exc:
                    raise RuntimeError(f"DETAIL: Failing row contains ({user.pk}, {otp})") from exc
            return verify(user, file, pk, otp, origin=origin, **more)

        def serve_or_fail(handler: Any, environ: dict[str, Any], start_response: Any) -> Any:
            if environ.get("HTTP_X_FAULT") == "server":
                raise RuntimeError(f"{environ}")
            return serve(handler, environ, start_response)

        def text_or_fail(message: Any) -> str:
            if message.provider_user.user.username == "cam":
                number = message.provider_user.open_number()
                raise RuntimeError(f"no route to {number}: {message.pending_otp.code()}")
            return text_for(message)

        begin = VerifyView.initialize_request

        def begin_or_fail(view: Any, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            if request.headers.get("X-Fault") == "call":
                raise RuntimeError(f"{request.get_full_path()} {request.body!r} {request.META}")
            return begin(view, request, *args, **kwargs)

        VerifyView.initialize_request = begin_or_fail  # type: ignore[method-assign,assignment]
        opt_ins.verify_opt_in = verify_or_fail  # type: ignore[assignment]
        Handler.__call__ = serve_or_fail  # type: ignore[method-assign,assignment]
        wording.text_for = text_or_fail

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.headers.get("X-Fault") == "page":
            raise RuntimeError(f"{request.get_full_path()} {request.body!r} {request.META}")
        response: HttpResponseBase = self.get_response(request)
        return response
