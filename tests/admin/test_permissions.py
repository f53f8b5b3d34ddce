"""Who may have which address of the admin, and who may act on whom (S-37, P-25).

Every cell of the table is asked in test_matrix.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, Permission
from django.urls import URLPattern, URLResolver, reverse
from django.utils import timezone
from oauth2_provider.models import get_application_model

from optin.admin import matrix, site
from optin.models import (
    AccessKey,
    AuditEvent,
    File,
    GatewayHealth,
    Guard,
    Membership,
    Notice,
    PendingOtp,
    ProviderUser,
    SmsMessage,
    User,
)
from optin.operations import staff, staff_actions
from tests.admin.conftest import ROLES, In, OnStaff
from tests.conftest import ORIGIN

pytestmark = pytest.mark.django_db(transaction=True)

EVERYBODY = {*ROLES, "superuser"}
ACTORS = {"support", "administrator", "superuser"}
TOP = {"administrator", "superuser"}

MAY: dict[str, set[str]] = {
    "index": EVERYBODY,
    "app_list": EVERYBODY,
    "jsi18n": EVERYBODY,
    "find": EVERYBODY,
    **{
        f"{model}_{page}": EVERYBODY
        for model in (
            *("optin_user", "optin_provideruser", "optin_pendingotp", "optin_smsmessage"),
            *("optin_notice", "optin_guard", "optin_gatewayhealth", "optin_auditevent"),
            *("optin_file", "optin_membership", "optin_accesskey"),
            "oauth2_provider_application",
        )
        for page in ("changelist", "change")
    },
    **dict.fromkeys(
        (
            f"optin_user_{name}"
            for name in ("suspend", "resume", "unlock", "resend", "revoke-later", "withdraw")
        ),
        ACTORS,
    ),
    "optin_user_revoke": TOP,
    "optin_user_role": TOP,
    "optin_provideruser_reveal": TOP,
    "optin_auditevent_export": {"auditor", *TOP},
    **dict.fromkeys(
        (
            f"optin_guard_{name}"
            for name in ("stop", "allow", "deny", "safe", "lift", "unlist", "texts-again")
        ),
        TOP,
    ),
    "optin_file_make": TOP,
    "optin_membership_make": TOP,
    "optin_membership_end": TOP,
    "optin_accesskey_make": TOP,
    "optin_accesskey_revoke": TOP,
    "oauth2_provider_application_make": TOP,
    "oauth2_provider_application_remove": TOP,
}
"""By the name of the address: who may have it."""

ONLY_LEAD_ELSEWHERE = {"login", "logout"}


def patterns(found: list[URLPattern | URLResolver]) -> Iterator[URLPattern]:
    for pattern in found:
        if isinstance(pattern, URLResolver):
            yield from patterns(pattern.url_patterns)
        else:
            yield pattern


ADDRESSES = {str(pattern.name): pattern for pattern in patterns(site.get_urls())}


@dataclass
class World:
    """One row of every kind."""

    ids: dict[str, int]

    def address(self, name: str) -> str:
        if name == "app_list":
            return reverse("admin:app_list", args=["optin"])
        if "object_id" in ADDRESSES[name].pattern.converters:
            model = name.rpartition("_")[0]
            return reverse(f"admin:{name}", args=[self.ids[model]])
        return reverse(f"admin:{name}")


@pytest.fixture
def world(user: User, active: ProviderUser, file: File, access_key: str) -> World:
    now = timezone.now()
    guard = Guard.objects.create(kind="stop", covers="all", made_at=now)
    health = GatewayHealth.objects.create(gateway="phone")
    application = get_application_model().objects.create(name="shop")
    staff_actions.unlock(user, reason="test", origin=ORIGIN)
    made = {
        "optin_user": user,
        "optin_provideruser": active,
        "optin_guard": guard,
        "optin_gatewayhealth": health,
        "optin_file": file,
        "oauth2_provider_application": application,
    }
    for model in (AccessKey, AuditEvent, Membership, Notice, PendingOtp, SmsMessage):
        made[f"optin_{model._meta.model_name}"] = model._default_manager.latest("pk")
    return World({name: row.pk for name, row in made.items()})


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
