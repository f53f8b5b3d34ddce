"""The doctor in forks of one process that has loaded its code: a start takes a second.

A line on the standard input asks for one run. The answer is one line: the exit status, and what the
run printed, as JSON.
"""

import contextlib
import io
import json
import os
import sys

import django


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "twofa_site.settings"
    django.setup()
    from django.core.management import call_command

    import twofa_site.urls  # noqa: F401

    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            printed, status = io.StringIO(), 0
            try:
                with contextlib.redirect_stdout(printed):
                    call_command("doctor", "--json")
            except SystemExit as end:
                status = int(end.code or 0)
            print(json.dumps([status, printed.getvalue()]), flush=True)
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
