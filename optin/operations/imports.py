"""People from another system: brought in, and written out again.

New people are written together, each change of a person by itself. So an import that was stopped
goes on where it was when it is run again. Each person who is made or changed has an audit event.
(To deactivate somebody is an operation of its own.) No mail and no text is sent.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import zip_longest
from typing import Any, NamedTuple

from django.contrib.auth.hashers import is_password_usable, make_password
from django.db import IntegrityError, transaction
from django.db.models import Prefetch, Q
from django.db.models.functions import Lower
from django.utils import timezone

from optin.hashes import Fast, is_imported
from optin.keys import UndecryptableError
from optin.models import (
    AccessKey,
    AuditEvent,
    EmailChange,
    ExternalId,
    File,
    Guard,
    Membership,
    PendingOtp,
    ProposedNumber,
    ProviderUser,
    User,
)
from optin.models.reasons import fit_reason
from optin.operations import people, proposals
from optin.operations.erasure import is_erased
from optin.origin import Origin
from optin.runtime import locks

Kind = AuditEvent.Kind

_CLOSES = (Guard.Kind.DENY, Guard.Kind.OPTED_OUT, Guard.Kind.NOT_ME)
"""What lets no text go to a number that was not proved here."""

LOCK = 0x6F7074696E69
"""Of the database: two who write many people at once would wait for each other."""


class Key(NamedTuple):
    """An access key, of which only the digest is known."""

    file_id: int
    digest: str  # SHA-256, in hex
    prefix: str  # its first characters, or those of the digest if only that is known


@dataclass(frozen=True, slots=True)
class Person:
    """One row of a file. None where it says nothing."""

    line: int
    external_id: str
    username: str
    email: str | None = None
    language: str | None = None
    active: bool | None = None
    password: str | Fast | None = None
    """What ``hashes.read`` made of the hash."""
    files: Mapping[int, bool | None] = field(default_factory=dict)
    """The FileId of each file, and whether the person manages it."""
    access_keys: Sequence[Key] = ()
    number: str = field(default="", repr=False)  # in E.164
    number_verified_at: datetime | None = None  # by the old system
    number_verified_by: str = ""
    client_reference: str = ""

    @property
    def digest(self) -> str:
        """The digest of the number."""
        return ProviderUser.digest_of(self.number)

    def says_trusted(self, run: "Run") -> bool:
        """Whether its number is to be active: it says how it was verified, and is believed.

        Never that of somebody inactive: whoever has the phone could not use it.
        """
        verified = self.number_verified_at is not None
        return run.trust_numbers and verified and self.active is not False


class Fault(NamedTuple):
    """Why a row was refused."""

    line: int
    field: str
    reason: str


class Seen:
    """The ids, names, addresses and keys of earlier rows, by hashes.

    In a file that SQLite makes and removes, so that a million people need no more memory than ten.
    """

    def __init__(self) -> None:
        self._rows = sqlite3.connect("")
        self._rows.execute("CREATE TABLE seen (hash INTEGER PRIMARY KEY, line INTEGER)")

    def line(self, own: tuple[str, str]) -> int | None:
        """Return the line of the row that has *own*."""
        found = self._rows.execute("SELECT line FROM seen WHERE hash = ?", [hash(own)]).fetchone()
        return found[0] if found else None

    def update(self, own: Iterable[tuple[str, str]], line: int) -> None:
        hashes = ((hash(each), line) for each in own)
        self._rows.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?)", hashes)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of an import: what its events say of it."""

    sha256: str  # of the file, in hex
    reason: str
    by: str  # who ran the command, as the operating system knows them
    origin: Origin
    update: bool = False
    """Whether people who are there already are changed; otherwise a row that differs is refused."""
    trust_numbers: bool = False
    """Whether a number is active at once if its row says when and how it was verified."""
    dry_run: bool = False
    seen: Seen = field(default_factory=Seen)


@dataclass(slots=True)
class Tally:
    """What became of the rows."""

    made: int = 0
    changed: int = 0
    unchanged: int = 0
    refused: int = 0
    second_factors: int = 0  # numbers that became active
    proposed: int = 0
    faults: list[Fault] = field(default_factory=list)


def end(run: Run, total: Tally) -> None:
    """Record what *run* wrote, if anything."""
    if not run.dry_run and (total.made or total.changed):
        with transaction.atomic(durable=True):
            _record("import_ended", None, run, {"made": total.made, "changed": total.changed})


def bring_in(rows: Sequence[Person], run: Run) -> Tally:
    """Make or change the people of *rows*, or with ``run.dry_run`` only say what would be done.

    :param rows: some hundreds at most: they are looked up and written together.
    :raises UnfitReason: without a reason, or with one of over 500 characters.
    """
    run = replace(run, reason=fit_reason(run.reason))
    tally, known = Tally(), _Known(rows, run)
    fit: list[tuple[Person, User | None]] = []
    for row in rows:
        found = known.person(row)
        if faults := known.faults(row, found):
            tally.faults += faults
        else:
            fit.append((row, found))
    passwords = _stored(fit, run)
    new: list[Person] = []
    differ: list[tuple[Person, User, list[str]]] = []
    for row, user in fit:
        if user is None:
            new.append(row)
        elif not (changes := known.changes(row, user, passwords.get(row.line))):
            tally.unchanged += 1
        elif run.update:
            differ.append((row, user, changes))
        else:
            tally.faults.append(Fault(row.line, changes[0], "differs: --update changes it"))
    tally.made, tally.changed = len(new), len(differ)
    if not run.dry_run:
        clashes = _make(new, passwords, run)
        late = [_change(*each, passwords.get(each[0].line, ""), run) for each in differ]
        tally.made -= len(clashes)
        tally.changed = late.count(None)
        tally.faults += [*clashes, *filter(None, late)]
    refused = {fault.line for fault in tally.faults}
    changed = [(row, user) for row, user, changes in differ if "number" in changes]
    for row, user in [*((row, None) for row in new), *changed]:
        if row.number and row.line not in refused:
            is_active = known.activates(row, user)
            tally.second_factors += is_active
            tally.proposed += not is_active
    return tally


class _Known:
    """What the database already has about the people, keys and files in some rows."""

    def __init__(self, rows: Sequence[Person], run: Run) -> None:
        logins = {login for row in rows for login in _logins(row)}
        digests = {key.digest for row in rows for key in row.access_keys}
        low = User.objects.annotate(name=Lower("username"), address=Lower("email"))
        found = low.filter(
            Q(name__in=logins)
            | Q(username__in=[row.username for row in rows])  # SQLite lowers ASCII only
            | Q(address__in=logins)
            | Q(external__text__in={row.external_id for row in rows if row.external_id})
        ).select_related("external", "proposed")
        users = list(found.prefetch_related("memberships", "scim_ends"))
        self.by_id = {user.external.text: user for user in users if hasattr(user, "external")}
        self.by_name = {user.username.lower(): user for user in users}
        self.by_email = {user.email.lower(): user for user in users if user.email}
        self.keys = {key.digest: key for key in AccessKey.objects.filter(digest__in=digests)}
        asked = {file_id for row in rows for file_id in row.files}
        self.files = set(
            File.objects.filter(pk__in=asked, is_sandbox=False).values_list("pk", flat=True)
        )
        numbered = any(row.number for row in rows)
        self.settled = proposals.settled([user.pk for user in users]) if numbered else set()
        self.digests = {row.line: row.digest for row in rows if row.says_trusted(run)}
        active = ProviderUser.objects.filter(confirmed=True)
        owners = active.filter(number_digest__in=self.digests.values())
        self.owners = dict(owners.values_list("number_digest", "user_id"))
        closed = Guard.objects.in_force(timezone.now()).filter(kind__in=_CLOSES)
        self.closed = set(
            closed.filter(key__in=self.digests.values()).values_list("key", flat=True)
        )
        unproved = active.filter(
            user__in=users if self.digests else [], taken_over_at__isnull=False
        )
        self.unproved = dict(unproved.values_list("user_id", "number_digest"))
        self._seen = run.seen

    def person(self, row: Person) -> User | None:
        """Return whom *row* is about: by the external id or, without one, by the user name."""
        same_id = self.by_id.get(row.external_id)
        same_name = self.by_name.get(row.username.lower())
        if same_id or same_name is None:
            return same_id
        # Somebody with the same name who has another id, or another address, is somebody else.
        others = (
            hasattr(same_name, "external") or same_name.email.lower() != (row.email or "").lower()
        )
        return None if row.external_id and others else same_name

    def faults(self, row: Person, found: User | None) -> list[Fault]:
        """Say why *row* cannot be taken, if so: the first reason for each field."""
        own = [*_own(row), *([("username", f"id {found.pk}")] if found else [])]
        if row.line in self.digests and self.activates(row, found):
            own.append(("number", row.digest))
        if wrong := [*self._wrong(row, found, own)]:
            return [*{fault.field: fault for fault in reversed(wrong)}.values()]
        self._seen.update(own, row.line)
        return []

    def _wrong(
        self, row: Person, found: User | None, own: Sequence[tuple[str, str]]
    ) -> Iterator[Fault]:
        for each in own:
            if earlier := self._seen.line(each):
                yield Fault(row.line, each[0], f"is in line {earlier} already")
        for login, name in _logins(row).items():
            if {self.by_name.get(login, found), self.by_email.get(login, found)} != {found}:
                yield Fault(row.line, name, "belongs to somebody else")
        for key in row.access_keys:
            there = self.keys.get(key.digest)
            if there and (not found or (there.user_id, there.file_id) != (found.pk, key.file_id)):
                yield Fault(row.line, "access_keys", "has a key that is in use already")
        if row.line in self.digests:
            yield from self._wrong_number(row, found)
        if row.files.keys() - self.files:
            yield Fault(row.line, "files", "names a file that does not exist, or a sandbox")
        if found:
            yield from _barred(row, found)

    def _wrong_number(self, row: Person, found: User | None) -> Iterator[Fault]:
        """Say why the number of *row*, which is trusted, cannot become active."""
        if found and self.unproved.get(found.pk, row.digest) != row.digest:
            yield Fault(row.line, "number", "differs from the one that was taken over before")
        elif self.activates(row, found):
            if row.digest in self.owners:
                yield Fault(row.line, "number", "is active for somebody else")
            if row.digest in self.closed:
                yield Fault(row.line, "number", "gets no texts here: its holder, or staff, said so")
            if not row.files:
                why = "is empty, but a number that becomes active needs one"
                yield Fault(row.line, "files", why)

    def activates(self, row: Person, found: User | None) -> bool:
        """Whether the number of *row* becomes a second factor: on the operator's word.

        Not for whoever has signed in here: what they have was made under other terms. So there
        are no sessions and no tokens to end. Nor for whoever was deactivated here.
        """
        if row.line not in self.digests:
            return False
        return found is None or not (found.pk in self.settled or _decides(found))

    def changes(self, row: Person, user: User, password: str | None) -> list[str]:
        """Name the fields in which *row*, and the *password* to store, differ from *user*."""
        members = {each.file_id: each.manages for each in user.memberships.all()}
        asked = {pk: members.get(pk) if is_so is None else is_so for pk, is_so in row.files.items()}
        differs = {
            "external_id": row.external_id and not hasattr(user, "external"),
            "username": row.username != user.username,
            "email": row.email is not None and row.email.lower() != user.email.lower(),
            "language": row.language not in {None, user.language},
            "active": row.active is False and not people.is_off_for_good(user),
            "password": password not in {None, user.password},
            "files": not asked.items() <= members.items(),
            "access_keys": any(key.digest not in self.keys for key in row.access_keys),
            # A second factor that somebody has here, or had, is their own decision.
            "number": row.number
            and user.pk not in self.settled
            and (not _has(user, row.number) or self.activates(row, user)),
        }
        return [name for name, is_so in differs.items() if is_so]


def _has(user: User, e164: str) -> bool:
    """Whether this number is proposed to *user*."""
    return hasattr(user, "proposed") and user.proposed.is_of(e164)


def _barred(row: Person, found: User) -> Iterator[Fault]:
    """Say which changes of *found* are left to others."""
    if is_out_of_reach(found):
        yield Fault(row.line, "username", "is staff, a test account, or an erased person")
        return
    if found.named_for_one_file:
        yield Fault(row.line, "username", "was made or named by an application of one file")
    if row.active and not found.is_active:
        yield Fault(row.line, "active", "is deactivated here: use manage person activate")
    ended = {each.file_id for each in found.memberships.all() if not each.active}
    if ended & row.files.keys():
        yield Fault(row.line, "files", "has a file whose membership ended here")
    if row.email is not None and row.email.lower() != found.email.lower() and uses(found):
        yield Fault(row.line, "email", "differs, but only the person can change it now")


def _logins(row: Person) -> dict[str, str]:
    """Return as what the person signs in, each with its field."""
    address = {row.email.lower(): "email"} if row.email else {}
    return address | {row.username.lower(): "username"}


def _own(row: Person) -> Iterator[tuple[str, str]]:
    """Return what no other row may have, with the names of the fields."""
    if row.external_id:
        yield "external_id", row.external_id
    for login, name in _logins(row).items():
        yield name, login
    for key in row.access_keys:
        yield "access_keys", key.digest


def is_out_of_reach(person: User) -> bool:
    return person.is_staff or person.is_superuser or person.is_test or is_erased(person)


def uses(person: User) -> bool:
    """Whether the person has signed in here: then only they change the address.

    The first sign-in, by a token call too, replaces an imported hash.
    """
    return not _is_brought(person) or EmailChange.objects.filter(user=person).exists()


def _decides(person: User) -> bool:
    """Whether no number becomes active without *person*: they use the service, or may not."""
    return not person.is_active or uses(person)


def _is_brought(person: User) -> bool:
    """Whether the person has no password, or the one of the other system still."""
    return not is_password_usable(person.password) or is_imported(person.password)


def _stored(rows: Sequence[tuple[Person, User | None]], run: Run) -> dict[int, str]:
    """Return the text to store as the password of each row, by its line; not for all rows.

    A password that somebody chose here is not replaced by an older one. Fast hashes are wrapped by
    all cores: OpenSSL lets other threads run meanwhile.
    """

    def stored(row: Person, user: User | None) -> str:
        if isinstance(row.password, Fast):
            return row.password.wrapped(like=user.password if user else "")
        return row.password or make_password(None)

    wanted = [
        (row, user)
        for row, user in rows
        if _is_wanted(row, user, run) and not (run.dry_run and isinstance(row.password, Fast))
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        texts = pool.map(lambda pair: stored(*pair), wanted)
        return {row.line: text for (row, _), text in zip(wanted, texts, strict=True)}


def _is_wanted(row: Person, user: User | None, run: Run) -> bool:
    """Whether the password of *row* is to be stored, or compared with the one of *user*."""
    if user is None:
        return True
    is_quick = run.update or not isinstance(row.password, Fast)
    return bool(row.password) and is_quick and _is_brought(user)


# -- new people --------------------------------------------------------------------


def _make(rows: Sequence[Person], passwords: Mapping[int, str], run: Run) -> list[Fault]:
    """Make the people of *rows*; return those that clash with what was written meanwhile."""
    try:
        _insert(rows, passwords, run)
    except IntegrityError:
        if len(rows) == 1:
            return [_clash(rows[0], run)]
        halves = rows[: len(rows) // 2], rows[len(rows) // 2 :]
        return [fault for half in halves for fault in _make(half, passwords, run)]
    return []


def _clash(row: Person, run: Run) -> Fault:
    if row.says_trusted(run) and ProviderUser.objects.active_owner(row.digest):
        return Fault(row.line, "number", "is active for somebody else")
    return Fault(row.line, "username", "conflicts with a change made meanwhile: run it again")


def _insert(rows: Sequence[Person], passwords: Mapping[int, str], run: Run) -> None:
    with transaction.atomic(durable=True):
        locks.wait_for(LOCK)
        made = User.objects.bulk_create(
            User(
                username=row.username,
                email=row.email or "",
                language=row.language or "",
                is_active=row.active is not False,
                password=passwords[row.line],
            )
            for row in rows
        )
        ExternalId.objects.bulk_create(
            ExternalId(user=user, text=row.external_id)
            for user, row in zip(made, rows, strict=True)
            if row.external_id
        )
        Membership.objects.bulk_create(
            Membership(user=user, file_id=file_id, manages=bool(manages))
            for user, row in zip(made, rows, strict=True)
            for file_id, manages in row.files.items()
        )
        now = timezone.now()
        trusted = ProviderUser.objects.bulk_create(
            _taken_over(row, user, now)
            for user, row in zip(made, rows, strict=True)
            if row.says_trusted(run)
        )
        active = {number.user_id: number for number in trusted}
        ProposedNumber.objects.bulk_create(
            ProposedNumber.of(user, row.number, proposals.Source.IMPORT, now)
            for user, row in zip(made, rows, strict=True)
            if row.number and user.pk not in active
        )
        kept = _keep({user.pk: row.access_keys for user, row in zip(made, rows, strict=True)})
        for user, row in zip(made, rows, strict=True):
            said = {"files": list(row.files), **kept.get(user.pk, {})}
            number = active.get(user.pk)
            proposed = {"proposed": True} if row.number and not number else {}
            _record("imported", user, run, said | proposed, number)


def _taken_over(row: Person, user: User, now: datetime) -> ProviderUser:
    """Return the number of *row*, active, not saved. It belongs to the first file of the row."""
    return ProviderUser(
        user=user,
        file_id=next(iter(row.files)),
        confirmed=True,
        number_encrypted=ProviderUser.seal(row.number, user),
        number_digest=row.digest,
        last_three=row.number[-3:],
        client_reference=row.client_reference,
        created_at=now,
        verified_at=now,
        taken_over_at=row.number_verified_at,
        taken_over_by=row.number_verified_by,
    )


def _keep(keys: Mapping[int, Sequence[Key]]) -> dict[int, dict[str, Any]]:
    """Store the *keys* of each user, by their id; return what the event of each says of them."""
    kept: dict[int, dict[str, Any]] = {}
    for key in AccessKey.objects.bulk_create(
        AccessKey(
            user_id=user_id,
            file_id=key.file_id,
            digest=key.digest,
            prefix=key.prefix,
            created_at=timezone.now(),
        )
        for user_id, own in keys.items()
        for key in own
    ):
        kept.setdefault(key.user_id, {"access_keys": []})["access_keys"].append(key.pk)
    return kept


# -- people who are there already --------------------------------------------------


def _change(
    row: Person, user: User, changes: Sequence[str], password: str, run: Run
) -> Fault | None:
    """Make *changes* of *user*, or say why not. No membership and no key ends."""
    try:
        with transaction.atomic(durable=True):
            locks.wait_for(LOCK)
            person = User.objects.locked(user.pk)
            if fault := next(_barred(row, person), None):  # what was decided since it was read
                return fault
            if others := [name for name in changes if name != "active"]:
                _write(row, person, others, password, run)
    except IntegrityError:
        return _clash(row, run)
    if "active" in changes:
        people.deactivate(user, reason=run.reason, origin=run.origin, data=_about(run))
    return None


def _write(row: Person, person: User, changes: Sequence[str], password: str, run: Run) -> None:
    person.username = row.username
    if "email" in changes:
        person.email = row.email or ""
        person.invited_at = None  # the invitation went to the old address
    person.language = row.language or person.language
    if "password" in changes and _is_brought(person):
        person.password = password
    person.save(update_fields=["username", "email", "language", "password", "invited_at"])
    if "external_id" in changes:
        ExternalId.objects.create(user=person, text=row.external_id)
    for file_id, manages in row.files.items():
        managing = {} if manages is None else {"manages": manages}
        person.memberships.update_or_create(file_id=file_id, defaults=managing)
    known = set(AccessKey.objects.filter(user=person).values_list("digest", flat=True))
    kept = _keep({person.pk: [key for key in row.access_keys if key.digest not in known]})
    number = _take(row, person, run) if "number" in changes else None
    files = {"files": list(row.files)} if row.files else {}
    data = {"changed": changes, **files, **kept.get(person.pk, {})}
    _record("import_changed", person, run, data, number)


def _take(row: Person, person: User, run: Run) -> ProviderUser | None:
    """Propose the number of *row* or, where it is trusted, make it active, and return it then."""
    now = timezone.now()
    if not row.says_trusted(run) or _decides(person) or proposals.settled([person.pk]):
        proposals.propose(person, row.number, source=proposals.Source.IMPORT, now=now)
        return None
    number = _taken_over(row, person, now)
    # A client may have begun to opt it in, or another one.
    begun = person.provider_users.filter(number_digest=row.digest).first()
    number.pk = begun.pk if begun else None
    number.save()
    codes = PendingOtp.objects.filter(provider_user__user=person)
    codes.close(now, PendingOtp.Closed.OTHER_VERIFIED)
    proposals.withdraw(person)
    return number


def _record(
    outcome: str,
    person: User | None,
    run: Run,
    data: Mapping[str, Any],
    number: ProviderUser | None = None,
) -> None:
    """Record the event. The endpoints of the file are not told of the *number*."""
    about: dict[str, Any] = {}
    if number and number.taken_over_at:
        verified = {"at": number.taken_over_at.isoformat(), "by": number.taken_over_by}
        data = {**data, "taken_over": verified}
        about = {
            "provider_user_id": number.pk,
            "number_digest": number.number_digest,
            "last_three": number.last_three,
        }
    AuditEvent.objects.record(
        Kind.PERSON,
        outcome,
        origin=run.origin,
        user_id=person.pk if person else None,
        reason=run.reason,
        data={**_about(run), **data},
        **about,
    )


def _about(run: Run) -> dict[str, str]:
    return {"sha256": run.sha256, "ran_by": run.by}


# -- written out -------------------------------------------------------------------


NUMBER_FIELDS = ("number", "number_verified_at", "number_verified_by", "client_reference")

HERE = "a code by text message"
"""How this service verifies a number, in the words of an exported row."""


def export(
    *, reason: str, by: str, origin: Origin, numbers: bool = False
) -> Iterator[dict[str, Any]]:
    """Return a row for each person, without secrets, as ``import_people`` takes it.

    With *numbers*, their mobile numbers in full, except those that staff suspended.

    Staff, test accounts and erased people are left out.

    :raises UnfitReason: without a reason, or with one of over 500 characters.
    """
    AuditEvent.objects.record(
        Kind.PERSON,
        "exported",
        origin=origin,
        reason=fit_reason(reason),
        data={"ran_by": by, **({"numbers": True} if numbers else {})},
    )
    everybody = User.objects.filter(is_staff=False, is_superuser=False, is_test=False)
    members = Membership.objects.filter(active=True).order_by("file_id")
    active = ProviderUser.objects.filter(confirmed=True, suspended_at=None)
    rows = everybody.select_related("external", "proposed").prefetch_related(
        Prefetch("memberships", members), Prefetch("provider_users", active)
    )
    people = (user for user in rows.order_by("pk").iterator(500) if not is_erased(user))
    return (_row(user, numbers=numbers) for user in people)


def _row(user: User, *, numbers: bool) -> dict[str, Any]:
    members = user.memberships.all()
    files = [each.file_id for each in members]
    return {
        "external_id": user.external.text if hasattr(user, "external") else None,
        "username": user.username,
        "email": user.email or None,
        "language": user.language or None,
        "active": user.is_active,
        "files": files,
        "manages": [each.file_id for each in members if each.manages],
        **(_number_row(user, files) if numbers else {}),
    }


def _number_row(user: User, files: list[int]) -> dict[str, Any]:
    """Return the fields of the number, empty without one that opens. Its file comes first."""
    number = next(iter(user.provider_users.all()), None)
    found: list[str | None] = []
    with suppress(UndecryptableError):
        if number and number.verified_at:
            at, by = number.taken_over_at or number.verified_at, number.taken_over_by or HERE
            reference = number.client_reference if number.file_id in files else ""
            found = [number.open_number(), at.isoformat(), by, reference or None]
            files = sorted(files, key=lambda pk: pk != number.file_id)
        elif hasattr(user, "proposed"):
            found = [user.proposed.open_number()]
    return {"files": files, **dict(zip_longest(NUMBER_FIELDS, found))}
