"""Verify beside an attack on passwords: its slowest answers, with and without the attack.

Somebody signs in without a pause from 30 addresses in as many networks: by the token call and
on the page, with right passwords of accounts of their own and with wrong ones for others'.
Meanwhile somebody else verifies codes, one after the other, each over a connection of its own.
Rounds with and without the attack alternate. All counters are reset before each. If nginx is
installed, more rounds attack through it, with the ``limit_req`` of ``docs/deploy.md``. The
measurement fails unless every verify gets the expected answer, and some passwords were checked and
some refused unchecked. The service's limit on the requests of one address is off.

    python -m bench.hashing [--seconds N] [--rounds N]
"""

import argparse
import http.client
import itertools
import json
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

os.environ["TRUSTED_PROXIES"] = "127.0.0.0/8"
os.environ["OPTIN_REQUESTS_PER_NETWORK"] = "0"

from bench import servers, world

from django.db import connection, connections

from optin.models import SendCounter, User

ADDRESSES = 30
CONNECTIONS = 200  # more than may wait
THROUGH_NGINX = "through nginx"
NGINX = shutil.which("nginx") or ""
PASSWORD = "correct horse battery"  # noqa: S105

PROXY = """
daemon off;
pid %(folder)s/pid;
error_log stderr crit;
events {}
http {
  access_log off;
  client_body_temp_path %(folder)s/body;
  proxy_temp_path %(folder)s/proxy;
  fastcgi_temp_path %(folder)s/fastcgi;
  uwsgi_temp_path %(folder)s/uwsgi;
  scgi_temp_path %(folder)s/scgi;
  # The addresses that the measurement names.
  set_real_ip_from 127.0.0.0/8;
  real_ip_header X-Forwarded-For;
  limit_req_zone $binary_remote_addr zone=passwords:10m rate=5r/s;
  limit_req_status 429;
  proxy_set_header Host $host;
  proxy_set_header X-Forwarded-For $remote_addr;
  server {
    listen 127.0.0.1:%(port)d;
    location / {
      proxy_pass http://127.0.0.1:%(service)d;
    }
    location ~* ^/(sign-in|password-reset|authorisation)/ {
      limit_req zone=passwords burst=20;
      proxy_pass http://127.0.0.1:%(service)d;
    }
  }
}
"""

SCRIPT = """
local cookie, token = "%s", "%s"
local addresses, at = %d, 0
wrk.method = "POST"
request = function()
  at = at + 1
  local right = at %% 2 == 0
  local name = right and "attacker" or "person" .. at %% 1000
  local form = "username=" .. name .. "&password=" .. (right and "%s" or "wrong")
  local path = "/authorisation/token"
  if at %% 4 < 2 then
    form = form .. "&grant_type=password"
  else
    path, form = "/sign-in/", form .. "&csrfmiddlewaretoken=" .. token
  end
  return wrk.format("POST", path, {
    ["Host"] = "127.0.0.1",
    ["X-Forwarded-For"] = "100." .. (64 + at %% addresses) .. ".0.1",
    ["Content-Type"] = "application/x-www-form-urlencoded",
    ["Cookie"] = cookie,
  }, form)
end

-- Each thread has a state of its own, and done runs in another one.
counts = ""
local seen = {}
response = function(status)
  seen[status] = (seen[status] or 0) + 1
  local all = {}
  for status, count in pairs(seen) do all[#all + 1] = status .. "=" .. count end
  counts = table.concat(all, " ")
end
local threads = {}
setup = function(thread) table.insert(threads, thread) end
done = function()
  for _, thread in ipairs(threads) do print("Answers: " .. thread:get("counts")) end
end
"""


def script_for(port: int) -> str:
    """Return the script of the attack, with what the form of a page needs."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/sign-in/", timeout=10) as page:
        cookie = page.headers["Set-Cookie"].partition(";")[0]
        token = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page.read().decode())[0]
    return SCRIPT % (cookie, token, ADDRESSES, PASSWORD.replace(" ", "+"))


@contextmanager
def proxy(service: int) -> Iterator[int]:
    """Serve the port *service* through nginx; yields the port of nginx."""
    port = servers.free_port()
    with tempfile.TemporaryDirectory() as folder:
        conf = Path(folder) / "nginx.conf"
        conf.write_text(PROXY % {"folder": folder, "port": port, "service": service})
        process = subprocess.Popen([NGINX, "-p", folder, "-c", str(conf)])  # noqa: S603
        try:
            time.sleep(1)  # until it listens
            yield port
        finally:
            process.terminate()
            process.wait(10)


@contextmanager
def attack(port: int, seconds: int, lua: str) -> Iterator[Counter[int]]:
    """Attack for *seconds*, from before the block on; yields the answers, filled at its end."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(lua)
        script.flush()
        wrk = [shutil.which("wrk") or "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"]
        wrk += ["--timeout", "30s", "-s", script.name, f"http://127.0.0.1:{port}"]
        process = subprocess.Popen(wrk, stdout=subprocess.PIPE, text=True)  # noqa: S603
        answers: Counter[int] = Counter()
        time.sleep(1)  # until they are at full speed
        try:
            yield answers
        finally:
            out, _ = process.communicate(timeout=seconds + 60)
    answers.update({int(s): int(n) for s, n in re.findall(r"\b(\d{3})=(\d+)", out)})


def verify(port: int, people: Iterator[world.Person], seconds: float) -> list[float]:
    """Verify wrong codes for so long; return the milliseconds of each, the shortest first."""
    times = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        person = next(people)
        body = json.dumps({"ProviderUserId": person.provider_user_id, "Otp": person.wrong_code})
        headers = {
            "Authorization": f"Bearer {person.token}",
            "Content-Type": "application/json",
            "X-Forwarded-For": "192.0.2.1",
        }
        begun = time.perf_counter()
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        line.request("POST", f"/User/verify-2fa-opt-in?FileId={world.FILE_ID}", body, headers)
        answer = line.getresponse()
        text = answer.read()
        line.close()
        times.append((time.perf_counter() - begun) * 1000)
        if answer.status != 400 or b"otp_incorrect" not in text:
            raise AssertionError(f"{answer.status} {text!r}")
        time.sleep(0.01)
    return sorted(times)


def p99(times: list[float]) -> float:
    return times[min(len(times) - 1, len(times) * 99 // 100)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=10, help="Of one round.")
    parser.add_argument("--rounds", type=int, default=5, help="Of each kind.")
    options = parser.parse_args()
    if connection.vendor != "postgresql":
        parser.error("DATABASE_URL must name a PostgreSQL server")
    port = servers.free_port()
    times: dict[str, list[list[float]]] = {"quiet": [], "attacked": []}
    if NGINX:
        times[THROUGH_NGINX] = []
    answers: Counter[int] = Counter()
    with world.database():
        crowd = world.people(2000)
        User.objects.create_user("attacker", "attacker@example.com", PASSWORD)
        User.objects.filter(username__startswith="person").update(
            password=User.objects.get(username="attacker").password
        )
        with (
            servers.serving(servers.gunicorn(port), port, {"DATABASE_URL": world.url()}),
            proxy(port) if NGINX else nullcontext(port) as proxied,
        ):
            for _, kind in itertools.product(range(options.rounds), times):
                world.rewind()
                SendCounter.objects.all().delete()
                if kind == "quiet":
                    times[kind].append(verify(port, itertools.cycle(crowd), options.seconds))
                    continue
                to = proxied if kind == THROUGH_NGINX else port
                with attack(to, options.seconds + 2, script_for(port)) as seen:
                    times[kind].append(verify(to, itertools.cycle(crowd), options.seconds))
                answers += seen
        connections.close_all()
    if not answers[503] or not sum(answers[status] for status in (200, 303, 400, 422)):
        raise AssertionError(f"the passwords were not checked: {dict(answers)}")
    print(f"answers to the attack: {dict(sorted(answers.items()))}")
    quiet = statistics.median(map(p99, times["quiet"]))
    for kind, rounds in times.items():
        medians = ", ".join(f"{statistics.median(one):.0f}" for one in rounds)
        tails = ", ".join(f"{p99(one):.0f}" for one in rounds)
        ratio = statistics.median(map(p99, rounds)) / quiet
        print(f"{kind:15} median {medians} ms; 99 % {tails} ms: {ratio:.1f} times the quiet one")


if __name__ == "__main__":
    main()
