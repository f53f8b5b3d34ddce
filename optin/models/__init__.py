"""What is stored, and what the database itself guarantees."""

from optin.models.audit import AuditEvent
from optin.models.audit_seals import AuditSeal
from optin.models.authenticators import AuthenticatorApp, RecoveryCode
from optin.models.canary import Canary
from optin.models.email_changes import EmailChange
from optin.models.external_ids import ExternalId
from optin.models.factors import PendingOtp, ProviderUser, Purpose
from optin.models.figures import Figure, Span
from optin.models.files import AccessKey, File, Membership
from optin.models.guards import Guard
from optin.models.idempotency import IdempotencyKey
from optin.models.known_networks import KnownNetwork
from optin.models.messages import GatewayHealth, GatewayTry, Notice, SendCounter, SmsMessage
from optin.models.passkeys import Passkey
from optin.models.proposed_numbers import ProposedNumber
from optin.models.provisioning import ScimClient, ScimEnd
from optin.models.refusal_counts import RefusalCount
from optin.models.revocations import Revocation
from optin.models.session_owners import SessionOwner
from optin.models.sim_answers import SimAnswer
from optin.models.tokens import Renewal, TrustedClient
from optin.models.used_codes import UsedCode
from optin.models.users import User
from optin.models.webhooks import WebhookEndpoint, WebhookEvent, WebhookTry

__all__ = [
    "AccessKey",
    "AuditEvent",
    "AuditSeal",
    "AuthenticatorApp",
    "Canary",
    "EmailChange",
    "ExternalId",
    "Figure",
    "File",
    "GatewayHealth",
    "GatewayTry",
    "Guard",
    "IdempotencyKey",
    "KnownNetwork",
    "Membership",
    "Notice",
    "Passkey",
    "PendingOtp",
    "ProposedNumber",
    "ProviderUser",
    "Purpose",
    "RecoveryCode",
    "RefusalCount",
    "Renewal",
    "Revocation",
    "ScimClient",
    "ScimEnd",
    "SendCounter",
    "SessionOwner",
    "SimAnswer",
    "SmsMessage",
    "Span",
    "TrustedClient",
    "UsedCode",
    "User",
    "WebhookEndpoint",
    "WebhookEvent",
    "WebhookTry",
]
