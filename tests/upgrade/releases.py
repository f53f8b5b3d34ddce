"""The release before the present code: its name, its migrations, and its code in a folder."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kit.server import ROOT, Code


@dataclass(frozen=True)
class Release:
    commit: str

    def migrations(self) -> set[str]:
        """The names of its migrations of ``optin``."""
        listed = _git("ls-tree", "--name-only", self.commit, "optin/migrations/").split()
        return {Path(path).stem for path in listed if re.match(r"\d", Path(path).name)}

    def unpack(self, folder: Path) -> Code:
        """Put its code into *folder*, with an environment of its own if it needs other packages."""
        folder.mkdir()
        archive = subprocess.run(
            ["git", "archive", self.commit], cwd=ROOT, check=True, capture_output=True
        )
        subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
        requirements = (folder / "requirements.txt").read_bytes()
        if requirements == (ROOT / "requirements.txt").read_bytes():
            return Code(folder)
        # Without the options of the make that runs the tests.
        env = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
        command = ["make", f"PYTHON={sys.executable}", ".venv/runs"]
        subprocess.run(command, cwd=folder, env=env, check=True)
        return Code(folder, str(folder / ".venv" / "bin" / "python"))


def release(version: str) -> Release:
    """Return the release *version*: the commit that gave it to ``pyproject.toml``.

    The test is skipped without history.
    """
    _needs_history(version)
    named = f'version = "{version}"'
    found = _git("log", "--reverse", f"-S{named}", "--format=%H", "--", "pyproject.toml")
    return Release(found.split()[0])


def last_release() -> Release:
    """Return the newest release that is not the present commit; skip the test without history.

    It is the commit that gave the newest version to ``pyproject.toml``.
    """
    _needs_history("the last release")
    versions = _git("log", "-G^version = ", "--format=%H", "HEAD^", "--", "pyproject.toml")
    return Release(versions.split()[0])


def _needs_history(what: str) -> None:
    if not (ROOT / ".git").exists() or _git("rev-parse", "--is-shallow-repository") == "true":
        pytest.skip(f"{what} is not here: this is no clone with its history")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()
