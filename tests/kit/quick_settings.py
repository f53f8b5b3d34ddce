"""The settings of a service with quick password hashes, for thousands of requests."""

from twofa_site.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher", *PASSWORD_HASHERS[1:]]  # noqa: F405
