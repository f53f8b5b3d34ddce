"""``limits replay`` over a trail of 30 days: the time for a million events, and the memory.

Of ten events, six are requests for texts, of which one is refused, and four are codes that were
entered. The memory must not grow with the trail: it is measured at two sizes. The time of the
start counts, so the times are right for many events only.

    python -m bench.replay [--events N]
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice

from bench import trail, world

from django.db import connections
from django.utils import timezone

from optin.models import AuditEvent
from optin.origin import Face

DAYS = 30
Kind = AuditEvent.Kind


def events(count: int, until: datetime) -> Iterator[AuditEvent]:
    """Make *count* events before *until*: people come back every few days."""
    step = timedelta(days=DAYS) / count
    for n in range(count):
        who, tenth, asks = n // 2 * 7919 % (count // 20 + 1), n % 10, n % 10 < 6
        data = {"rule": "own-user/600", "count": 1, "limit": 5, "purpose": "sign_in", "message": n}
        kind, outcome = (Kind.CHALLENGE, "sent") if asks else (Kind.CHECK, "ok")
        if tenth == 5:
            outcome, data["retry_after"] = "send_limit", 60
        elif tenth == 4:
            kind = Kind.OPT_IN
        yield AuditEvent(
            at=until - timedelta(days=DAYS) + n * step,
            kind=kind,
            outcome=outcome,
            face=Face.WEB if n % 3 else Face.API,
            client="" if n % 3 else f"key:{n % 7}",
            ip=f"198.51.{n // 256 % 256}.{n % 256}",
            user_id=who + 1,
            file_id=world.FILE_ID,
            number_digest=f"{who:064x}",
            data=data if asks else {"by": "text", "purpose": "sign_in"},
            digest="0" * 64,
            key_id="",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    count: int = parser.parse_args().events
    with world.database(), tempfile.NamedTemporaryFile("w", suffix=".env") as env:
        env.write("OPTIN_SENDS_PER_IP=1/86400\n")
        env.flush()
        for part in (1, 4):
            made = events(count * part // 5, timezone.now() - timedelta(days=DAYS * (part == 1)))
            while some := list(islice(made, 2000)):
                AuditEvent.objects.bulk_create(some)
            connections.close_all()
            since = DAYS * 2 if part == 1 else DAYS
            cost, words = trail.command(f"limits replay --env {env.name} --since {since}d --json")
            found = json.loads(words)
            size = f"{part * count // 5:,} events, {found['decided']:,} decided"
            print(f"{size:<40} {cost.of(1_000_000)}", flush=True)


if __name__ == "__main__":
    main()
