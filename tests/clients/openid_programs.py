"""Programs that sign people in by OpenID Connect, which nobody here wrote, and a browser.

Each is at an address by https, as the service wants it, where a proxy in front would end TLS. Here
the browser itself sends what is for that address to the program's port.
"""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import requests
from jwcrypto.jwk import JWK
from requests.adapters import HTTPAdapter

from optin.operations.openid import MULTI_FACTOR
from tests.kit.browser import Form, Page
from tests.kit.server import free_port, listens, running_python, until

MODULES = Path("/usr/lib/apache2/modules")
DISCOVERY = "/.well-known/openid-configuration"
SECRET = "secret-of-a-program-" * 4


@dataclass(frozen=True)
class Program:
    """A program that signs people in at the service."""

    host: str
    port: int
    start: str  # the path that leads to the service
    claims: str  # the path that answers the claims, in JSON
    leave: str  # the path that signs out, also at the service
    left: str  # the path to which the service then leads back

    def at(self, path: str) -> str:
        return f"https://{self.host}{path}"


class _Proxy(HTTPAdapter):
    """Ends TLS in front of a program."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port = port

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> Any:
        inner = request.copy()
        assert request.url
        parts = urlsplit(request.url)
        inner.url = parts._replace(scheme="http", netloc=f"127.0.0.1:{self.port}").geturl()
        forwarded = {"Host": parts.netloc, "X-Forwarded-Proto": "https"}
        inner.headers.update({**forwarded, "X-Forwarded-Host": parts.netloc})
        response = super().send(inner, *args, **kwargs)
        response.url = request.url
        return response


@dataclass
class Browser:
    """Follows redirects between the service and a program, and fills in forms."""

    program: Program
    session: requests.Session = field(default_factory=requests.Session)
    page: Page = field(default_factory=lambda: Page("", 0, ""))

    def __post_init__(self) -> None:
        self.session.mount(self.program.at(""), _Proxy(self.program.port))

    @property
    def path(self) -> str:
        return urlsplit(self.page.address).path

    def go(self, address: str) -> None:
        self._show(self.session.get(urljoin(self.page.address, address), timeout=30))

    def click(self, beginning: str) -> None:
        """Follow the first link whose address begins so."""
        self.go(next(link for link in self.page.links if link.startswith(beginning)))

    def send(self, to: str = "", *, press: str = "", **typed: str) -> None:
        form: Form = self.page.form(to, set(typed))
        sent = {press: form.buttons[press]} if press else {}
        address = urljoin(self.page.address, form.action)
        data = {**form.fields, **typed, **sent}
        self._show(self.session.post(address, data, timeout=30))

    def json(self, address: str) -> Any:
        return self.session.get(address, timeout=30).json()

    def _show(self, response: requests.Response) -> None:
        self.page = Page(response.url, response.status_code, response.text)
        assert response.status_code == 200, (response.url, response.text)


def decoded(id_token: str) -> Any:
    """What an ID token says, which the program has checked."""
    body = id_token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


@contextmanager
def other_keys(service: str) -> Iterator[str]:
    """An address that describes *service* as after the key that signs was removed."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = requests.get(f"{service}{DISCOVERY}", timeout=30).json()
            body["jwks_uri"] = f"{address}/jwks"
            if self.path == "/jwks":
                key = JWK.generate(kty="RSA", size=2048, alg="RS256", use="sig", kid="other")
                body = {"keys": [key.export_public(as_dict=True)]}
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        address = f"http://127.0.0.1:{server.server_port}"
        Thread(target=server.serve_forever, daemon=True).start()
        yield address
        server.shutdown()


# -- mozilla-django-oidc ------------------------------------------------------------


@contextmanager
def django_site(service: str, folder: Path, *, jwks: str = "") -> Iterator[Program]:
    """A site in Django that uses mozilla-django-oidc."""
    port = free_port()
    env = {"PATH": os.environ["PATH"], "SERVICE": service, "SECRET": SECRET, "FOLDER": str(folder)}
    env |= {"ACR": MULTI_FACTOR, "JWKS": jwks or f"{service}/o/jwks/"}
    command = ["-m", "tests.clients.openid_site", str(port)]
    with running_python(*command, env=env, log=folder / "django.log"):
        until(lambda: listens(port), 30)
        yield Program(
            "books.example.com",
            port,
            start="/oidc/authenticate/?next=/claims",
            claims="/claims",
            leave="/oidc/logout/",
            left="/claims",
        )


# -- mod_auth_openidc ---------------------------------------------------------------

_APACHE = """
ServerName ledger.example.com
Listen 127.0.0.1:{port}
PidFile {folder}/apache.pid
ErrorLog {folder}/apache.log
DocumentRoot {folder}/www
{modules}
OIDCProviderMetadataURL {metadata}
OIDCClientID apache
OIDCClientSecret {secret}
OIDCRedirectURI https://ledger.example.com/callback
OIDCCryptoPassphrase {secret}
OIDCScope "openid email profile"
OIDCPKCEMethod S256
OIDCAuthRequestParams acr_values={quoted_acr}
OIDCXForwardedHeaders X-Forwarded-Proto X-Forwarded-Host
OIDCInfoHook id_token userinfo
OIDCHTTPTimeoutShort 30
<Location />
  AuthType openid-connect
  Require claim "acr:{acr}"
</Location>
<Location /left.html>
  AuthType none
  Require all granted
</Location>
"""


@contextmanager
def apache(metadata: str) -> Iterator[Program]:
    """A page that Apache shows only to whoever its mod_auth_openidc let in, with two factors."""
    port = free_port()
    names = "mpm_event authz_core authn_core authz_user auth_openidc dir"
    configuration = {
        "port": port,
        "modules": "\n".join(f"LoadModule {n}_module {MODULES}/mod_{n}.so" for n in names.split()),
        "metadata": metadata,
        "secret": SECRET,
        "acr": MULTI_FACTOR,
        "quoted_acr": quote(MULTI_FACTOR, safe=""),
    }
    # It serves nobody as root, and only root may open the folders of the tests.
    user = "www-data" if os.geteuid() == 0 else None
    with TemporaryDirectory() as own:
        folder = Path(own)
        (folder / "www").mkdir()
        (folder / "www" / "index.html").write_text("<h1>The ledger</h1>")
        (folder / "www" / "left.html").write_text("<h1>Goodbye</h1>")
        (folder / "apache.conf").write_text(_APACHE.format(folder=folder, **configuration))
        if user:
            shutil.chown(folder, user)
        command = ["/usr/sbin/apache2", "-f", str(folder / "apache.conf"), "-DFOREGROUND"]
        with subprocess.Popen(command, user=user, group=user) as process:
            try:
                until(lambda: listens(port), 30)
                start, claims = "/index.html", "/callback?info=json"
                host, left = "ledger.example.com", "/left.html"
                leave = f"/callback?logout={quote(f'https://{host}{left}', safe='')}"
                yield Program(host, port, start=start, claims=claims, leave=leave, left=left)
            finally:
                process.terminate()
