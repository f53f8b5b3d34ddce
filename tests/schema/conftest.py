"""The service as it runs, with the demo people and with no limits in the way."""

import json
import os
import socket
from collections.abc import Iterator

import pytest

from tests.kit.server import gunicorn, migrated
from tests.schema.served import Served, manage

NO_LIMITS = dict.fromkeys(
    (
        "OPTIN_REQUESTS_PER_USER",
        "OPTIN_REQUESTS_PER_NETWORK",
        "OPTIN_FAILED_SIGN_INS_PER_IP",
        "OPTIN_FAILED_SIGN_INS_PER_NAME",
        "OPTIN_FAILED_SIGN_INS_PER_NAME_TOTAL",
        "OPTIN_SIGN_INS_PER_IP",
        "OPTIN_RESEND_WAIT",
        *(f"OPTIN_SENDS_{scope}" for scope in ("PER_NUMBER", "PER_USER", "PER_IP", "PER_CLIENT")),
        *("OPTIN_SENDS_PER_FILE", "OPTIN_SENDS_TOTAL"),
    ),
    "0",
)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("schema")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        kept = {name: text for name, text in os.environ.items() if name != "DATABASE_URL"}
        environment = {
            **kept,
            "DJANGO_SETTINGS_MODULE": "tests.kit.quick_settings",
            "DEBUG": "1",
            "BASE_URL": f"http://127.0.0.1:{port}",
            "DATA_DIR": str(folder),
            "REDIS_URL": "",
            "LOG_LEVEL": "ERROR",
            **NO_LIMITS,
        }
        migrated(folder)
        people = json.loads(manage("demo", "--json", "--empty", environment=environment))["users"]
        server = Served(
            f"http://127.0.0.1:{port}",
            environment,
            {person["username"]: person for person in people},
        )
        with gunicorn(listener, environment, folder / "server.log", workers=1):
            yield server
    # What the service could not answer properly it has logged.
    print((folder / "server.log").read_text())
