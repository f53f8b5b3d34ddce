"""PostgreSQL restarts, or another machine takes its place: no request after that fails (S-64)."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from select import select

import psycopg
import pytest
from django.db import OperationalError, connection
from psycopg.pq import TransactionStatus

from optin.database.base import DatabaseWrapper
from tests.kit.clusters import Cluster, environment, new_cluster
from tests.kit.races import at_once
from tests.kit.server import Site, database_url, manage, serving, until


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with new_cluster() as made:
        made.make()
        yield made


@pytest.fixture
def standby(cluster: Cluster) -> Iterator[Cluster]:
    """A copy of ``cluster`` that follows it."""
    with new_cluster() as made:
        made.run("pg_basebackup", "--dbname", cluster.url, "--write-recovery-conf")
        made.start()
        yield made


@contextmanager
def guessing(url: str, folder: Path) -> Iterator[Callable[[], int]]:
    """Serve the database at *url*; give a call that sends a wrong code, and returns the status."""
    env = environment(url, folder)
    key = set_up(env)
    with serving(folder, env, workers=2) as server:
        yield lambda: guess_at(server, key)


def set_up(env: dict[str, str]) -> str:
    """Migrate; return the access key of somebody."""
    manage(env, "migrate", "--verbosity", "0")
    demo = json.loads(manage(env, "demo", "--json", "--empty"))
    key: str = demo["users"][0]["access_keys"]["777"]
    return key


def guess_at(server: Site, key: str) -> int:
    path = f"/User/verify-2fa-opt-in?FileId=777&WsAccessKey={key}"
    body = '{"ProviderUserId": 1, "Otp": "0123456"}'  # nobody's code
    return server.send(path, body).status


def ready(server: Site) -> int:
    line = HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        line.request("GET", "/readyz")
        return line.getresponse().status
    finally:
        line.close()


@pytest.mark.slow
@pytest.mark.django_db
def test_no_request_fails_after_a_restart(cluster: Cluster, tmp_path: Path) -> None:
    """Each of both processes has a pool of idle connections by then."""
    with guessing(cluster.url, tmp_path) as guess:
        assert set(at_once([guess] * 160)) == {400}
        cluster.run("pg_ctl", "--wait", "--mode", "fast", "restart")
        answers = [guess() for _ in range(30)]

    assert answers == [400] * 30


@pytest.mark.slow
@pytest.mark.django_db
def test_a_database_that_was_away_for_long_is_found_soon(cluster: Cluster, tmp_path: Path) -> None:
    """S-64. However often it was looked for in vain."""
    with guessing(cluster.url, tmp_path) as guess:
        assert set(at_once([guess] * 40)) == {400}
        cluster.run("pg_ctl", "--wait", "--mode", "immediate", "stop")
        for _ in range(4):  # each waits for 5 seconds
            assert set(at_once([guess] * 8)) == {503}
        cluster.start()
        back = time.monotonic()
        until(lambda: guess() == 400)

        assert time.monotonic() - back < 4


@pytest.mark.slow
@pytest.mark.django_db
def test_a_server_that_takes_connections_and_says_nothing(cluster: Cluster, tmp_path: Path) -> None:
    """As one that was stopped, or a proxy whose own connection hangs."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hosts = f"127.0.0.1:{silent.getsockname()[1]},127.0.0.1:{cluster.port}"
        with guessing(f"postgres://postgres@{hosts}/postgres", tmp_path) as guess:
            assert set(at_once([guess] * 16)) == {400}


@pytest.mark.slow
@pytest.mark.django_db
def test_requests_go_to_the_standby_once_it_is_promoted(
    cluster: Cluster, standby: Cluster, tmp_path: Path
) -> None:
    """Both are in the address. Nobody touches the service."""
    hosts = f"127.0.0.1:{cluster.port},127.0.0.1:{standby.port}"
    url = f"postgres://postgres@{hosts}/postgres?target_session_attrs=read-write"
    with guessing(url, tmp_path) as guess:
        assert set(at_once([guess] * 40)) == {400}
        cluster.run("pg_ctl", "--wait", "--mode", "immediate", "stop")
        assert guess() == 503
        standby.run("pg_ctl", "--wait", "promote")
        until(lambda: guess() == 400)
        answers = at_once([guess] * 40)

    assert answers == [400] * 40


@pytest.mark.slow
@pytest.mark.django_db
def test_a_standby_that_takes_over_is_no_restore(
    cluster: Cluster, standby: Cluster, tmp_path: Path
) -> None:
    """Nobody gets up at night."""
    hosts = f"127.0.0.1:{cluster.port},127.0.0.1:{standby.port}"
    url = f"postgres://postgres@{hosts}/postgres?target_session_attrs=read-write"
    env = environment(url, tmp_path)
    key = set_up(env)
    env["OPTIN_NEWEST_EVENT"] = str(tmp_path / "newest")
    with serving(tmp_path, env, workers=1) as server:
        assert guess_at(server, key) == 400
        assert ready(server) == 200
        cluster.run("pg_ctl", "--wait", "--mode", "immediate", "stop")
        assert ready(server) == 503
        standby.run("pg_ctl", "--wait", "promote")
        until(lambda: ready(server) == 200)
    manage(env, "check")


# -- one connection breaks in use ----------------------------------------------------


@pytest.mark.postgresql
@pytest.mark.pipeline
@pytest.mark.django_db
def test_a_connection_that_breaks_takes_all_others_with_it() -> None:
    """Nobody ends those to an address that another machine took over."""
    lines = [DatabaseWrapper(connection.settings_dict, "broken") for _ in range(4)]
    try:
        before = [backend(line) for line in lines]
        for idle in lines[:2]:
            idle.close()
        with psycopg.connect(database_url()) as elsewhere:
            elsewhere.execute("SELECT pg_terminate_backend(%s, 5000)", [before[2]])
        with pytest.raises(OperationalError):
            backend(lines[2])
        lines[2].close()
        lines[3].close()  # it was in use meanwhile

        after = [backend(line) for line in lines]
    finally:
        for line in lines:
            line.close()
        lines[0].close_pool()

    assert not {*before} & {*after}


@pytest.mark.postgresql
@pytest.mark.pipeline
@pytest.mark.django_db
def test_a_closed_connection_of_the_pool_is_renewed() -> None:
    line = DatabaseWrapper(connection.settings_dict, "closed")
    try:
        before = backend(line)
        held = line.connection
        line.close()
        held.close()

        assert backend(line) != before
    finally:
        line.close()
        line.close_pool()


@pytest.mark.postgresql
@pytest.mark.pipeline
@pytest.mark.django_db
def test_a_connection_given_back_in_a_transaction_begins_none_for_the_next() -> None:
    """Otherwise what the next thread writes would never be committed."""
    line = DatabaseWrapper(connection.settings_dict, "within")
    try:
        with line.cursor() as cursor:
            cursor.execute("LISTEN news")
        line.set_autocommit(False)
        held = line.connection
        line.close()
        if not held.closed:
            with psycopg.connect(database_url(), autocommit=True) as elsewhere:
                elsewhere.execute("NOTIFY news")
            select([held], [], [], 10)  # so it is looked at more closely
        line.ensure_connection()

        assert line.connection.info.transaction_status == TransactionStatus.IDLE
    finally:
        line.close()
        line.close_pool()


def backend(line: DatabaseWrapper) -> int:
    """The id of the server's process behind a connection."""
    with line.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid: int = cursor.fetchone()[0]
    return pid
