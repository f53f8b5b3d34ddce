"""Run gunicorn, drive it with ``wrk`` (Debian's package), and see what both take.

An answer that is not the expected one ends the measurement.
"""

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")
SCRIPT = """
local requests = {}
for line in io.lines("%s") do
  local token, body = line:match("^(%%S+) (.*)$")
  requests[#requests + 1] = wrk.format("%s", "%s", {
    ["Host"] = "127.0.0.1", ["Authorization"] = "Bearer " .. token,
    ["Content-Type"] = "application/json"
  }, body)
end
local at = math.floor(#requests * %f)
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


def gunicorn(port: int, application: str = "bench.service:application()", *more: str) -> list[str]:
    command = [sys.executable, "-m", "gunicorn", application, "--bind", f"127.0.0.1:{port}"]
    return [*command, "--log-level", "error", *more]


@contextmanager
def serving(
    command: list[str], port: int, env: dict[str, str], cwd: Path = ROOT, log: Path | None = None
) -> Iterator[int]:
    """Run the server in *cwd*, with *env* besides ours; yields its pid."""
    with open(log or os.devnull, "ab") as lines:
        process = subprocess.Popen(  # noqa: S603
            command,
            env=os.environ | {"PORT": str(port), "BASE_URL": f"http://127.0.0.1:{port}"} | env,
            cwd=cwd,
            stderr=lines,
            start_new_session=True,
        )
    try:
        wait_for(port)
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=40)


def wait_for(port: int) -> None:
    """Return once a worker answers: a server listens before its workers are there."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with suppress(OSError, http.client.HTTPException):
            line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            line.request("GET", "/livez")
            line.getresponse().read()
            return
        time.sleep(0.1)
    raise AssertionError(f"nothing answers at {port}")


class Driven(NamedTuple):
    """What wrk says: requests a second, and how many milliseconds one took."""

    rate: float
    median: float
    tail: float  # the 99th percentile
    longest: float


def drive(port: int, script: Path, seconds: int) -> Driven:
    wrk = shutil.which("wrk") or "wrk"
    options = f"-t1 -c16 -d{seconds}s --latency --timeout 30s -s".split()
    out = subprocess.run(  # noqa: S603
        [wrk, *options, str(script), f"http://127.0.0.1:{port}"],
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


def processor_time(server: int, database: str) -> tuple[float, float]:
    """Return the seconds that the processes of *server*, and those of *database*, have used."""
    application = rows = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            facts = (entry / "stat").read_text().rpartition(")")[2].split()
            title = (entry / "cmdline").read_text()
        except OSError:  # it has ended
            continue
        used = int(facts[11]) + int(facts[12])  # utime and stime: proc(5)
        if int(facts[3]) == server:  # its session
            application += used
        elif title.startswith("postgres:") and f" {database} " in title:
            rows += used
    return application / TICKS, rows / TICKS


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port
