"""Who may have which address of the admin, and who may act on whom (S-37, P-25).

Every cell of the table is asked in test_matrix.
"""

from collections.abc import Callable, Iterator

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, Permission
from django.urls import URLPattern, URLResolver, reverse

from optin.admin import matrix, site
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


def patterns(found: list[URLPattern | URLResolver]) -> Iterator[URLPattern]:
    for pattern in found:
        if isinstance(pattern, URLResolver):
            yield from patterns(pattern.url_patterns)
        else:
            yield pattern


ADDRESSES = {str(pattern.name): pattern for pattern in patterns(site.get_urls())}


@pytest.mark.parametrize("page", ["add/", "1/delete/", "1/history/", "1/", "autocomplete/"])
@pytest.mark.parametrize("model", ["optin/user", "optin/auditevent", "optin/file"])
def test_pages_that_django_would_have_are_not_there(signed_in: In, model: str, page: str) -> None:
    client = signed_in("superuser")
    assert client.get(f"/admin/{model}/{page}").status_code == 404


@pytest.mark.parametrize(
    "path", ["autocomplete/", "r/1/1/", "password_change/", "password_change/done/", "auth/user/"]
)
def test_pages_of_the_site_that_are_not_there(signed_in: In, path: str) -> None:
    assert signed_in("superuser").get(f"/admin/{path}").status_code == 404


# -- whom they may act on ----------------------------------------------------------

Do = Callable[[User], str]
OPERATIONS = ("suspend", "resume", "unlock", "revoke", "revoke-later", "withdraw", "resend")
RECORDED_AS = {"revoke-later": "revocation", "withdraw": "revocation"}
"""The kind of the event, where it is not the name of the operation."""


@pytest.mark.parametrize("operation", [*OPERATIONS, "role"])
@pytest.mark.parametrize(
    ("actor", "target", "status"),
    [
        pytest.param("support", "ann", 303, id="support-other"),
        # Auditors may take the log away, which support may not: who is watched cannot lock
        # the watcher out.
        pytest.param("support", "auditor", 403, id="support-auditor"),
        pytest.param("support", "support", 403, id="support-own"),
        pytest.param("support", "administrator", 403, id="support-superior"),
        pytest.param("support", "superuser", 403, id="support-superuser"),
        pytest.param("administrator", "ann", 303, id="administrator-other"),
        pytest.param("administrator", "support", 303, id="administrator-lower"),
        pytest.param("administrator", "administrator", 403, id="administrator-own"),
        pytest.param("administrator", "superuser", 403, id="administrator-superior"),
    ],
)
def test_nobody_acts_on_themselves_or_a_superior(
    user: User,
    active: ProviderUser,
    signed_in: In,
    on_staff: OnStaff,
    actor: str,
    target: str,
    operation: str,
    status: int,
) -> None:
    """S-37: said by the service, and kept by the audit trail."""
    about = user if target == "ann" else on_staff(target)
    not_theirs = actor == "support" and operation in {"role", "revoke"}
    if not_theirs:
        status = 403
    client = signed_in(actor)
    body = {"reason": "called us", "role": "auditor"}

    response = client.post(reverse(f"admin:optin_user_{operation}", args=[about.pk]), body)

    assert response.status_code == status
    if not_theirs:
        return
    event = AuditEvent.objects.latest("pk")
    kind = RECORDED_AS.get(operation, operation)
    assert (event.kind, event.user_id, event.face) == (kind, about.pk, "admin")
    assert event.actor_id == on_staff(actor).pk
    assert (event.outcome == "out_of_reach") is (status == 403)
    assert event.reason == "called us"


def test_a_single_permission_makes_a_superior(user: User, on_staff: OnStaff, signed_in: In) -> None:
    """A person with one more permission than the actor, in no role at all."""
    user.user_permissions.add(Permission.objects.get(codename="reveal_number"))
    client = signed_in("support")

    response = client.post(f"/admin/optin/user/{user.pk}/unlock/", {"reason": "x"})

    assert response.status_code == 403


@pytest.mark.parametrize("reason", ["", "   ", "x" * 501])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_operation_wants_a_reason(
    user: User, active: ProviderUser, signed_in: In, operation: str, reason: str
) -> None:
    before = AuditEvent.objects.count()

    response = signed_in("administrator").post(
        f"/admin/optin/user/{user.pk}/{operation}/", {"reason": reason}
    )

    assert response.status_code == 422
    assert AuditEvent.objects.count() == before


def test_the_roles_of_the_code_are_those_of_the_database() -> None:
    kept = {
        group.name: {f"{p.content_type.app_label}.{p.codename}" for p in group.permissions.all()}
        for group in Group.objects.all()
    }
    assert kept == {role: set(powers) for role, powers in staff.ROLES.items()}


def test_the_matrix_in_the_staff_guide_is_that_of_the_code() -> None:
    """``manage.py shell -c "from optin.admin import matrix; print(matrix.table())"`` writes it."""
    guide = (settings.BASE_DIR / "docs" / "staff.md").read_text(encoding="utf-8")
    assert matrix.table() in guide
