"""The people of the load, and the models, for this process. Import it once there is a database."""

from django.contrib.auth.hashers import make_password

from bench import world
from bench.world import FILE_ID, Person
from optin.models import User

__all__ = ["FILE_ID", "PASSWORD", "Person", "people"]

PASSWORD = "correct horse battery"  # noqa: S105  (of nobody)


def people(count: int) -> list[Person]:
    """Make people with a password and an access key."""
    made = world.people(count)
    User.objects.update(password=make_password(PASSWORD))  # one hash for all: each takes a while
    return made
