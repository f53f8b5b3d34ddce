"""Files of people: one row a person, as JSON Lines or CSV, read and written.

``docs/move.md`` says what each field holds.
"""

import csv
import json
import os
import pwd
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from io import BufferedIOBase
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation.trans_real import get_supported_language_variant

from optin import hashes, keys, phones
from optin.conf import conf
from optin.errors import FictionalNumber, InvalidMobileNumber, OtherRegion, UnfitAddress
from optin.hashes import Fast
from optin.models import ExternalId, ProviderUser, User
from optin.models.factors import MAX_REFERENCE, REFERENCE
from optin.models.files import MAX_FILE_ID
from optin.operations import email_changes, proposals
from optin.operations.imports import NUMBER_FIELDS, Fault, Key, Person
from optin.support import cells

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

LONGEST = 65_536
"""Bytes of one line of JSON, with its end."""

MOST = 1_000
"""Files, or access keys, of one person."""

SHORTEST_KEY = 22
"""Characters of an access key: 128 random bits in base64."""

MOST_TOLD = 20
"""Mistakes of one row that are told."""

Fields = Mapping[str, Any]

_SECRETS = ("password", "access_keys")


@contextmanager
def opened(name: str) -> Iterator[BufferedIOBase]:
    """Open the file *name*, "-" for standard input. A pipe is copied, as it is read twice."""
    with ExitStack() as stack:
        stream: Any = sys.stdin.buffer if name == "-" else stack.enter_context(open(name, "rb"))
        if name == "-" or not stream.seekable():
            copy = stack.enter_context(tempfile.TemporaryFile())
            shutil.copyfileobj(stream, copy)
            copy.seek(0)
            stream = copy
        yield stream


def made(name: str) -> IO[str]:
    """Make the file *name*, or empty it; nobody else may read it."""
    number = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    os.fchmod(number, 0o600)
    return open(number, "w", encoding="utf-8")


def why_not(error: OSError) -> str:
    """Say which file cannot be opened, and why."""
    return f"{error.filename or 'The file'} cannot be opened: {error.strerror}."


def form_of(name: str, form: str | None) -> str:
    """Return *form* or, without one, what the end of *name* says."""
    return form or ("csv" if name.endswith(".csv") else "jsonl")


def whoever_asks() -> str:
    """Return who logged in to run this command, also by sudo or runuser."""
    for number in (_login(), os.getuid()):
        with suppress(KeyError, OverflowError):
            return pwd.getpwuid(number).pw_name
    return str(os.getuid())


def _login() -> int:
    """Return the user id of the login; a number that nobody has without one, as in a container."""
    try:
        return int(Path("/proc/self/loginuid").read_text())
    except (OSError, ValueError):
        return 2**32 - 1


def read(stream: BufferedIOBase, form: str) -> Iterator[tuple[int, Fields | str]]:
    """Return the number of each line with its row, or with what is wrong there.

    :param form: "jsonl" or "csv".
    :raises ValidationError: if the first line of a CSV file does not name the fields.
    """
    return _csv_rows(stream) if form == "csv" else _json_rows(stream)


def _lines(stream: BufferedIOBase) -> Iterator[tuple[int, str | None]]:
    """Return each line with its number, and nothing in place of one that is too long."""
    number = 0
    while raw := stream.readline(LONGEST):
        number += 1
        is_whole = len(raw) < LONGEST or raw.endswith(b"\n")
        while not is_whole and (rest := stream.readline(LONGEST)) and not rest.endswith(b"\n"):
            pass
        text = raw.decode("utf-8-sig", "surrogateescape")
        if text.strip() or not is_whole:
            yield number, text if is_whole else None


def _json_rows(stream: BufferedIOBase) -> Iterator[tuple[int, Fields | str]]:
    for number, text in _lines(stream):
        yield number, _TOO_LONG if text is None else _json_row(text)


_TOO_LONG = f"is longer than {LONGEST} bytes"


def _json_row(text: str) -> Fields | str:
    try:
        row = json.loads(text.encode())
    except (ValueError, RecursionError):
        return "is no JSON in UTF-8. For CSV, add --format csv"
    return row if isinstance(row, dict) else "is no JSON object"


def _csv_rows(stream: BufferedIOBase) -> Iterator[tuple[int, Fields | str]]:
    lines = _lines(stream)
    first = next(lines, (1, ""))[1] or ""
    comma = max(",;\t", key=first.count)  # spreadsheets write all three
    names = _names(first, comma)
    for number, text in lines:
        found = _cells(text, comma)
        if not isinstance(found, str) and len(found) != len(names):
            found = "has more or fewer cells than the first line"
        if isinstance(found, str):
            yield number, found
        else:
            row = zip(names, map(str.strip, found), strict=True)
            yield number, {name: _value(name, cell) for name, cell in row if cell}


def _value(name: str, cell: str) -> str:
    """Take away what ``write`` adds. It writes no secrets, which may hold anything."""
    return cell if name in _SECRETS else cells.value(cell)


def _names(first: str, comma: str) -> list[str]:
    names = _cells(first, comma)
    known: set[str] = set()
    for number, name in enumerate(names if isinstance(names, list) and names else [""], 1):
        if name not in FIELDS.keys() - known:
            # It is not repeated: a file without names begins with somebody's password.
            raise ValidationError(
                f"The first line of a CSV file names the fields, each once. Column {number} "
                f"does not. There are: {', '.join(FIELDS)}."
            )
        known.add(name)
    return list(names)


def _cells(text: str | None, comma: str) -> list[str] | str:
    """Return the cells of a line, or what is wrong with it. No cell goes on in the next line."""
    if text is None:
        return _TOO_LONG
    if not text.isprintable() and any("\udc80" <= letter <= "\udcff" for letter in text):
        return "is not in UTF-8: try iconv -f latin1 -t utf-8 OLD >NEW"
    try:
        return next(csv.reader([text], delimiter=comma, strict=True), [])
    except csv.Error:
        return "is no CSV: does a cell begin or end with a single quotation mark?"


def write(
    people: Iterable[Fields], stream: "SupportsWrite[str]", form: str, *, numbers: bool = False
) -> int:
    """Write the rows that ``imports.export`` returns; return how many.

    :param numbers: whether there are mobile numbers in them.
    """
    rows = 0
    if form == "csv":
        left_out = {*_SECRETS, *(() if numbers else NUMBER_FIELDS)}
        names = [name for name in FIELDS if name not in left_out]
        table = csv.DictWriter(stream, names, lineterminator="\n")
        table.writeheader()
    for person in people:
        rows += 1
        if form == "csv":
            table.writerow({name: _cell(value) for name, value in person.items()})
        else:
            stream.write(json.dumps(person, ensure_ascii=False) + "\n")
    return rows


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(str(each) for each in value)
    return cells.cell(str(value).lower() if isinstance(value, bool) else value)


def parse(line: int, row: Fields | str) -> Person | list[Fault]:
    """Return the person that *row* tells of, or what is wrong with it."""
    if isinstance(row, str):
        return [Fault(line, "", row)]
    read: dict[str, Any] = {}
    wrong: list[tuple[str, str]] = []
    for name, value in row.items():
        if name not in FIELDS:
            # Not what may be a key or a password, by mistake.
            is_word = re.fullmatch("[A-Za-z_]{1,40}", name)
            wrong.append((name if is_word else "", "is not a field"))
        elif value is not None:
            try:
                read[name] = FIELDS[name](value)
            except hashes.UnfitHash as exc:
                wrong.append((name, str(exc)))
            except ValidationError as exc:
                wrong.append((name, " ".join(exc.messages)))
    if row.get("username") is None:
        wrong.append(("username", "is missing"))
    if wrong := wrong or [*_wrong_together(read)]:
        return [Fault(line, *each) for each in wrong[:MOST_TOLD]]
    files, manages = read.pop("files", []), read.pop("manages", None)
    members = {pk: None if manages is None else pk in manages for pk in files}
    return Person(line, **{"external_id": "", **read}, files=members)


def _wrong_together(read: Fields) -> Iterator[tuple[str, str]]:
    """Return the fields that do not go with others, and why."""
    files = set(read.get("files", []))
    named = {
        "manages": set(read.get("manages", [])),
        "access_keys": {key.file_id for key in read.get("access_keys", [])},
    }
    for name, needed in named.items():
        if not needed <= files:
            yield name, "names a file that is not in the field files"
    at, by = "number_verified_at", "number_verified_by"
    for name in (at, by, "client_reference"):
        if name in read and "number" not in read:
            yield name, "is given without a number"
    for name, other in ((at, by), (by, at)):
        if other in read and name not in read and "number" in read:
            yield name, f"is missing, but {other} is given"


# -- the fields --------------------------------------------------------------------


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValidationError("is not text")
    if not value.isprintable():
        raise ValidationError("has a character that cannot be printed")
    return value


def _as(model: Any, column: str) -> Callable[[Any], Any]:
    """Return what checks a text by the rules of a column."""
    rules = model._meta.get_field(column)
    return lambda value: rules.clean(_text(value), None)


def _external_id(value: Any) -> str:
    text: str = _as(ExternalId, "text")(_text(value).strip())
    return text


def _language(value: Any) -> str:
    """Return which of the languages of the service it is: ``de`` for ``de-AT``, too."""
    try:
        return get_supported_language_variant(_text(value).lower())
    except LookupError:
        known = ", ".join(code for code, _name in settings.LANGUAGES)
        raise ValidationError(f"is none of the languages here: {known}") from None


def _username(value: Any) -> str:
    name: str = _as(User, "username")(User.normalize_username(_text(value)))
    User(username=name).clean()
    return name


def _email(value: Any) -> str:
    try:
        return email_changes.fit_address(_text(value))
    except UnfitAddress as exc:
        raise ValidationError(exc.message) from None


def _password(value: Any) -> str | Fast | None:
    text = _text(value)
    # Django writes "!" in place of a hash for somebody without a password.
    return None if text.startswith("!") else hashes.read(text)


def _number(value: Any) -> str:
    text = _text(value)
    try:
        return proposals.fit(text).e164
    except (FictionalNumber, OtherRegion) as exc:
        raise ValidationError(exc.message) from None
    except InvalidMobileNumber:
        home = conf.sms_regions[0]
        why = _UNFIT_NUMBERS[phones.fault(text, home_region=home)]
        raise ValidationError(why.format(phones.examples(home)[0])) from None


_UNFIT_NUMBERS = {
    phones.Fault.TOO_SHORT: "has too few digits",
    phones.Fault.TOO_LONG: "has too many digits: with a country, it begins with +",
    phones.Fault.LANDLINE: "is the number of a landline",
    phones.Fault.NO_NUMBER: "is no mobile number such as {}. Spreadsheets make 4.9E+08 of one",
}


def _time(value: Any) -> datetime:
    try:
        at = datetime.fromisoformat(_text(value))
        at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ValidationError("is no time such as 2024-05-31T09:30:00Z") from None
    if at > timezone.now():
        raise ValidationError("is in the future")
    return at


def _how(value: Any) -> str:
    how: str = _as(ProviderUser, "taken_over_by")(_text(value).strip())
    if not how:
        raise ValidationError("is empty")
    return how


def _reference(value: Any) -> str:
    text = _text(value)
    if not REFERENCE.fullmatch(text):
        raise ValidationError(f"is not 1 to {MAX_REFERENCE} visible ASCII characters")
    return text


def _flag(value: Any) -> bool:
    found = dict.fromkeys(("true", "t", "yes", "1"), True)
    found |= dict.fromkeys(("false", "f", "no", "0"), False)
    flag = value if isinstance(value, bool) else found.get(_text(value).lower())
    if flag is None:
        raise ValidationError("is neither true nor false")
    return flag


def _several(value: Any) -> list[Any]:
    """Return the items of a list, or the words of a cell."""
    items: list[Any] = value if isinstance(value, list) else _text(value).split()
    if len(items) > MOST:
        raise ValidationError(f"has more than {MOST} items")
    return items


def _file_id(value: Any) -> int:
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdecimal() and len(text) < 12):
        raise ValidationError("has an item that is no FileId")
    if not 1 <= int(text) <= MAX_FILE_ID:
        raise ValidationError(f"has a FileId that is not from 1 to {MAX_FILE_ID}")
    return int(text)


def _file_ids(value: Any) -> list[int]:
    return [_file_id(item) for item in _several(value)]


def _access_keys(value: Any) -> list[Key]:
    found = [_access_key(_text(item)) for item in _several(value)]
    if len({key.digest for key in found}) < len(found):
        raise ValidationError("names a key twice")
    return found


def _access_key(text: str) -> Key:
    """Read ``FILE:KEY``, or ``FILE:sha256:HEX``."""
    file_id, _, key = text.partition(":")
    if key.startswith("sha256:"):
        digest = key.removeprefix("sha256:").lower()
        if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
            raise ValidationError("has an item whose SHA-256 is not 64 digits in hex")
        return Key(_file_id(file_id), digest, digest[:6])
    if not SHORTEST_KEY <= len(key) <= 255 or not (key.isascii() and key.isprintable()):
        raise ValidationError(f"has a key that is not {SHORTEST_KEY} to 255 ASCII characters")
    return Key(_file_id(file_id), keys.sha256(key), key[:6])


FIELDS: dict[str, Callable[[Any], Any]] = {
    "external_id": _external_id,
    "username": _username,
    "email": _email,
    "language": _language,
    "active": _flag,
    "password": _password,
    "files": _file_ids,
    "manages": _file_ids,
    "access_keys": _access_keys,
    "number": _number,
    "number_verified_at": _time,
    "number_verified_by": _how,
    "client_reference": _reference,
}
"""What reads each field. Its ``ValidationError`` or ``UnfitHash`` repeats no value."""
