"""A small authority for time stamps (RFC 3161): ``openssl ts`` behind HTTP."""

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from bench.certificates import Authority

_CONFIG = """
[tsa]
default_tsa = small
[small]
serial = {folder}/serial
signer_cert = {certificate}
signer_key = {certificate}
signer_digest = sha256
default_policy = 1.3.6.1.4.1.99999.1
digests = sha256
ess_cert_id_alg = sha256
"""


class StampAuthority:
    """``path`` has the certificate that proves its stamps. ``answer`` is what it says."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.certifies = Authority(folder)
        self.path = self.certifies.path
        self.certificate = self.certifies.stamping("stamps")
        self.answer: Callable[[bytes], bytes] = self.stamp
        self.status, self.slow = 200, 0.0
        self.url = ""

    def stamp(self, request: bytes) -> bytes:
        """What an honest authority answers."""
        config, query, reply = (self.folder / name for name in ("config", "query", "reply"))
        config.write_text(_CONFIG.format(folder=self.folder, certificate=self.certificate))
        query.write_bytes(request)
        command = ["openssl", "ts", "-reply", "-config", str(config)]
        command += ["-queryfile", str(query), "-out", str(reply)]
        subprocess.run(command, check=True, capture_output=True)
        return reply.read_bytes()

    @contextmanager
    def serving(self) -> Iterator[None]:
        authority = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = self.rfile.read(int(self.headers["Content-Length"]))
                time.sleep(authority.slow)
                answer = authority.answer(request)
                self.send_response(authority.status)
                self.send_header("Content-Type", "application/timestamp-reply")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            server.daemon_threads = True
            self.url = f"http://127.0.0.1:{server.server_port}/stamps?key=secret"
            thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
            thread.start()
            try:
                yield
            finally:
                server.shutdown()
                thread.join()
