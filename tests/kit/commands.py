"""Run a command of the service in this process."""

from io import StringIO

from django.core.management import call_command


def run(*arguments: str) -> str:
    """Run a command; return what it printed, errors too."""
    out = StringIO()
    call_command(*arguments, stdout=out, stderr=out)
    return out.getvalue()
