"""The WSGI application, for gunicorn."""

import os

from django.core.management.base import BaseCommand
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "twofa_site.settings")
application = get_wsgi_application()

# An application server runs no system checks by itself: a wrong setting must stop this
# start too, not only a command's.
BaseCommand().check()
