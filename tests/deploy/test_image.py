"""The image: what is in it, and an opt-in through the service and a worker that run in it."""

import json
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import pytest

from deploy.ha.drills.gateway import Gateway
from tests.kit.clusters import BIN, Cluster, new_cluster
from tests.kit.documents import OWN_SECRETS, production_environment
from tests.kit.people import NUMBER
from tests.kit.server import ROOT, Site, free_port, listens, needs, until

HOST = "2fa.example.com"
SQL = ROOT / "deploy" / "postgresql"

_CONFINED = """
uid=$1 gid=$2
shift 2
mount -o remount,bind,ro /
exec setpriv --reuid "$uid" --regid "$gid" --clear-groups --no-new-privs --bounding-set=-all "$@"
"""
"""As compose.yaml has it: read_only, cap_drop, no-new-privileges. Buildah has no such options."""


@dataclass(frozen=True)
class Image:
    container: str
    """A container of Buildah with this image."""
    storage: Mapping[str, str]
    """The environment of Buildah."""
    command: tuple[str, ...]
    """What it runs if nobody says otherwise."""
    user: str
    state: Path
    """The folder of this machine that is its volume."""
    root: Path
    """Where this machine sees its files."""

    def confined(self, env: Mapping[str, str], *command: str) -> list[str]:
        """What runs *command* in it with the rights that compose.yaml leaves to it."""
        options = [f"--env={name}={value}" for name, value in env.items()]
        options += ["--user=root", "--cap-add=CAP_SYS_ADMIN"]
        options += [f"--volume={self.state}:/var/lib/optin"]
        inside = ["sh", "-c", _CONFINED, "sh", *self.user.split(":"), *command]
        return ["buildah", "run", *options, self.container, "--", *inside]

    def try_to(
        self, env: Mapping[str, str], *command: str, given: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run *command* to its end."""
        return subprocess.run(
            self.confined(env, *command),
            env=self.storage,
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )

    def run(self, env: Mapping[str, str], *command: str, given: str = "") -> str:
        """Run *command* to its end, which must be a good one; return what it prints."""
        done = self.try_to(env, *command, given=given)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def look(self, script: str) -> list[str]:
        """Run a shell script in it with the user that the image names; return what it prints."""
        done = subprocess.run(
            ["buildah", "run", self.container, "--", "sh", "-c", script],
            env=self.storage,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.split()

    @contextmanager
    def running(self, env: Mapping[str, str], log: Path, *command: str) -> Iterator[None]:
        """Run *command* until the block ends; then it is told to stop, and must end well."""
        # Buildah would end before it: what runs in it is told itself.
        telling = ("sh", "-c", 'echo $$; exec "$@"', "sh", *command)
        with (
            log.open("ab") as written,
            subprocess.Popen(
                self.confined(env, *telling),
                env=self.storage,
                stdout=subprocess.PIPE,
                stderr=written,
            ) as process,
        ):
            assert process.stdout
            pid = int(process.stdout.readline())
            try:
                yield
            finally:
                with suppress(ProcessLookupError):  # the log says why
                    os.kill(pid, signal.SIGTERM)
                assert process.wait(timeout=60) == 0, log.read_text()


MEMORY = Path("/dev/shm")  # noqa: S108
TAKES = 2 << 30
"""Bytes that Buildah has at most for what it builds, with a wide margin."""


@pytest.fixture(scope="module")
def storage() -> Iterator[dict[str, str]]:
    """The environment of a Buildah that keeps nothing after the test."""
    for program in ("buildah", "mmdebstrap"):
        needs(f"{program}, as root", os.geteuid() == 0 and shutil.which(program) is not None)
    # In memory: it copies each layer in whole.
    fits = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > TAKES
    folder = Path(mkdtemp(prefix="optin-image-", dir=MEMORY if fits else None))
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{folder}/root"\nrunroot = "{folder}/run"\n'
    )
    yield {
        **os.environ,
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        "BUILDAH_ISOLATION": "chroot",
        "TMPDIR": str(folder),
    }
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def image(storage: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The image, built from nothing but Debian's packages and those of the lock file."""

    def run(*command: str) -> str:
        done = subprocess.run(command, env=storage, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    print(run(str(ROOT / "deploy" / "image"), "--without-registry", "optin").splitlines()[-1])
    made = json.loads(run("buildah", "inspect", "--type", "image", "optin"))["OCIv1"]["config"]
    # Buildah would raise them, which not every machine allows.
    limits = [
        f"--ulimit=nofile={resource.getrlimit(resource.RLIMIT_NOFILE)[1]}",
        f"--ulimit=nproc={resource.getrlimit(resource.RLIMIT_NPROC)[1]}",
    ]
    container = run("buildah", "from", *limits, "optin")
    state = tmp_path_factory.mktemp("state")
    uid, gid = map(int, made["User"].split(":"))
    os.chown(state, uid, gid)
    root = Path(run("buildah", "mount", container))
    return Image(container, storage, tuple(made["Cmd"]), made["User"], state, root)


def test_nobody_can_change_what_is_in_it(image: Image) -> None:
    """Also where its root file system is writable."""
    writable = image.look("find / -xdev -writable -not -type l 2>/dev/null || true")
    temporary = ["/run/lock", "/tmp", "/var/tmp"]  # noqa: S108
    assert sorted(writable) == sorted([*temporary, "/var/lib/optin"])
    assert image.look("id -u; id -g; id -G") == ["10001"] * 3
    files = [path for path in image.root.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(files) > 1000
    assert [path for path in files if path.stat().st_mode & 0o6000] == []


def test_it_has_only_what_it_needs(image: Image) -> None:
    def names(folder: str) -> set[str]:
        return {path.name for path in (image.root / folder).glob("*")}

    code = {"deploy", "gunicorn.conf.py", "manage.py", "optin", "templates", "tools", "twofa_site"}
    assert names("srv/optin") == {*code, "LICENSE", ".venv", "__pycache__"}
    assert names("srv/optin/deploy") == {"__pycache__", "ready.py"}
    assert "python3" in names("usr/bin")
    assert names("usr/bin") & {"cc", "gcc", "make", "pip", "pip3", "git", "curl", "wget"} == set()
    packages = "srv/optin/.venv/lib/python3.13/site-packages"
    assert "django" in names(packages)
    assert names(packages) & {"pip", "setuptools", "pytest", "mypy"} == set()
    # Nothing of the build: its packages, the index that it used, the certificates.
    assert names("root") == {".bashrc", ".profile"}
    for folder in ("home", "run/secrets", "locks", "pip", "var/cache/apt", "var/lib/apt/lists"):
        assert names(folder) == set(), folder
    assert not (image.root / "etc/pip.conf").exists()


def test_it_does_not_start_without_settings(image: Image) -> None:
    """Not even as a development start, which shows texts to whoever asks."""
    done = image.try_to({}, *image.command)
    assert done.returncode != 0
    assert "SECRET_KEY is not set (optin.E026)" in done.stderr


# -- an opt-in ---------------------------------------------------------------------


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """PostgreSQL as compose.yaml makes it, which asks the two roles for their passwords."""
    with new_cluster() as cluster:
        cluster.make()
        psql(cluster.url, "roles.sql")
        passwords = {"OWNER_PASSWORD": "o'wner", "SERVICE_PASSWORD": "s/ervice"}
        psql(cluster.url, "passwords.sql", **passwords)
        (cluster.folder / "data" / "pg_hba.conf").write_text(
            "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        )
        cluster.run("pg_ctl", "reload")
        yield cluster


def psql(url: str, file: str, **env: str) -> None:
    command = [str(BIN / "psql"), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"]
    done = subprocess.run(
        [*command, f"--file={SQL / file}", url], env={**os.environ, **env}, check=False
    )
    assert done.returncode == 0


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    gateway = Gateway("127.0.0.1", 0)
    yield gateway
    gateway.close()


MAKE_DORA = """
from django.core.management import call_command
from optin.models import User
User.objects.create_user("dora", "dora@example.com")
call_command("file", "create", "Harbour Books", "--id", "777")
call_command("file", "add-member", "dora", "777")
call_command("access_key", "create", "dora", "777")
"""


def test_an_opt_in_through_it(
    image: Image, cluster: Cluster, gateway: Gateway, tmp_path: Path
) -> None:
    """With the production environment; the owner migrates, and a worker sends the text."""
    database = f"@127.0.0.1:{cluster.port}/optin"
    owner = f"postgres://optin_owner:o%27wner{database}"
    env = {
        **production_environment(),
        **OWN_SECRETS,
        "DATABASE_URL": f"postgres://optin_service:s%2Fervice{database}",
        "OPTIN_DELIVERY": "worker",
        "OPTIN_GATEWAYS": "kannel",
        "OPTIN_FICTIONAL_NUMBERS": "yes",
        "OPTIN_GATEWAY_KANNEL_URL": f"http://127.0.0.1:{gateway.port}/cgi-bin/sendsms",
        "OPTIN_GATEWAY_KANNEL_USER": "optin",
        "OPTIN_GATEWAY_KANNEL_PASSWORD": "kannel-password",
    }
    del env["EMAIL_URL"]
    manage = ("python", "manage.py")
    image.run({**env, "DATABASE_URL": owner}, *manage, "migrate", "--verbosity", "0")
    psql(owner, "grants.sql")
    key = image.run(env, *manage, "shell", "--verbosity", "0", given=MAKE_DORA).split()[-1]

    site = Site(tmp_path, free_port(), env)
    serve = [part.replace("0.0.0.0:8000", f"127.0.0.1:{site.port}") for part in image.command]
    assert serve != list(image.command)
    with (
        image.running(env, site.log, *serve),
        image.running(env, tmp_path / "worker.log", *manage, "procrastinate", "worker"),
    ):
        until(lambda: listens(site.port))
        assert site.send("/livez", method="GET", Host=HOST).status == 200  # it has begun
        assert image.run(env, "python", "deploy/ready.py", str(site.port)) == "ok\n"
        call = f"?FileId=777&WsAccessKey={key}"
        asked = site.send(f"/User/opt-in-to-2fa{call}", {"MobileNumber": NUMBER}, Host=HOST)
        assert asked.status == 200, asked.text
        text = gateway.wait(NUMBER, "code", timeout=30)
        assert text, (tmp_path / "worker.log").read_text()
        guess = {"ProviderUserId": asked.json["ProviderUserId"], "Otp": text.code}
        verified = site.send(f"/User/verify-2fa-opt-in{call}", guess, Host=HOST)
        assert verified.json["StatusMessage"] == "Two-factor authentication is on."
        style = site.send("/static/admin/css/base.css", method="GET", Host=HOST)
        assert (style.status, style.headers["Content-Type"][:8]) == (200, "text/css")
    assert not listens(site.port)
    assert (image.state / "newest-event").read_text()
