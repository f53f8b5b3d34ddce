"""What a gateway must do."""

from typing import Protocol

TIMEOUT = 5
"""Seconds that a gateway may take to answer."""


class SmsError(Exception):
    """The gateway did not take the message. ``permanent``: do not try again."""

    def __init__(self, reason: str, *, permanent: bool = False) -> None:
        super().__init__(reason)
        self.permanent = permanent


class Gateway(Protocol):
    name: str

    def send(self, *, to: str, body: str, reference: str) -> str:
        """Hand *body* to the gateway for *to* (E.164); return the gateway's own id.

        *reference* is the same for every attempt at one message: pass it on as the
        gateway's idempotency key. Must return within ``TIMEOUT`` seconds.

        :raises SmsError: on refusal or time-out.
        """
