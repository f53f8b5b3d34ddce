"""The settings of a test run: those of the service, in a folder of its own."""

import atexit
import os
import shutil
import tempfile

# A variable of the machine that runs the tests must not reach them.
for _name in list(os.environ):
    if _name.startswith("OPTIN_") or _name in {"BASE_URL", "SECRET_KEY", "DEBUG", "PORT"}:
        del os.environ[_name]
os.environ["DATA_DIR"] = tempfile.mkdtemp(prefix="optin-tests-")
atexit.register(shutil.rmtree, os.environ["DATA_DIR"], ignore_errors=True)
# Read as for a development start, whose keys need no variable.
os.environ.update(BASE_URL="https://2fa.example.com", DEBUG="1")

from twofa_site.settings import *  # noqa: E402, F403

DEBUG = False
SENDS_MAIL = True  # as where there is a server: the mails of a test are in its outbox
ALLOWED_HOSTS = ["2fa.example.com", "testserver"]
# Fast: the tests sign in a lot. How long a real hash takes has a test of its own.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher", *PASSWORD_HASHERS[1:]]  # noqa: F405
LOGGING = {**LOGGING, "root": {"handlers": [], "level": "DEBUG"}}  # noqa: F405
OPTIN_FICTIONAL_NUMBERS = "yes"  # nearly all numbers of the tests are
# Each thread of a race has a connection of its own.
if "pool" in DATABASES["default"]["OPTIONS"]:  # noqa: F405
    DATABASES["default"]["OPTIONS"]["pool"]["max_size"] = 20  # noqa: F405
