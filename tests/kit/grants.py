"""Tokens by password and by refresh, as the operations give them to a program."""

from optin.operations import sign_in
from optin.origin import Face, Origin
from tests.kit.people import PASSWORD

FROM = Origin(Face.TOKEN, ip="192.0.2.1")


def ask(
    name: str, code: str = "", *, password: str = PASSWORD, origin: Origin = FROM
) -> sign_in.TokenAnswer:
    """Ask for tokens with a password. Needs ``password_clients``."""
    client = sign_in.application()
    assert client
    return sign_in.password_grant(
        name, password, scope="", verification_code=code, client=client, origin=origin
    )


def tokens(name: str, code: str = "", *, origin: Origin = FROM) -> sign_in.Tokens:
    """Get tokens, with a code if a factor is on."""
    given = ask(name, code, origin=origin).tokens
    assert given
    return given


def refresh(token: str, *, origin: Origin = FROM) -> sign_in.TokenAnswer:
    client = sign_in.application()
    assert client
    return sign_in.refresh_grant(token, scope="", client=client, origin=origin)
