"""A Debian of a test's own: systemd and all that it starts, in namespaces that end with the test.

It sees the files of this machine, and writes to memory. It has no network but its loopback.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from tests.kit.server import needs, until

SYSTEMD = Path("/usr/lib/systemd/systemd")

_ENTER = """
echo $$ >"$0/cgroup.procs"
exec unshare --mount --pid --cgroup --uts --ipc --net --fork --kill-child --propagation private \\
  bash -c "$@"
"""

_BOOT = r"""
set -eu
folder=$1
shift
mount -t tmpfs tmpfs "$folder"
cd "$folder"
mkdir up work root
mount -t overlay -o lowerdir=/,upperdir=up,workdir=work overlay root
cd root
for path in run dev tmp; do mount -t tmpfs -o mode=755 tmpfs "$path"; done
chmod 1777 tmp
mount -t proc proc proc
# Some of its settings are those of the whole machine.
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
for path in null zero full random urandom tty; do
  touch "dev/$path"
  mount --bind "/dev/$path" "dev/$path"
done
mkdir dev/shm dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for shared in "$@"; do
  mkdir -p "mnt/$(basename "$shared")"
  mount --bind "$shared" "mnt/$(basename "$shared")"
done
mkdir oldroot
pivot_root . oldroot
umount --lazy /oldroot
ip link set lo up
hostname optin-test
exec env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin "$SYSTEMD" --unit=basic.target
"""


@dataclass(frozen=True)
class Debian:
    pid: int
    """Of its systemd, on this machine."""

    def run(self, command: str, *, env: Mapping[str, str] = {}) -> subprocess.CompletedProcess[str]:
        """Run *command* in a shell of root, as somebody does who is logged in."""
        home = {
            "HOME": "/root",
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C.UTF-8",
        }
        return subprocess.run(
            ["nsenter", "--target", str(self.pid), "--all", "bash", "-c", command],
            env={**home, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def must(self, command: str, **options: Mapping[str, str]) -> str:
        """Run *command*, which must succeed; return what it printed."""
        done = self.run(command, **options)
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        return done.stdout


def _cgroups() -> Path:
    """Where this machine has its cgroups (version 2)."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    return Path(next(mount[1] for mount in mounts if mount[2] == "cgroup2"))


@contextmanager
def new_debian(folder: Path, *shared: Path) -> Iterator[Debian]:
    """Boot a Debian with the files of this machine; it finds *shared* folders under ``/mnt``."""
    ready = os.geteuid() == 0 and SYSTEMD.exists() and shutil.which("unshare") is not None
    needs("systemd, as root", ready)
    group = Path(mkdtemp(prefix="optin-test-", dir=_cgroups()))
    with (folder / "boot.log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-c", _ENTER, group, _BOOT, "boot", folder, *shared],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD": str(SYSTEMD)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield _booted(process, folder / "boot.log")
    finally:
        process.kill()
        process.wait()
        _remove(group)


def _booted(process: "subprocess.Popen[bytes]", log: Path) -> Debian:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")

    def is_up() -> bool:
        assert process.poll() is None, log.read_text()
        pid = children.read_text().strip()
        active = "systemctl is-active --quiet basic.target"
        return pid != "" and Debian(int(pid)).run(active).returncode == 0

    until(is_up)
    return Debian(int(children.read_text()))


def _remove(group: Path) -> None:
    """Remove a cgroup whose last processes are ending."""

    def is_gone() -> bool:
        for path in sorted(group.rglob("*/"), reverse=True):
            with suppress(OSError):
                path.rmdir()
        with suppress(OSError):
            group.rmdir()
        return not group.exists()

    until(is_gone)
