"""The import of many people: its time and memory, and the sign-ins beside it.

People with a slow hash, two files and a key each are imported by a process of its own. Meanwhile
people sign in by the token call, as they do before it for comparison.

    python -m bench.imports [--rows N] [--seconds N] [--clients N]
"""

import argparse
import http.client
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

os.environ["TRUSTED_PROXIES"] = "127.0.0.0/8"

from bench import servers, world

from django.db import connection, connections

from optin.models import File, User

PASSWORD = "correct horse battery"  # noqa: S105

COMMAND = """
import sys
from bench import world
from django.core.management import call_command
call_command("import_people", *sys.argv[1:])
"""


def write(path: Path, count: int) -> None:
    digest = b64encode(b"of no password".ljust(32)).decode().rstrip("=")
    with path.open("w", encoding="utf-8") as file:
        for n in range(count):
            person = {
                "external_id": str(n),
                "username": f"mover{n}",
                "email": f"mover{n}@example.com",
                "password": f"$pbkdf2-sha256$600000$c2FsdHNhbHRzYWx0${digest}",
                "files": [777, 778],
                "access_keys": [f"777:{n:032x}"],
            }
            file.write(json.dumps(person) + "\n")


def start(people: Path, rejects: Path) -> subprocess.Popen[bytes]:
    # manage.py would refuse the simulator, unless DEBUG is on.
    command = [sys.executable, "-c", COMMAND, str(people), f"--rejects={rejects}", "--reason=Move"]
    env = os.environ | {"DATABASE_URL": world.url()}
    return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)  # noqa: S603


def watch(process: subprocess.Popen[bytes]) -> list[int]:
    """Return its resident memory in MiB, once a second until it ends."""
    found = []
    while process.poll() is None:
        pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
        found.append(pages * os.sysconf("SC_PAGESIZE") // 2**20)
        time.sleep(1)
    return found


def sign_in(port: int, name: str, address: str) -> float:
    """Sign in by the token call; return the milliseconds."""
    form = urlencode({"grant_type": "password", "username": name, "password": PASSWORD})
    headers = {"Content-Type": "application/x-www-form-urlencoded", "X-Forwarded-For": address}
    begun = time.perf_counter()
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    line.request("POST", "/authorisation/token", form, headers)
    answer = line.getresponse()
    text = answer.read()
    line.close()
    if answer.status != 200:
        raise AssertionError(f"{answer.status} {text!r}")
    return (time.perf_counter() - begun) * 1000


def sign_ins(port: int, clients: int, is_over: Callable[[], bool]) -> list[float]:
    """Let each client sign in, and wait as long as that took, until it is over."""

    def client(number: int) -> list[float]:
        times: list[float] = []
        while not is_over():
            n = len(times)
            name = f"person{(n * clients + number) % 1000}"
            times.append(sign_in(port, name, f"100.{64 + number}.{n // 250 % 250}.{n % 250}"))
            time.sleep(times[-1] / 1000)
        return times

    with ThreadPoolExecutor(clients) as pool:
        return sorted(itertools.chain(*pool.map(client, range(clients))))


def ends(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def tell(name: str, times: list[float]) -> None:
    middle = statistics.median(times)
    print(f"{name}: {len(times)} sign-ins, median {middle:.0f} ms, 99 % {p99(times):.0f} ms")


def p99(times: list[float]) -> float:
    return times[min(len(times) - 1, len(times) * 99 // 100)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=60, help="Of the quiet sign-ins.")
    parser.add_argument("--clients", type=int, default=1, help="Who sign in meanwhile.")
    options = parser.parse_args()
    if connection.vendor != "postgresql":
        parser.error("DATABASE_URL must name a PostgreSQL server")
    port = servers.free_port()
    with world.database(), tempfile.TemporaryDirectory() as folder:
        people, rejects = Path(folder) / "people.jsonl", Path(folder) / "rejects"
        write(people, options.rows)
        world.people(1000)
        File.objects.create(id=778, name="Another")
        User.objects.create_user("first", "", PASSWORD)
        User.objects.filter(username__startswith="person").update(
            password=User.objects.get(username="first").password
        )
        with servers.serving(servers.gunicorn(port), port, {"DATABASE_URL": world.url()}):
            sign_ins(port, options.clients, ends(options.seconds / 20))
            tell("quiet", sign_ins(port, options.clients, ends(options.seconds)))
            begun = time.monotonic()
            one = start(people, rejects)
            with ThreadPoolExecutor(1) as pool:
                memory = pool.submit(watch, one)
                tell("beside the import", sign_ins(port, options.clients, memory.done))
        print(f"{options.rows} rows in {time.monotonic() - begun:.0f} s")
        tenths = memory.result()[:: max(1, len(memory.result()) // 10)]
        print(f"memory in MiB, from time to time: {tenths}")
        if rejects.read_text() or User.objects.count() != options.rows + 1001:
            raise AssertionError(rejects.read_text())
        connections.close_all()


if __name__ == "__main__":
    main()
