"""A whole installation, set up as docs/deploy.md says, in which one thing at a time breaks."""

import http.client
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from tests.doctor.servers import Gateway, MailServer, gateway, mail_server
from tests.kit.certificates import Authority, tls
from tests.kit.clusters import Cluster, new_cluster
from tests.kit.documents import GRANTS, OWN_SECRETS, ROLES, production_environment
from tests.kit.server import (
    ROOT,
    free_port,
    gunicorn,
    listens,
    needs,
    replaced,
    running_python,
    until,
)

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
ACCOUNT = "AC00000000000000000000000000000000"

_NGINX = (ROOT / "deploy" / "nginx" / "optin.conf").read_text(encoding="utf-8")

PAST = """
from datetime import timedelta
import time_machine
from django.utils import timezone
from django.db import transaction
from optin.audit import seals
from optin.models import AuditEvent, File, ProviderUser, User
from optin.operations import opt_ins
from optin.origin import Face, Origin
now = timezone.now()
with time_machine.travel(now - timedelta(minutes=90), tick=True):
    user = User.objects.create_user("ann", "ann@example.com")
    file = File.objects.create(id=777, name="Harbour Books")
    file.memberships.create(user=user)
    opt_ins.opt_in(user, file, "+61490000156", origin=Origin(Face.COMMAND))
seals.seal(now - timedelta(minutes=60))
"""
"""A person who asked for a code 90 minutes ago, and the seal over that event."""


@dataclass
class Installation:
    folder: Path
    cluster: Cluster
    authority: Authority
    gateway: Gateway
    mail: MailServer
    env: dict[str, str]
    port: int
    """The port of the service, behind the proxy."""
    parts: dict[str, ExitStack] = field(default_factory=dict)
    pids: dict[str, int] = field(default_factory=dict)

    def doctor(self, **env: str) -> tuple[dict[str, Any], float]:
        """Run it with the environment of the service; return what it says, and the seconds."""
        began = time.monotonic()
        done = self.manage("doctor", "--json", **env)
        status, printed = done.returncode, done.stdout
        took = time.monotonic() - began
        secret = [*OWN_SECRETS.values(), self.gateway.token, "-password", "EXAMPLE-ONLY"]
        assert not [one for one in secret if one in printed]
        said: dict[str, Any] = json.loads(printed)
        assert status == bool(said["faults"])
        return said, took

    def end(self) -> None:
        """Stop all that runs."""
        for part in [*self.parts]:
            self.stop(part)

    def manage(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.env | env,
            capture_output=True,
            text=True,
            check=False,
        )

    def url(self, role: str = "", name: str = "optin") -> str:
        who = f"optin_{role}:{role}-password" if role else "postgres"
        return f"postgres://{who}@127.0.0.1:{self.cluster.port}/{name}"

    def sql(self, statements: str, role: str = "", name: str = "optin") -> list[Any]:
        """Run statements behind the back of the service; return the rows of the last one."""
        rows: list[Any] = []
        with psycopg.connect(self.url(role, name), autocommit=True) as line:
            for statement in re.split(r";\s*\n", statements):
                if re.sub(r"--.*", "", statement).strip():
                    done = line.execute(statement)  # type: ignore[arg-type, unused-ignore]
                    rows = list(done.fetchall()) if done.description else []
        return rows

    @contextmanager
    def broken(self, breaks: str, mends: str, role: str = "owner") -> Iterator[None]:
        """Run *breaks*, and *mends* at the end.

        The worker stands still meanwhile: it would meet the fault, too, and a job would fail.
        """
        with self.frozen("worker"):
            # Right after a sign of life.
            self.sql("UPDATE procrastinate_workers SET last_heartbeat = now()")
            self.sql(breaks, role)
            try:
                yield
            finally:
                self.sql(mends, role)

    @contextmanager
    def frozen(self, *parts: str) -> Iterator[None]:
        """Let these parts hang, and the processes that they have started."""
        pids = [pid for part in parts for pid in (self.pids[part], *_children(self.pids[part]))]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    # -- the parts -----------------------------------------------------------------

    def start(self, part: str, *command: str) -> None:
        with ExitStack() as stack:
            log = stack.enter_context((self.folder / f"{part}.log").open("ab"))
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
            stack.callback(process.wait, timeout=20)
            stack.callback(process.terminate)
            self.pids[part] = process.pid
            self.parts[part] = stack.pop_all()

    def stop(self, part: str) -> None:
        self.parts.pop(part).close()

    def start_worker(self) -> None:
        before = self._beats()
        with ExitStack() as stack:
            log = self.folder / "worker.log"
            process = stack.enter_context(
                running_python("manage.py", "procrastinate", "worker", env=self.env, log=log)
            )
            self.pids["worker"] = process.pid
            self.parts["worker"] = stack.pop_all()
        until(lambda: self._beats() > before)

    def _beats(self) -> int:
        ((count,),) = self.sql("SELECT count(*) FROM procrastinate_workers")
        return int(count)

    def configure_proxy(self, old: str = "", new: str = "", certificate: str = "site") -> None:
        """Write what nginx reads: our configuration, with *new* in place of *old*."""
        certificates = "/etc/letsencrypt/live/2fa.example.com"
        server = replaced(
            _NGINX,
            {
                "    listen [::]:80 default_server;\n": "",
                "    listen [::]:443 ssl default_server;\n": "",
                "listen 80 ": f"listen {self.env['PLAIN']} ",
                "listen 443 ssl": f"listen {self.env['FRONT']} ssl",
                f"{certificates}/fullchain.pem": str(self.folder / f"{certificate}.pem"),
                f"{certificates}/privkey.pem": str(self.folder / f"{certificate}.pem"),
                "/var/log/nginx/optin.log": str(self.folder / "access.log"),
                "2fa.example.com": "localhost",
                "127.0.0.1:8000": f"127.0.0.1:{self.port}",
            },
        )
        if old:
            server = replaced(server, {old: new})
        places = "".join(
            f"    {name}_temp_path {self.folder}/{name};\n"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        text = f"daemon off;\npid {self.folder}/nginx.pid;\nworker_processes 1;\n"
        text += f"{'user root;' if os.geteuid() == 0 else ''}\nevents {{}}\n"
        (self.folder / "nginx.conf").write_text(f"{text}http {{\n{places}{server}}}\n")

    @contextmanager
    def proxy(self, old: str = "", new: str = "", certificate: str = "site") -> Iterator[None]:
        """Let the proxy be configured like this for a while."""
        self.restart_proxy(old, new, certificate)
        try:
            yield
        finally:
            self.restart_proxy()

    def restart_proxy(self, old: str = "", new: str = "", certificate: str = "site") -> None:
        assert NGINX
        if "nginx" in self.parts:
            self.stop("nginx")
        self.configure_proxy(old, new, certificate)
        self.start("nginx", NGINX, "-c", str(self.folder / "nginx.conf"), "-e", "error.log")
        until(lambda: listens(int(self.env["FRONT"])))


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _environment(
    folder: Path, cluster: Cluster, authority: Authority, sms: Gateway, mail: MailServer
) -> dict[str, str]:
    """docs/production.env, with what belongs to this installation."""
    front, plain = free_port(), free_port()
    url = f"postgres://optin_service:service-password@127.0.0.1:{cluster.port}/optin"
    return {
        **production_environment(),
        **OWN_SECRETS,
        "PATH": f"{folder}/bin:{os.environ['PATH']}",
        "SSL_CERT_FILE": str(authority.path),
        "OPTIN_GATEWAY_CA": str(authority.path),
        "FRONT": str(front),
        "PLAIN": str(plain),
        "DATA_DIR": str(folder),
        "TMPDIR": str(folder),
        "BASE_URL": f"https://localhost:{front}",
        "TRUSTED_PROXIES": "127.0.0.1/32",
        "FORWARDED_ALLOW_IPS": "127.0.0.1,127.0.0.2",
        "DATABASE_URL": url,
        "EMAIL_URL": f"submission://optin:mail-password@localhost:{mail.port}",
        "OPTIN_NEWEST_EVENT": str(folder / "newest-event"),
        "OPTIN_GATEWAYS": "http,twilio",
        "OPTIN_GATEWAY_HTTP_URL": f"https://localhost:{sms.port}/texts",
        "OPTIN_GATEWAY_TWILIO_URL": f"https://localhost:{sms.port}",
        "OPTIN_GATEWAY_TWILIO_ACCOUNT": ACCOUNT,
        "OPTIN_GATEWAY_TWILIO_TOKEN": sms.token,
        "OPTIN_GATEWAY_TWILIO_SENDER": "+61491570100",
        "OPTIN_GATEWAY_TWILIO_PRICE": "0.05",
        "OPTIN_DELIVERY": "worker",
    }


@contextmanager
def installed(folder: Path) -> Iterator[Installation]:
    """Install everything, and run it until the block ends."""
    needs("nginx", NGINX is not None)
    authority = Authority(folder)
    for name, days in (("site", 365), ("expired", -1), ("ending", 5)):
        authority.certificate(name, days=days)
    context = tls(authority.certificate("servers"))
    with ExitStack() as stack:
        cluster = stack.enter_context(new_cluster())
        cluster.run(
            "initdb", *["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale", "C", "--no-sync"]
        )
        cluster.start()
        sms = stack.enter_context(gateway(context, ACCOUNT, secrets.token_hex(16)))
        mail = stack.enter_context(mail_server(context))
        env = _environment(folder, cluster, authority, sms, mail)
        made = Installation(folder, cluster, authority, sms, mail, env, free_port())
        stack.callback(made.end)
        made.sql(ROLES, name="postgres")
        done = made.manage("migrate", "-v0", DATABASE_URL=made.url("owner"))
        assert done.returncode == 0, done.stderr
        made.sql(GRANTS, "owner")
        done = made.manage("shell", "-v0", "-c", PAST)
        assert done.returncode == 0, done.stderr
        _serve(made)
        made.restart_proxy()
        made.start_worker()
        assert made.manage("send_due").returncode == 0
        until(lambda: _is_at_rest(made))
        made.pids["postgresql"] = int(
            (cluster.folder / "data/postmaster.pid").read_text().split()[0]
        )
        yield made


def _serve(made: Installation, address: str = "127.0.0.1") -> None:
    with ExitStack() as stack:
        listener = socket.create_server((address, made.port))
        log = made.folder / "server.log"
        process = stack.enter_context(gunicorn(listener, made.env, log, workers=1))
        made.pids["service"] = process.pid
        made.parts["service"] = stack.pop_all()
    until(lambda: _answers(made.port))


def _answers(port: int) -> bool:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as line:
        line.request("GET", "/livez", headers={"Host": "localhost"})
        return line.getresponse().status == 200


def _is_at_rest(made: Installation) -> bool:
    """Whether the worker has done what waited."""
    ((jobs,),) = made.sql("SELECT count(*) FROM procrastinate_jobs WHERE queue_name = 'messages'")
    return not jobs
