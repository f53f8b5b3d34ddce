"""``python -m conformance BASE_URL``, or ``--serve``, ``--listen``, ``--send``.

Exit status: 0 nothing failed, 1 something did, 2 no run, 3 something was not checked and the run is
strict.
"""

import http.client
import sys
from collections.abc import Sequence
from getpass import getpass

from conformance import checks, listen, options, report, send
from conformance.server import door
from conformance.session import Result, Session

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks, print the report, and return the exit status."""
    command = options.parse(arguments, checks.sections())
    try:
        if command.serve:
            how = {"rotate": command.rotate, "expire": command.expire, "vary": command.vary}
            return door.serve(command.serve, command.junit, **how)
        if command.listen or command.send:
            secrets = command.secret or (getpass("Secret (whsec_...): "),)
            if command.listen:
                return listen.listen(command.listen, secrets, command.junit)
            return send.send(command.send, secrets[0], command.junit)
        results = run(command)
    except (OSError, EOFError, ValueError, http.client.HTTPException) as exc:
        print(f"Could not run: {exc}", file=sys.stderr)
        return 2
    report.show(results)
    status = report.end(report.cases(results), command.junit)
    is_left_out = any(result.state == "not checked" for result in results)
    return status or (3 if command.strict and is_left_out else 0)


def run(command: options.Command) -> list[Result]:
    """Run the checks of a command line, in their order.

    :raises OSError, http.client.HTTPException: if nobody answers there.
    :raises ValueError: if the base URL is none.
    """
    session = Session(command.options)
    session.send("GET", "/authorisation/ping")
    usual = [title for title in checks.sections() if title != checks.sandbox.TITLE]
    sections = checks.sections() if command.options.sandbox else usual
    return [
        session.run(check) for check in checks.CHECKS if check.section in (command.only or sections)
    ]


if __name__ == "__main__":
    sys.exit(main())
