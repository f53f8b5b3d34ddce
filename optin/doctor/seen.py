"""What the running service tells the doctor.

The doctor asks the service through the proxy, as a visitor does. Only the service knows which
address and scheme arrived. It answers a caller that has ``SECRET_KEY``; for anybody else there is
no such address.
"""

from collections.abc import Mapping
from typing import Any

from django.core import signing

from optin.origin import ip_of

PATH = "/seen"
HEADER = "X-Optin-Doctor"
_SALT = "optin.doctor"
_FRESH = 120  # seconds: the clocks of two machines may differ


def token() -> str:
    """Return what the doctor sends in ``HEADER``."""
    return signing.dumps("seen", salt=_SALT)


def is_the_doctor(sent: str) -> bool:
    """Return whether *sent* is a ``token`` of the last two minutes."""
    try:
        found = signing.loads(sent, salt=_SALT, max_age=_FRESH)
    except signing.BadSignature:
        return False
    return bool(found == "seen")


def describe(environ: Mapping[str, Any], *, is_secure: bool) -> dict[str, Any]:
    """Return what the service sees of a request with this WSGI environment, as plain JSON."""
    return {
        "ip": ip_of(environ),
        "remote": environ.get("REMOTE_ADDR", ""),
        "forwarded_for": environ.get("HTTP_X_FORWARDED_FOR", ""),
        "secure": is_secure,
    }
