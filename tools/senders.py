"""Which senders a text may come from: a name, a number, or a short code.

A name is put into the address of the text, which has room for 11 signs of GSM-7 (3GPP TS 23.040,
9.1.2.5). Gateways take ASCII only, with a letter in it: Twilio, "Alphanumeric Sender ID"; Telnyx,
"Alphanumeric Sender IDs". A number with + is one of E.164: at most 15 digits, the first not 0.
Digits alone are a number or a short code. Only the gateway knows whether they are its own.

Regions change their rules, so only those are here that a regulator publishes, or that two gateways
document.
"""

import re

from optin.messaging.segments import GSM_7

LONGEST_NAME = 11

NO_NAMES = frozenset({"CA", "PR", "US"})
"""Regions whose carriers take no text from a name. Telnyx, "Alphanumeric Sender IDs": "cannot send
to the United States, Canada, or Puerto Rico". AWS End User Messaging SMS, "Sender IDs", and Bird,
"Alphanumeric Senders", say so of Canada and the United States."""

REGISTERED = frozenset({"AU", "IE", "SG"})
"""Regions that want names registered, and mark texts from others.

AU: ACMA, SMS Sender ID Register: "Unverified", since 1 July 2026.
IE: ComReg, SMS Sender ID Registry: "Likely Scam", since 3 July 2025.
SG: IMDA, Singapore SMS Sender ID Registry: "Likely-SCAM", since 31 January 2023.
"""

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_DIGITS = re.compile(r"[0-9]{3,15}")


def is_name(sender: str) -> bool:
    """Whether *sender* is meant as a name."""
    return bool(sender) and not re.fullmatch(r"\+.*|[0-9 ]+", sender)


def fault(sender: str) -> str:
    """Say what is wrong with *sender* in every region, in words without it; "" if nothing is."""
    if not is_name(sender):
        fits = not sender or _E164.fullmatch(sender) or _DIGITS.fullmatch(sender)
        return "" if fits else "must be a number such as +61491570156, or 3 to 15 digits"
    if len(sender) > LONGEST_NAME:
        return f"has {len(sender)} characters; a name may have {LONGEST_NAME}"
    if not (sender.isascii() and GSM_7.issuperset(sender) and sender.isprintable()):
        return "has a sign that no sender may have; use letters, digits and spaces"
    return "" if re.search("[A-Za-z]", sender) else "needs a letter, or must be a number"
