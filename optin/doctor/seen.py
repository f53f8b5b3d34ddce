"""What the running service tells the doctor.

The doctor asks the service through the proxy, as a visitor does. Only the service knows which
address and scheme arrived. It answers whoever has ``SECRET_KEY``; for anybody else there is no such
address.
"""

import hmac
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core import signing
from django.utils import timezone
from django.utils.crypto import salted_hmac

from optin.gateways import every_setting
from optin.origin import ip_of

PATH = "/seen"
HEADER = "X-Optin-Doctor"
_SALT = "optin.doctor"
_FRESH = 120  # seconds; clocks may be wrong, that is one of the things to find out


def token() -> str:
    """Return what the doctor sends in ``HEADER``."""
    return signing.dumps("seen", salt=_SALT)


def is_the_doctor(sent: str) -> bool:
    """Whether *sent* is a ``token`` of the last two minutes."""
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
        "bound": environ.get("SERVER_NAME", ""),  # of gunicorn: the address that it listens at
        "forwarded_for": environ.get("HTTP_X_FORWARDED_FOR", ""),
        "secure": is_secure,
        "now": timezone.now().isoformat(),
        "release": _release(),
        "settings": digests(),
    }


def _release() -> str:
    return str(settings.SPECTACULAR_SETTINGS["VERSION"])


def digests() -> dict[str, str]:
    """Return a keyed digest of each setting: they can be compared, and tell no value."""
    values: dict[str, object] = {setting.name: setting.value for setting in every_setting()}
    database = settings.DATABASES["default"]
    values["DATABASE_URL"] = [database[k] for k in ("HOST", "PORT", "NAME", "USER", "PASSWORD")]
    values["DEBUG"] = settings.DEBUG
    values["METRICS_TOKEN"] = settings.METRICS_TOKEN
    return {name: _digest(name, value) for name, value in values.items()}


def _digest(name: str, value: object) -> str:
    return str(salted_hmac(_SALT, f"{name}={value!r}", algorithm="sha256").hexdigest()[:16])


def differing(theirs: object) -> list[str]:
    """Return the names of the settings that differ between *theirs* and this process."""
    known = theirs if isinstance(theirs, dict) else {}
    return [
        name
        for name, digest in digests().items()
        if not hmac.compare_digest(str(known.get(name, "")), digest)
    ]
