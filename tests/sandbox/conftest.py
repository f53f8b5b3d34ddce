from collections.abc import Callable

import pytest
from django.utils import timezone

from optin.models import AccessKey, File, Membership, User
from tests.kit.people import PASSWORD


@pytest.fixture
def sandbox_file(db: None) -> File:
    return File.objects.create(id=900, name="Harbour Sandbox", is_sandbox=True)


@pytest.fixture
def make_tester(sandbox_file: File) -> Callable[[str], User]:
    def make(name: str) -> User:
        user: User = User.objects.create_user(name, f"{name}@example.com", PASSWORD, is_test=True)
        Membership.objects.create(user=user, file=sandbox_file)
        return user

    return make


@pytest.fixture
def tester(make_tester: Callable[[str], User]) -> User:
    """A test account: a member of the sandbox who has not opted in."""
    return make_tester("tess")


@pytest.fixture
def key(tester: User, sandbox_file: File) -> str:
    return AccessKey.objects.make(tester, sandbox_file, timezone.now())[1]
