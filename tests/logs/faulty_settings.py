"""The settings of the service, with faults to order and without the net.

What looks like a secret is not blanked out: the test shows that nothing is put in.
A command may run later than it is: ``HOURS_LATER`` says by how much.
"""

import os
from datetime import timedelta

from django.utils import timezone

from optin.runtime import logs
from twofa_site.settings import *  # noqa: F403

MIDDLEWARE = [*MIDDLEWARE, "tests.logs.faults.Faults"]  # noqa: F405
logs.redacted = lambda text: text

if _hours := int(os.environ.get("HOURS_LATER", "0")):
    _now = timezone.now
    timezone.now = lambda: _now() + timedelta(hours=_hours)
