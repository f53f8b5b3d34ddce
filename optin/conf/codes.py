"""Codes that are texted, and what wrong ones lead to."""

from optin.conf.faults import between
from optin.conf.parse import integer, integers
from optin.conf.setting import MAX_FAILURES, MAX_OTP_LIFETIME, MIN_OTP_LIFETIME, Setting


class Codes:
    otp_digits = Setting(
        1,
        7,
        parse=integer,
        fault=between(6, 7),
        doc="Digits of a texted code. What existing users know; NIST asks for 6 at least; "
        "at 8, HOTP's truncation makes codes uneven by 5 %.",
    )
    otp_lifetime = Setting(
        2,
        600,
        parse=integer,
        fault=between(MIN_OTP_LIFETIME, MAX_OTP_LIFETIME),
        doc="Seconds that a code lives. NIST SP 800-63B-4 3.1.3.2, ASVS 6.5.5: 600 at most. In the "
        "last 65 of them no text leaves.",
    )
    otp_tries = Setting(
        3,
        5,
        parse=integer,
        fault=between(1, 10),
        doc="Wrong tries that one code survives. Twilio Verify and Ory Kratos use 5.",
    )
    lock_after = Setting(
        4,
        10,
        parse=integer,
        fault=between(1, MAX_FAILURES),
        doc="Each time the failures of a user pass a multiple of this, the user is locked.",
    )
    lock_seconds = Setting(
        5,
        (900, 1800, 3600, 3600),
        parse=integers,
        fault=lambda v: (
            ""
            if v and all(0 < s <= 86400 for s in v)
            else "must be at least one number of seconds, each from 1 to 86400"
        ),
        doc="Seconds of the first, second, ... lock. A lock ends by itself: it must not be "
        "a weapon in a stranger's hand.",
    )
    disable_after = Setting(
        6,
        50,
        parse=integer,
        fault=between(1, MAX_FAILURES),
        doc="Failures without a right code that disable texted codes for a user. NIST "
        "SP 800-63B-4 3.2.2 has its ceiling at 100.",
    )
