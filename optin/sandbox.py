"""What happens to a number in a sandbox: its last two digits decide.

``ENDINGS`` is the only table; docs/sandbox.md shows it. Each ending in it is that of one of the 30
Australian numbers for fiction.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

RULE = "sandbox"
"""The rule of a refusal that a number of a sandbox asked for."""

OPT_OUT_FAILS_FOR = timedelta(seconds=10)
"""How long after the verification an opt-out fails: later, the number can be removed."""


class Call(StrEnum):
    """A call whose answer an ending decides."""

    OPT_IN = "opt-in-to-2fa"
    VERIFY = "verify-2fa-opt-in"
    OPT_OUT = "opt-out-from-2fa"


class Says(StrEnum):
    """What the gateway and the phone report of a text (``gateways.Report``)."""

    DELIVERED = "delivered"
    FAILED = "failed"
    OPTED_OUT = "opted_out"


@dataclass(frozen=True, slots=True)
class Ending:
    """What happens to the numbers with one ending."""

    words: str
    call: Call | None = None  # that answers ``code``
    code: str = ""
    refused: bool = False  # by the gateway
    reports: tuple[Says, ...] = (Says.DELIVERED,)
    after: int = 0  # seconds until they come
    early: bool = False  # they come before the gateway has answered


def _answers(call: Call, code: str, words: str) -> Ending:
    return Ending(words, call, code)


_AT_FIRST = f"Only in the first {OPT_OUT_FAILS_FOR.seconds} seconds after the verification"

USUAL = Ending("The text is delivered at once.")

ENDINGS: dict[str, Ending] = {
    "10": Ending("The text is delivered after 20 seconds.", after=20),
    "13": Ending("The gateway takes the text, and no receipt ever comes.", reports=()),
    "37": Ending("The gateway refuses the text.", refused=True, reports=()),
    "54": Ending("A receipt says that the text was not delivered.", reports=(Says.FAILED,)),
    "66": Ending("The receipt comes before the gateway has answered.", early=True),
    "91": Ending(
        "The person gets the text and answers STOP.", reports=(Says.DELIVERED, Says.OPTED_OUT)
    ),
    "49": _answers(Call.OPT_IN, "region_not_allowed", "No text leaves."),
    "65": _answers(Call.OPT_IN, "send_limit", "No text leaves."),
    "04": _answers(Call.OPT_IN, "locked", "The account is locked, for all calls and at sign-in."),
    "32": _answers(
        Call.OPT_IN, "factor_disabled", "Codes are disabled, for all calls and at sign-in."
    ),
    "44": _answers(Call.OPT_IN, "throttled", "Nothing happens."),
    "70": _answers(Call.OPT_IN, "internal_error", "Nothing happens."),
    "83": _answers(Call.OPT_IN, "unavailable", "Nothing happens."),
    "18": _answers(Call.VERIFY, "otp_expired", "The code expires before it is entered."),
    "87": _answers(
        Call.VERIFY, "mobile_number_in_use", "The right code gets this answer, and is used up."
    ),
    "48": _answers(Call.VERIFY, "throttled", "Nothing happens."),
    "60": _answers(Call.VERIFY, "internal_error", "Nothing happens."),
    "88": _answers(Call.VERIFY, "unavailable", "Nothing happens."),
    "12": _answers(Call.OPT_OUT, "otp_expired", "The code expires before it is entered."),
    "55": _answers(Call.OPT_OUT, "send_limit", f"{_AT_FIRST}. No text leaves."),
    "01": _answers(
        Call.OPT_OUT, "locked", f"{_AT_FIRST}. The account is locked, for all calls and at sign-in."
    ),
    "26": _answers(Call.OPT_OUT, "throttled", f"{_AT_FIRST}. Nothing happens."),
    "89": _answers(Call.OPT_OUT, "internal_error", f"{_AT_FIRST}. Nothing happens."),
    "98": _answers(Call.OPT_OUT, "unavailable", f"{_AT_FIRST}. Nothing happens."),
}


def of(last_digits: str) -> Ending:
    """Return what happens to a number with these last digits: two or more."""
    return ENDINGS.get(last_digits[-2:], USUAL)


def answer_of(call: Call, last_digits: str) -> str:
    """Return the code with which *call* is to answer; "" for its own answer."""
    ending = of(last_digits)
    return ending.code if ending.call is call else ""
