"""What each call costs: processor time, time, statements, and round trips to PostgreSQL.

Each call is made through the WSGI application in this process, once for each of many people, who
are first put into the state that it needs (a waiting code, an active number, tokens). Every answer
must be the expected one. Passwords use a fast hash. The times include passing texts to the
simulator, and writing mails and log lines, which are thrown away. The limits on requests are as
shipped.

    python -m bench.calls [--requests N] [--rounds N] [--profile CALL] [--only CALL ...]
"""

import argparse
import cProfile
import io
import json
import logging
import pstats
import statistics
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from bench import world
from bench.world import PASSWORD, Person

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.core.handlers.wsgi import WSGIHandler
from django.db import connection
from django.test.utils import CaptureQueriesContext, override_settings
from django.utils import timezone

from optin import phones
from optin.conf import conf
from optin.models import PendingOtp, ProviderUser, Purpose, SimAnswer, User
from optin.operations import sign_in
from twofa_site.handler import Handler

from bench import round_trips

JSON = "application/json"
_CSRF = "c" * 32
_numbers = count()

Environ = dict[str, Any]


class Call(NamedTuple):
    """A kind of request: how to prepare the people, what to send, and what must be answered."""

    stand: Callable[[list[Person]], object]
    ask: Callable[[Person], Environ]
    status: str
    word: bytes
    settings: dict[str, str] = {}


# -- where people stand ------------------------------------------------------------


def _with_an_opt_in(people: list[Person]) -> None:
    """Change nothing: ``world.people`` gives each a code for an opt-in."""


def _without_number(people: list[Person]) -> None:
    ProviderUser.objects.filter(pk__in=[person.provider_user_id for person in people]).delete()
    User.objects.filter(username__in=[person.username for person in people]).update(
        password=make_password(PASSWORD)
    )


def _with_number(people: list[Person]) -> None:
    """With a password, a number that was verified yesterday, and a code for signing in."""
    verified_at = timezone.now() - timedelta(days=1)
    ids = [person.provider_user_id for person in people]
    rows = list(ProviderUser.objects.select_related("user").filter(pk__in=ids))
    for row in rows:
        e164 = phones.parse(_number(), home_region="AU").e164
        row.number_encrypted = ProviderUser.seal(e164, row.user)
        row.number_digest = ProviderUser.digest_of(e164)
        row.confirmed, row.verified_at = True, verified_at
    fields = ["number_encrypted", "number_digest", "confirmed", "verified_at"]
    ProviderUser.objects.bulk_update(rows, fields)
    User.objects.filter(provider_users__in=ids).update(password=make_password(PASSWORD))
    codes = PendingOtp.objects.filter(provider_user__in=ids)
    codes.update(purpose=Purpose.SIGN_IN, file=None)
    for code in codes.select_related("provider_user__user"):
        _secrets[code.provider_user.user.username] = code.code()


def _with_answer_about_sim(people: list[Person]) -> None:
    _with_number(people)
    now = timezone.now()
    for person in people:
        number_id = person.provider_user_id
        SimAnswer.objects.create(number_id=number_id, asked_at=now, swapped_until=now)


def _number() -> str:
    """Return a new mobile number, far from the last one, because each prefix has a limit."""
    return f"04{10_000_000 + next(_numbers) * 10_007 % 30_000_000}"


_secrets: dict[str, str] = {}
"""The code or the refresh token of a person, by name."""


def _with_refresh_token(people: list[Person]) -> None:
    application = sign_in.application()
    assert application is not None
    for person in people:
        user = User.objects.get(username=person.username)
        scope, now = f"full fileid:{world.FILE_ID}", timezone.now()
        given = sign_in._issue(user, application, scope, now)
        _secrets[person.username] = given.refresh_token


# -- what they ask -----------------------------------------------------------------


def environ(target: str, query: str, kind: str, body: str) -> Environ:
    return {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": target,
        "QUERY_STRING": query,
        "SERVER_NAME": urlsplit(conf.base_url).hostname,
        "SERVER_PORT": conf.base_url.rpartition(":")[2],
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_TYPE": kind,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body.encode()),
        "wsgi.url_scheme": "http",
        "wsgi.errors": io.StringIO(),
    }


def _user_call(call: str, person: Person, **body: object) -> Environ:
    query = f"FileId={world.FILE_ID}&WsAccessKey={person.access_key}"
    return environ(f"/User/{call}", query, JSON, json.dumps(body))


def _verify(person: Person, code: str) -> Environ:
    return _user_call("verify-2fa-opt-in", person, ProviderUserId=person.provider_user_id, Otp=code)


def _from_elsewhere(made: Environ) -> Environ:
    """Send it from an address of its own, because sign-ins from one address are limited."""
    number = next(_numbers)
    return made | {"REMOTE_ADDR": f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"}


def _token_call(call: str, **body: str) -> Environ:
    made = environ(f"/authorisation/{call}", "", JSON, json.dumps(body))
    return _from_elsewhere(made)


def _token(call: str, person: Person, **more: str) -> Environ:
    return _token_call(
        call, grant_type="password", username=person.username, password=PASSWORD, **more
    )


def _page(person: Person) -> Environ:
    form = {"username": person.username, "password": PASSWORD, "csrfmiddlewaretoken": _CSRF}
    kind = "application/x-www-form-urlencoded"
    made = environ("/sign-in/", "", kind, urlencode(form))
    return _from_elsewhere(made | {"HTTP_COOKIE": f"csrf={_CSRF}"})


_ASKING = {"OPTIN_SIM_SWAP": "enforce", "OPTIN_SIM_SWAP_PROVIDER": "bench.world.SameSim"}

CALLS = {
    "verify: wrong code": Call(
        _with_an_opt_in, lambda p: _verify(p, p.wrong_code), "400 Bad Request", b"otp_incorrect"
    ),
    "verify: right code": Call(
        _with_an_opt_in, lambda p: _verify(p, p.code), "200 OK", b"opt-out-from-2fa"
    ),
    "opt in": Call(
        _without_number,
        lambda p: _user_call("opt-in-to-2fa", p, MobileNumber=_number()),
        "200 OK",
        b"ProviderUserId",
    ),
    "token": Call(_without_number, lambda p: _token("token", p), "200 OK", b"access_token"),
    "token: right code": Call(
        _with_number,
        lambda p: _token("token-2fa", p, verification_code=_secrets[p.username]),
        "200 OK",
        b"access_token",
    ),
    "refresh": Call(
        _with_refresh_token,
        lambda p: _token_call(
            "refresh",
            grant_type="refresh_token",
            refresh_token=_secrets[p.username],
        ),
        "200 OK",
        b"access_token",
    ),
    "page: sign in": Call(_without_number, _page, "303 See Other", b""),
    "page: with a text": Call(_with_number, _page, "303 See Other", b""),
    "page: stored answer": Call(_with_answer_about_sim, _page, "303 See Other", b"", _ASKING),
    "page: SIM question": Call(_with_number, _page, "303 See Other", b"", _ASKING),
}


def run(app: WSGIHandler, call: Call, people: list[Person]) -> tuple[float, float, float]:
    """Answer all; return the processor time of one, the best time and the median one, in ms."""
    requests = [call.ask(person) for person in people]
    statuses: list[str] = []
    bodies: list[bytes] = []

    def start_response(status: str, headers: Any, exc: Any = None, /) -> Callable[[bytes], object]:
        statuses.append(status)
        return bodies.append

    times = []
    begun = time.process_time()
    for request in requests:
        sent = time.perf_counter()
        response = app(request, start_response)
        bodies.append(b"".join(response))
        response.close()
        times.append(time.perf_counter() - sent)
    taken = time.process_time() - begun
    for status, body in zip(statuses, bodies, strict=True):
        if status != call.status or call.word not in body:
            raise AssertionError(f"{status} {body!r}, expected {call.status}, {call.word!r}")
    processor = taken / len(requests)
    return processor * 1000, min(times) * 1000, statistics.median(times) * 1000


class Cost(NamedTuple):
    processor: float  # milliseconds
    best: float
    median: float
    statements: int
    trips: int


def measure(name: str, people: list[Person], *, profile: bool = False) -> Cost:
    """Time the call for all *people* but three.

    The first warms up. The last two count statements and round trips.
    """
    call = CALLS[name]
    call.stand(people)
    with override_settings(**call.settings):
        return _measure(call, people, profile=profile)


def _measure(call: Call, people: list[Person], *, profile: bool) -> Cost:
    app = Handler()
    first, *most, one, other = people
    run(app, call, [first])  # it imports the rest
    seen = cProfile.Profile()
    if profile:
        seen.enable()
    taken = run(app, call, most)
    if profile:
        seen.disable()
        pstats.Stats(seen).sort_stats("cumulative").print_stats(90)
    world.let_mail_leave()
    with CaptureQueriesContext(connection) as queries:
        run(app, call, [one])
        sent = [query["sql"] for query in queries]
    for sql in sent if profile else ():
        print(sql[:150])
    with round_trips.counted() as trips:
        run(app, call, [other])
    world.let_mail_leave()
    return Cost(*taken, len(sent), len(trips))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=60, help="Of each call, in each round.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", choices=CALLS, help="Show what one call costs, and end.")
    parser.add_argument("--only", choices=CALLS, nargs="+", default=CALLS)
    options = parser.parse_args()
    for handler in logging.root.handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(io.StringIO())
    fast = ["django.contrib.auth.hashers.MD5PasswordHasher", *settings.PASSWORD_HASHERS]
    with world.database(), override_settings(PASSWORD_HASHERS=fast):
        if options.profile:
            people = world.people(options.requests + 3)
            print(measure(options.profile, people, profile=True))
            return
        costs: dict[str, list[Cost]] = {name: [] for name in options.only}
        for turn in range(options.rounds):
            for place, name in enumerate(options.only):
                people = world.people(options.requests + 3, label=f"turn{turn}call{place}n")
                costs[name].append(measure(name, people))
    print(f"{connection.vendor}, median of {options.rounds} rounds")
    print("processor time; best time; median time; statements; round trips")
    for name, values in costs.items():
        processor, _, median, *_ = map(statistics.median, zip(*values, strict=True))
        best, last = min(cost.best for cost in values), values[-1]
        times = f"{processor:7.2f} ms {best:7.2f} ms {median:7.2f} ms"
        print(f"{name:24} {times} {last.statements:4} {last.trips:4}")


if __name__ == "__main__":
    main()
