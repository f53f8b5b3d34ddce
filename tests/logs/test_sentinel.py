"""S-50: known secrets go through everything at DEBUG level, and turn up nowhere.

The server runs as it does in production, but for the net that blanks out what looks
like a secret (``faulty_settings``), and for faults whose words quote what a client sent.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tests.kit.clients import FORM
from tests.kit.phone import wrong
from tests.kit.server import Site, running
from tests.logs.sentinels import ANNS, BENS, CAMS, FAULTY, NOBODYS, Scene, stands_in

pytestmark = pytest.mark.django_db(transaction=True)

CLIENT_SECRET = "sentinel-client-secret-" + "s" * 40
GRANT = "sentinel-authorization-code"
VERIFIER = "sentinel-code-verifier-" + "v" * 40
WRONG_PASSWORD = "sentinel-wrong-password"
WRONG_KEY = "sentinelwrongkey234567"
WRONG_TOKEN = "sentinel-wrong-token-0123456789"
XML = "application/xml"
LONG_AGO = (
    "UPDATE oauth2_provider_refreshtoken SET revoked = '2026-01-01 00:00:00+00:00' "
    "WHERE revoked IS NOT NULL"
)
"""Makes it too late to repeat a refresh."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    limits = {"OPTIN_LOCK_AFTER": "3", "OPTIN_PASSWORD_CLIENTS_ROTATE": "True"}
    with running(tmp_path, env=FAULTY | limits) as site:
        yield site


class Everything(Scene):
    """The people, and everything that they do."""

    def opt_in_and_out(self) -> None:
        """One person, from the first call to the last, by JSON."""
        answer = self.call("ann", "opt-in-to-2fa", {"MobileNumber": ANNS})
        pk = answer.json["ProviderUserId"]
        code = self.code()
        for otp in (wrong(code), code, code):
            answer = self.call("ann", "verify-2fa-opt-in", {"ProviderUserId": pk, "Otp": otp})
        assert answer.status == 409
        assert self.sign_in("token", "ann", WRONG_PASSWORD).status == 400
        assert self.sign_in("token", "ann").status == 401
        code = self.code()
        assert self.sign_in("token-2fa", "ann", verification_code=wrong(code)).status == 400
        first = self.tokens(self.sign_in("token-2fa", "ann", verification_code=code), "first")
        second = self.tokens(self.refresh(first), "second")
        self.tokens(self.refresh(first), "second, of an answer that was lost")
        bearer = {"Authorization": f"Bearer {second['access_token']}"}
        assert self.site.send("/authorisation/ping", method="GET", **bearer).status == 200
        assert self.call("ann", "opt-out-from-2fa").status == 401
        code = self.code()
        assert self.call("ann", "opt-out-from-2fa", {"Otp": wrong(code)}).status == 400
        assert self.call("ann", "opt-out-from-2fa", {"Otp": code}).status == 200
        self.site.sql(LONG_AGO)
        assert self.refresh(first).status == 400  # too late: its family ends

    def lock(self) -> None:
        """Another person, by XML; too many wrong codes, and what staff do."""

        def send(call: str, root: str, **fields: object) -> Any:
            inner = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
            return self.call("ben", call, f"<{root}>{inner}</{root}>", 888, kind=XML)

        answer = send("opt-in-to-2fa", "OptInTo2FARequest", MobileNumber=f"0{BENS[3:]}")
        pk = re.search(r"<ProviderUserId>(\d+)", answer.text)
        assert pk, answer.text
        code = self.code()
        for otp in [*[wrong(code)] * 3, code]:
            answer = send(
                "verify-2fa-opt-in", "Verify2FAOptInRequest", ProviderUserId=pk[1], Otp=otp
            )
        assert answer.status == 429
        assert self.command("person", "unlock", "ben", "--reason", "asked by phone") == 0
        send("verify-2fa-opt-in", "Verify2FAOptInRequest", ProviderUserId=pk[1], Otp=code)
        assert self.command("person", "revoke-factor", "ben", "--reason", "phone lost") == 0

    def nonsense(self) -> None:
        """Secrets in all the wrong places."""
        key, password = self.key("ann"), self.people["ann"]["password"]
        code = self.code()
        known = json.dumps({"Otp": code, "MobileNumber": NOBODYS, "password": password})
        bodies: list[tuple[str | bytes, str]] = [
            (known[:-1], "application/json"),
            (f"{known}{key}", "application/json"),
            (f'{{"ProviderUserId": {code}, "Otp": {code}}}', "application/json"),
            (f'{{"Otp": ["{code}"], "MobileNumber": {{"{NOBODYS}": 1}}}}', "application/json"),
            (f"<Otp>{code}<MobileNumber>{NOBODYS}", XML),
            (f'<!DOCTYPE x [<!ENTITY e "{code}">]><x>&e;{key}</x>', XML),
            (f"<{WRONG_PASSWORD}>{code}</{WRONG_PASSWORD}>", XML),
            (known.encode("utf-16"), "application/json"),
            (known.encode() + b"\xff\xfe", "application/json"),
            (known, f"text/plain; password={password}"),
            (f"grant_type=password&username=ann&password={password}&password=%ff", FORM),
            (known + " " * 17_000, "application/json"),
        ]
        calls = ["verify-2fa-opt-in", "opt-in-to-2fa", "opt-out-from-2fa"]
        paths = [f"/User/{call}?FileId=777&WsAccessKey={key}" for call in calls]
        paths += [f"/authorisation/{call}" for call in ("token", "token-2fa", "refresh")]
        for path in paths:
            for body, kind in bodies:
                assert self.site.send(path, body, kind).status in {400, 401, 413, 415}
        words = f"{key}/{code}/{NOBODYS}/{password}/{WRONG_TOKEN}"
        bearer = {"Authorization": f"Bearer {WRONG_TOKEN}"}
        for path in (
            f"/User/{words}",
            f"/authorisation/{words}",
            f"/o/{words}",
            f"/{words}",
            f"/static/{words}",
            f"/User/verify-2fa-opt-in%3FWsAccessKey={key}",
            f"/User/%0a{key}",
            f"/User/verify-2fa-opt-in?FileId=777&WsAccessKey={key}&WsAccessKey={key}",
            f"/User/verify-2fa-opt-in?FileId={code}&WsAccessKey={WRONG_KEY}",
            f"/o/token/?access_token={WRONG_TOKEN}&password={password}",
            f"/metrics?WsAccessKey={key}",
            f"/?WsAccessKey={key}&%ff",
        ):
            for method in ("GET", "POST"):
                self.site.send(path, method=method, Cookie=f"session={WRONG_TOKEN}", **bearer)
        query = f"/User/verify-2fa-opt-in?FileId=777&WsAccessKey={key}"
        self.site.send(query, Host=f"{key}.example.com")
        self.site.send(f"/Help?{key}", method="GET", Host=f"{key}.example.com")
        self.site.send("/authorisation/ping", method="GET", Authorization=f"Basic {WRONG_TOKEN}")
        for request in (
            f"GET {query} {key}\r\n\r\n",
            f"GET {query} HTTP/1.1\r\n{key} : {code}\r\n\r\n",
            f"{key}\r\n\r\n",
            f"POST {query} HTTP/1.1\r\nHost: x\r\nContent-Length: {code}x\r\n\r\n",
            f"POST {query} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 300\r\n\r\n{known}",
            f"POST {query} HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n"
            f"Content-Type: application/json\r\n\r\n{code}\r\n{known}\r\n",
            f"POST {query} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: {key * 1000}\r\n\r\n",
            f"GET {query}{key * 1000} HTTP/1.1\r\n\r\n",
        ):
            self.site.send_raw(request.encode())

    def oauth(self) -> None:
        """The standard endpoints: an authorization code, its tokens, what is wrong."""
        digest = hashlib.sha256(VERIFIER.encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        script = f"""
            from datetime import timedelta
            from django.utils import timezone
            from oauth2_provider.models import Application, Grant
            from optin.models import User
            client = Application.objects.create(
                client_id="client", client_secret={CLIENT_SECRET!r}, name="Client",
                client_type="confidential", authorization_grant_type="authorization-code",
                redirect_uris="https://client.example.com/")
            Grant.objects.create(
                user=User.objects.get(username="cam"), application=client, code={GRANT!r},
                expires=timezone.now() + timedelta(hours=1), scope="full",
                redirect_uri="https://client.example.com/",
                code_challenge={challenge!r}, code_challenge_method="S256")
        """
        assert self.command("shell", "--no-imports", "-c", dedent(script)) == 0

        def send(address: str, **body: str) -> Any:
            credentials = base64.b64encode(f"client:{CLIENT_SECRET}".encode()).decode()
            self.secrets.add("client credentials", credentials)
            headers = {"Authorization": f"Basic {credentials}"}
            return self.site.send(f"/o/{address}/", body, FORM, **headers)

        exchange = {
            "grant_type": "authorization_code",
            "code": GRANT,
            "code_verifier": VERIFIER,
            "redirect_uri": "https://client.example.com/",
        }
        assert send("token", **{**exchange, "code": WRONG_TOKEN}).status == 400
        first = self.tokens(send("token", **exchange), "by code")
        again = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
        second = self.tokens(send("token", **again), "by code, again")
        self.tokens(send("token", **again), "by code, of an answer that was lost")
        self.site.sql(LONG_AGO)
        assert send("token", **again).status == 400
        password = self.people["cam"]["password"]
        send("token", grant_type="password", username="cam", password=password)
        send("token", grant_type="client_credentials", scope=WRONG_TOKEN)
        assert send("introspect", token=second["access_token"]).status in {200, 403}
        assert send("revoke_token", token=second["refresh_token"]).status == 200
        for client, secret in (("client", WRONG_PASSWORD), (WRONG_TOKEN, CLIENT_SECRET)):
            named = {"client_id": client, "client_secret": secret}
            assert self.site.send("/o/token/", {**exchange, **named}, FORM).status == 401
            pair = base64.b64encode(f"{client}:{secret}".encode()).decode()
            headers = {"Authorization": f"Basic {pair}"}
            assert self.site.send("/o/token/", exchange, FORM, **headers).status == 401

    def faults(self) -> None:
        """What nobody foresaw, with the secrets in its words; then no audit trail."""
        self.call("ann", "opt-in-to-2fa", {"MobileNumber": ANNS})
        code = self.code()
        body = {"ProviderUserId": 1, "Otp": code}
        for name, value in (("X_Fault", "call"), ("X_Fault", "server"), ("User_Agent", "fault")):
            headers: dict[str, Any] = {name: value}
            answer = self.call("ann", "verify-2fa-opt-in", body, **headers)
            assert answer.status == 500
            assert self.secrets.found_in(answer.text) == set()
        page = f"/sign-in/?WsAccessKey={self.key('ann', 777)}"
        answer = self.site.send(page, body, X_Fault="page")
        assert answer.status == 500
        assert self.secrets.found_in(answer.text) == set()
        # His text cannot be made.
        self.call("cam", "opt-in-to-2fa", {"MobileNumber": CAMS})
        assert self.command("send_due") == 0
        self.code()
        self.site.sql("ALTER TABLE optin_auditevent RENAME TO away")
        try:
            assert self.call("ann", "verify-2fa-opt-in", body).status == 503
            assert self.sign_in("token", "ann").status == 503
            self.command("person", "unlock", "ann", "--reason", "no trail")
        finally:
            self.site.sql("ALTER TABLE away RENAME TO optin_auditevent")


@pytest.mark.slow
def test_no_secret_turns_up_anywhere(site: Site) -> None:
    """S-50."""
    scene = Everything(site)
    secrets = scene.secrets
    for name in (WRONG_PASSWORD, WRONG_KEY, WRONG_TOKEN, CLIENT_SECRET, GRANT, VERIFIER):
        secrets.add(name, name)

    scene.opt_in_and_out()
    scene.lock()
    scene.nonsense()
    scene.oauth()
    scene.faults()

    assert scene.leaks() == {}
    log = site.log.read_text()
    # It was all there to be found.
    assert secrets.found_in((site.folder / "sms.jsonl").read_text()) >= {
        f"number {ANNS[3:]}",
        f"number {BENS[3:]}",
    }
    assert log.count('"event": "request"') > 100
    assert log.count("Subject: ") >= 3
    assert log.count("RuntimeError") >= 4
    assert "optin_auditevent" in site.dump()
    assert '"code": "unavailable"' in log
    assert '"code": "internal_error"' in log
    assert "not well-formed HTTP" in log


def test_the_search_finds_a_code_and_no_part_of_a_digest() -> None:
    assert stands_in("0123456", 'Otp: "0123456"')
    assert stands_in("0123456", "otp=0123456&x")
    assert not stands_in("0123456", "97c7f90123456eaad")
    assert stands_in("491572549", "+61491572549")
