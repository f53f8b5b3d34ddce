"""The results of operations: one enum for each kind of operation.

The values are stored in the audit trail, and the refusals are on the wire (docs/contract.md,
section 4): never change one.
"""

from datetime import timedelta
from enum import StrEnum
from typing import Final


class CodeOutcome(StrEnum):
    """Results of entering a code."""

    OK = "ok"
    OTP_INCORRECT = "otp_incorrect"
    OTP_EXPIRED = "otp_expired"
    OTP_EXHAUSTED = "otp_exhausted"
    FACTOR_DISABLED = "factor_disabled"
    LOCKED = "locked"
    ALREADY_VERIFIED = "already_verified"
    NOT_OPTED_IN = "not_opted_in"
    MOBILE_NUMBER_IN_USE = "mobile_number_in_use"
    PASSKEY_REFUSED = "passkey_refused"  # never by the API


class SendOutcome(StrEnum):
    """Results of asking for a text, as told to whoever asks."""

    SENT = "sent"
    RESENT = "resent"
    WAITING = "waiting"  # a text went out a moment ago: no other one now
    SEND_LIMIT = "send_limit"
    FACTOR_DISABLED = "factor_disabled"
    LOCKED = "locked"
    ALREADY_OPTED_IN = "already_opted_in"
    NOT_OPTED_IN = "not_opted_in"
    REGION_NOT_ALLOWED = "region_not_allowed"
    UNREADABLE = "unreadable"  # the key of the number has left the key ring


WITHHELD: Final = "withheld"
"""The outcome in the audit trail of a text that did not leave, but that counts as sent for whoever
asked."""


MALFORMED: Final = "malformed"
"""The outcome in the audit trail of what can be no code, or no mobile number: nothing was compared
or counted, but staff can read why nothing came of it."""


SECURED: Final = "secured"
"""The outcome in the audit trail of "that was not me": all others are shut out."""


class FactorOutcome(StrEnum):
    """Results of changing one's own factors: an app, a passkey, recovery codes, texts after a
    STOP, or a change that is taken back."""

    OK = "ok"
    STARTED = "started"
    UNCHANGED = "unchanged"  # it was so already
    NOTHING_WAITING = "nothing_waiting"  # what was begun has ended, or was begun anew
    OTP_INCORRECT = "otp_incorrect"
    FACTOR_DISABLED = "factor_disabled"
    LOCKED = "locked"
    NOT_OPTED_IN = "not_opted_in"
    MOBILE_NUMBER_IN_USE = "mobile_number_in_use"
    PASSKEY_REFUSED = "passkey_refused"
    PASSKEY_LIMIT = "passkey_limit"  # there are as many as one person may have


class SignInOutcome(StrEnum):
    """Results of entering a password on a page."""

    SIGNED_IN = "signed_in"  # or it was right, where it was only asked for again
    CODE_REQUIRED = "2fa_code_required"
    INVALID_GRANT = "invalid_grant"  # the name or the password is wrong
    NOT_NOW = "temporarily_unavailable"


class TokenOutcome(StrEnum):
    """Results of asking for a token. The refusals are those of RFC 6749, and ours."""

    ISSUED = "issued"
    CODE_REQUIRED = "2fa_code_required"
    INVALID_GRANT = "invalid_grant"  # the name or the password is wrong
    INVALID_CODE = "invalid_code"
    INVALID_REFRESH = "invalid_refresh"
    INVALID_SCOPE = "invalid_scope"
    NOT_NOW = "temporarily_unavailable"


class StaffOutcome(StrEnum):
    """Results of an action of staff, or of a command."""

    OK = "ok"
    UNCHANGED = "unchanged"  # it was so already
    NOT_OPTED_IN = "not_opted_in"
    NOTHING_WAITING = "nothing_waiting"  # there is no code to send again
    OUT_OF_REACH = "out_of_reach"  # whoever asks may not act on this person
    UNREADABLE = "unreadable"  # the key of the number has left the key ring
    SEARCH_LIMIT = "search_limit"  # they searched too many numbers


class InviteOutcome(StrEnum):
    """Results of an invitation: it was sent, or why not."""

    OK = "ok"
    ERASED = "erased"
    DEACTIVATED = "deactivated"
    STAFF = "staff"
    TEST_ACCOUNT = "test_account"
    NO_ADDRESS = "no_address"
    NOT_A_MEMBER = "not_a_member"  # of the file, or of any
    TWO_FACTOR_ON = "two_factor_on"
    INVITED_BEFORE = "invited_before"  # and only who was not is to be
    INVITATION_LIMIT = "invitation_limit"
    OUT_OF_REACH = "out_of_reach"  # whoever asks may not act on this person
    TOO_SOON = "too_soon"  # for the pace that was asked for


class RevocationOutcome(StrEnum):
    """Steps of a removal of all factors that waits: planned, called off, or carried out."""

    PLANNED = "planned"
    UNCHANGED = "unchanged"  # one waits already; or none does, that could be called off
    REVOCATION_LIMIT = "revocation_limit"  # whoever asks has asked for too many
    CANCELLED = "cancelled"  # by the person
    WITHDRAWN = "withdrawn"  # by staff
    OK = "ok"  # it was carried out
    NOT_OPTED_IN = "not_opted_in"
    OUT_OF_REACH = "out_of_reach"  # whoever asked may not, or no longer, act on this person
    DEACTIVATED = "deactivated"  # the person may not sign in
    UNTOLD = "untold"  # the person cannot be told, or was not told in time
    SET_UP_SINCE = "set_up_since"  # the person has another factor by now
    # The person asks for the removal at the sign-in.
    ASKED = "asked"
    WAITS = "waits"  # one waits already, of whomever
    TOO_SOON = "too_soon"  # one was called off a short while ago
    NOT_OFFERED = "not_offered"  # the page does not offer it to this person
    REMINDED = "reminded"  # the person was told once more
    SIGNED_IN = "signed_in"  # called off: the person has verified a factor since
    SWITCHED_OFF = "switched_off"  # called off: nobody may ask for it any more


class EmailOutcome(StrEnum):
    """Steps of a change of an email address: asked for, confirmed, ended, or in effect."""

    ASKED = "asked"  # a link was mailed
    UNCHANGED = "unchanged"  # it is the present address; or the same was done a moment ago
    EMAIL_LIMIT = "email_limit"  # they asked too often
    NO_MAIL = "no_mail"  # this service sends no mails
    PROVED = "proved"  # it waits
    NOTHING_WAITING = "nothing_waiting"  # the link is too old, or the change was closed
    CANCELLED = "cancelled"  # by the person
    RESTORED = "restored"  # after a restore
    OK = "ok"  # it took effect
    TAKEN = "taken"  # another account has the address
    DEACTIVATED = "deactivated"  # the person may not sign in
    OTHERWISE = "otherwise"  # the address was changed in another way since
    UNTOLD = "untold"  # no mail to the old address left in time
    FACTOR_DISABLED = "factor_disabled"  # codes are disabled, or the number is suspended
    LOCKED = "locked"  # too many wrong codes


class NotCompared(StrEnum):
    """Why an entered code counts as wrong or expired, but not as a failure: for staff (``why``)."""

    NUMBER_UNKNOWN = "unknown here"
    NOTHING_PENDING = "nothing pending"
    OTHER_LENGTH = "another length"
    NO_NUMBER = "no number"
    APP_KEY_GONE = "the app's key is gone"
    MADE_SINCE = "made since the sign-in"  # right, and asked for one from before
    CODE_KEY_GONE = "its key is gone"
    FIRST_OF_TWO = "the first of two"  # right, and the app takes two codes in a row


class By(StrEnum):
    """What verifies a second factor."""

    TEXT = "text"
    APP = "app"
    PASSKEY = "passkey"
    RECOVERY = "recovery"


def whole_seconds(wait: timedelta) -> int:
    """Round a waiting time up: a second sooner is too soon (G-01).

    The seconds are the same in a header, in a sentence and in the audit log.
    """
    return max(-(-wait // timedelta(seconds=1)), 1)
