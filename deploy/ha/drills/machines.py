"""Machines: namespaces with an address, files and processes of their own, on one bridge.

The whole is in namespaces that end with the process that made them (``deploy/ha/drill``).
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread

BRIDGE = "10.77.0.1"
"""The address of the drill itself."""

CLIENTS = "10.78.0.0/16"
"""Each address of it is one that a client may come from."""

RESTARTS_AFTER = 1.0
"""Seconds after which a process that ended is started again, as by ``RestartSec=1`` of systemd."""


def run(*command: str, **options: object) -> str:
    """Run a command to its end, and return what it printed.

    :raises RuntimeError: with what it said, if it fails.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return str(done.stdout)


def lay_cables() -> None:
    """Make the bridge to which machines are connected."""
    run("ip", "link", "set", "lo", "up")
    # By itself, a bridge takes the lowest address of its ports. If that machine is cut off,
    # the address changes, and the others send to the old one: nobody reaches the clients any more.
    run("ip", "link", "add", "bridge", "address", "02:00:00:00:00:01", "type", "bridge")
    run("ip", "address", "add", f"{BRIDGE}/24", "dev", "bridge")
    run("ip", "link", "set", "bridge", "up")
    run("ip", "route", "add", "local", CLIENTS, "dev", "lo")


class Machine:
    def __init__(self, name: str, address: str, folder: Path) -> None:
        """Make a machine with a copy of ``/etc``, and empty folders for what it runs."""
        self.name, self.address, self.folder = name, address, folder / name
        self.folder.mkdir()
        self._cable = f"to-{name}"
        self._anchor = subprocess.Popen(["unshare", "--net", "--mount", "sleep", "infinity"])
        self._pid = self._anchor.pid
        self._wait_for_namespaces()
        self._connect()
        self._mount()

    def _wait_for_namespaces(self) -> None:
        own = os.stat("/proc/self/ns/mnt").st_ino
        while os.stat(f"/proc/{self._pid}/ns/mnt").st_ino == own:
            time.sleep(0.01)
        self._network = os.stat(f"/proc/{self._pid}/ns/net").st_ino

    def _connect(self) -> None:
        cable, pid = self._cable, str(self._pid)
        run("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", pid)
        run("ip", "link", "set", cable, "master", "bridge", "up")
        for command in (
            "link set lo up",
            f"address add {self.address}/24 dev eth0",
            "link set eth0 up",
            f"route add default via {BRIDGE}",
        ):
            run(*self.inside("ip", *command.split()))

    def _mount(self) -> None:
        run("cp", "--archive", "/etc", str(self.folder / "etc"))
        for path in ("/etc", "/var/lib/postgresql", "/var/lib/etcd"):
            there = self.folder / Path(path).name
            there.mkdir(exist_ok=True)
            shutil.chown(there, *_owner(Path(path)))
            run(*self.inside("mount", "--bind", str(there), path))
        run(*self.inside("mount", "-t", "tmpfs", "tmpfs", "/run"))
        run(*self.inside("install", "-d", "-o", "postgres", "/run/postgresql"))

    def inside(self, *command: str, user: str = "root") -> list[str]:
        """Return the command that runs *command* on this machine."""
        enter = ["nsenter", f"--target={self._pid}", "--net", "--mount", f"--wd={Path.cwd()}", "--"]
        if user != "root":
            enter += ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        return [*enter, *command]

    def write(self, path: str, text: str, owner: str = "root", mode: int = 0o640) -> None:
        """Write a file under ``/etc``."""
        file = self.folder / path.removeprefix("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        shutil.chown(file, owner, owner)

    # -- what happens to it ----------------------------------------------------------

    def cut_off(self) -> None:
        """Drop every packet from and to this machine."""
        run("ip", "link", "set", self._cable, "nomaster")

    def connect_again(self) -> None:
        run("ip", "link", "set", self._cable, "master", "bridge")

    def signal(self, number: signal.Signals, *names: str) -> int:
        """Send a signal to the processes of these names, or to all; return how many there were."""
        found = [pid for pid in self._processes(names) if pid != self._pid]
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        return len(found)

    def _processes(self, names: Sequence[str]) -> Iterator[int]:
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if os.stat(process / "ns/net").st_ino == self._network and (
                    not names or (process / "comm").read_text().strip() in names
                ):
                    yield int(process.name)


def _owner(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_uid, stat.st_gid


class Service:
    """A process that is started again whenever it ends, as systemd does.

    It ends with the namespaces.
    """

    def __init__(
        self,
        machine: Machine,
        name: str,
        command: Sequence[str],
        env: Mapping[str, str],
        user: str = "root",
    ) -> None:
        self.log = machine.folder / f"{name}.log"
        self._command, self._env = machine.inside(*command, user=user), dict(env)
        Thread(target=self._keep_running, daemon=True).start()

    def _keep_running(self) -> None:
        while True:
            with self.log.open("ab") as log:
                process = subprocess.Popen(
                    self._command,
                    env=self._env,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            process.wait()
            time.sleep(RESTARTS_AFTER)
