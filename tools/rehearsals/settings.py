"""The settings of ``manage.py limits rehearse``: the limits of production, nothing else.

The database is in a folder of its own, which is deleted at the end. The keys are new. Nothing here
can reach the live database, a gateway, a mail server or Redis: what names them is taken away before
the settings read it.
"""

import atexit
import os
import secrets
import shutil
import tempfile
from base64 import urlsafe_b64encode

FOLDER = tempfile.mkdtemp(prefix="optin-rehearsal-")
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)


def _new_key() -> str:
    return urlsafe_b64encode(secrets.token_bytes(32)).decode()


_OWN = {
    "DATABASE_URL": f"sqlite:///{FOLDER}/rehearsal.sqlite3",
    "DATA_DIR": FOLDER,
    "SECRET_KEY": secrets.token_urlsafe(48),
    "OPTIN_KEYS": f"rehearsal:{_new_key()}",
    "OPTIN_DIGEST_KEY": _new_key(),
    "OPTIN_GATEWAYS": "tools.rehearsals.phones.Phones",
    "OPTIN_DELIVERY": "inline",
    "EMAIL_URL": "dummy://",
    "DEBUG": "0",
    "LOG_LEVEL": "ERROR",
    "OTEL_SDK_DISABLED": "true",
}
_AWAY = (
    # The names, accounts and secrets of gateways.
    *(name for name in os.environ if name.startswith("OPTIN_GATEWAY_")),
    *("REDIS_URL", "OPTIN_ALARM_EMAIL", "OPTIN_AUDIT_STREAM", "OPTIN_SENDERS"),
    *("OPTIN_LEDGER", "OPTIN_NOTARY", "OPTIN_NOTARY_CA"),
    *("METRICS_TOKEN", "WORKER_METRICS", "PROMETHEUS_MULTIPROC_DIR"),
)
for _name in (*_OWN, *_AWAY):
    for _suffix in ("", "_FILE", "_COMMAND"):
        os.environ.pop(f"{_name}{_suffix}", None)
os.environ.update(_OWN)

from twofa_site.settings import *  # noqa: E402, F403

# Nothing here is to last, and a rehearsal checks thousands of passwords.
DATABASES["default"]["OPTIONS"]["init_command"] += "PRAGMA synchronous=OFF;"  # noqa: F405
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.MD5PasswordHasher",
    "optin.api.oauth.RandomSecretHasher",
]
