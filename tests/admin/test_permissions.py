"""What nobody has in the admin, and what operations and roles must have (S-37, P-25)."""

import pytest
from django.contrib.auth.models import Group, Permission

from optin.models import (
    AuditEvent,
    ProviderUser,
    User,
)
from optin.operations import staff
from tests.kit.staff import (
    In,
    OnStaff,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    "path", ["autocomplete/", "r/1/1/", "password_change/", "password_change/done/", "auth/user/"]
)
def test_pages_of_the_site_that_are_not_there(signed_in: In, path: str) -> None:
    assert signed_in("superuser").get(f"/admin/{path}").status_code == 404


# -- operations --------------------------------------------------------------------

OPERATIONS = ("suspend", "resume", "unlock", "revoke", "revoke-later", "withdraw", "resend")


def test_a_single_permission_makes_a_superior(user: User, on_staff: OnStaff, signed_in: In) -> None:
    """A person with one more permission than the actor, in no role at all."""
    user.user_permissions.add(Permission.objects.get(codename="reveal_number"))
    client = signed_in("support")

    response = client.post(f"/admin/optin/user/{user.pk}/unlock/", {"reason": "x"})

    assert response.status_code == 403


def test_each_operation_wants_a_reason(user: User, active: ProviderUser, signed_in: In) -> None:
    """P-23."""
    before, client = AuditEvent.objects.count(), signed_in("administrator")
    for operation in OPERATIONS:
        for reason in ("", "   ", "x" * 501):
            address = f"/admin/optin/user/{user.pk}/{operation}/"
            assert client.post(address, {"reason": reason}).status_code == 422, operation
    assert AuditEvent.objects.count() == before


def test_the_roles_of_the_code_are_those_of_the_database() -> None:
    """P-25."""
    kept = {
        group.name: {f"{p.content_type.app_label}.{p.codename}" for p in group.permissions.all()}
        for group in Group.objects.all()
    }
    assert kept == {role: set(powers) for role, powers in staff.ROLES.items()}
