"""Point-in-time recovery, as an operator does it: a base backup, the WAL, and a moment."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psycopg
import pytest

from tests.kit.clusters import Cluster, environment, new_cluster
from tests.kit.people import NUMBER
from tests.kit.server import Site, manage, serving

pytestmark = [pytest.mark.slow, pytest.mark.django_db]


@pytest.fixture
def clusters() -> Iterator[tuple[Cluster, Cluster]]:
    """One that archives its WAL, and the place for the one that is restored."""
    with new_cluster() as first, new_cluster() as second:
        archive = first.folder / "archive"
        first.make(archive_mode="on", archive_command=f"mkdir -p {archive} && cp %p {archive}/%f")
        yield first, second


def recover(first: Cluster, second: Cluster, moment: str) -> None:
    """Bring *second*, which is a base backup of *first*, to the state of *moment*.

    If that is "", to the end of the WAL.
    """
    with psycopg.connect(first.url, autocommit=True) as line:
        line.execute("SELECT pg_switch_wal()")
        line.execute("SELECT pg_sleep(1)")
    first.run("pg_ctl", "--wait", "--mode", "fast", "stop")
    target = {"recovery_target_time": moment} if moment else {}
    second.configure(
        restore_command=f"cp {first.folder}/archive/%f %p",
        recovery_target_action="promote",
        **target,
    )
    (second.folder / "data/recovery.signal").touch()
    second.start()


def call(
    server: Site, name: str, key: str, body: dict[str, Any], file: int = 777
) -> tuple[int, dict[str, Any]]:
    return server.post_json(f"/User/{name}?FileId={file}&WsAccessKey={key}", body)


def texted(folder: Path) -> str:
    """The code of the newest text."""
    newest = (folder / "sms.jsonl").read_text().splitlines()[-1]
    code: str = json.loads(newest)["body"].split()[0]
    return code


@pytest.mark.parametrize("is_whole", [True, False], ids=["the end of the WAL", "a moment"])
def test_all_that_was_archived_comes_back(
    clusters: tuple[Cluster, Cluster], tmp_path: Path, is_whole: bool
) -> None:
    """To the end of the WAL nothing is lost; to a moment, the service asks for after_restore."""
    first, second = clusters
    env = environment(first.url, tmp_path, OPTIN_NEWEST_EVENT=str(tmp_path / "newest"))
    manage(env, "migrate", "--verbosity", "0")
    ann, ben = json.loads(manage(env, "demo", "--json", "--empty"))["users"][:2]
    ann_key, ben_key = ann["access_keys"]["777"], ben["access_keys"]["888"]
    with serving(tmp_path, env, workers=2) as server:
        status, asked = call(server, "opt-in-to-2fa", ann_key, {"MobileNumber": NUMBER})
        assert status == 200
        code = {"ProviderUserId": asked["ProviderUserId"], "Otp": texted(tmp_path)}
        second.run("pg_basebackup", "--dbname", first.url)
        with psycopg.connect(first.url) as line:
            (moment,) = line.execute("SELECT clock_timestamp()").fetchone() or ()
        assert call(server, "verify-2fa-opt-in", ann_key, code)[0] == 200
    manage(env, "access_key", "revoke", ben["username"], ben_key[:6])

    recover(first, second, "" if is_whole else moment.isoformat())
    env["DATABASE_URL"] = second.url
    if is_whole:
        manage(env, "check")
    else:
        with pytest.raises(subprocess.CalledProcessError) as refused:
            manage(env, "check")
        assert "optin.E303" in refused.value.stderr
        assert "The service may start." in manage(env, "after_restore")
    with serving(tmp_path, env, workers=2) as server:
        # Her number is verified, or the code has ended.
        assert call(server, "verify-2fa-opt-in", ann_key, code)[0] == (409 if is_whole else 400)
        status, _ = call(server, "opt-in-to-2fa", ben_key, {}, file=888)
        assert (status == 401) is is_whole  # what was decided after the moment is lost
        assert urlopen(f"http://127.0.0.1:{server.port}/readyz").status == 200
    assert ": 0 findings, 0 not to be checked." in manage(env, "verify_audit", "--seal")
