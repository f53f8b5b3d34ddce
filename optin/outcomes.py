"""What operations come to, and the kinds of codes.

The values are stored in the audit trail, and the refusals are on the wire: never change one.
"""

from enum import StrEnum


class Outcome(StrEnum):
    """What was decided. The refusals are the codes of docs/contract.md, section 4."""

    OK = "ok"
    UNCHANGED = "unchanged"  # what staff asked for was so already
    SENT = "sent"
    RESENT = "resent"
    STARTED = "started"
    NOTHING_WAITING = "nothing_waiting"  # there is no app to prove
    WAITING = "waiting"  # a text went out a moment ago: no other one now
    OTP_INCORRECT = "otp_incorrect"
    OTP_EXPIRED = "otp_expired"
    OTP_EXHAUSTED = "otp_exhausted"
    FACTOR_DISABLED = "factor_disabled"
    LOCKED = "locked"
    ALREADY_VERIFIED = "already_verified"
    ALREADY_OPTED_IN = "already_opted_in"
    NOT_OPTED_IN = "not_opted_in"
    MOBILE_NUMBER_IN_USE = "mobile_number_in_use"
    REGION_NOT_ALLOWED = "region_not_allowed"
    SEND_LIMIT = "send_limit"
    WITHHELD = "withheld"  # no text leaves, and the person is not told
    UNREADABLE = "unreadable"  # the key of a number has left the key ring
    SEARCH_LIMIT = "search_limit"  # staff searched too many numbers
    REVOCATION_LIMIT = "revocation_limit"  # staff asked for too many
    OUT_OF_REACH = "out_of_reach"  # staff asked for it who may not act on this person
    PLANNED = "planned"  # a revocation, which waits from now on
    CANCELLED = "cancelled"  # by the person
    WITHDRAWN = "withdrawn"  # by staff
    DEACTIVATED = "deactivated"  # the person may not sign in
    UNTOLD = "untold"  # the person could not be told in time
    SET_UP_SINCE = "set_up_since"  # the person has another factor by now


class NotCompared(StrEnum):
    """Why an entered code counts as wrong or expired without a comparison: for staff (``why``)."""

    NUMBER_UNKNOWN = "unknown here"
    NOTHING_PENDING = "nothing pending"
    OTHER_LENGTH = "another length"
    NO_NUMBER = "no number"
    APP_KEY_GONE = "the app's key is gone"
    CODE_KEY_GONE = "its key is gone"


class By(StrEnum):
    """The kind of code that proves a second factor."""

    TEXT = "text"
    APP = "app"
    RECOVERY = "recovery"


class Grant(StrEnum):
    """What a sign-in came to. The refusals are RFC 6749's, and ours."""

    ISSUED = "issued"
    SIGNED_IN = "signed_in"
    INVALID_GRANT = "invalid_grant"  # the password
    INVALID_REFRESH = "invalid_refresh"
    INVALID_CODE = "invalid_code"
    INVALID_SCOPE = "invalid_scope"
    CODE_REQUIRED = "2fa_code_required"
    NOT_NOW = "temporarily_unavailable"
