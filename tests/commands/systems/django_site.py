"""A site of Django with people in a database: the file that is named, made by Django itself.

Reads a password a line. The person of line N is "person-N"; each has a hash of another kind.
"""

import sys

import django
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import get_hashers, make_password
from django.core.management import call_command

PLACE = "django.contrib.auth.hashers"
COSTS = {
    "PBKDF2PasswordHasher": {"iterations": 10_000},
    "PBKDF2SHA1PasswordHasher": {"iterations": 1_000},
    "Argon2PasswordHasher": {"time_cost": 1, "memory_cost": 1024},
    "BCryptSHA256PasswordHasher": {"rounds": 4},
    "BCryptPasswordHasher": {"rounds": 4},
    "ScryptPasswordHasher": {"work_factor": 2**10},
}

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]}},
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
    PASSWORD_HASHERS=[f"{PLACE}.{name}" for name in COSTS],
)
django.setup()
User = get_user_model()
call_command("migrate", verbosity=0)
hashers = get_hashers()
for hasher, costs in zip(hashers, COSTS.values(), strict=True):
    vars(hasher).update(costs)
User.objects.bulk_create(
    User(
        username=f"person-{n}",
        email=f"person-{n}@example.com",
        password=make_password(line.rstrip("\n"), hasher=hashers[n % len(hashers)]),
    )
    for n, line in enumerate(sys.stdin)
)
User.objects.create_superuser("root", "root@example.com", "a secret of staff")
