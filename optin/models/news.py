"""The events that each decision makes for the endpoints of a file (``webhooks``)."""

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optin.models.audit import AuditEvent
    from optin.models.factors import ProviderUser


class Kind(StrEnum):
    """The kinds of events."""

    # A released value is never renamed or used for something else.
    NUMBER_ACTIVATED = "number.activated"
    NUMBER_CHANGED = "number.changed"
    NUMBER_REMOVED = "number.removed"
    FACTOR_LOCKED = "factor.locked"
    FACTOR_UNLOCKED = "factor.unlocked"
    FACTOR_DISABLED = "factor.disabled"
    REVOCATION_PLANNED = "revocation.planned"
    REVOCATION_CANCELLED = "revocation.cancelled"
    REVOCATION_DONE = "revocation.done"
    TEXT_REFUSED = "text.refused"
    TEXT_FAILED = "text.failed"
    CONSENT_GIVEN = "consent.given"
    TEST = "endpoint.test"


_Data = Mapping[str, Any]


def _removes_number(data: _Data) -> bool:
    # A client's opt-out can remove nothing else, and so does not say what it removed.
    return "number" in data.get("removed", ["number"])


def _always(data: _Data) -> bool:
    return True


NEWS: dict[tuple[str, str], list[tuple[Callable[[_Data], bool], Kind, str]]] = {
    ("verify_opt_in", "ok"): [
        (lambda data: "replaced" not in data, Kind.NUMBER_ACTIVATED, "verified"),
        (lambda data: "replaced" in data, Kind.NUMBER_CHANGED, "verified"),
    ],
    ("opt_out", "ok"): [(_removes_number, Kind.NUMBER_REMOVED, "opted_out")],
    ("disown", "ok"): [(_removes_number, Kind.NUMBER_REMOVED, "not_me")],
    ("revoke", "ok"): [
        (_removes_number, Kind.NUMBER_REMOVED, "revoked"),
        (_always, Kind.REVOCATION_DONE, "revoked"),
    ],
    ("unlock", "ok"): [(_always, Kind.FACTOR_UNLOCKED, "staff")],
    ("revocation", "planned"): [(_always, Kind.REVOCATION_PLANNED, "support")],
    ("revocation", "asked"): [(_always, Kind.REVOCATION_PLANNED, "person")],
    ("revocation", "cancelled"): [(_always, Kind.REVOCATION_CANCELLED, "person")],
    ("revocation", "withdrawn"): [(_always, Kind.REVOCATION_CANCELLED, "staff")],
    ("revocation", "signed_in"): [(_always, Kind.REVOCATION_CANCELLED, "signed_in")],
    ("consent", "ok"): [(_always, Kind.CONSENT_GIVEN, "person")],
    # As whoever asked is told. A withheld text has another outcome, and is told to nobody (S-38).
    **{
        (asked, code): [(_always, Kind.TEXT_REFUSED, code)]
        for asked in ("opt_in", "challenge")
        for code in ("send_limit", "region_not_allowed")
    },
}
"""What a decision tells, by its kind and outcome in the audit trail: if its data are so, this kind
of event, with this reason."""


def news_of(decided: "AuditEvent", number: "ProviderUser | None") -> Iterator[tuple[Kind, str]]:
    data = decided.data
    reason = "wrong_codes_of_programs" if data.get("programs") else "wrong_codes"
    if "locked_until" in data:
        yield Kind.FACTOR_LOCKED, reason
    if "disabled" in data:
        yield Kind.FACTOR_DISABLED, reason
    for applies, kind, reason in NEWS.get((decided.kind, decided.outcome), ()):
        if applies(data) and (number or kind is not Kind.NUMBER_REMOVED):
            yield kind, reason
    # One that was due and was not carried out, for example because the factors are others by now.
    if decided.kind == "revoke" and decided.outcome != "ok" and "revocation" in data:
        yield Kind.REVOCATION_CANCELLED, decided.outcome
