"""Seconds to wait, the same in a header, in a sentence and in the audit log."""

from datetime import timedelta


def whole_seconds(wait: timedelta) -> int:
    """Round a waiting time up: a second sooner is too soon (G-01)."""
    return max(-(-wait // timedelta(seconds=1)), 1)
