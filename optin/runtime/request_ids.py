"""The id of a request: on its answer, on a page that refuses it, in the log and in the trail."""

import secrets
import time
from datetime import UTC, datetime


def new() -> str:
    """Return an id of 32 hex digits: the second of the request, then 96 random bits."""
    return f"{int(time.time()):08x}{secrets.token_hex(12)}"


def second_of(request_id: str) -> datetime:
    """Return when the request began. An id need only be the beginning of one."""
    return datetime.fromtimestamp(int(request_id[:8], 16), tz=UTC)
