"""Run commands of the service one after the other in one process: each takes seconds to start.

``python -m tests.kit.one_process`` reads them from the standard input, as a list in JSON. It writes
the exit status of each, and what it printed, likewise.
"""

import io
import json
import os
import shlex
import sys
import tempfile
import traceback
from contextlib import redirect_stderr, redirect_stdout

from django.core.management import execute_from_command_line

HERE = "<<'EOF'"


def run(command: str) -> tuple[int, str]:
    """Run ``manage ...``, or a block that also has its standard input (``HERE``)."""
    line, _, given = command.partition("\n")
    printed = io.StringIO()
    with (
        tempfile.TemporaryFile("w+") as stdin,
        redirect_stdout(printed),
        redirect_stderr(printed),
    ):
        stdin.write(given.removesuffix("EOF\n"))
        stdin.seek(0)
        sys.stdin = stdin
        try:
            execute_from_command_line(shlex.split(line.removesuffix(HERE)))
        except SystemExit as exc:
            status = exc.code if isinstance(exc.code, int) else int(bool(exc.code))
        except Exception:
            traceback.print_exc()
            status = 1
        else:
            status = 0
    return status, printed.getvalue()


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "twofa_site.settings"
    json.dump([run(command) for command in json.load(sys.stdin)], sys.stdout)
