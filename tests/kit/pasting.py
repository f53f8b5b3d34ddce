"""Lines of the documents, run as somebody would who pastes them."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.kit.server import ROOT, development_start


@contextmanager
def service(folder: Path, **env: str) -> Iterator[str]:
    """A fresh development start in *folder*, without a history; gives its address."""
    with development_start(folder, is_empty=True, **env) as start:
        yield start.base_url


def blocks(document: str) -> list[tuple[str, str]]:
    """The lines to paste in *document*, each with the answer that follows it, or ""."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)
    return [
        (text, found[n][1] if n < len(found) and found[n][0] in {"json", "xml", "text"} else "")
        for n, (kind, text) in enumerate(found, start=1)
        if kind == "sh"
    ]


def pattern(answer: str, base: str) -> re.Pattern[str]:
    """What output is *answer*, whatever its white space and its id of a number.

    ``...`` stands for anything.
    """
    text = re.sub(r"\s+", "", answer.replace("http://localhost:8000", base))
    escaped = re.escape(text).replace(re.escape("..."), ".+?")
    return re.compile(re.sub(r'(ProviderUserId(?:":|>))\d+', r"\1\\d+", escaped))


def environment(base: str, folder: Path) -> dict[str, str]:
    """The environment of somebody who started the ``service`` at *base* in *folder*."""
    return {
        "PATH": os.environ["PATH"],
        "PORT": base.rpartition(":")[2],
        "DATA_DIR": str(folder / "var"),
    }


def paste(lines: list[str], base: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Paste *lines* into one shell, as somebody would who started the service."""
    script = "\necho @@@\n".join(["set -e -o pipefail", *lines])
    script = script.replace("http://localhost:8000", base)
    script = script.replace(".venv/bin/python", sys.executable)
    script = script.replace(" var/", f" {folder}/var/")
    return subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT,
        env=environment(base, folder),
        capture_output=True,
        text=True,
        check=False,
    )
