"""The settings of a server whose workers are killed all the time: quick to be there again.

Its master loads the service once (``--preload``) and forks, so nothing that is open may be
shared: no pool, but a connection for each thread. Passwords are the tests' own, hashed
quickly.
"""

from tests.kit.quick_settings import *  # noqa: F403

DATABASES["default"]["CONN_MAX_AGE"] = None  # noqa: F405
DATABASES["default"]["OPTIONS"].pop("pool", None)  # noqa: F405
