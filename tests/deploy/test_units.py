"""The units in deploy/systemd: right for systemd, and as restricted as they claim to be."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.server import ROOT, needs

UNITS = sorted((ROOT / "deploy" / "systemd").iterdir())
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
MOST = 1.5
"""The exposure that ``systemd-analyze security`` may find: 0 is none, 10 is everything."""


def analyze(*arguments: str | Path) -> str:
    needs("systemd-analyze", shutil.which("systemd-analyze") is not None)
    done = subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_a_service_has_few_rights(unit: Path) -> None:
    said = analyze("security", "--offline=true", unit)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert found
    assert float(found[1]) <= MOST


def test_systemd_accepts_all_units(tmp_path: Path) -> None:
    """With the programs of this machine in place of those that the units start."""
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8").replace("/srv/optin/.venv", sys.prefix)
        (tmp_path / unit.name).write_text(text.replace("/srv/optin", str(ROOT)))
    copies = [tmp_path / re.sub("@", "@purge", unit.name) for unit in UNITS]
    for unit, copy in zip(UNITS, copies, strict=True):
        (tmp_path / unit.name).rename(copy)
    assert analyze("verify", "--man=no", *copies) == ""


def test_all_services_have_the_same_restrictions() -> None:
    """From the umask on, so that a change of one is a change of all."""
    texts = [unit.read_text(encoding="utf-8").partition("\nUMask=")[2] for unit in SERVICES]
    restrictions = {text.partition("\n\n[Install]")[0].strip() for text in texts}
    assert len(restrictions) == 1
    assert "SystemCallFilter" in restrictions.pop()
