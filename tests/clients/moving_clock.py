"""The service as gunicorn serves it, with a clock that a test moves.

The file ``days`` in ``DATA_DIR`` says how many days the clock is ahead.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import time_machine
from django.conf import settings

from twofa_site.wsgi import application as service

_days = settings.DATA_DIR / "days"
_clock = time_machine.travel(datetime.now(UTC), tick=True).start()
# It stands still until it is asked first. Without this, a worker that serves its first request late
# is behind the other, and refuses the codes that the other has just made.
time.time()
_ahead = 0


def application(*call: Any) -> Any:
    global _ahead
    ahead = int(_days.read_text()) if _days.exists() else 0
    _clock.shift(timedelta(days=ahead - _ahead))
    _ahead = ahead
    return service(*call)
