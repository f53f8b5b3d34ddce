"""What runs on which machine: the files of ``deploy/ha``, as an operator copies them."""

import http.client
import re
import secrets
import subprocess
import time
import urllib.error
import urllib.request
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from dotenv import dotenv_values

from deploy.ha.drills import gateway
from deploy.ha.drills.machines import BRIDGE, CLIENTS, Machine, Service, lay_cables, run

HERE = Path(__file__).resolve().parent.parent
ROOT = HERE.parent.parent
HOST = "2fa.example.com"
ADDRESSES = {
    "front": "10.77.0.2",
    "db1": "10.77.0.11",
    "db2": "10.77.0.12",
    "app1": "10.77.0.21",
    "app2": "10.77.0.22",
    "worker1": "10.77.0.31",
    "worker2": "10.77.0.32",
}
ETCD = ("db1", "db2", "front")
PYTHON = str(ROOT / ".venv/bin/python")
OWNER = "postgres://optin_owner:owner-password@front:5432/optin"


def wait_until_nothing(missing: Callable[[], Sequence[str]], seconds: float = 90) -> None:
    """Return once nothing is missing.

    :raises RuntimeError: with what is missing after so many seconds.
    """
    ends = time.monotonic() + seconds
    while what := missing():
        if time.monotonic() > ends:
            raise RuntimeError(f"After {seconds:.0f} s this is missing: {', '.join(what)}")
        time.sleep(0.2)


def environment(folder: Path) -> dict[str, str]:
    """Return the variables of an application machine."""
    values = {**dotenv_values(ROOT / "docs/production.env"), **dotenv_values(HERE / "optin.env")}

    def key() -> str:
        return urlsafe_b64encode(secrets.token_bytes(32)).decode()

    # What each operator has of their own: keys, a gateway, and limits that fit.
    values |= {
        "SECRET_KEY": secrets.token_urlsafe(48),
        "OPTIN_KEYS": f"2026:{key()}",
        "OPTIN_DIGEST_KEY": key(),
        "METRICS_TOKEN": secrets.token_hex(20),
        "OPTIN_RECEIPT_SECRET": secrets.token_hex(20),
        "OPTIN_GATEWAYS": "kannel",
        "OPTIN_FICTIONAL_NUMBERS": "yes",
        "OPTIN_GATEWAY_KANNEL_URL": f"http://{BRIDGE}:{gateway.PORT}/cgi-bin/sendsms",
        "OPTIN_GATEWAY_KANNEL_USER": "optin",
        "OPTIN_GATEWAY_KANNEL_PASSWORD": secrets.token_hex(20),
        "EMAIL_URL": "dummy://",
        "OPTIN_NEWEST_EVENT": str(folder / "newest-event"),
        "OPTIN_BREAKER_UNPROVED": "0",  # most visitors of the load verify nothing
        "OPTIN_SENDS_PER_FILE": "1000000/86400",
        "OPTIN_SENDS_TOTAL": "1000000/86400",
        "OPTIN_OWN_SENDS_TOTAL": "1000000/86400",
    }
    path = f"{ROOT}/.venv/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {"PATH": path, **{name: value or "" for name, value in values.items()}}


class Cluster:
    """All machines, and what runs on them."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o755)
        self.env = environment(folder)
        self.worker_env = {**self.env, **_values(HERE / "worker.env")}
        lay_cables()
        self._name_machines(folder)
        self.machines = {name: Machine(name, ip, folder) for name, ip in ADDRESSES.items()}
        self.services: dict[tuple[str, str], Service] = {}
        self._copy_files(folder)
        run(*self.machines["front"].inside("ip", "route", "add", CLIENTS, "via", BRIDGE))

    def _name_machines(self, folder: Path) -> None:
        """Let all machines, and this process, find each other by name."""
        names = [*((ip, name) for name, ip in ADDRESSES.items()), (ADDRESSES["front"], HOST)]
        hosts = folder / "hosts"
        hosts.write_text(
            "".join(f"{ip} {name}\n" for ip, name in [("127.0.0.1", "localhost"), *names])
        )
        run("mount", "--bind", str(hosts), "/etc/hosts")

    def _copy_files(self, folder: Path) -> None:
        self.certificate = folder / "certificate.pem"
        key = folder / "key.pem"
        run(
            *f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={HOST}".split(),
            *f"-addext subjectAltName=DNS:{HOST} -keyout {key} -out {self.certificate}".split(),
        )
        front = self.machines["front"]
        front.write("/etc/haproxy/haproxy.cfg", (HERE / "haproxy.cfg").read_text())
        both = self.certificate.read_text() + key.read_text()
        front.write(f"/etc/haproxy/{HOST}.pem", both)
        for name in ("db1", "db2"):
            text = (HERE / "patroni.yml").read_text()
            text = text.replace("MACHINE", name).replace("POSTGRESQL_BIN", postgresql_bin())
            # A watchdog would reset this machine.
            text = text.replace("mode: automatic", "mode: off")
            self.machines[name].write("/etc/patroni/config.yml", text, "postgres", 0o600)
        for name in ("app1", "app2"):
            for file in ("pgbouncer.ini", "userlist.txt"):
                text = (HERE / file).read_text()
                self.machines[name].write(f"/etc/pgbouncer/{file}", text, "postgres")

    # -- starting ----------------------------------------------------------------------

    def start(self) -> None:
        for name in ETCD:
            env = _values(HERE / "etcd.env", MACHINE=name)
            self._run(name, "etcd", "etcd", env=env, user="etcd")
        for name in ("db1", "db2"):
            self._run(name, "patroni", "patroni /etc/patroni/config.yml", user="postgres")
        self._run("front", "haproxy", "haproxy -W -db -f /etc/haproxy/haproxy.cfg")
        wait_until_nothing(self._missing_servers)
        self._make_database()
        for name in ("app1", "app2"):
            ini = "/etc/pgbouncer/pgbouncer.ini"
            self._run(name, "pgbouncer", f"pgbouncer {ini}", user="postgres")
            serve = "gunicorn twofa_site.wsgi --config gunicorn.conf.py --bind 0.0.0.0:8000"
            serve += f" --forwarded-allow-ips {ADDRESSES['front']}"
            self._run(name, "gunicorn", serve, env=self.env)
        for name in ("worker1", "worker2"):
            work = "python manage.py procrastinate worker"
            self._run(name, "worker", work, env=self.worker_env)
        wait_until_nothing(self.missing)

    def _run(
        self,
        machine: str,
        name: str,
        command: str,
        user: str = "root",
        env: dict[str, str] | None = None,
    ) -> None:
        env = {"PATH": self.env["PATH"], "LC_ALL": "C.UTF-8", **(env or {})}
        self.services[machine, name] = Service(
            self.machines[machine], name, command.split(), env, user
        )

    def _make_database(self) -> None:
        """Do what "PostgreSQL" of docs/deploy.md says."""
        text = (ROOT / "docs/deploy.md").read_text()
        section = text.partition("\n## PostgreSQL\n")[2].partition("\n## ")[0]
        roles, grants = re.findall(r"```sql\n(.*?)```", section, re.DOTALL)
        superuser = "postgres://postgres:superuser-password@front:5432/postgres"
        _psql(superuser, roles)
        self.manage("migrate", "--verbosity", "0", database=OWNER)
        _psql(OWNER, grants)

    def manage(self, *command: str, database: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command of the service.

        :raises RuntimeError: with what it said, if it could not run.
        """
        env = {**self.worker_env, "LOG_LEVEL": "ERROR"}
        if database:
            env["DATABASE_URL"] = database
        done = subprocess.run(
            [PYTHON, "manage.py", *command], env=env, capture_output=True, text=True, check=False
        )
        if done.returncode not in {0, 3}:  # 3: verify_audit found something
            raise RuntimeError(f"{command}: {done.stdout}{done.stderr}")
        return done

    def ends_of_logs(self) -> str:
        """The last lines of each log, and the last errors; of the applications at the end."""
        ends = []
        for (machine, name), service in sorted(
            self.services.items(), key=lambda item: item[0][1] == "gunicorn"
        ):
            lines = service.log.read_text(errors="replace").splitlines()
            errors = [line for line in lines[:-10] if '"level": "error"' in line][-5:]
            shown = (line[:300] for line in [*errors, *lines[-10:]])
            ends += [f"== {name} on {machine}", *shown]
        return "\n".join(ends)

    # -- looking -----------------------------------------------------------------------

    def primary(self) -> str:
        """The database machine that holds the lock, or ""."""
        return next((name for name in ("db1", "db2") if _says(name, "/primary")), "")

    def standby(self) -> str:
        return next((name for name in ("db1", "db2") if _says(name, "/synchronous")), "")

    def _missing_servers(self) -> list[str]:
        found = {"primary": self.primary(), "standby": self.standby()}
        return [what for what, name in found.items() if not name]

    def missing(self) -> list[str]:
        """Which parts do not do their work."""
        etcd = [f"etcd on {name}" for name in ETCD if not _says(name, "/health", 2379)]
        ready = {name: _ask(name, "/readyz", 8000) for name in ("app1", "app2")}
        apps = [f"{name} ({says.text})" for name, says in ready.items() if not says.ok]
        return [*etcd, *apps, *self._missing_servers()]


class Answer(NamedTuple):
    ok: bool
    text: str
    """Its body, or why there is none."""


def _ask(machine: str, path: str, port: int) -> Answer:
    request = urllib.request.Request(f"http://{machine}:{port}{path}", headers={"Host": HOST})
    try:
        with urllib.request.urlopen(request, timeout=2) as answer:  # noqa: S310
            return Answer(answer.status == 200, answer.read().decode().strip())
    except urllib.error.HTTPError as exc:
        return Answer(False, exc.read().decode().strip())
    except (OSError, ValueError, http.client.HTTPException) as exc:
        return Answer(False, str(exc) or type(exc).__name__)


def _says(machine: str, path: str, port: int = 8008) -> bool:
    """Whether a machine answers 200."""
    return _ask(machine, path, port).ok


def _values(file: Path, **machine: str) -> dict[str, str]:
    values = {name: value or "" for name, value in dotenv_values(file).items()}
    for word, name in machine.items():
        values = {key: value.replace(word, name) for key, value in values.items()}
    return values


def _psql(url: str, sql: str) -> None:
    run("psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", url, input=sql)


def postgresql_bin() -> str:
    """The folder of the newest PostgreSQL."""
    return str(max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda b: int(b.parent.name)))
