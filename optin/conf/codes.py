"""Codes that are texted, and what wrong ones lead to."""

from optin.conf.faults import between
from optin.conf.parse import integer, integers
from optin.conf.setting import MAX_FAILURES, MAX_OTP_LIFETIME, MIN_OTP_LIFETIME, Setting


class Codes:
    # 7 is what existing users know. NIST asks for 6; at 8, HOTP's truncation makes codes
    # uneven by 5 %.
    otp_digits = Setting(
        1,
        7,
        parse=integer,
        fault=between(6, 7),
        doc="Digits of a texted code.",
    )
    otp_lifetime = Setting(
        2,
        600,
        parse=integer,
        fault=between(MIN_OTP_LIFETIME, MAX_OTP_LIFETIME),
        doc="Seconds that a code works. A change does not affect codes that exist. No text leaves "
        "in the last 65.",
    )
    # As Twilio Verify and Ory Kratos.
    otp_tries = Setting(
        3,
        5,
        parse=integer,
        fault=between(1, 10),
        doc="Wrong tries after which a code no longer works.",
    )
    lock_after = Setting(
        4,
        10,
        parse=integer,
        fault=between(1, MAX_FAILURES),
        doc="A user is locked at each multiple of this number of wrong codes.",
    )
    # A lock ends by itself: it must not be a weapon in a stranger's hand.
    lock_seconds = Setting(
        5,
        (900, 1800, 3600, 3600),
        parse=integers,
        fault=lambda v: (
            ""
            if v and all(0 < s <= 86400 for s in v)
            else "must be at least one number of seconds, each from 1 to 86400"
        ),
        doc="Seconds of the first, second, ... lock; the last number repeats.",
    )
    disable_after = Setting(
        6,
        50,
        parse=integer,
        fault=between(1, MAX_FAILURES),
        doc="Wrong codes without a right one between that disable texted codes for a user.",
    )
