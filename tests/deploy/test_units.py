"""The units in deploy/systemd: right for systemd, as restricted as they say, and what they run."""

import os
import re
import shutil
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.kit.clusters import BIN, new_cluster
from tests.kit.server import ROOT, needs

FOLDER = ROOT / "deploy" / "systemd"
UNITS = sorted(unit for unit in FOLDER.iterdir() if unit.suffix in {".service", ".timer"})
SERVICES = [unit.name for unit in UNITS if unit.suffix == ".service"]
MOST = 1.5
"""The exposure that ``systemd-analyze security`` may find: 0 is none, 10 is everything."""


def analyze(*arguments: str | Path) -> str:
    needs("systemd-analyze", shutil.which("systemd-analyze") is not None)
    done = subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("unit", [*SERVICES, "optin@.service"])
def test_a_service_has_few_rights(unit: str, tmp_path: Path) -> None:
    """By the folder of drop-ins. optin@ is that of docs/upgrade-and-restore.md."""
    there = tmp_path / "usr" / "local" / "lib" / "systemd" / "system"
    shutil.copytree(FOLDER, there, symlinks=True)
    shutil.copy(there / "optin.service", there / "optin@.service")
    name = unit.replace("@.", "@x.")
    said = analyze("security", "--offline=true", f"--root={tmp_path}", name)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert found
    assert float(found[1]) <= MOST


def test_systemd_accepts_all_units(tmp_path: Path) -> None:
    """With the programs of this machine in place of those that the units start."""
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8").replace("/srv/optin/.venv", sys.prefix)
        (tmp_path / unit.name).write_text(text.replace("/srv/optin", str(ROOT)))
    copies = [tmp_path / re.sub(r"@\.", "@purge.", unit.name) for unit in UNITS]
    for unit, copy in zip(UNITS, copies, strict=True):
        (tmp_path / unit.name).rename(copy)
    assert analyze("verify", "--man=no", *copies) == ""


# -- what they run -----------------------------------------------------------------


@pytest.mark.parametrize("status", [204, 500])
def test_a_ping_asks_the_address_of_what_succeeded(status: int) -> None:
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Write no log."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/x"
        env = {"PATH": os.environ["PATH"], "PING_VERIFY_AUDIT": url, "PING_PURGE": ""}
        for name in ("verify_audit", "purge", "migrate"):
            command = [ROOT / "deploy" / "ping", name]
            done = subprocess.run(command, env=env, capture_output=True, check=False)
            assert bool(done.returncode) is (status == 500 and name == "verify_audit")
        server.shutdown()
    assert set(asked) == {"/x"}


def test_a_backup_is_whole_and_old_ones_go(tmp_path: Path) -> None:
    """One that fails deletes none."""
    folder = tmp_path / "backups"
    folder.mkdir()
    for age in (29, 32):
        file = folder / f"optin-{age}.dump"
        file.touch()
        os.utime(file, (file.stat().st_mtime - age * 86_400,) * 2)
    command = [ROOT / "deploy" / "backup", folder]
    with new_cluster() as cluster:
        cluster.run("initdb", "-U", "postgres", "-A", "trust", "--no-sync")
        cluster.start()
        env = {"PATH": f"{BIN}:{os.environ['PATH']}", "PGHOST": "127.0.0.1"}
        env |= {"PGPORT": str(cluster.port), "PGUSER": "postgres"}
        assert subprocess.run(command, env=env, capture_output=True, check=False).returncode
        assert {file.name for file in folder.glob("*.dump")} == {"optin-29.dump", "optin-32.dump"}
        subprocess.run([BIN / "createdb", "optin"], env=env, check=True)
        subprocess.run(command, env=env, check=True)
    (made,) = {file.name for file in folder.iterdir()} - {"optin-29.dump"}
    assert re.fullmatch(r"optin-\d{4}-\d\d-\d\d\.dump", made)
    assert (folder / made).stat().st_mode & 0o077 == 0
    subprocess.run([BIN / "pg_restore", "--list", folder / made], check=True, capture_output=True)
