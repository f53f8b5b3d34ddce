"""Files of comma-separated values whose cells no spreadsheet takes for a formula (OWASP)."""

import csv
import io
import re
from collections.abc import Iterable

from optin.support.wording import plain

# Before the start of a cell; and before what starts one where lists are parted by semicolons,
# as a spreadsheet in German does with the whole line.
_START = r"(?<![^;\t|])"
_SIGN = r"(?=[\s\"']*[=+\-@\uff1d\uff0b\uff0d\uff20])"
_FORMULA, _MARKED = re.compile(_START + _SIGN), re.compile(f"{_START}'{_SIGN}")


def cell(value: object) -> str:
    """Return *value* as a cell."""
    written = "" if value is None else plain(value)
    return _FORMULA.sub("'", written) if isinstance(value, str) else written


def value(written: str) -> str:
    """Return the text of which ``cell`` made *written*."""
    return _MARKED.sub("", written)


def lines(rows: Iterable[Iterable[object]]) -> str:
    """Write *rows*, whose values went through ``cell``, as lines of a file."""
    written = io.StringIO(newline="")
    csv.writer(written).writerows(rows)
    return written.getvalue()
