"""The calls of the journey."""

from bench.floor.urls import Call
from bench.peer.models import Phone
from django.shortcuts import get_object_or_404
from django.urls import path
from oauth2_provider.views import TokenView
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response


class OptIn(Call):
    class Body(serializers.Serializer[None]):
        MobileNumber = serializers.RegexField(r"^\+\d{8,15}$")

    def post(self, request: Request) -> Response:
        body = self.Body(data=request.data)
        body.is_valid(raise_exception=True)
        number = body.validated_data["MobileNumber"]
        phone = Phone.objects.create(
            user=request.user, name="phone", number=number, confirmed=False
        )
        phone.generate_challenge()
        return Response({"ProviderUserId": phone.pk})


class Verify(Call):
    class Body(serializers.Serializer[None]):
        ProviderUserId = serializers.IntegerField()
        Otp = serializers.CharField()

    def post(self, request: Request) -> Response:
        body = self.Body(data=request.data)
        body.is_valid(raise_exception=True)
        phone = get_object_or_404(
            Phone, pk=body.validated_data["ProviderUserId"], user=request.user
        )
        if phone.verify_token(body.validated_data["Otp"]):
            return Response({"StatusMessage": "ok"})
        return Response({"StatusMessage": "otp_incorrect"}, status=400)


urlpatterns = [
    path("User/opt-in-to-2fa", OptIn.as_view()),
    path("User/verify-2fa-opt-in", Verify.as_view()),
    path("authorisation/<call>", TokenView.as_view()),
]
