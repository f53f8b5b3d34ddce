"""Codes, and what wrong ones lead to."""

from optin.conf.faults import between
from optin.conf.kinds import number
from optin.conf.parse import integer, integers
from optin.conf.setting import (
    MAX_FAILURES,
    MAX_OTP_LIFETIME,
    MIN_OTP_LIFETIME,
    Rate,
    Setting,
)


class Codes:
    # 7 is what existing users know. NIST asks for 6; at 8, HOTP's truncation makes codes
    # uneven by 5 %.
    otp_digits = number(1, 7, 6, 7, "Digits of a texted code.")
    otp_lifetime = number(
        2,
        600,
        MIN_OTP_LIFETIME,
        MAX_OTP_LIFETIME,
        "Seconds that a code works. A change does not affect codes that exist. No text leaves "
        "in the last 65.",
    )
    # The same as Twilio Verify and Ory Kratos.
    otp_tries = number(3, 5, 1, 10, "Wrong tries after which a code no longer works.")
    lock_after = number(
        4,
        10,
        1,
        MAX_FAILURES,
        "Each time a user enters this many wrong codes, the user is locked. Applications of a "
        "user are counted apart, and locked apart.",
    )
    # A lock ends by itself: it must not be a weapon in a stranger's hand.
    lock_seconds = Setting(
        5,
        (900, 1800, 3600, 3600),
        parse=integers,
        # With these bounds, no settings let a year of guesses succeed with 5 % (G-03).
        fault=lambda v: (
            ""
            if 0 < len(v) <= 10 and v[-1] >= 900 and all(60 <= s <= 86400 for s in v)
            else "must be 1 to 10 numbers, each from 60 to 86400, the last one 900 or more"
        ),
        doc="Seconds of the first, second, ... lock. The last number repeats.",
    )
    disable_after = Setting(
        6,
        50,
        parse=integer,
        # Half of NIST's ceiling: people and their programs are counted apart, each up to this.
        fault=between(1, MAX_FAILURES // 2),
        doc="After this many wrong codes in a row, texted codes of a user are locked until "
        "further notice. If applications sent them, all codes are locked, for applications only.",
    )
    # Right codes start the count of the others again each day: without this one, a guesser has 100
    # guesses a day. So 1316 a year are left of 36 600.
    app_failures = Rate(100, 2_592_000)
    """After so many wrong codes of an app, it takes two codes in a row (G-03). They are forgotten
    one by one, all within these seconds."""
