"""Compare the database with what was acknowledged."""

from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

from django.db import connection
from django.db.models import Count, Sum
from oauth2_provider.models import AccessToken

from optin.models import AuditEvent, PendingOtp, ProviderUser, Purpose, SendCounter

KIND = AuditEvent.Kind


@dataclass
class Acknowledged:
    """What answers promised: it must be in the database."""

    opt_ins: dict[int, str] = field(default_factory=dict)
    """Who has the number, by ``ProviderUserId``."""
    wrong_codes: Counter[int] = field(default_factory=Counter)
    """By ``ProviderUserId``."""
    verified: set[int] = field(default_factory=set)
    tokens: dict[str, str] = field(default_factory=dict)
    """Whose each is."""


class Found(NamedTuple):
    lost: list[str]
    """Acknowledged changes that are not there."""
    lower: list[str]
    """Counters that are below what was acknowledged."""


def compare(known: Acknowledged) -> Found:
    """Look at everything that was acknowledged so far."""
    connection.close()  # it may lead to the server that was the primary
    rows = ProviderUser.objects.select_related("user").in_bulk(list(known.opt_ins))
    lost = [f"opt-in {row} of {who}" for row, who in known.opt_ins.items() if row not in rows]
    lost += [
        f"verification {row}"
        for row in known.verified
        if row not in rows or not rows[row].confirmed
    ]
    lost += _lost_tokens(known) + _lost_events(known, rows)
    return Found(lost, _lower_counters(known, rows))


def _lost_tokens(known: Acknowledged) -> list[str]:
    digests = {sha256(token.encode()).hexdigest(): who for token, who in known.tokens.items()}
    there = AccessToken.objects.filter(token_checksum__in=digests)
    return [
        f"token of {digests[digest]}"
        for digest in digests.keys() - {*there.values_list("token_checksum", flat=True)}
    ]


def _lost_events(known: Acknowledged, rows: dict[int, ProviderUser]) -> list[str]:
    """Each acknowledged change has its event in the audit trail."""
    events = AuditEvent.objects.values_list("user_id", "kind", "outcome")
    counted = {key: times for *key_, times in events.annotate(Count("pk")) for key in [(*key_,)]}
    promised = (
        [(row, KIND.OPT_IN, "sent", 1) for row in known.opt_ins]
        + [(row, KIND.VERIFY_OPT_IN, "ok", 1) for row in known.verified]
        + [(row, KIND.VERIFY_OPT_IN, "otp_incorrect", n) for row, n in known.wrong_codes.items()]
    )
    return [
        f"event {kind} {outcome} of number {row}"
        for row, kind, outcome, times in promised
        if row in rows and counted.get((rows[row].user_id, kind, outcome), 0) < times
    ]


def _lower_counters(known: Acknowledged, rows: dict[int, ProviderUser]) -> list[str]:
    """The tries of each code, the failures of each person, and the texts of all."""
    tries = dict(
        PendingOtp.objects.filter(purpose=Purpose.OPT_IN, provider_user__in=known.opt_ins)
        .values_list("provider_user")
        .annotate(Sum("tries"))
    )
    # A right code sets the failures to zero, also one whose answer was lost.
    failures = {
        row: known_row.user.failures for row, known_row in rows.items() if not known_row.confirmed
    }
    counters = [
        (f"tries of number {row}", tries.get(row, 0), n) for row, n in known.wrong_codes.items()
    ]
    counters += [
        (f"failures of number {row}", failures[row], n)
        for row, n in known.wrong_codes.items()
        if row in failures
    ]
    texts = SendCounter.objects.filter(scope__startswith="total/").aggregate(sum=Sum("count"))
    counters.append(("texts", texts["sum"] or 0, len(known.opt_ins)))
    return [
        f"{what}: {there} < {promised}" for what, there, promised in counters if there < promised
    ]
