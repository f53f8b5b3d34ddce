"""What a log line holds, and what it never does.

One line a request, one form for all lines: those of this service, of Django and of the
server. What is secret is not put in to begin with: no path, query, header or body, no
words of a client at all. Two filters catch what is left: ``WithoutClientsWords`` in the lines
of others, and ``redact`` what looks like a secret by its name or its form.

Of an exception a line has the type and the frames, not the message. That may quote
anything: PostgreSQL's ``DETAIL`` the row that it refused, a codec the bytes that it could
not read, a library the address that it could not reach. A line holds no values of variables.
"""

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from traceback import walk_tb
from types import MappingProxyType, TracebackType
from typing import Any

FORMATS = ("json", "plain")

# Their words are ours or Django's: the operator needs them to mend a wrong setting.
_SPEAKING = frozenset({"ImproperlyConfigured", "SystemCheckError", "ModuleNotFoundError"})

# Read as "name, signs, value": in a query, a form, JSON, XML or a header. PostgreSQL's
# "password authentication failed" holds none.
_BY_NAME = re.compile(
    r"(?i)\b(wsaccesskey|access_token|refresh_token|password|verification_code|otp|client_secret"
    r"|mobilenumber|authorization|cookie)(\W{1,4}(?:(?:bearer|basic)\s+)?)"
    r"(?!authentication failed)[^\s&\"'<>,;]+"
)
_BEARER = re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]{8,}")
_NUMBER = re.compile(r"(?<!\w)\+\d{8,15}\b")

_json = json.JSONEncoder(default=repr).encode


# -- for the other modules ---------------------------------------------------------


_of_request: ContextVar[Mapping[str, object]] = ContextVar("facts", default=MappingProxyType({}))


def begin(**facts: object) -> None:
    """Begin a request: *facts* stand in each of its lines, and nothing of the last one."""
    _of_request.set(facts)


def add(**facts: object) -> None:
    """Add *facts* to the lines of this request from here on."""
    _of_request.set({**_of_request.get(), **facts})


def end() -> None:
    """End the request: later lines of this thread are not its own."""
    _of_request.set({})


def frames_of(exc: BaseException | None) -> list[str]:
    """Return what a log says of *exc*, and of those that led to it, line by line."""
    return list(_lines(_described(each) for each in _chain(exc)))


# -- what the settings need --------------------------------------------------------


def configuration(level: str, form: str) -> dict[str, Any]:
    """Return ``LOGGING``.

    :param form: one of ``FORMATS``.
    """
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": Line, "form": form}},
        "filters": {"clients_words": {"()": WithoutClientsWords}},
        "handlers": {
            "console": {
                "class": "logging.StreamHandler",
                "formatter": "line",
                "filters": ["clients_words"],
            }
        },
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            "django": {"handlers": [], "propagate": True},
            # It warns of each 4xx, which our own line of the request reports already. Its frames of
            # a body that cannot be read are of no use.
            "django.request": {"level": "ERROR"},
            # Statements with their values, at DEBUG.
            "django.db.backends": {"level": "INFO"},
            # The request line with its query: the server of `runserver`.
            "django.server": {"handlers": [], "propagate": True, "level": "CRITICAL"},
            # Tokens, and what a client calls itself.
            "oauthlib": {"level": "WARNING"},
            "oauth2_provider": {"level": "WARNING"},
            # Addresses with their queries: those of gateways hold secrets and numbers.
            "urllib3": {"level": "CRITICAL"},
            # They log what they register at each start, and each job that is made.
            "procrastinate.blueprints": {"level": "WARNING"},
            "procrastinate.periodic": {"level": "WARNING"},
            "procrastinate.jobs": {"level": "WARNING"},
        },
    }


class WithoutClientsWords(logging.Filter):
    """Take out of a line of Django or the server what a client may have written.

    Their lines name the path, the host, the request line, or quote an exception.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith(("django.request", "django.security")):
            # Without an exception it says no more than our own line.
            record.msg, record.args = "a request failed", ()
            return bool(record.exc_info)
        if record.name.startswith("gunicorn"):
            self._gunicorn(record)
        if record.name.startswith("procrastinate"):
            if _is_routine(record):
                return False
            if _is_expected(record):
                record.exc_info = None
        if record.exc_info and isinstance(record.msg, str):
            text = record.getMessage()
            for exc in _chain(record.exc_info[1]):
                if str(exc):
                    text = text.replace(str(exc), type(exc).__name__)
            record.msg, record.args = text, ()
        return True

    def _gunicorn(self, record: logging.LogRecord) -> None:
        template = str(record.msg)
        if template.startswith("Invalid request"):
            record.msg, record.args = "a request was not well-formed HTTP", ()
        elif template.startswith("Error handling request") or "Traceback" in record.getMessage():
            record.msg, record.args = template.partition("%")[0].strip(), ()


# -- the line ----------------------------------------------------------------------


class Line(logging.Formatter):
    """Writes a line of this service, of Django or of the server."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self._is_json = form == "json"

    def format(self, record: logging.LogRecord) -> str:
        line = {
            **_of_request.get(),
            **getattr(record, "facts", {}),
            "event": record.getMessage(),
        }
        if record.name != "optin.audit":  # digests, proved with each character
            redact(line)
        line["level"] = record.levelname.lower()
        line["logger"] = record.name
        line["timestamp"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        if record.exc_info and record.exc_info[1]:
            line["exception"] = [_described(each) for each in _chain(record.exc_info[1])]
        return _json(line) if self._is_json else _plain(line)


def redact(line: dict[str, Any]) -> None:
    """Blank out what looks like a secret. A net, not the plan."""
    for name, value in line.items():
        if isinstance(value, str):
            line[name] = redacted(value)


def redacted(text: str) -> str:
    # Most values: a number, a name, the id of a request.
    if text.isalnum() or (text.isascii() and text.isidentifier()):
        return text
    text = _NUMBER.sub("[redacted]", text)
    text = _BY_NAME.sub(r"\1\2[redacted]", text)
    return _BEARER.sub(r"\1[redacted]", text)


def _plain(line: dict[str, Any]) -> str:
    """Write a line for a person: the frames of an exception below it."""
    exception = line.pop("exception", ())
    head = [line.pop(name) for name in ("timestamp", "level", "logger", "event")]
    # A line break in a message would forge a line.
    parts = [str(part).replace("\n", "\\n").replace("\r", "\\r") for part in head]
    facts = [f"{name}={_written(value)}" for name, value in line.items()]
    return "\n  ".join([" ".join([*parts, *facts]), *_lines(exception)])


def _written(value: object) -> str:
    text = str(value)
    return text if text.isidentifier() or text.isalnum() else repr(value)


def _lines(exceptions: Iterable[dict[str, Any]]) -> Iterator[str]:
    for each in exceptions:
        yield f"{each['type']}: {each['message']}" if "message" in each else each["type"]
        yield from (f"  {frame}" for frame in each["frames"])


def _is_routine(record: logging.LogRecord) -> bool:
    """Whether it only says that what is done each minute was done."""
    job = getattr(record, "job", None)
    is_regular = isinstance(job, dict) and job.get("queue") == "upkeep"
    return is_regular and record.levelno <= logging.INFO


def _is_expected(record: logging.LogRecord) -> bool:
    """Whether the exception is one by which a job says that it is not done yet."""
    exc = record.exc_info[1] if record.exc_info else None
    return bool(getattr(exc, "expected", False))


def _chain(exc: BaseException | None) -> Iterator[BaseException]:
    """The exception, and those that led to it, last first."""
    seen: set[int] = set()
    while exc is not None and id(exc) not in seen:
        seen.add(id(exc))
        yield exc
        exc = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)


def _described(exc: BaseException) -> dict[str, Any]:
    kind = type(exc)
    described: dict[str, Any] = {
        "type": f"{kind.__module__}.{kind.__qualname__}",
        "frames": list(_frames(exc.__traceback__)),
    }
    if kind.__name__ in _SPEAKING:
        described["message"] = str(exc)
    return described


def _frames(traceback: TracebackType | None) -> Iterator[str]:
    for frame, line in walk_tb(traceback):
        code = frame.f_code
        yield f"{code.co_filename}:{line} in {code.co_qualname}"
