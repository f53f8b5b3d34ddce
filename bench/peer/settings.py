"""Those of the floor, with django-otp and a fast hash of passwords."""

from bench.floor.settings import *  # noqa: F403
from bench.floor.settings import INSTALLED_APPS as FLOOR
from bench.floor.settings import OAUTH2_PROVIDER as TOOLKIT

INSTALLED_APPS = [*FLOOR, "django_otp", "bench.peer"]
ROOT_URLCONF = "bench.peer.urls"
OAUTH2_PROVIDER = TOOLKIT | {"OAUTH2_VALIDATOR_CLASS": "bench.peer.validator.Validator"}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
