"""The WSGI application, for gunicorn."""

import os

import django
from django.core.management.base import BaseCommand
from django.urls import resolve

from optin.conf import CHECKS
from twofa_site.handler import Handler

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "twofa_site.settings")
django.setup(set_prefix=False)
application = Handler()

# An application server runs no system checks by itself: a wrong setting must stop this
# start too, not only a command's.
BaseCommand().check(tags=[CHECKS])

# Load all pages and calls but those of SCIM now. Otherwise the first request would wait a second
# for them, and each garbage collection would visit them (gunicorn.conf.py).
resolve("/")
