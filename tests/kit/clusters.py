"""PostgreSQL servers of a test's own, which it may stop."""

import os
import pwd
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from django.conf import settings

from tests.kit.server import free_port, needs

BIN = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("missing"))


@dataclass
class Cluster:
    """A PostgreSQL server of a test's own, which it may stop."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres"

    def run(self, program: str, *arguments: str) -> None:
        """Run a program of the server, which refuses to be run by root."""
        as_postgres = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        command = [*as_postgres, str(BIN / program), "--pgdata", str(self.folder / "data")]
        with (self.folder / "log").open("ab") as log:
            subprocess.run(
                [*command, *arguments], check=True, cwd="/", stdin=None, stdout=log, stderr=log
            )

    def make(self, **settings: str) -> None:
        self.run(
            "initdb", "--username", "postgres", "--auth", "trust", "--locale", "C", "--no-sync"
        )
        self.configure(**settings)
        self.start()

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -F"
        self.run("pg_ctl", "--wait", "--options", options, "start")

    def configure(self, **settings: str) -> None:
        """Set these for the next start."""
        with (self.folder / "data/postgresql.auto.conf").open("a") as conf:
            conf.writelines(f"{name} = '{value}'\n" for name, value in settings.items())


@contextmanager
def new_cluster() -> Iterator[Cluster]:
    needs("PostgreSQL (its programs)", (BIN / "initdb").exists())
    # Not in a folder of pytest: another account must reach it.
    made = Cluster(Path(mkdtemp(prefix="optin-cluster-", dir="/tmp")), free_port())
    if os.geteuid() == 0:
        account = pwd.getpwnam("postgres")
        os.chown(made.folder, account.pw_uid, account.pw_gid)
    try:
        yield made
    finally:
        with suppress(subprocess.CalledProcessError):  # the test may have stopped it
            made.run("pg_ctl", "--mode", "immediate", "stop")
        rmtree(made.folder)


def environment(url: str, folder: Path, **more: str) -> dict[str, str]:
    """The environment of a service on the database at *url*, such as that of a cluster."""
    return {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": url,
        "DATA_DIR": str(folder),
        "DEBUG": "1",
        "SECRET_KEY": settings.SECRET_KEY,
        **more,
    }
