"""What ``make run`` serves: the tables and the sample data are there before its processes are.

All in one process, as each start of Django takes seconds. There are no workers, so each process
that serves also sends events to webhook endpoints.
"""

import logging
import os
import sys
import time
from threading import Thread

import django
from django.core.management import call_command
from django.db import connections

__all__ = ["application"]

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "twofa_site.settings")
django.setup(set_prefix=False)
call_command("demo", migrate=True)
# What is left in the buffer of a pipe or a file would be printed again by each process that forks.
sys.stdout.flush()

# Importing it checks the settings, and needs the tables for the check of the keys.
from optin.messaging import webhooks  # noqa: E402
from twofa_site.wsgi import application  # noqa: E402

connections.close_all()  # no process may share one


def _send_events() -> None:
    while True:
        try:
            webhooks.send_due(seconds=1)
        except Exception:
            logging.getLogger(__name__).exception("events could not be sent")
        finally:
            connections.close_all()
        time.sleep(1)


def _keep_sending() -> None:
    Thread(target=_send_events, name="webhooks", daemon=True).start()


os.register_at_fork(after_in_child=_keep_sending)  # gunicorn forks the processes that serve
