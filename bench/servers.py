"""Application servers side by side: the same workload, in turns.

Each server gets two worker processes on this machine and the same PostgreSQL database
(that of a measurement on SQLite is in memory, where they would not find it). ``wrk``
(Debian's package) drives wrong codes of many users, and ``ping``. Every answer must be
the expected one, or there is no measurement: also where codes run out of tries, after
some 10 000 requests.

    python -m bench.servers [--seconds N] [--rounds N] [--granian PATH]
"""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from contextlib import contextmanager, suppress
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bench import world

from django.db import connection, connections

SCRIPT = """
local requests = {}
for line in io.lines("%s") do
  local token, body = line:match("^(%%S+) (.*)$")
  requests[#requests + 1] = wrk.format("%s", "%s", {
    ["Host"] = "127.0.0.1", ["Authorization"] = "Bearer " .. token,
    ["Content-Type"] = "application/json"
  }, body)
end
local at = 0
request = function()
  at = at %% #requests + 1
  return requests[at]
end

wrong, such_as = 0, ""
response = function(status, headers, body)
  if status ~= %d or not body:find("%s", 1, true) then
    wrong, such_as = wrong + 1, status .. " " .. body
  end
end

local threads = {}
setup = function(thread)
  table.insert(threads, thread)
end
done = function()
  for _, thread in ipairs(threads) do
    if thread:get("wrong") > 0 then
      print("Wrong answers: " .. thread:get("wrong") .. ", such as " .. thread:get("such_as"))
    end
  end
end
"""


APPLICATION = "bench.contenders:application"
"""The service, and what it is compared with. Not ``twofa_site.wsgi``, which refuses the simulator
unless ``DEBUG`` is on."""


def gunicorn(port: int, application: str = APPLICATION) -> list[str]:
    return [
        f"{Path(sys.executable).parent}/gunicorn",
        application,
        "--config",
        "gunicorn.conf.py",
        "--bind",
        f"127.0.0.1:{port}",
        "--log-level",
        "error",
    ]


def commands(port: int, granian: str) -> dict[str, list[str]]:
    made = {"gunicorn gthread, 2 x 8": gunicorn(port)}
    if granian:
        made["granian WSGI, 2 x 8"] = [
            granian,
            "--interface",
            "wsgi",
            "--workers",
            "2",
            "--blocking-threads",
            "8",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--log-level",
            "error",
            APPLICATION,
        ]
    return made


@contextmanager
def serving(command: list[str], port: int, database: str) -> Iterator[int]:
    """Run the server; yields its pid."""
    env = os.environ | {"PORT": str(port), "DATABASE_URL": database}
    process = subprocess.Popen(command, env=env, start_new_session=True)  # noqa: S603
    try:
        wait_for(f"http://127.0.0.1:{port}/livez")
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=40)


def wait_for(url: str) -> None:
    """Return once it answers: a server listens before its workers are there."""
    for _ in range(300):
        with suppress(OSError), urllib.request.urlopen(url, timeout=1):  # noqa: S310
            return
        time.sleep(0.1)
    raise AssertionError(f"{url} does not answer")


def write(data: Path, people: Sequence[world.Person]) -> None:
    """Write what ``SCRIPT`` reads: a token and a wrong code of each."""
    bodies = [{"ProviderUserId": p.provider_user_id, "Otp": p.wrong_code} for p in people]
    lines = [f"{p.token} {json.dumps(body)}\n" for p, body in zip(people, bodies, strict=True)]
    data.write_text("".join(lines))


class Driven(NamedTuple):
    """What wrk says: requests a second, and how many milliseconds one took."""

    rate: float
    median: float
    tail: float  # the 99th percentile
    longest: float


def drive(port: int, script: Path, seconds: int) -> Driven:
    out = subprocess.run(  # noqa: S603
        [
            shutil.which("wrk") or "wrk",
            "-t1",
            "-c16",
            f"-d{seconds}s",
            "--latency",
            "-s",
            str(script),
            f"http://127.0.0.1:{port}",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    rate = re.search(r"Requests/sec:\s+([0-9.]+)", out)
    times = [
        re.search(pattern, out)
        for pattern in (r"\n +50% +(\S+)", r"\n +99% +(\S+)", r"Latency +\S+ +\S+ +(\S+)")
    ]
    if not rate or None in times or "Wrong answers" in out or "Socket errors" in out:
        raise AssertionError(out)
    return Driven(float(rate[1]), *(_milliseconds(found[1]) for found in times if found))


def _milliseconds(time: str) -> float:
    number, unit = re.findall(r"([0-9.]+)(\w+)", time)[0]
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--granian", default="", help="Path of granian, to compare with.")
    options = parser.parse_args()
    if connection.vendor != "postgresql":
        parser.error("DATABASE_URL must name a PostgreSQL server")
    port = free_port()
    results: dict[tuple[str, str], list[Driven]] = defaultdict(list)
    with world.database(), tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "people")
        write(data, world.people(2000))
        workloads = {
            "wrong codes": (
                "POST",
                f"/User/verify-2fa-opt-in?FileId={world.FILE_ID}",
                400,
                "otp_incorrect",
            ),
            "ping": ("GET", "/authorisation/ping", 200, "true"),
        }
        database = world.url()
        connections.close_all()
        for _ in range(options.rounds):
            for server, command in commands(port, options.granian).items():
                for workload, how in workloads.items():
                    world.rewind()
                    script = Path(folder, "script.lua")
                    script.write_text(SCRIPT % (data, *how))
                    with serving(command, port, database):
                        drive(port, script, min(2, options.seconds))
                        results[workload, server].append(drive(port, script, options.seconds))
        connections.close_all()
    print(f"{connection.vendor}: requests a second, median of {options.rounds}; 99th percentile")
    for (workload, server), values in sorted(results.items()):
        rate = statistics.median(value.rate for value in values)
        tails = ", ".join(f"{value.tail:.0f}" for value in values)
        print(f"{workload:12} {server:26} {rate:8.0f}   {tails} ms")


if __name__ == "__main__":
    main()
