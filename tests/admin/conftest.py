"""Staff of each role, signed in or not, and somebody whom they look after."""

import pytest
from django.utils import timezone
from oauth2_provider.models import get_application_model

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
    ScimClient,
    SmsMessage,
    User,
    WebhookEndpoint,
    WebhookEvent,
)
from optin.operations import staff_actions
from tests.kit.people import ORIGIN
from tests.kit.staff import (
    In,
    OnStaff,
    World,
    browser_of,
    make_staff,
)


@pytest.fixture
def on_staff() -> OnStaff:
    return make_staff


@pytest.fixture
def signed_in() -> In:
    """Return the browser of somebody: *how* they stand is one of ``PEOPLE``."""
    return browser_of


@pytest.fixture
def world(
    user: User,
    active: ProviderUser,
    file: File,
    access_key: str,
) -> World:
    now = timezone.now()
    endpoint = WebhookEndpoint.objects.create(
        file=file,
        url="https://shop.example/hook",
        secrets_encrypted=WebhookEndpoint.seal(WebhookEndpoint.new_secret(), file.pk),
        created_at=now,
        due_at=now,
        cursor=1,
    )
    # What is sent again.
    File.objects.filter(pk=file.pk).update(webhook_sequence=1, texts_end_on="2027-04-01")
    WebhookEvent.objects.create(
        message_id="msg_0", file=file, kind="factor.locked", at=now, sequence=1
    )
    guard = Guard.objects.create(kind="stop", covers="all", made_at=now)
    health = GatewayHealth.objects.create(gateway="phone")
    application = get_application_model().objects.create(name="shop", client_type="confidential")
    ScimClient.objects.create(application=application)
    staff_actions.unlock(user, reason="test", origin=ORIGIN)
    made = {
        "optin_user": user,
        "optin_provideruser": active,
        "optin_guard": guard,
        "optin_gatewayhealth": health,
        "optin_file": file,
        "optin_webhookendpoint": endpoint,
        "oauth2_provider_application": application,
    }
    for model in (AccessKey, AuditEvent, Membership, Notice, PendingOtp, SmsMessage):
        made[f"optin_{model._meta.model_name}"] = model._default_manager.latest("pk")
    return World({name: row.pk for name, row in made.items()})
