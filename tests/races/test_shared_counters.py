"""Operations that raise one counter do not wait for each other's commit (S-41, S-63)."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest

from tests.kit.clusters import Cluster, environment, new_cluster
from tests.kit.races import within_an_hour
from tests.kit.server import manage, serving, until

pytestmark = [pytest.mark.slow, pytest.mark.django_db]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with new_cluster() as made:
        made.make()
        yield made


def test_opt_ins_wait_for_the_standby_together(cluster: Cluster, tmp_path: Path) -> None:
    """Each answer comes after the standby has its data, and no counter is locked meanwhile."""
    # No worker is there: no other commit comes before the answer.
    env = environment(cluster.url, tmp_path, OPTIN_DELIVERY="worker")
    manage(env, "migrate", "--verbosity", "0")
    people = json.loads(manage(env, "demo", "--json", "--empty"))["users"]
    keys = [file_and_key for one in people for file_and_key in one["access_keys"].items()]
    with (
        serving(tmp_path, env, workers=2) as server,
        # Its own locks must not wait for the standby.
        psycopg.connect(cluster.url, autocommit=True, options="-c synchronous_commit=off") as line,
        ThreadPoolExecutor() as pool,
    ):

        def call(n: int, name: str, body: dict[str, object]) -> int:
            file, key = keys[n]
            return server.post_json(f"/User/{name}?FileId={file}&WsAccessKey={key}", body)[0]

        def opt_in(n: int) -> int:
            return call(n, "opt-in-to-2fa", {"MobileNumber": f"+6149157015{n}"})

        def texts_of_the_region(lock: LiteralString = "") -> int:
            counter: LiteralString = "FROM optin_sendcounter WHERE scope LIKE 'region/%'"
            newest: LiteralString = "ORDER BY window_start DESC LIMIT 1"  # of this hour
            found = line.execute(f"SELECT count {counter} {newest} {lock}").fetchone()
            return int(found[0]) if found else 0

        def set_standby(name: str) -> None:
            line.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")  # type: ignore[arg-type, unused-ignore]
            line.execute("SELECT pg_reload_conf()")

        within_an_hour()
        assert opt_in(0) == 200  # the counters have their rows
        before = texts_of_the_region()  # with those of the sample data, by the time of day
        # The keys are used, and both processes have their connections.
        begun = pool.map(lambda n: call(n, "verify-2fa-opt-in", {}), [1, 2] * 8)
        assert {*begun} == {400}
        set_standby("away")
        try:
            asked = [pool.submit(opt_in, n) for n in (1, 2)]
            both = before + len(asked)
            until(lambda: texts_of_the_region() == both or any(each.done() for each in asked))
            assert [each.result() for each in asked if each.done()] == []
            assert texts_of_the_region("FOR UPDATE NOWAIT") == both
            time.sleep(0.5)
            assert not any(answer.done() for answer in asked)
        finally:
            set_standby("")
        assert [answer.result() for answer in asked] == [200, 200]
