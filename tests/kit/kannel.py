"""Kannel on ports of its own, and a carrier that is made of Kannel's own test program."""

import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from optin.messaging.segments import size
from tests.kit.server import free_port, listens, until

FAKESMSC = Path("/usr/lib/kannel/test/fakesmsc")
BOXES = [
    shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin") for name in ("bearerbox", "smsbox")
]

CONF = """
group = core
admin-port = {admin}
admin-password = {password}
admin-deny-ip = "*.*.*.*"
admin-allow-ip = "127.0.0.1"
box-deny-ip = "*.*.*.*"
box-allow-ip = "127.0.0.1"
smsbox-port = {box}
log-level = 1
log-file = "{folder}/bearerbox.log"
dlr-storage = internal
store-type = file
store-location = "{folder}/store"

group = smsc
smsc = fake
smsc-id = fake
host = 127.0.0.1
port = {carrier}
connect-allow-ip = "127.0.0.1"
allowed-prefix = "+614"

group = smsbox
bearerbox-host = 127.0.0.1
sendsms-port = {sendsms}
sendsms-interface = 127.0.0.1
log-file = "{folder}/smsbox.log"
log-level = 1

group = sendsms-user
username = optin
password = {password}
user-deny-ip = "*.*.*.*"
user-allow-ip = "127.0.0.1"
max-messages = 10
concatenation = true

group = sms-service
keyword = default
text = ""
max-messages = 0
omit-empty = true
"""


@dataclass
class Carrier:
    """Kannel on ports of its own, and the SMSC behind it."""

    folder: Path
    ports: dict[str, int]
    password: str = "kannels-password"
    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports['sendsms']}/cgi-bin/sendsms"

    @property
    def smsc_log(self) -> Path:
        return self.folder / "fakesmsc.log"

    def start(self) -> None:
        conf = self.folder / "kannel.conf"
        conf.write_text(CONF.format(folder=self.folder, password=self.password, **self.ports))
        for box, port in zip(BOXES, ("box", "sendsms"), strict=True):
            assert box
            self._run(Path(box).name, box, str(conf))
            until(partial(listens, self.ports[port]))

    def start_smsc(self) -> None:
        port = str(self.ports["carrier"])
        self._run("fakesmsc", str(FAKESMSC), "-H", "127.0.0.1", "-r", port, "-m", "0", "1 2 text x")

    def stop(self, *names: str) -> None:
        for name in names or list(self.running):
            process = self.running.pop(name)
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def post(self, to: str, body: str) -> None:
        """Send a text of any length, in the alphabet that it needs."""
        headers = {
            "Content-Type": "text/plain; charset=utf-8",
            "X-Kannel-Username": "optin",
            "X-Kannel-Password": self.password,
            "X-Kannel-From": "Books",
            "X-Kannel-To": to,
            "X-Kannel-Coding": "0" if size(body).is_gsm_7 else "2",
        }
        request = urllib.request.Request(self.url, body.encode(), headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            assert answer.status == 202

    def _run(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(command, stdout=log, stderr=log)

    def arrived(self, number: str) -> list[str]:
        """The first lines of the texts to *number* that reached the phone."""
        if not self.smsc_log.exists():
            return []
        lines = self.smsc_log.read_text(errors="replace").splitlines()
        return [line for line in lines if "Got message" in line and f" {number} " in line]


def is_here() -> bool:
    """Whether Kannel and its test program are installed."""
    return all(BOXES) and FAKESMSC.exists()


@contextmanager
def kannel_in(folder: Path) -> Iterator[Carrier]:
    """Run Kannel with its files in *folder*."""
    ports = {name: free_port() for name in ("admin", "box", "carrier", "sendsms")}
    carrier = Carrier(folder, ports)
    try:
        carrier.start()
        yield carrier
    finally:
        carrier.stop()
