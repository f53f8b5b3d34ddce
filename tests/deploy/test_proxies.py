"""The proxies in front, as deploy/ configures them: they write no access key to a file.

Each request here has a key in its query, or a token of a mailed link in its path, and ends with an
error that the proxy would write a message about.
"""

import http.client
import shutil
import socket
import socketserver
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread

import pytest

from optin.api.answers import ApiError, base_response, help_link, oauth_error
from optin.api.renderers import JSON, renderer_for
from tests.kit.caddy import CADDY, configuration
from tests.kit.server import ROOT, free_port, needs, replaced, until

KEY = "k3yThatNobodyMayRead"
QUERY = f"?FileId=1001&WsAccessKey={KEY}"
HOST = "2fa.example.com"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


@pytest.fixture(autouse=True)
def clock() -> None:
    """Real time: the other processes have it too."""


# -- the service behind them, which fails as the path says -------------------------


class Answers(socketserver.StreamRequestHandler):
    stopped = Event()

    def handle(self) -> None:
        if not (line := self.rfile.readline()):
            return
        path = line.split()[1].decode()
        while self.rfile.readline().strip():
            pass
        if path.startswith("/hang"):
            self.stopped.wait(20)
        elif path.startswith("/half"):
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        elif path.startswith("/nonsense"):
            self.wfile.write(b"nonsense\r\n\r\n")
        elif path.startswith("/long"):
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 70_000 + b"\r\n\r\n")
        elif not path.startswith(("/close", "/User/close")):
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


class Upstream(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    request_queue_size = 100


@contextmanager
def upstream() -> Iterator[int]:
    Answers.stopped.clear()
    with Upstream(("127.0.0.1", 0), Answers) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            Answers.stopped.set()
            server.shutdown()


# -- clients -----------------------------------------------------------------------


@dataclass(frozen=True)
class Proxy:
    port: int
    tls: bool
    folder: Path
    plain_port: int = 0
    """Where it takes http beside https."""

    def send(self, request: str, *, waits: bool = True) -> str:
        """Send *request* as it is; return the first line of the answer, or "" without one."""
        with self._line() as line, suppress(ConnectionError, ssl.SSLError):
            line.sendall(request.encode())
            return line.makefile("rb").readline().decode().strip() if waits else ""
        return ""

    def _line(self) -> socket.socket:
        line: socket.socket = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        if self.tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            line = context.wrap_socket(line, server_hostname=HOST)
        return line

    def post(self, path: str, accept: str, kind: str) -> tuple[dict[str, str], str]:
        """Send a call; return the headers of the answer, with its status, and the body."""
        headers = {"Host": HOST, "Accept": accept, "Content-Type": kind}
        line = http.client.HTTPConnection(HOST, timeout=10)
        with self._line() as line.sock:
            line.request(
                "POST", path, "{}", {name: value for name, value in headers.items() if value}
            )
            answer = line.getresponse()
            return {**answer.headers, "Status": str(answer.status)}, answer.read().decode()

    def get(self, path: str, *, waits: bool = True) -> str:
        return self.send(
            f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n", waits=waits
        )

    def written(self) -> str:
        """All that it wrote, with the names of the files."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        return "\n".join(f"{path}\n{path.read_bytes().decode(errors='replace')}" for path in files)


HEAD = f"HTTP/1.1\r\nHost: {HOST}\r\n"
BROKEN = {
    "another version": f"GET /User/x{QUERY} HTTP/9.9\r\nHost: {HOST}\r\n\r\n",
    "no host": f"GET /User/x{QUERY} HTTP/1.1\r\n\r\n",
    "a wrong host": f"GET /User/x{QUERY} HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "another host": f"GET /User/x{QUERY} HTTP/1.1\r\nHost: other.example.com\r\n\r\n",
    "a wrong method": f"G@T /User/x{QUERY} {HEAD}\r\n",
    "a method that is not allowed": f"TRACE /User/x{QUERY} {HEAD}\r\n",
    "a line without a colon": f"GET /User/x{QUERY} {HEAD}nonsense {KEY}\r\n\r\n",
    "a long line": f"GET /User/x{QUERY} {HEAD}X: {'x' * 40_000}{KEY}\r\n\r\n",
    "a long address": f"GET /User/x{QUERY}{'x' * 40_000} {HEAD}\r\n",
    "an encoded query": f"GET /User/x%3FWsAccessKey={KEY} {HEAD}\r\n",
    "an encoded query, and an error": f"GET /close%3FWsAccessKey={KEY} {HEAD}\r\n",
    "a wrong length": f"POST /User/x{QUERY} {HEAD}Content-Length: x\r\n\r\n",
    "a wrong chunk": f"POST /x{QUERY} {HEAD}Transfer-Encoding: chunked\r\n\r\nz{KEY}\r\n",
    "a large body": f"POST /x{QUERY} {HEAD}Content-Length: 40000\r\n\r\n{KEY}",
    "a large chunk": f"POST /x{QUERY} {HEAD}Transfer-Encoding: chunked\r\n\r\nffff\r\n{KEY}",
    "a body that does not come": f"POST /x{QUERY} {HEAD}Content-Length: 99\r\n\r\n{KEY}",
    "a late head": f"GET /x{QUERY} {HEAD}X: {KEY}",
    "a referrer": f"GET /close HTTP/1.1\r\nHost: {HOST}\r\nReferer: https://{HOST}/{QUERY}\r\n\r\n",
    "a mailed link": f"GET /password-reset/Mg/{KEY}/ {HEAD}\r\n",
    "a mailed link, and an error": f"GET /close/../not-me/{KEY}/ {HEAD}\r\n",
    "a texted link": f"GET /r/{KEY} {HEAD}\r\n",
    "a receipt": f"POST /receipts/http/{KEY} {HEAD}Content-Length: 40000\r\n\r\n",
}


def make_all_errors(proxy: Proxy) -> None:
    for request in BROKEN.values():
        proxy.send(request.replace(f"{HEAD}\r\n", f"{HEAD}Connection: close\r\n\r\n"))
    for path in ("/hang", "/close", "/half", "/nonsense", "/long", "/User/x"):
        proxy.get(f"{path}{QUERY}")
    proxy.get(f"/hang{QUERY}", waits=False)  # the client goes away


def run_many(run: Callable[[], object], times: int) -> None:
    threads = [Thread(target=run) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# -- what a call gets while the service is stopped --------------------------------

XML, TEXT_XML = "application/xml", "text/xml"


@pytest.mark.parametrize(
    ("path", "accept", "kind", "media_type"),
    [
        ("/USER/verify-2fa-opt-in/", "application/xml", JSON, XML),
        ("/User/opt-in-to-2fa", "*/*", XML, XML),
        ("/User/opt-in-to-2fa", "", "", JSON),
        ("/authorisation/token", "application/json", JSON, JSON),
        ("/Authorisation/refresh", "text/html,application/xhtml+xml,application/xml", JSON, XML),
    ],
)
def test_a_call_gets_an_answer_of_the_contract(
    stopped: Proxy, path: str, accept: str, kind: str, media_type: str
) -> None:
    """Which the service itself would write."""
    error = ApiError("unavailable", retry_after=timedelta(seconds=5))
    is_token = path.lower().startswith("/auth")
    body = oauth_error(error) if is_token else base_response(error.message, [help_link(error.code)])
    renderer = renderer_for({"HTTP_ACCEPT": accept, "CONTENT_TYPE": kind})
    assert renderer.media_type == media_type
    written = renderer.render(body)

    headers, answer = stopped.post(f"{path}{QUERY}", accept, kind)

    assert answer == (written if isinstance(written, str) else written.decode())
    assert headers["Status"] == "503"
    assert headers["Content-Type"] == f"{media_type}; charset=utf-8"
    assert (headers["Retry-After"], headers["Cache-Control"]) == ("5", "no-store")


def test_a_page_gets_no_answer_of_a_call(stopped: Proxy) -> None:
    headers, answer = stopped.post("/sign-in/", "application/json", JSON)
    assert headers["Status"] == "502"
    assert "StatusMessage" not in answer


@contextmanager
def in_front(name: str, folder: Path, service: int) -> Iterator[Proxy]:
    with caddy(folder, service) if name == "caddy" else nginx(folder, service) as proxy:
        yield proxy


@pytest.fixture(scope="module", params=["nginx", "caddy"])
def stopped(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    with in_front(request.param, tmp_path_factory.mktemp("stopped"), free_port()) as proxy:
        yield proxy


@pytest.mark.parametrize("name", ["nginx", "caddy"])
def test_nobody_is_told_that_nothing_happened_after_a_connection(name: str, tmp_path: Path) -> None:
    """The service takes a connection, and fails then."""
    with upstream() as service, in_front(name, tmp_path, service) as failing:
        headers, answer = failing.post("/User/close", "application/json", JSON)
    assert headers["Status"] == "502"
    assert "StatusMessage" not in answer


# -- nginx -------------------------------------------------------------------------

# Stricter than Debian's: it also writes messages of the level "info".
MAIN = """
daemon off;
pid {folder}/pid;
error_log {folder}/error.log info;
events {{}}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    proxy_read_timeout 1s;
    set_real_ip_from 127.0.0.1;
    real_ip_header X-Test-Address;
    include {folder}/optin.conf;
}}
"""


@contextmanager
def nginx(folder: Path, service: int) -> Iterator[Proxy]:
    """Run nginx; give its port for https."""
    needs("nginx", NGINX is not None)
    assert NGINX is not None
    folder.mkdir(exist_ok=True)
    # As certbot names it. It signed itself.
    subprocess.run(
        [
            *["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={HOST}"],
            *["-keyout", f"{folder}/privkey.pem", "-out", f"{folder}/fullchain.pem"],
        ],
        check=True,
        capture_output=True,
    )
    logs = folder / "written"
    logs.mkdir(mode=0o777)
    logs.chmod(0o777)
    secure, plain = free_port(), free_port()
    text = (ROOT / "deploy" / "nginx" / "optin.conf").read_text(encoding="utf-8")
    text = replaced(
        text,
        {
            "    listen [::]:80 default_server;\n": "",
            "    listen [::]:443 ssl default_server;\n": "",
            "listen 80 ": f"listen 127.0.0.1:{plain} ",
            "listen 443 ": f"listen 127.0.0.1:{secure} ",
            "/etc/letsencrypt/live/2fa.example.com": str(folder),
            "/var/log/nginx": str(logs),
            "127.0.0.1:8000": f"127.0.0.1:{service}",
            "timeout 10s": "timeout 1s",
            "optin_address 50": "optin_address 5",
            # Without waits, and slow: a test reaches the limit one by one.
            "burst=20": "burst=20 nodelay",
            "rate=5r/s": "rate=1r/m",
        },
    )
    (logs / "optin.conf").write_text(text)
    main = folder / "nginx.conf"
    main.write_text(MAIN.format(folder=logs))
    command = [NGINX, "-p", str(logs), "-c", str(main)]
    subprocess.run([*command, "-t"], check=True, capture_output=True)
    with (logs / "stderr").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        until(lambda: (logs / "pid").read_text() != "")  # empty after the check
        yield Proxy(secure, True, logs, plain)
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.mark.parametrize(
    ("addresses", "limited"),
    [("2001:db8:1:1::{:x}", True), ("2001:db8:1:{:x}::1", False), ("192.0.2.{}", False)],
    ids=["one /64", "many /64", "many of IPv4"],
)
def test_nginx_limits_the_passwords_of_a_network(
    tmp_path: Path, addresses: str, limited: bool
) -> None:
    with upstream() as service, nginx(tmp_path, service) as secure:
        answers = [
            secure.send(f"POST /sign-in/ {HEAD}X-Test-Address: {addresses.format(n)}\r\n\r\n")
            for n in range(1, 23)
        ]
    assert "HTTP/1.1 200 OK" in answers
    assert ("HTTP/1.1 429 Too Many Requests" in answers) is limited


def test_nginx_writes_no_key(tmp_path: Path) -> None:
    """S-50. And its access log has what the messages would tell."""
    with upstream() as service, nginx(tmp_path, service) as secure:
        assert secure.get(f"/User/x{QUERY}") == "HTTP/1.1 200 OK"
        make_all_errors(secure)
        make_all_errors(Proxy(secure.plain_port, False, secure.folder))
        Proxy(secure.port, False, secure.folder).get(f"/x{QUERY}")  # http to the port of https
        run_many(lambda: secure.get(f"/sign-in/{QUERY}"), 30)
        run_many(lambda: secure.get(f"/hang{QUERY}"), 20)
    written = secure.written()
    with nginx(tmp_path / "down", free_port()) as alone:
        assert alone.get(f"/User/x{QUERY}") == "HTTP/1.1 503 Service Temporarily Unavailable"
    written += alone.written()

    assert [line[:500] for line in written.splitlines() if KEY in line] == []
    log = [line for line in written.splitlines() if "upstream=" in line and "format" not in line]
    for said in (
        "GET /User/x 200",
        "GET /hang 504",
        "GET /close 502",
        "GET /nonsense 009",  # what was HTTP before it had versions
        "GET /long 502",
        "POST /x 413",
        "POST /x 408",
        "GET /hang 499",
        " 400 ",
        " 414 ",
        "GET /sign-in/ 429",
        "GET /hang 429",
        "requests=REJECTED",
        "connections=REJECTED",
        "GET /half 200 4/9",
        "GET /password-reset/... 200",
        "GET /not-me/... 502",
        "GET /r/... 200",
        "POST /receipts/... 413",
    ):
        assert any(said in line for line in log), said


# -- Caddy -------------------------------------------------------------------------


@contextmanager
def caddy(folder: Path, service: int) -> Iterator[Proxy]:
    """Run Caddy, without TLS: it would ask for a certificate."""
    port = free_port()
    folder.mkdir(exist_ok=True)
    file = folder / "Caddyfile"
    file.write_text(
        replaced(
            configuration(),
            {
                f"\n{HOST} {{": f"\nhttp://{HOST}:{port} {{",
                "{$OPTIN_UPSTREAM:127.0.0.1:8000} {": f"127.0.0.1:{service} {{\n"
                "\t\ttransport http {\n\t\t\tresponse_header_timeout 1s\n\t\t}\n",
                "_body 10s": "_body 1s",
                "_header 10s": "_header 1s",
                "\n{\n": "\n{\n\tadmin off\n",
            },
        )
    )
    logs = folder / "written"
    logs.mkdir()
    homes = dict.fromkeys(("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), str(logs))
    command = [CADDY, "run", "--adapter", "caddyfile", "--config", str(file)]
    with (logs / "stderr").open("wb") as log:
        process = subprocess.Popen(command, env=homes, stdout=log, stderr=log)
    try:
        until(lambda: b"serving initial configuration" in (logs / "stderr").read_bytes())
        yield Proxy(port, False, logs)
    finally:
        process.terminate()
        process.wait(timeout=20)


def test_caddy_writes_no_key(tmp_path: Path) -> None:
    """But why a request failed."""
    with upstream() as service, caddy(tmp_path, service) as proxy:
        assert proxy.get(f"/User/x{QUERY}") == "HTTP/1.1 200 OK"
        make_all_errors(proxy)
    written = proxy.written()
    with caddy(tmp_path / "down", free_port()) as alone:
        assert alone.get(f"/User/x{QUERY}") == "HTTP/1.1 503 Service Unavailable"
        assert alone.get(f"/account/{QUERY}") == "HTTP/1.1 502 Bad Gateway"
    written += alone.written()

    assert [line[:500] for line in written.splitlines() if KEY in line] == []
    for said in ("connection refused", "timeout awaiting response headers", "EOF", "malformed"):
        assert said in written


def test_caddy_takes_the_configuration_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "Caddyfile"
    file.write_text(configuration())
    done = subprocess.run(
        [CADDY, "validate", "--adapter", "caddyfile", "--config", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
