"""PgBouncer between the service and PostgreSQL, which gives out its connections by transaction."""

import os
import shutil
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from optin.models import File
from tests.kit.people import make_user, number
from tests.kit.races import at_once
from tests.kit.server import database_url, needs, serving
from tests.races.ways import ByHttp, pend, wrong_codes

pytestmark = [
    pytest.mark.postgresql,
    pytest.mark.long,
    pytest.mark.django_db(transaction=True),
]

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


@pytest.fixture
def pooler(tmp_path: Path) -> Iterator[str]:
    """The address of the database of the tests, through PgBouncer."""
    needs("PgBouncer", PGBOUNCER is not None)
    assert PGBOUNCER is not None
    to = urlsplit(database_url())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    password = f"password={to.password}" if to.password else ""
    config = tmp_path / "pgbouncer.ini"
    # Fewer connections than the service has, so that they change hands all the time.
    config.write_text(
        f"""
        [databases]
        * = host={to.hostname} port={to.port} user={to.username} {password}
        [pgbouncer]
        listen_addr = 127.0.0.1
        listen_port = {port}
        unix_socket_dir =
        auth_type = any
        pool_mode = transaction
        default_pool_size = 4
        max_prepared_statements = 200
        """.replace("        ", "")
        + ("user = postgres\n" if os.geteuid() == 0 else "")
    )
    with (tmp_path / "pgbouncer.log").open("wb") as log:
        process = subprocess.Popen([PGBOUNCER, str(config)], stdout=log, stderr=log)
    try:
        wait_for(port)
        yield to._replace(netloc=f"127.0.0.1:{port}").geturl()
    finally:
        process.terminate()
        process.wait(timeout=20)


def wait_for(port: int) -> None:
    for _ in range(100):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise AssertionError("PgBouncer does not answer")


def test_the_count_is_exact_behind_a_pooler(pooler: str, tmp_path: Path, file: File) -> None:
    people = [make_user(f"user{n}", file) for n in range(4)]
    codes = [pend(user, file, number(n)) for n, user in enumerate(people)]
    with serving(tmp_path, {"DATABASE_URL": pooler}) as server:
        way = ByHttp(server)
        for user in people:
            way.let_in(user, file)
        answers = at_once(
            [
                partial(way.verify, user, file, code.provider_user_id, wrong)
                for user, code in zip(people, codes, strict=True)
                for wrong in wrong_codes(code, 32)
            ]
        )

    assert Counter(answers) == {"otp_incorrect": 4 * 5, "otp_exhausted": 4 * 27}
    for user, code in zip(people, codes, strict=True):
        user.refresh_from_db()
        code.refresh_from_db()
        assert (user.failures, code.tries) == (5, 5)
