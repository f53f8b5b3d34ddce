"""People for the clients to act for: one for each run of a client.

They are made in the server's own database, in a process of their own.
"""

from dataclasses import asdict, dataclass

from django.contrib.auth.hashers import make_password
from django.utils import timezone

from optin import fiction
from optin.models import AccessKey, File, Membership, User
from optin.operations import sign_in

FILE_ID = 777
PASSWORD = "tell-the-harbour-9"
HOW_MANY = 40
SANDBOX_ID = 900


@dataclass(frozen=True, slots=True)
class Person:
    """A member of the file, who has no second factor."""

    name: str
    number: str  # in E.164 form
    access_key: str


def make() -> list[dict[str, str]]:
    """Make the people, and let clients sign in by password."""
    sign_in.enable_password_clients()
    file = File.objects.create(id=FILE_ID, name="Harbour Books")
    password = make_password(PASSWORD)  # once, as it is slow by design
    return [asdict(_person(n, file, password)) for n in range(HOW_MANY)]


def make_testers() -> list[dict[str, str]]:
    """Make a sandbox and, for each generated client, a test account that manages it."""
    file = File.objects.create(id=SANDBOX_ID, name="Harbour Sandbox", is_sandbox=True)
    password = make_password(PASSWORD)
    return [asdict(_tester(number, file, password)) for number in fiction.AUSTRALIAN[:2]]


def _tester(number: str, file: File, password: str) -> Person:
    name = f"tester-{number[-2:]}"
    user = User.objects.create(
        username=name, email=f"{name}@example.com", password=password, is_test=True
    )
    Membership.objects.create(user=user, file=file, manages=True)
    return Person(name, number, AccessKey.objects.make(user, file, timezone.now())[1])


def _person(n: int, file: File, password: str) -> Person:
    name = f"person-{n}"
    user = User.objects.create(username=name, email=f"{name}@example.com", password=password)
    Membership.objects.create(user=user, file=file)
    key = AccessKey.objects.make(user, file, timezone.now())[1]
    return Person(name, f"+614915701{n:02}", key)
