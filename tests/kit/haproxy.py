"""HAProxy as ``deploy/haproxy.cfg`` configures it, and the two servers behind it."""

import csv
import http.client
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.kit.server import PRESENT, ROOT, Code, free_port, gunicorn, needs, replaced, until

HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
CONFIGURATION = ROOT / "deploy" / "haproxy.cfg"
STOP_DELAY = 2
"""Seconds."""


@dataclass
class Upstream:
    """A server that keeps its port when it starts again, maybe with the code of another release."""

    name: str
    port: int
    env: Mapping[str, str]
    log: Path
    code: Code = PRESENT
    running: ExitStack = field(default_factory=ExitStack)

    def start(self, code: Code) -> None:
        """Serve; return when it is ready."""
        self.code = code
        listener = socket.create_server(("127.0.0.1", self.port))
        server = gunicorn(listener, self.env, self.log, workers=2, code=code, patience=30)
        self.running.enter_context(server)
        until(self._is_ready)

    def stop(self) -> None:
        """Send SIGTERM, and wait for the end."""
        self.running.close()

    def _is_ready(self) -> bool:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as line:
            line.request("GET", "/readyz")
            return line.getresponse().status == 200


@dataclass(frozen=True)
class Balancer:
    port: int
    socket: Path
    upstreams: tuple[Upstream, Upstream]

    def tell(self, command: str) -> str:
        """Give a command to HAProxy, as an operator does with ``socat``; return the answer."""
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(self.socket))
            line.sendall(f"{command}\n".encode())
            return line.makefile(encoding="utf-8").read()

    def sends_to(self, upstream: Upstream) -> bool:
        """Whether HAProxy sends requests to this server."""
        rows = csv.DictReader(self.tell("show stat").removeprefix("# ").splitlines())
        return next(row["status"] for row in rows if row["svname"] == upstream.name) == "UP"


@contextmanager
def balanced(folder: Path, env: Mapping[str, str], code: Code = PRESENT) -> Iterator[Balancer]:
    """Run HAProxy, and behind it two servers of *code*, until the block ends."""
    needs("HAProxy", HAPROXY is not None)
    assert HAPROXY is not None
    front, *ports = (free_port() for _ in range(3))
    env = {
        **env,
        "DATA_DIR": str(folder),
        "BASE_URL": f"http://127.0.0.1:{front}",
        "TRUSTED_PROXIES": "127.0.0.1/32",
        "STOP_DELAY": str(STOP_DELAY),
    }
    one, two = (
        Upstream(name, port, env, folder / f"{name}.log")
        for name, port in zip(("one", "two"), ports, strict=True)
    )
    control = folder / "haproxy.sock"
    configuration = folder / "haproxy.cfg"
    configuration.write_text(
        replaced(
            CONFIGURATION.read_text(encoding="utf-8"),
            {
                "/run/haproxy/admin.sock": str(control),
                "127.0.0.1:8000": f"127.0.0.1:{front}",
                "127.0.0.1:8001": f"127.0.0.1:{one.port}",
                "127.0.0.1:8002": f"127.0.0.1:{two.port}",
                "2fa.example.com": "127.0.0.1",
            },
        )
    )
    with ExitStack() as stack:
        for upstream in (one, two):
            stack.callback(upstream.stop)
            upstream.start(code)
        log = stack.enter_context((folder / "haproxy.log").open("wb"))
        process = subprocess.Popen(
            [HAPROXY, "-db", "-f", str(configuration)], stdout=log, stderr=log
        )
        stack.callback(process.wait, timeout=20)
        stack.callback(process.terminate)
        until(control.exists)
        yield Balancer(front, control, (one, two))
