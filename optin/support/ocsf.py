"""An audit event, or a seal, as one line of JSON for a SIEM: OCSF 1.2.0, and our own fields.

OCSF (Open Cybersecurity Schema Framework) names who did what to whom in the same way for all
products. ``unmapped`` holds the event as it is in the trail, so that its digest can be computed
again. Free text and facts are masked, as in the export for staff. If this changed anything, the
digest does not prove the line: ``masked`` is then true.

A line holds no name: the trail has none.
"""

import json
import re
from typing import Any

from django.utils.dateparse import parse_datetime

from optin import events
from optin.events import ACCOUNT, API, AUTHENTICATION, BASE, ENTITY, OTHER
from optin.models import AuditEvent, AuditSeal
from optin.support import wording

VERSION = "1.2.0"

_OWN = (
    "at", "kind", "outcome", "face", "actor_id", "user_id", "other_user_id", "file_id",
    "provider_user_id", "number_digest", "last_three", "client", "ip", "user_agent", "request_id",
    "reason", "data", "key_id", "digest", "previous",
)  # fmt: skip
_JSON = json.JSONEncoder(separators=(",", ":"), default=str)

# A mobile number has 15 digits at most (E.164). Digests are proved with each character.
_DIGEST = re.compile(r"[0-9a-f]{16,64}")


def line_of_event(event: AuditEvent) -> str:
    """Return the line of *event*, without the line break; in ASCII."""
    own = {name: value for name in _OWN if (value := getattr(event, name)) not in ("", None, {})}
    own["at"] = event.at.isoformat(timespec="microseconds")
    shown = {**own, "reason": wording.quoted(event.reason), "data": _masked(event.data)}
    shown = {"id": event.pk, **{name: shown[name] for name in own}}
    if any(shown[name] != own[name] for name in own):
        shown["masked"] = True
    found = _classified(event)
    facts = {
        **found,
        "time": int(event.at.timestamp() * 1000),
        "severity_id": _severity(event),
        "status_id": 2 if wording.is_refusal(event) else 1,
        "status_code": event.outcome,
        "metadata": {
            **_metadata(event.name(), "audit"),
            "event_code": event.kind,
            "sequence": event.pk,
        },
        "unmapped": shown,
    }
    if isinstance(event.data, dict):
        facts["message"] = wording.decided(event)
    if event.request_id:
        facts["metadata"]["correlation_uid"] = event.request_id
    return _JSON.encode(facts | _who(event, found["class_uid"]))


def line_of_seal(one: AuditSeal) -> str:
    """Return the line of a seal: ``raw_data`` is what ``verify_audit --copies`` reads."""
    return _JSON.encode(
        {
            **_kind_of(BASE, OTHER, "Seal"),
            "time": int(one.at.timestamp() * 1000),
            "severity_id": 1,
            "metadata": _metadata(f"seal:{one.first_id}", "seals"),
            "raw_data": one.line(),
        }
    )


def _kind_of(class_uid: int, activity: int, name: str) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "category_uid": class_uid // 1000,
        "class_uid": class_uid,
        "activity_id": activity,
        "type_uid": class_uid * 100 + activity,
    }
    if activity == OTHER:
        facts["activity_name"] = name
    return facts


def _classified(event: AuditEvent) -> dict[str, Any]:
    class_uid, activity = events.row_of(event.kind, event.outcome).ocsf
    return _kind_of(class_uid, activity, str(event.get_kind_display()))


def _severity(event: AuditEvent) -> int:
    """Medium where codes were locked, else informational."""
    is_stopped = isinstance(event.data, dict) and not {"locked_until", "disabled"}.isdisjoint(
        event.data
    )
    return 3 if is_stopped else 1


def _metadata(uid: str, log: str) -> dict[str, Any]:
    product = {"name": "optin", "vendor_name": "optin"}
    return {"version": VERSION, "uid": uid, "product": product, "log_name": log}


def _who(event: AuditEvent, class_uid: int) -> dict[str, Any]:
    """Return who did it, from where, and whom or what it is about."""
    actor: dict[str, Any] = {"app_name": event.face}
    if event.client:
        actor["app_uid"] = event.client
    if event.actor_id is not None:
        actor["user"] = {"uid": str(event.actor_id)}
    found: dict[str, Any] = {"actor": actor}
    if event.ip:
        found["src_endpoint"] = {"ip": event.ip}
    elif class_uid == API:
        found["src_endpoint"] = {"name": "unknown"}
    if class_uid in {ACCOUNT, AUTHENTICATION}:
        found["user"] = {"uid": str(event.user_id)} if event.user_id else {"name": "unknown"}
    if class_uid == AUTHENTICATION:
        found["service"] = {"name": "optin"}
    if class_uid == ENTITY:
        found["entity"] = {"name": event.kind, "type": event.kind}
        if event.file_id is not None:
            found["entity"]["uid"] = str(event.file_id)
    if class_uid == API:
        found["api"] = {"operation": event.kind}
    return found


def _masked(value: Any) -> Any:
    """Return *value* with what may be a number masked in each text; times and digests stand."""
    if isinstance(value, dict):
        return {name: _masked(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_masked(each) for each in value]
    if not isinstance(value, str) or _DIGEST.fullmatch(value) or _is_time(value):
        return value
    return wording.quoted(value)


def _is_time(text: str) -> bool:
    try:
        return parse_datetime(text) is not None
    except ValueError:
        return False
