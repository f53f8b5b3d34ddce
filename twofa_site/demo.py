"""What ``make run`` serves: the tables and the sample data are there before its workers are.

All in one process, as each start of Django takes seconds.
"""

import os

import django
from django.core.management import call_command
from django.db import connections

__all__ = ["application"]

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "twofa_site.settings")
django.setup(set_prefix=False)
call_command("demo", migrate=True)

# Importing it checks the settings, and needs the tables for the check of the keys.
from twofa_site.wsgi import application  # noqa: E402

connections.close_all()  # no worker may share one
