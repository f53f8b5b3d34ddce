"""What ``make run`` serves: the tables and the sample data are there before its workers are.

All in one process, as each start of Django takes seconds.
"""

from django.core.management import call_command
from django.db import connections

from twofa_site.wsgi import application

__all__ = ["application"]

call_command("demo", migrate=True)
connections.close_all()  # no worker may share one
