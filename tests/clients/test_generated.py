"""Clients that are generated from ``/schema/``: each imports, and makes every call."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from tests.clients.people import PASSWORD, SANDBOX_ID
from tests.clients.programs import Service, run
from tests.kit.server import needs

CLIENTS = Path(__file__).resolve().parent.parent.parent / "docs" / "clients.md"
HERE = Path(__file__).resolve().parent
LINES = [
    "ping true",
    "verify Two-factor authentication is on. Turn two-factor off",
    "token 2fa_code_required",
    "token-2fa Bearer",
    "opt-out 2fa_code_required",
    "opt-out Two-factor authentication is off.",
    "changed off",
    "endpoints whsec_ https://hooks.example.com/2",
    "removed The endpoint was removed.",
    "event number.activated order-17",
    "event number.removed order-17",
]


def generate_python(schema: Path, folder: Path) -> list[str]:
    package = folder / "optin_client"
    folder.mkdir()
    config = folder / "config.yaml"
    (shown,) = re.findall(r"^    (content_type_overrides: .+)$", CLIENTS.read_text(), re.MULTILINE)
    config.write_text(shown)
    told = [
        "--config",
        str(config),
        "--path",
        str(schema),
        "--output-path",
        str(package),
        "--meta",
        "none",
    ]
    generate([sys.executable, "-m", "openapi_python_client", "generate", *told])
    return ["env", f"PYTHONPATH={folder}", sys.executable, str(HERE / "generated.py")]


def generate_ruby(schema: Path, folder: Path) -> list[str]:
    ruby, libraries = shutil.which("ruby"), ["faraday", "faraday/multipart", "marcel"]
    found = ruby and subprocess.run(
        [ruby, *(f"-r{name}" for name in libraries), "-e0"], check=False
    )
    needs(f"Ruby with {', '.join(libraries)}", bool(found and found.returncode == 0))
    needs("Java", shutil.which("java") is not None)
    told = ["-i", str(schema), "-o", str(folder), "--library", "faraday"]
    program = str(Path(sys.executable).with_name("openapi-generator-cli"))
    generate([program, "generate", "-g", "ruby", *told])
    return ["ruby", f"-I{folder / 'lib'}", str(HERE / "generated.rb")]


def generate(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("generator", [generate_python, generate_ruby])
def test_a_generated_client_makes_every_call(
    service: Service, tmp_path: Path, generator: Callable[[Path, Path], list[str]]
) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text(requests.get(f"{service.url}/schema/?format=json", timeout=30).text)
    tester = next(service.testers)
    command = generator(schema, tmp_path / "client")
    told = [service.url, str(SANDBOX_ID), tester.name, PASSWORD, tester.number]
    done = run([*command, *told], {}, {})
    assert done.errors == ""
    assert [line.replace("True", "true") for line in done.lines] == LINES
    assert done.status == 0
