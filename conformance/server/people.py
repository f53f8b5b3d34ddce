"""The people of the server: their credentials, their numbers and their codes, in memory."""

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from conformance.server.answers import Refused
from conformance.server.bodies import CODES, clean

RIGHTS = ("full", "2fa", "modify", "view", "events")
ACCESS_LIFETIME, REFRESH_LIFETIME, GRACE = 3600, 30 * 86400, 10  # seconds (3.4)
_CODE_LIFETIME, _TRIES, _LOCK_AFTER, _LOCK, _RESEND_WAIT = 600, 5, 10, 900, 30  # (4.2, 6)


@dataclass
class Code:
    """A code that was texted."""

    value: str
    ends: float
    tries: int = 0
    was_refused: bool = False  # because it had ended


@dataclass
class Number:
    """A number that a person opted in; *id* is its ``ProviderUserId``."""

    id: int
    mobile: str
    file: int
    code: Code | None = None
    reference: str = ""  # the Client-Reference of its opt-in
    verified: float = 0
    """When it became active."""
    was_late: bool = False  # its first code has expired on purpose


@dataclass
class Count:
    """Wrong codes in a row, and until when they lock codes: of calls, or of sign-ins."""

    failures: int = 0
    locked_until: float = 0.0


@dataclass
class Person:
    """A person, and what the server keeps for them."""

    name: str
    password: str
    files: tuple[int, ...]
    numbers: list[Number] = field(default_factory=list)
    active: Number | None = None
    codes: dict[str, Code] = field(default_factory=dict)  # by purpose, but for opt-ins
    own: Count = field(default_factory=Count)
    programs: Count = field(default_factory=Count)  # of the User/ calls
    is_disabled: bool = False


@dataclass
class Grant:
    """A refresh token, or an access token: whose, for what, until when."""

    person: Person | None
    rights: tuple[str, ...]
    files: tuple[int, ...]
    ends: float
    newest: str = ""
    """The last access token that came from a refresh token."""
    replaced: float = 0
    """When a refresh token was replaced by another; 0 if it was not."""
    was_refused: bool = False
    uses: int = 0

    @property
    def scope(self) -> str:
        return " ".join([*self.rights, *(f"fileid:{file}" for file in self.files)])


class People:
    """All state of the server. ``text`` is called with each text: the number, and the words."""

    def __init__(
        self,
        text: Callable[[str, str], None],
        clock: Callable[[], float],
        *,
        rotate: bool,
        lifetime: int,
    ) -> None:
        self.now, self.rotate, self.lifetime = clock, rotate, lifetime
        self._text = text
        ann = Person("ann", "ann-password", (777, 778))
        ben = Person("ben", "ben-password", (888,))
        self.people = [ann, ben]
        self.keys = {"ann-key-777": (ann, 777), "ben-key-888": (ben, 888)}
        self.access: dict[str, Grant] = {}
        self.refresh: dict[str, Grant] = {}
        self._waits: dict[tuple[str, str], float] = {}
        self.events: dict[int, list[dict[str, object]]] = {}  # by file
        self._ids = self._texts = 0

    # -- credentials ---------------------------------------------------------------

    def scope(self, asked: str, granted: Grant, rights: tuple[str, ...]) -> Grant | None:
        """Return the part of *granted* that is asked for; nothing if it is more (3.2, 3.4).

        :param rights: what it gets where no right is asked for.
        """
        words = asked.lower().split()
        if not set(words) <= {*granted.scope.split()}:
            return None
        own = tuple(right for right in granted.rights if right in words)
        files = tuple(file for file in granted.files if f"fileid:{file}" in words)
        return Grant(granted.person, own or rights, files or granted.files, 0)

    def issue(self, refresh_token: str, grant: Grant) -> dict[str, object]:
        """Return the body of a grant with a new access token."""
        token = secrets.token_urlsafe(24)
        ends = self.now() + self.lifetime
        self.access[token] = Grant(grant.person, grant.rights, grant.files, ends)
        if held := self.refresh.get(refresh_token):
            self.end_access_token(held)
            held.newest = token
        return {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": self.lifetime,
            "refresh_token": refresh_token,
            "scope": grant.scope,
        }

    def new_refresh_token(self, grant: Grant) -> str:
        token = secrets.token_urlsafe(24)
        ends = self.now() + REFRESH_LIFETIME
        self.refresh[token] = Grant(grant.person, grant.rights, grant.files, ends)
        return token

    def are_wasted(self, person: Person) -> bool:
        """Whether the last two access tokens of *person* work, and neither was used twice."""
        own = [grant for grant in self.access.values() if grant.person is person][-2:]
        return len(own) == 2 and all(g.ends > self.now() and g.uses < 2 for g in own)

    def end_access_token(self, refresh: Grant) -> None:
        """End the access token that came from *refresh*: the next one takes its place (3.4)."""
        if earlier := self.access.get(refresh.newest):
            earlier.ends = 0

    def end_refresh_tokens(self, person: Person) -> None:
        for grant in self.refresh.values():
            if grant.person is person:
                grant.ends = 0

    # -- codes ---------------------------------------------------------------------

    def number(self, person: Person, mobile: str, file: int) -> Number:
        """Return the number of an opt-in under *file*, with the id that it keeps."""
        found = next((number for number in person.numbers if number.mobile == mobile), None)
        if not found:
            self._ids += 1
            found = Number(self._ids, mobile, file)
            person.numbers.append(found)
        if found.file != file:
            found.file, found.code = file, None
        return found

    def happened(self, kind: str, reason: str, number: Number) -> None:
        """Add an event about *number* to those of its file."""
        events = self.events.setdefault(number.file, [])
        at = datetime.fromtimestamp(self.now(), UTC).isoformat(timespec="milliseconds")
        data = {
            "FileId": number.file,
            "ProviderUserId": number.id,
            "Sequence": len(events) + 1,
            "Reason": reason,
            "Reference": number.reference,
        }
        events.append({"type": kind, "timestamp": at.replace("+00:00", "Z"), "data": data})

    def wait(self, mobile: str, purpose: str) -> int:
        """Return the seconds until *mobile* may get another text for *purpose*."""
        return max(0, round(self._waits.get((mobile, purpose), 0) - self.now() + 0.5))

    def send(self, mobile: str, purpose: str, code: Code | None) -> Code:
        """Text a code; *code* again if it has 2 minutes and a try left."""
        self._waits[mobile, purpose] = self.now() + _RESEND_WAIT
        if not code or code.ends - self.now() < 120 or code.tries >= _TRIES:
            code = Code(CODES[purpose], self.now() + _CODE_LIFETIME)
        self._texts += 1
        self._text(mobile, f"{code.value} is your code for {purpose}. Text {self._texts}.")
        return code

    def lock(self, *counts: Count, begin: bool = False) -> int:
        """Return the seconds until none of *counts* locks codes; 0 if none does."""
        for count in counts if begin else ():
            count.locked_until = self.now() + _LOCK
        ends = max(count.locked_until for count in counts)
        return max(0, round(ends - self.now() + 0.5))

    def prove(self, person: Person, code: Code | None, otp: str, count: Count) -> None:
        """Go on if *otp* is the code, and count it.

        :param count: that of *person* which a wrong code raises.
        :raises Refused: otherwise.
        """
        if not code:
            raise Refused("otp_incorrect")
        if code.ends <= self.now() or code.tries >= _TRIES:
            told = "The code has ended, as was answered before: ask for a new one"
            advice = (told, "4.2") if code.was_refused else None
            code.was_refused = True
            is_late = code.ends <= self.now()
            raise Refused("otp_expired" if is_late else "otp_exhausted", advice=advice)
        if clean(otp) != code.value:
            code.tries += 1
            count.failures += 1
            if count.failures % _LOCK_AFTER == 0:
                self.lock(count, begin=True)
            raise Refused("otp_incorrect")
        count.failures = 0
        for mobile in {number.mobile for number in person.numbers}:
            for purpose in CODES:
                self._waits.pop((mobile, purpose), None)

    def is_in_use(self, number: Number, person: Person) -> bool:
        """Whether somebody else has the number active."""
        others: Iterable[Person] = (other for other in self.people if other is not person)
        return any(other.active and other.active.mobile == number.mobile for other in others)
