"""Turn two-factor sign-in on and off again for one person. Python 3.11, standard library only.

    API_URL=http://localhost:8000 API_FILE_ID=777 API_USER=ann API_PASSWORD=... \\
        python3 optin.py "0491 570 156"

With API_KEY (an access key) in place of API_USER and API_PASSWORD, no token is needed.
"""

import json
import os
import sys
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen
from uuid import uuid4


class Refused(Exception):
    """An answer that is not 200: ``code`` is stable, ``message`` is for a person."""

    def __init__(self, status, answer, retry_after):
        if "error" in answer:  # a token call
            self.code, self.message = answer["error"], answer["error_description"]
        elif "_links" in answer:  # any other call: the title of the last link is the code
            self.code, self.message = answer["_links"][-1]["title"], answer["StatusMessage"]
        else:  # not from the service: from a proxy, for example
            self.code, self.message = f"http_{status}", "The service could not be reached."
        self.retry_after = retry_after  # seconds, as text; None where waiting does not help
        super().__init__(f"{self.code}: {self.message}")


class Client:
    def __init__(self, url, file_id, key, user, password):
        self.url = url.rstrip("/")
        self.query = {"FileId": file_id} | ({"WsAccessKey": key} if key else {})
        self.user, self.password = user, password
        self.tokens = None

    def send_once(self, path, body=None):
        """Send one call. If its answer is lost, send it again: it takes effect once."""
        key = str(uuid4())
        try:
            return self.send(path, body, key=key)
        except (OSError, HTTPException):
            return self.send(path, body, key=key)

    def send(self, path, body=None, method="POST", key=None):
        """Send one call and return its answer."""
        headers = {"Accept": "application/json"}
        if key:
            headers["Idempotency-Key"] = key
        if body is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(body).encode()
        if self.tokens:
            headers["Authorization"] = f"Bearer {self.tokens['access_token']}"
        address = f"{self.url}/{path}?{urlencode(self.query)}"
        try:
            with urlopen(Request(address, body, headers, method=method), timeout=30) as response:
                return json.load(response)
        except HTTPError as error:
            is_json = error.headers.get_content_subtype() == "json"
            answer = json.load(error) if is_json else {}
            raise Refused(error.code, answer, error.headers["Retry-After"]) from None

    def sign_in(self):
        """Get tokens for the password and, where two-factor is on, a code."""
        request = {"grant_type": "password", "username": self.user, "password": self.password}
        try:
            self.tokens = self.send("authorisation/token", request)
        except Refused as refusal:
            if refusal.code != "2fa_code_required":
                raise
            self.tokens = ask_for_code(
                lambda code: self.send(
                    "authorisation/token-2fa", request | {"verification_code": code}
                )
            )
        print("Signed in.")

    def refresh(self):
        """Get a new access token, or sign in again where the refresh token has ended."""
        request = {"grant_type": "refresh_token", "refresh_token": self.tokens["refresh_token"]}
        try:
            self.tokens = self.send("authorisation/refresh", request)
        except Refused as refusal:
            if refusal.code != "invalid_grant":
                raise
            self.sign_in()
        else:
            print("Refreshed.")


def ask_for_code(send):
    """Call *send* with what the person types until the code is right."""
    while True:
        print("Enter the code from the text message:", flush=True)
        try:
            return send(input())
        except Refused as refusal:
            if refusal.code not in {"otp_incorrect", "invalid_grant", "invalid_request"}:
                raise
            print(refusal.message)


def main(number):
    names = ("API_URL", "API_FILE_ID", "API_KEY", "API_USER", "API_PASSWORD")
    client = Client(*(os.environ.get(name, "") for name in names))
    by_password = bool(client.user)
    if by_password:
        client.sign_in()
    print("Ping:", client.send("authorisation/ping", method="GET"))

    opt_in = client.send_once("User/opt-in-to-2fa", {"MobileNumber": number})
    proof = {"ProviderUserId": opt_in["ProviderUserId"]}
    answer = ask_for_code(lambda code: client.send("User/verify-2fa-opt-in", proof | {"Otp": code}))
    print(answer["StatusMessage"])

    if by_password:
        client.refresh()  # signs in again: turning two-factor on has ended the refresh token
        client.refresh()

    try:
        client.send_once("User/opt-out-from-2fa")  # without a code, it sends one
    except Refused as refusal:
        if refusal.code != "2fa_code_required":
            raise
    answer = ask_for_code(lambda code: client.send_once("User/opt-out-from-2fa", {"Otp": code}))
    print(answer["StatusMessage"])


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except Refused as refusal:
        wait = f" (wait {refusal.retry_after} s)" if refusal.retry_after else ""
        sys.exit(f"{refusal}{wait}")
