"""The password grant, which asks for a code."""

from typing import Any

from bench.peer.models import Phone
from oauth2_provider.oauth2_validators import OAuth2Validator
from oauthlib.oauth2.rfc6749.errors import CustomOAuth2Error


class Validator(OAuth2Validator):
    def validate_user(
        self, username: str, password: str, client: Any, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        if not super().validate_user(username, password, client, request, *args, **kwargs):
            return False
        phone = Phone.objects.filter(user=request.user, confirmed=True).first()
        if phone is None:
            return True
        code = getattr(request, "verification_code", "")
        if not code:
            phone.generate_challenge()
            raise CustomOAuth2Error("2fa_code_required", status_code=401, request=request)
        return bool(phone.verify_token(code))
