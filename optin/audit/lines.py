"""Each event as an object of JSON: in the log after its commit, and for ``manage audit``.

It has no free text: no reason, no user agent, and no facts. Those are in the trail.
"""

import logging
from typing import Any

from optin.models import AuditEvent

logger = logging.getLogger("optin.audit")

_COLUMNS = (
    "kind", "outcome", "face", "actor_id", "user_id", "other_user_id", "file_id",
    "provider_user_id", "last_three", "client", "ip", "request_id", "key_id", "digest",
)  # fmt: skip


def object_of(event: AuditEvent) -> dict[str, Any]:
    """Return what a line says of *event*, without what is empty."""
    shown: dict[str, Any] = {"id": event.pk, "at": event.at.isoformat(timespec="microseconds")}
    for name in _COLUMNS:
        if (value := getattr(event, name)) not in {None, ""}:
            # A plain word: a log for a terminal would show the name of the enum.
            shown[name] = str(value) if isinstance(value, str) else value
    return shown


def log(event: AuditEvent, **signal: Any) -> None:
    """Write the line of *event*, which is committed. If the process dies before, it is lost."""
    logger.info("audit event", extra={"facts": {"audit": object_of(event)}})
