"""The settings of the service, with faults to order and without the net.

What looks like a secret is not blanked out: the test shows that nothing is put in.
"""

from optin import logs
from twofa_site.settings import *  # noqa: F403

MIDDLEWARE = [*MIDDLEWARE, "tests.logs.faults.Faults"]  # noqa: F405
logs.redacted = lambda text: text
