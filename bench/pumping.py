"""The pumping attack and the day of honest people of ``tests/races/traces.py``, in full.

20 000 addresses and 4000 accounts ask for numbers of one prefix; then 8600 people opt in,
each through the server of one of 12 integrators, while somebody pumps. Both go to four
processes of the service, over HTTP. It ends with an error where an attacker got more
texts than 20, or an honest person was refused.

    python -m bench.pumping [--requests N] [--accounts N] [--people N] [--wait SECONDS]
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench import world

from django.db import connection, connections

from tests.races.traces import attack, honest_day


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--accounts", type=int, default=4_000)
    parser.add_argument("--people", type=int, default=8_600)
    parser.add_argument("--wait", type=int, default=30, help="Seconds until a text is sent again.")
    options = parser.parse_args()
    if connection.vendor != "postgresql":
        parser.error("DATABASE_URL must name a PostgreSQL server")
    replay(partial(attack, requests=options.requests, accounts=options.accounts))
    replay(partial(honest_day, people=options.people, wait=options.wait))


def replay(trace: Callable[[Path], str]) -> None:
    """Replay it on a database of its own."""
    with world.database():
        print(trace(Path(tempfile.mkdtemp(dir=os.environ["DATA_DIR"]))), flush=True)
        connections.close_all()


if __name__ == "__main__":
    main()
