"""Audit events by the million, made by the database: two years of a busy service.

Many people and some who are always there, large files and small ones, events of every day
and such as there have been none of for a year, outcomes that every second event has and
some that one in 20 000 has. All follows from the number of an event, so each size can be
made again.
"""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.backends.utils import CursorWrapper

PEOPLE = 100_000
FIRST = 1_000_000
"""The least id of an account."""

BUSY, LEFT, QUIET = FIRST, FIRST + 1, FIRST + 77_777
"""Accounts: of about one event in fifty; of one in ten of the first year, and of none since; of
a few at most."""

FILE, LEFT_FILE, SMALL_FILE = 777, 778, 779
"""Files: of every second event; of three in ten of the first year, and of none since; of one
event in 10 000."""

SPAN = timedelta(days=730)


class Sort(NamedTuple):
    """What a number of events have in common."""

    kind: str
    outcome: str
    face: str
    weight: int


COMMON = (
    Sort("sign_in", "2fa_code_required", "web", 150),
    Sort("sign_in", "signed_in", "web", 60),
    Sort("sign_in", "invalid_grant", "api", 40),
    Sort("challenge", "sent", "web", 150),
    Sort("challenge", "resent", "web", 20),
    Sort("challenge", "send_limit", "web", 4),
    Sort("check", "ok", "web", 130),
    Sort("check", "otp_incorrect", "web", 30),
    Sort("check", "locked", "web", 3),
    Sort("opt_in", "sent", "api", 120),
    Sort("opt_in", "send_limit", "api", 6),
    Sort("verify_opt_in", "ok", "api", 90),
    Sort("verify_opt_in", "otp_incorrect", "api", 20),
    Sort("verify_opt_in", "otp_expired", "api", 7),
    Sort("refresh", "refresh_token", "token", 170),
)
RARE = (
    Sort("suspend", "ok", "admin", 1),
    Sort("unlock", "ok", "command", 1),
    Sort("reveal", "ok", "admin", 1),
    Sort("search", "ok", "admin", 1),
    Sort("verify_opt_in", "mobile_number_in_use", "api", 1),
)
"""Each is one event in ``RARITY``."""

RARITY = 20_000

ENDED = Sort("token", "issued", "token", 1)
"""In place of ``refresh`` in the first year; none since."""

_FILL = """
WITH sorts AS (
    SELECT slot - 1 AS slot, kind, outcome, face
    FROM unnest(%(kinds)s::text[], %(outcomes)s::text[], %(faces)s::text[])
    WITH ORDINALITY AS sorts (kind, outcome, face, slot)
), drawn AS (
    SELECT n, 2 * n < %(count)s AS early,
        abs(hashint8extended(n, 1) %% 1000) AS a,
        abs(hashint8extended(n, 2) %% 1000) AS b,
        abs(hashint8extended(n, 3) %% 1000000) / 1e6 AS c
    FROM generate_series(1, %(count)s) AS n
), events AS (
    SELECT n, early, b, kind, outcome, face,
        CASE WHEN early AND a %% 10 = 3 THEN %(left)s
            ELSE %(first)s + (%(people)s * c * c * c)::int END AS person,
        kind IN ('check', 'challenge', 'opt_in', 'verify_opt_in') AS is_text
    FROM drawn JOIN sorts ON slot = CASE
        WHEN n %% %(rarity)s BETWEEN 1 AND %(rare)s THEN 1000 + n %% %(rarity)s
        WHEN early AND a >= 830 THEN 1000
        ELSE a END
)
INSERT INTO optin_auditevent (
    at, kind, outcome, face, user_id, file_id, actor_id, other_user_id, provider_user_id,
    number_digest, last_three, client, ip, user_agent, request_id, reason, data, key_id, digest
)
SELECT %(end)s - (%(count)s - n) * (%(span)s / %(count)s), kind, outcome, face, person,
    CASE WHEN n %% 10000 = 99 THEN %(small_file)s
        WHEN b < 500 THEN %(file)s
        WHEN b < 800 AND early THEN %(left_file)s
        ELSE 1000 + b END,
    CASE WHEN face = 'admin' THEN %(first)s + 4 END,
    CASE WHEN outcome = 'mobile_number_in_use' THEN %(first)s + 3 END,
    CASE WHEN is_text THEN person END,
    CASE WHEN NOT is_text THEN '' WHEN person = %(busy)s THEN %(digest)s
        ELSE md5(person::text) || md5('number') END,
    CASE WHEN is_text THEN '678' ELSE '' END,
    CASE WHEN face = 'api' THEN 'key:7' ELSE '' END,
    '203.0.113.5',
    'Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/130.0 Mobile Safari/537.36',
    md5(n::text),
    CASE WHEN face = 'admin' THEN 'Asked for by telephone' ELSE '' END,
    CASE WHEN outcome = 'otp_incorrect' THEN '{"try": 1, "failures": 1}' ELSE '{}' END::jsonb,
    'k', md5(n::text) || md5('digest')
FROM events ORDER BY n
"""


def fill(cursor: CursorWrapper, count: int, *, end: datetime, digest: str) -> None:
    """Add *count* events, the last one at *end*. *digest* is that of the busy one's number."""
    slots = [sort for sort in COMMON for _ in range(sort.weight)]
    slots += [ENDED, *RARE]
    kinds, outcomes, faces, _ = zip(*slots, strict=True)
    facts: dict[str, Any] = {
        "count": count,
        "end": end,
        "span": SPAN,
        "digest": digest,
        "kinds": list(kinds),
        "outcomes": list(outcomes),
        "faces": list(faces),
        "people": PEOPLE,
        "first": FIRST,
        "busy": BUSY,
        "left": LEFT,
        "file": FILE,
        "left_file": LEFT_FILE,
        "small_file": SMALL_FILE,
        "rarity": RARITY,
        "rare": len(RARE),
    }
    cursor.execute(_FILL, facts)
    cursor.execute("ANALYZE optin_auditevent")  # as autovacuum does
