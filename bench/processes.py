"""Opt-ins a second with one, two and four processes, if a commit takes 5 ms.

All opt-ins of one region raise the same counters. Wrong codes, which share no row, are measured
beside them. Each request is of another person, and each
opt-in of another number. Workers would send the texts; none runs.

    python -m bench.processes [--seconds N] [--rounds N] [--people N] [--commit MILLISECONDS]
        [--threads N]
"""

import argparse
import json
import os
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

os.environ["OPTIN_DELIVERY"] = "worker"
os.environ["OPTIN_BREAKER_UNPROVED"] = "0"
for _limit in ("PER_NUMBER", "PER_USER", "PER_CLIENT", "PER_FILE", "TOTAL"):
    os.environ[f"OPTIN_SENDS_{_limit}"] = "1000000/86400"

from bench import servers, world

from django.db import connection, connections

PROCESSES = (1, 2, 4)
Body = Callable[[int, world.Person], dict[str, object]]


def opt_in(n: int, person: world.Person) -> dict[str, object]:
    return {"MobileNumber": f"+6149{n:07d}"}


def wrong_code(n: int, person: world.Person) -> dict[str, object]:
    return {"ProviderUserId": person.provider_user_id, "Otp": person.wrong_code}


KINDS: dict[str, tuple[str, int, str, Body]] = {
    "opt-in": ("/User/opt-in-to-2fa", 200, "ProviderUserId", opt_in),
    "wrong code": ("/User/verify-2fa-opt-in", 400, "otp_incorrect", wrong_code),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--people", type=int, default=10_000)
    parser.add_argument("--commit", type=int, default=5)
    parser.add_argument("--threads", type=int, default=8)
    options = parser.parse_args()
    if connection.vendor != "postgresql":
        parser.error("DATABASE_URL must name a PostgreSQL server")
    port, numbers = servers.free_port(), 0
    runs: dict[tuple[str, int], list[float]] = defaultdict(list)
    with world.database(), tempfile.TemporaryDirectory() as folder:
        people = world.people(options.people)
        # A commit waits that long for others to share its write to the disk.
        wait = f"-c commit_delay={options.commit * 1000} -c commit_siblings=0"
        database = f"{world.url()}?options={wait}".replace(" ", "%20")
        connections.close_all()
        for _ in range(options.rounds):
            for processes in PROCESSES:
                for kind, (path, status, word, body) in KINDS.items():
                    world.rewind()
                    connections.close_all()
                    lines = [
                        f"{person.token} {json.dumps(body(numbers + n, person))}\n"
                        for n, person in enumerate(people)
                    ]
                    numbers += len(people)
                    address = f"{path}?FileId={world.FILE_ID}"
                    for name, part in (("first", lines[:500]), ("then", lines[500:])):
                        Path(folder, name).write_text("".join(part))
                        asked = (Path(folder, name), "POST", address, status, word)
                        Path(folder, f"{name}.lua").write_text(servers.SCRIPT % asked)
                    command = [*servers.gunicorn(port), "--workers", str(processes)]
                    command += ["--threads", str(options.threads)]
                    with servers.serving(command, port, database):
                        servers.drive(port, Path(folder, "first.lua"), 1)
                        driven = servers.drive(port, Path(folder, "then.lua"), options.seconds)
                        runs[kind, processes].append(driven.rate)
        connections.close_all()
    print(
        f"{options.rounds} rounds of {options.seconds} s, commits of {options.commit} ms; medians"
    )
    for kind in KINDS:
        medians = [statistics.median(runs[kind, processes]) for processes in PROCESSES]
        shown = [f"{rate:5.0f}/s ({rate / medians[0]:.2f})" for rate in medians]
        print(f"{kind:12}", *shown)


if __name__ == "__main__":
    main()
