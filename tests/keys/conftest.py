"""The service under one key."""

import pytest
from django.conf import LazySettings

from optin.models import Canary
from tests.keys.rings import DIGEST, OLD


@pytest.fixture
def ring(settings: LazySettings, db: None) -> LazySettings:
    """A service that was started with the key ``old``."""
    settings.OPTIN_KEYS = {"old": OLD}
    settings.OPTIN_DIGEST_KEY = DIGEST
    Canary.objects.look()
    return settings
