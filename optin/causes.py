"""The causes: their names, and which question each one answers."""

from dataclasses import dataclass
from enum import StrEnum

UNKNOWN = "\u2013"


class Question(StrEnum):
    """What an answer is about, in the order in which staff should read the answers."""

    REMOVAL = "removal"
    NO_TEXT = "no_text"
    NO_OPT_IN = "no_opt_in"
    NO_ACCESS = "no_access"
    NO_ENTRY = "no_entry"


class Why(StrEnum):
    """A cause. Names are stable: guides and tests go by them."""

    NUMBER_LIMIT = "number_limit"
    OTHERS_ASKED = "others_asked"
    USER_LIMIT = "user_limit"
    ADDRESS_LIMIT = "address_limit"
    CLIENT_LIMIT = "client_limit"
    FILE_BUDGET = "file_budget"
    TOTAL_BUDGET = "total_budget"
    RESEND_WAIT = "resend_wait"
    NOT_MOBILE = "not_mobile"
    REGION = "region"
    PREFIX_CLOSED = "prefix_closed"
    DENIED = "denied"
    ANSWERED_STOP = "answered_stop"
    ALL_STOPPED = "all_stopped"
    LOCKED = "locked"
    DISABLED = "disabled"
    TWO_CODES = "two_codes"
    SUSPENDED = "suspended"
    SIM_SWAPPED = "sim_swapped"
    SIM_UNKNOWN = "sim_unknown"
    DEACTIVATED = "deactivated"
    ON_ALREADY = "on_already"
    NO_NUMBER = "no_number"
    NOTHING_ASKED = "nothing_asked"
    APP_INSTEAD = "app_instead"
    PASSKEY_INSTEAD = "passkey_instead"
    PASSKEY_ONLY = "passkey_only"
    WRONG_PASSWORD = "wrong_password"  # noqa: S105  (a name, no secret)
    PASSWORD_LIMIT = "password_limit"  # noqa: S105
    NO_PASSWORD = "no_password"  # noqa: S105
    GATEWAY_REFUSED = "gateway_refused"
    GATEWAY_DOWN = "gateway_down"
    NO_GATEWAY = "no_gateway"
    NOT_TAKEN_UP = "not_taken_up"
    CARRIER_REFUSED = "carrier_refused"
    EXPIRED_UNSENT = "expired_unsent"
    NUMBER_MISTYPED = "number_mistyped"
    NOT_CONFIRMED = "not_confirmed"
    ARRIVED = "arrived"
    FORGOTTEN = "forgotten"
    CODE_REFUSED = "code_refused"
    PASSKEY_REFUSED = "passkey_refused"
    NUMBER_IN_USE = "number_in_use"
    NO_CODE_ENTERED = "no_code_entered"
    SET_UP_FIRST = "set_up_first"
    PHONE_ONLY = "phone_only"
    ONE_DEVICE_ONLY = "one_device_only"
    NONE_USABLE = "none_usable"
    REVOCATION_WAITS = "revocation_waits"
    NOT_A_MEMBER = "not_a_member"
    FILE_CLOSED = "file_closed"
    OTHER_FILE = "other_file"
    SCOPE = "scope"
    TOKEN_ENDED = "token_ended"  # noqa: S105
    REHEARSED = "rehearsed"
    TEXTS_END = "texts_end"


@dataclass(frozen=True, slots=True)
class Cause:
    """Why it is so, in words, and what to do about it."""

    question: Question
    why: Why
    words: str
    advice: str
