"""Numbers from which somebody answered STOP."""

from optin.models import Guard


def has_opted_out(number_digest: str) -> bool:
    return Guard.objects.filter(kind=Guard.Kind.OPTED_OUT, key=number_digest).exists()
