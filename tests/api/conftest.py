"""The client of a call, where the credential is not the point."""

import pytest

from optin.models import User
from tests.kit.clients import Api, bearer


@pytest.fixture
def api(user: User) -> Api:
    return Api(token=bearer(user))
