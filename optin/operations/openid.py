"""What OpenID Connect tells an application of a person: who they are, and how they signed in."""

import json
from collections.abc import Mapping
from typing import Any

from jwcrypto import jwt
from jwcrypto.common import JWException
from oauth2_provider.utils import jwk_from_pem

from optin.conf import conf
from optin.models import User
from optin.operations.factors import Standing
from optin.outcomes import By

IDENTITY = ("openid", "profile", "email")
"""The words of a scope that tell who somebody is, and let nothing act for them."""

MULTI_FACTOR = "http://schemas.openid.net/pape/policies/2007/06/multi-factor"
"""The one ``acr``: a password and a second factor (OpenID PAPE 1.0)."""

_METHODS = {By.TEXT: ["otp", "sms"], By.APP: ["otp"], By.PASSKEY: ["pop"], By.RECOVERY: []}
"""``amr`` values of RFC 8176, which has none for a recovery code."""


def proof(standing: Standing, *, is_on: bool) -> dict[str, Any]:
    """Return the claims on how somebody signed in: all of it at ``auth_time`` or later.

    :param standing: what their session has proved: the password, at least.
    :param is_on: whether they have a second factor now. One that was removed counts no more.
    """
    times = [standing.password_at]
    claims: dict[str, Any] = {"amr": ["pwd"]}
    if is_on and standing.factor_by:
        times.append(standing.factor_at)
        methods = ["pwd", *_METHODS[standing.factor_by], "mfa"]
        claims = {"amr": methods, "acr": MULTI_FACTOR}
    return {"auth_time": int(min(at.timestamp() for at in times if at)), **claims}


def about(user: User) -> dict[str, Any]:
    """Return what an application may be told of *user*, by the scopes that it has."""
    claims: dict[str, Any] = {
        "sub": user.handle,
        "preferred_username": user.get_username(),
        "name": user.get_full_name(),
    }
    if user.email:
        is_proved = user.proved_email == user.email
        claims = {**claims, "email": user.email, "email_verified": is_proved}
    return {name: value for name, value in claims.items() if value != ""}


def claims_of(id_token: str) -> Mapping[str, Any] | None:
    """Return what an ID token of this service says, also after its time; None for any other."""
    for pem in conf.openid_keys:
        try:
            opened = jwt.JWT(
                key=jwk_from_pem(pem),
                jwt=id_token,
                algs=["RS256"],
                check_claims={"iss": conf.base_url},
            )
            claims: Mapping[str, Any] = json.loads(opened.claims)
        except (JWException, ValueError, TypeError):
            continue
        return claims
    return None
