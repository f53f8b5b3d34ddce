"""The constant answer."""

from django.urls import path
from oauth2_provider.contrib.rest_framework import OAuth2Authentication, TokenHasScope
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


class Call(APIView):
    """A call with a bearer token. It reads the body."""

    authentication_classes = [OAuth2Authentication]
    permission_classes = [TokenHasScope]
    required_scopes = ["full"]

    def post(self, request: Request) -> Response:
        return Response({"StatusMessage": "ok", "read": len(request.data)})


urlpatterns = [path("User/verify-2fa-opt-in", Call.as_view())]
