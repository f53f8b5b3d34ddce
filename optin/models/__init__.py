"""What is stored, and what the database itself guarantees."""

from optin.models.audit import AuditEvent, AuditSeal
from optin.models.canary import Canary
from optin.models.factors import PendingOtp, ProviderUser, Purpose
from optin.models.files import AccessKey, File, Membership
from optin.models.messages import Notice, SendCounter, SmsMessage
from optin.models.users import User

__all__ = [
    "AccessKey",
    "AuditEvent",
    "AuditSeal",
    "Canary",
    "File",
    "Membership",
    "Notice",
    "PendingOtp",
    "ProviderUser",
    "Purpose",
    "SendCounter",
    "SmsMessage",
    "User",
]
