"""compose.yaml, as Docker Compose reads it, and the SQL beside it."""

import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from optin.conf import parse
from tests.kit.caddy import CADDY, configuration
from tests.kit.documents import OPERATORS, production_environment
from tests.kit.server import ROOT, needs

DEPLOY = ROOT / "deploy"
OURS = {"service", "worker", "manage", "migrate"}
ONCE = {"manage", "migrate", "grants"}
TOLD_BY_COMPOSE = {"OPTIN_DELIVERY", "TRUSTED_PROXIES"}

Services = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Compose makes of the file; it refuses what its specification does not know."""
    needs("docker-compose", shutil.which("docker-compose") is not None)
    folder = tmp_path_factory.mktemp("etc")
    shutil.copy(ROOT / "docs" / "production.env", folder)
    for name in ("owner.env", "postgresql.env"):
        (folder / name).write_text(OWN_FILES[name])
    compose = ["docker-compose", "--file", str(DEPLOY / "compose.yaml"), "--profile", "*"]
    done = subprocess.run(
        [*compose, "config", "--format", "json"],
        env={"PATH": os.environ["PATH"], "OPTIN_CONFIG": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    project: dict[str, Any] = json.loads(done.stdout)
    return project


OWN_FILES = {
    name: "".join(
        f"{line.strip()}\n" for line in re.findall(r"^ +([A-Z_]+=.+)$", block, re.MULTILINE)
    )
    for name, block in re.findall(r"`/etc/optin/(\w+\.env)`:\n\n((?: {4,}.+\n)+)", OPERATORS)
}
"""The files that deploy.md adds to production.env."""


@pytest.fixture
def services(composed: dict[str, Any]) -> Services:
    found: Services = composed["services"]
    assert set(found) == {*OURS, "grants", "proxy", "db"}
    return found


def test_each_container_has_few_rights(services: Services) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["restart"] == ("no" if name in ONCE else "unless-stopped"), name
        assert ("healthcheck" in service) == (name not in ONCE), name
    assert {name for name, service in services.items() if "cap_add" in service} == {"proxy"}
    assert {name for name, service in services.items() if "ports" in service} == {"proxy"}


def test_the_service_knows_no_password_of_the_owner(services: Services) -> None:
    def know(password: str) -> set[str]:
        return {
            name
            for name, service in services.items()
            if any(password in value for value in service.get("environment", {}).values())
        }

    assert know("owner-password") == {"migrate", "grants", "db"}
    assert know("superuser-password") == {"db"}


def test_it_hands_on_the_production_environment(services: Services) -> None:
    """All but what follows from the file itself."""
    given = {name: parse.unquoted(text) for name, text in production_environment().items()}
    for name in OURS:
        received = services[name]["environment"]
        differ = {each for each in given if received[each] != given[each]}
        assert differ == {*TOLD_BY_COMPOSE, *(["DATABASE_URL"] if name == "migrate" else [])}


def test_the_proxy_is_believed_and_reaches_the_service_only(composed: dict[str, Any]) -> None:
    networks, services = composed["networks"], composed["services"]
    (subnet,) = (config["subnet"] for config in networks["front"]["ipam"]["config"])
    environment = services["service"]["environment"]
    assert environment["TRUSTED_PROXIES"] == environment["FORWARDED_ALLOW_IPS"] == subnet
    inside = {
        network: {name for name, service in services.items() if network in service["networks"]}
        for network in networks
    }
    assert inside["front"] == {"proxy", "service"}
    assert inside["back"] == {*OURS, "grants", "db"}
    assert inside["outside"] == {"proxy", "worker", "manage"}
    assert {name for name, network in networks.items() if network.get("internal")} == {
        "front",
        "back",
    }


def test_the_proxy_asks_the_service(services: Services, tmp_path: Path) -> None:
    file = tmp_path / "Caddyfile"
    file.write_text(configuration())
    done = subprocess.run(
        [CADDY, "adapt", "--config", file],
        env={"PATH": os.environ["PATH"], **services["proxy"]["environment"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.findall(r'"dial":"(.+?)"', done.stdout) == ["service:8000"]


def test_tables_and_grants_come_before_the_service(services: Services) -> None:
    def waits_for(name: str) -> dict[str, str]:
        return {other: how["condition"] for other, how in services[name]["depends_on"].items()}

    assert waits_for("migrate") == {"db": "service_healthy"}
    assert waits_for("grants") == {"migrate": "service_completed_successfully"}
    for name in ("service", "worker"):
        assert waits_for(name)["grants"] == "service_completed_successfully"
    assert waits_for("proxy") == {"service": "service_healthy"}


COMMANDS = re.findall(r"^ {4,}(docker compose .+)$", OPERATORS, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_compose_knows_each_command_of_the_page(command: str, services: Services) -> None:
    """Its file, its options, and the services that it names. No container runs here."""
    _, _, option, file, verb, *words = shlex.split(command)
    assert (option, ROOT / file) == ("--file", DEPLOY / "compose.yaml")
    done = subprocess.run(
        ["docker-compose", verb, "--help"], capture_output=True, text=True, check=True
    )
    takes = dict(re.findall(r"(--[\w-]+)(?: (\w+))?", done.stdout))
    while words and words[0] not in services:
        word = words.pop(0)
        if word == "-T":
            continue
        assert word in takes, word
        if takes[word]:
            words.pop(0)
    named = itertools.takewhile(services.__contains__, words)
    assert [*named] or verb in {"up", "build"}
