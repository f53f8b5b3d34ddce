"""A steady load of opt-ins, verifications, sign-ins and texts, and what of it was acknowledged.

Each person opts in, reads the text, enters two wrong codes and the right one, and signs in with a
code. A client repeats a 503 once, after its ``Retry-After``, as docs/clients.md says.
"""

import http.client
import json
import ssl
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, NamedTuple

from deploy.ha.drills import world
from deploy.ha.drills.cluster import HOST
from deploy.ha.drills.gateway import Gateway
from deploy.ha.drills.proof import Acknowledged

THREADS = 6
PAUSE = 0.4
"""Seconds between two requests of one person. All together send about 7 a second: half of what
two cores carry, because two of a person's six check a password."""

VISITS_EVERY = 0.3
"""Seconds between two visitors. They ask for a text and no more, and do not wait for the
answer to the last one. So the time without success has no pauses of clients in it."""

PEOPLE_A_SECOND = 6
"""More than there are."""

PATIENCE = 20.0
"""Seconds that a client waits for an answer."""

READS_WITHIN = 75.0
"""Seconds that a person waits for a text. Others take up a killed worker's jobs within 45 s."""


class Answer(NamedTuple):
    status: int
    """0: none came."""
    kind: str
    data: dict[str, Any]
    wait: int = 0
    """``Retry-After`` of a 503; 0: it has none."""


class Failure(NamedTuple):
    at: float
    kind: str
    repeated: bool
    """Whether it is what came of repeating a 503."""


class Record:
    """What happened, for all threads together. Times are of ``time.monotonic``."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.acknowledged = Acknowledged()
        self.changes: list[float] = []
        """When each change was acknowledged."""
        self.texts: list[tuple[float, float]] = []
        """When each text was read, and how long after it was promised."""
        self.failures: list[Failure] = []

    @contextmanager
    def change(self) -> Iterator[Acknowledged]:
        """Write down a change that was acknowledged."""
        with self._lock:
            self.changes.append(time.monotonic())
            yield self.acknowledged

    def acknowledged_so_far(self) -> Acknowledged:
        """A copy, while the load goes on."""
        with self._lock:
            return deepcopy(self.acknowledged)

    def failure(self, kind: str, repeated: bool) -> None:
        with self._lock:
            self.failures.append(Failure(time.monotonic(), kind, repeated))

    def text(self, promised: float, arrived: float) -> None:
        with self._lock:
            self.texts.append((time.monotonic(), max(arrived - promised, 0)))

    def summary(self) -> str:
        seconds = self.changes[-1] - self.changes[0]
        return (
            f"{len(self.changes)} changes acknowledged in {seconds:.0f} s;"
            f" {len(self.texts)} texts read"
        )

    def longest_silence(self, since: float, until: float) -> float:
        """Seconds without an acknowledged change, at most."""
        with self._lock:
            times = [since, *(at for at in self.changes if since < at < until), until]
        return max(later - at for at, later in pairwise(times))

    def slowest_text(self, since: float) -> float:
        with self._lock:
            return max((took for at, took in self.texts if at >= since), default=0.0)

    def failed(self, since: float, *, repeated: bool) -> Counter[str]:
        with self._lock:
            return Counter(
                f.kind for f in self.failures if f.at >= since and f.repeated == repeated
            )


class GaveUp(Exception):
    """A request failed: this person goes home."""


class Client:
    """One client, with an address of its own, and a connection for each request."""

    def __init__(self, address: str, certificate: Path, record: Record) -> None:
        self._record = record
        context = ssl.create_default_context(cafile=str(certificate))
        self._line = http.client.HTTPSConnection(
            HOST, timeout=PATIENCE, source_address=(address, 0), context=context
        )

    def post(
        self,
        path: str,
        body: Mapping[str, object],
        expected: int,
        *,
        patient: bool = True,
        done: str = "",
    ) -> Answer:
        """Send a request, and repeat it once where the answer asks for that.

        :param patient: whether it is repeated.
        :param done: the answer to a repeated request if the first one was carried out, although
            its answer was 503: the database went away just after the commit.
        :raises GaveUp: if the last answer is not one of those expected.
        """
        answer = self._send(path, body)
        repeated = False
        if answer.status == 503 and answer.wait and patient:
            self._record.failure(answer.kind, repeated=False)
            time.sleep(answer.wait)
            answer, repeated = self._send(path, body), True
        if answer.status != expected and not (repeated and answer.kind == done):
            self._record.failure(answer.kind, repeated=repeated)
            raise GaveUp
        return answer

    def _send(self, path: str, body: Mapping[str, object]) -> Answer:
        """Send it once. A request that broke is not repeated: it may have been carried out."""
        try:
            headers = {"Content-Type": "application/json"}
            self._line.request("POST", path, json.dumps(body), headers)
            response = self._line.getresponse()
            content = response.read()
        except TimeoutError:
            return Answer(0, "no answer", {})
        except (OSError, http.client.HTTPException) as exc:
            return Answer(0, type(exc).__name__, {})
        finally:
            self._line.close()
        data: dict[str, Any] = {}
        with suppress(ValueError):
            data = json.loads(content)
        wait = int(response.headers.get("Retry-After", 0))
        kind = f"{response.status} {_code(data)}".strip()
        if response.status == 503 and not wait:
            kind += " without Retry-After"
        return Answer(response.status, kind, data, wait)


def _code(data: dict[str, Any]) -> str:
    """The code of a refusal: docs/contract.md, 4.1 and 3.5."""
    links = data.get("_links") or [{}]
    return str(data.get("error") or links[-1].get("title", ""))


class Load:
    """Persons, one after the other in each of several threads, and visitors, until ``end``."""

    def __init__(self, gateway: Gateway, certificate: Path, seconds: float) -> None:
        """Make enough people for so many seconds."""
        self.record = Record()
        self.gateway, self._certificate = gateway, certificate
        self._ends, self._lock = Event(), Lock()
        self._people = enumerate(world.people(int(seconds * PEOPLE_A_SECOND)))
        self._threads = [Thread(target=self._serve, daemon=True) for _ in range(THREADS)]
        self._threads.append(Thread(target=self._let_visitors_in, daemon=True))

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Let in nobody more, and wait until those who are there have finished."""
        self._ends.set()
        for thread in self._threads:
            thread.join()

    @contextmanager
    def _next(self) -> Iterator[tuple[Client, world.Person, str]]:
        """The next person, their number, and their client."""
        with self._lock:
            place, person = next(self._people)
        client = Client(f"10.78.{place >> 8}.{place & 255}", self._certificate, self.record)
        with suppress(GaveUp):
            yield client, person, f"+6149{place:07d}"

    def _serve(self) -> None:
        while not self._ends.is_set():
            with self._next() as (client, person, mobile):
                self._live(client, person, mobile)
            self._ends.wait(PAUSE)

    def _let_visitors_in(self) -> None:
        with ThreadPoolExecutor(int(PATIENCE / VISITS_EVERY)) as visitors:
            while not self._ends.wait(VISITS_EVERY):
                visitors.submit(self._visit)

    def _visit(self) -> None:
        with self._next() as (client, person, mobile):
            self._opt_in(client, person, mobile, patient=False)

    def _opt_in(
        self, client: Client, person: world.Person, mobile: str, *, patient: bool = True
    ) -> int:
        """Ask for a text; return the ``ProviderUserId``."""
        path = f"/User/opt-in-to-2fa?{_query(person)}"
        answer = client.post(path, {"MobileNumber": mobile}, 200, patient=patient)
        row = int(answer.data["ProviderUserId"])
        with self.record.change() as known:
            known.opt_ins[row] = person.username
        return row

    def _live(self, client: Client, person: world.Person, mobile: str) -> None:
        """One person, from the opt-in to a token."""
        row = self._opt_in(client, person, mobile)
        code = self._read(mobile, "turn ON")

        def verify(otp: str, status: int) -> None:
            body = {"ProviderUserId": row, "Otp": otp}
            self._ends.wait(PAUSE)
            path = f"/User/verify-2fa-opt-in?{_query(person)}"
            client.post(path, body, status, done="409 already_verified" if status == 200 else "")

        for _ in range(2):
            verify(f"{(int(code) + 1) % 10 ** len(code):0{len(code)}d}", 400)
            with self.record.change() as known:
                known.wrong_codes[row] += 1
        verify(code, 200)
        with self.record.change() as known:
            known.verified.add(row)
        self._sign_in(client, person, mobile)

    def _sign_in(self, client: Client, person: world.Person, mobile: str) -> None:
        body = {"grant_type": "password", "username": person.username, "password": world.PASSWORD}
        client.post("/authorisation/token", body, 401)  # 2fa_code_required
        code = self._read(mobile, "to sign in")
        self._ends.wait(PAUSE)
        answer = client.post("/authorisation/token-2fa", {**body, "verification_code": code}, 200)
        with self.record.change() as known:
            known.tokens[answer.data["access_token"]] = person.username

    def _read(self, mobile: str, words: str) -> str:
        """Wait for a text that was promised, and return its code.

        :raises GaveUp: if it does not come.
        """
        promised = time.monotonic()
        text = self.gateway.wait(mobile, words, READS_WITHIN)
        if not text:
            self.record.failure("no text", repeated=False)
            raise GaveUp
        self.record.text(promised, text.at)
        return text.code


def _query(person: world.Person) -> str:
    return f"FileId={world.FILE_ID}&WsAccessKey={person.access_key}"
