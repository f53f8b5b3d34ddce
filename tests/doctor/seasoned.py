"""``manage.py`` for a worker that has run for two hours, as it tells the doctor."""

import os

from django.core.management import execute_from_command_line

from optin.doctor import seen

if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "twofa_site.settings"
    seen.STARTED -= 2 * 3600
    execute_from_command_line()
