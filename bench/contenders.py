"""What the service is compared with, under addresses of its own beside it.

``application`` serves both, so that each runs in the same server with the same middlewares.
"""

from typing import Any

from bench import world  # noqa: F401  (makes Django ready)

from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from oauth2_provider.contrib.rest_framework import OAuth2Authentication, TokenHasScope
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

import twofa_site.urls
from optin.models import PendingOtp


@csrf_exempt
def static(request: HttpRequest) -> HttpResponse:
    return HttpResponse(b"{}", content_type="application/json")


class Floor(APIView):
    """A constant answer behind django-oauth-toolkit's own authentication and scope check."""

    authentication_classes = [OAuth2Authentication]
    permission_classes = [TokenHasScope]
    required_scopes = ["full"]

    def post(self, request: Request) -> Response:
        return Response({"StatusMessage": "ok", "_links": [], "read": len(request.data)})


class Peer(Floor):
    """What packages for codes by text do: find the code by an index, compare, save the try.

    It has no lock, no transaction, no audit event and no limit: two requests at once can both count
    as one try.
    """

    def post(self, request: Request) -> Response:
        body: dict[str, Any] = dict(request.data)
        code = PendingOtp.objects.select_related("provider_user").get(
            provider_user_id=body["ProviderUserId"], closed_at=None
        )
        if code.matches(body["Otp"]):
            return Response({"StatusMessage": "right"})
        code.tries += 1
        code.save(update_fields=["tries"])
        return Response({"StatusMessage": "wrong"}, status=400)


twofa_site.urls.urlpatterns[:0] = [
    path("floor/static", static),
    path("floor/drf", Floor.as_view()),
    path("floor/peer", Peer.as_view()),
]

application = WSGIHandler()
