"""The settings of a server whose hashes take a 20th of the usual time.

So a test that waits for 50 of them also passes on a busy machine.
"""

from django.contrib.auth.hashers import PBKDF2PasswordHasher

from twofa_site.settings import *  # noqa: F403


class Hasher(PBKDF2PasswordHasher):
    iterations = PBKDF2PasswordHasher.iterations // 20


PASSWORD_HASHERS = ["tests.races.slowly.Hasher", "optin.api.oauth.RandomSecretHasher"]
