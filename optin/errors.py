"""Refusals that leave nothing behind: what was sent has the wrong shape, above all.

They are raised before a transaction begins, or before it wrote anything. What is
*decided* inside one is returned instead, because an exception would take the count and
the audit event back (see ``operations``).
"""

from datetime import date, timedelta
from typing import ClassVar


class Refusal(Exception):
    """Base of every refusal."""

    code: ClassVar[str] = "internal_error"
    """The code of a call's answer. Refusals that no call can meet have none of their own."""
    message: ClassVar[str]

    def __init__(self) -> None:
        super().__init__(self.message)


class MalformedCode(Refusal):
    """The text can never be a code, so it is no attempt and costs no try."""

    code = "invalid_request"
    message = "The code must be the digits of the text message, nothing else."


class KeyReused(Refusal):
    """An ``Idempotency-Key`` came before, with another body."""

    code = "invalid_request"
    message = "This Idempotency-Key was sent before, with another body. Use a new one."


class Deactivated(Refusal):
    """The user was deactivated or erased after their credentials had been looked at."""

    code = "invalid_token"
    message = "This person is deactivated."


class SignedOut(Refusal):
    """The session that asks was ended while it asked."""

    code = "invalid_token"
    message = "Sign in again."


class Busy(Refusal):
    """Too many passwords are being checked. This one was not looked at or counted."""

    code = "unavailable"
    message = "The service cannot do this now. Try again later."


class MailsFail(Refusal):
    """The mail server does not take mails, so no further ones are made."""

    message = "Mails do not leave"

    def __init__(self, why: str) -> None:
        self.message = f"{self.message}: {why}. Try again later."  # type: ignore[misc]
        super().__init__()


class InvalidMobileNumber(Refusal):
    code = "mobile_number_invalid"
    message = "That is not a mobile number."


class FictionalNumber(InvalidMobileNumber):
    message = "Numbers that are kept free for films and books get no texts."


class OtherRegion(InvalidMobileNumber):
    message = "Numbers of that region get no texts: see OPTIN_SMS_REGIONS."


class CursorGone(Refusal):
    """The event after that cursor is not kept, or there is none with its number yet."""

    code = "cursor_gone"
    message = "The events after this one are not kept."


class OnlyFiction(InvalidMobileNumber):
    """A sandbox takes no number that somebody may have."""

    message = (
        "This file is a sandbox: it takes only mobile numbers that are kept free for films and "
        "books."
    )


class SandboxRefusal(Refusal):
    """An answer of which a sandbox was asked for by the number: nothing happens."""

    def __init__(self, code: str) -> None:
        super().__init__()
        self.code = code  # type: ignore[misc]

    message = "The ending of the number asked a sandbox for this answer."


class Mixed(Refusal):
    """A test account and a file that is no sandbox, or the reverse."""

    message = (
        "A sandbox takes test accounts only, and no other file takes a test account. Whether it "
        "is one is chosen when an account or a file is made, and never changed."
    )


class TestAccount(Refusal):
    """A test account is to be staff: its codes are shown on a page."""

    __test__ = False  # no test, whatever its name

    message = "This is a test account: its codes are shown on a page. It cannot be staff."


class SamePassword(Refusal):
    """A new password is to be the one that the person has: somebody may know it."""

    message = "That is the current password."


class UnfitAddress(Refusal):
    message = "That is not an email address."


class UnfitReason(Refusal):
    """A staff action was asked for without a reason, or with one that is too long."""

    message = "Give a reason of at most 500 characters; it is kept in the audit log."


class NumberInReason(UnfitReason):
    """A reason holds a telephone number in full: the audit trail would keep it for good."""

    message = "Leave the telephone number out of the reason: write its last three digits."


class UnfitTime(Refusal):
    """Something is to last for no time, or for too long."""

    message = "Give a time from one minute to 366 days."


class TellingReason(Refusal):
    """A person is to be erased for a reason that names them."""

    message = "Leave the name and the email address out of the reason: the audit log keeps it."


class FileIdTaken(Refusal):
    message = "A file with this id already exists."


class PastDay(Refusal):
    """Something is to begin on a day that is over."""

    code = "past_day"
    message = "This day is over. Name today or a later day."


class Strands(Refusal):
    """Texts are to end while there are members whose only second factor they are."""

    code = "strands"

    def __init__(self, count: int, earliest: date | None = None) -> None:
        """:param earliest: the first day that gives them enough time; None if no day does."""
        self.message = (  # type: ignore[misc]
            f"Members with text messages as their only second factor: {count}. They need 4 weeks "
            f"to add another: name {earliest} or a later day."
            if earliest
            else f"Members with text messages as their only second factor, and without a password: "
            f"{count}. They cannot add another factor. Invite them first, or give them a password."
        )
        super().__init__()


class NotConfidential(Refusal):
    """An application without a secret is to be trusted."""

    message = "This application has no secret of its own: anybody could come in its name."


class NotProvisioning(Refusal):
    """An application is to get a token for what it may not do."""

    message = "This application may not use SCIM. Allow that first."


class ProvisioningRefusal(Refusal):
    """Base of what an identity provider is refused (``operations.provisioning``)."""

    message = ""

    def __init__(self, message: str = "") -> None:
        Exception.__init__(self, message or self.message)


class NotThere(ProvisioningRefusal):
    message = "There is nothing here."


class Taken(ProvisioningRefusal):
    """It sends what somebody else has, or another file."""

    message = "Somebody else has this user name, email address or external id."


class Unfit(ProvisioningRefusal):
    """It sends a value that cannot be kept."""


class Barred(ProvisioningRefusal):
    """It wants to change what is not its to change."""


class TooMany(Refusal):
    """An identity provider changes an address too often: each time, a mail leaves."""

    code = "throttled"
    message = "The email address of this person was changed too often today."

    def __init__(self, retry_after: timedelta) -> None:
        super().__init__()
        self.retry_after = retry_after


class NotAMember(Refusal):
    code = "file_access_denied"
    message = "This person may not act in this file."


class UnfitEndpoint(Refusal):
    message = "Nothing may be sent to this address."


class EndpointPaused(Refusal):
    """Nobody answers for the webhook endpoint, so nothing is sent to it."""

    message = "The endpoint is paused: no test is sent to it."


class OldSecretSigns(Refusal):
    """Another secret was asked for within a day, which would end the old one at once."""

    code = "old_secret_signs"
    message = "The old secret still signs. Another new secret ends it at once: confirm that."


class TooManyEndpoints(Refusal):
    code = "endpoint_limit"
    message = "This file has 5 webhook endpoints. Remove one first."


class EndpointGone(Refusal):
    code = "not_found"
    message = "This endpoint was removed meanwhile."


class OutOfReach(Refusal):
    """Staff want to act on themselves or on a superior."""

    message = "You cannot do this to your own account, or to one with more rights than yours."


class PasswordNeeded(Refusal):
    """The session that asks has not proved the password lately."""

    message = "Enter your password again."


class FactorNeeded(Refusal):
    """The session that asks has not proved a second factor for such a change lately."""

    message = "Verify your second factor first."
