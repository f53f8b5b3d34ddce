"""Who there is in the tests: their numbers and passwords, and the moment of the tests."""

from datetime import UTC, datetime

from optin.models import (
    File,
    Membership,
    User,
)
from optin.origin import Face, Origin

NOON = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
NUMBER = "+61491570156"
OTHER_NUMBER = "+61491570157"
PASSWORD = "correct horse battery"
ORIGIN = Origin(Face.API, client="test:1", ip="192.0.2.1")


def make_user(name: str, *files: File) -> User:
    user: User = User.objects.create_user(name, f"{name}@example.com", PASSWORD)
    for file in files:
        Membership.objects.create(user=user, file=file)
    return user


def number(n: int) -> str:
    """The n-th mobile number."""
    return f"+6149{n:07d}"
