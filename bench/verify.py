"""Verify beside two floors: a static Django view, and a constant DRF view.

The DRF floor has the same work before it as a stock service has: DRF with
django-oauth-toolkit's own authentication and scope check, and an answer that never
changes. Each contender is called through the WSGI application in this process, in
turns, and timed in processor time, so that a busy machine disturbs all alike. Every
answer must be the expected one, or there is no measurement.

    python -m bench.verify [--requests N] [--rounds N] [--profile]
"""

import argparse
import cProfile
import io
import json
import pstats
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from bench import contenders, world

from django.core.handlers.wsgi import WSGIHandler
from django.db import connection

from optin.conf import conf

Environ = dict[str, Any]


def environ(target: str, query: str, kind: str, body: str, token: str = "") -> Environ:
    made: Environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": target,
        "QUERY_STRING": query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": conf.base_url.rpartition(":")[2],
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_TYPE": kind,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body.encode()),
        "wsgi.url_scheme": "http",
        "wsgi.errors": io.StringIO(),
    }
    if token:
        made["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return made


def verify(person: world.Person, code: str, kind: str, *, key: bool) -> Environ:
    if kind == "application/json":
        body = json.dumps({"ProviderUserId": person.provider_user_id, "Otp": code})
    else:
        body = (
            f"<Verify2FAOptInRequest><ProviderUserId>{person.provider_user_id}"
            f"</ProviderUserId><Otp>{code}</Otp></Verify2FAOptInRequest>"
        )
    query = f"FileId={world.FILE_ID}" + (f"&WsAccessKey={person.access_key}" if key else "")
    return environ("/User/verify-2fa-opt-in", query, kind, body, "" if key else person.token)


def _attempt(attempt: str, kind: str, credential: str, person: world.Person) -> Environ:
    code = person.code if attempt == "right" else person.wrong_code
    return verify(person, code, kind, key=credential == "key")


class Contender(NamedTuple):
    """A kind of request, and the answer to it: its status, and what the body holds."""

    status: str
    word: bytes
    make: Callable[[world.Person], Environ]


JSON, XML = "application/json", "application/xml"
CONTENDERS: dict[str, Contender] = {
    "static Django view": Contender(
        "200 OK", b"{}", lambda p: environ("/floor/static", "", JSON, "{}")
    ),
    "DRF constant, stock OAuth": Contender(
        "200 OK", b"ok", lambda p: environ("/floor/drf", "", JSON, '{"Otp": "0123456"}', p.token)
    ),
    **{
        f"verify {attempt}, {credential}, {name}": Contender(
            status, word, partial(_attempt, attempt, kind, credential)
        )
        for attempt, status, word in (
            ("wrong", "400 Bad Request", b"otp_incorrect"),
            ("right", "200 OK", b"opt-out-from-2fa"),
        )
        for credential in ("bearer", "key")
        for name, kind in (("JSON", JSON), ("XML", XML))
    },
}


def run(app: WSGIHandler, contender: Contender, people: list[world.Person]) -> float:
    """Answer all; return the processor time of one request, in milliseconds."""
    requests = [contender.make(person) for person in people]
    statuses: list[str] = []
    bodies: list[bytes] = []

    def start_response(status: str, headers: Any, exc: Any = None, /) -> Callable[[bytes], object]:
        statuses.append(status)
        return bodies.append

    begun = time.process_time()
    for request in requests:
        response = app(request, start_response)
        bodies.append(b"".join(response))
        response.close()
    taken = time.process_time() - begun
    for status, body in zip(statuses, bodies, strict=True):
        if status != contender.status or contender.word not in body:
            raise AssertionError(f"{status} {body!r}, expected {contender[:2]}")
    return taken / len(requests) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=200, help="Per contender and round.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--profile", action="store_true", help="Show what a wrong code costs.")
    options = parser.parse_args()
    with world.database():
        people = world.people(options.requests)
        app = contenders.application
        times: dict[str, list[float]] = {name: [] for name in CONTENDERS}
        for _ in range(options.rounds):
            for name, contender in CONTENDERS.items():
                world.rewind()
                times[name].append(run(app, contender, people))
        if options.profile:
            world.rewind()
            _profile(app, people)
    floor = statistics.median(times["DRF constant, stock OAuth"])
    print(f"{connection.vendor}, processor time of one request, median of {options.rounds} rounds")
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name:30} {median:6.3f} ms   {floor / median:5.2f} x the DRF floor")


def _profile(app: WSGIHandler, people: list[world.Person]) -> None:
    contender = CONTENDERS["verify wrong, bearer, JSON"]
    profile = cProfile.Profile()
    profile.enable()
    run(app, contender, people)
    profile.disable()
    pstats.Stats(profile).sort_stats("tottime").print_stats(35)
    pstats.Stats(profile).sort_stats("cumulative").print_stats(60)


if __name__ == "__main__":
    main()
