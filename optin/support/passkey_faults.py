"""Why a passkey was refused, in words for the person and for staff (G-07)."""

from dataclasses import dataclass

from django.utils.translation import gettext_noop

from optin.passkeys import PasskeyFault


@dataclass(frozen=True, slots=True)
class FaultWords:
    """One fault, and what helps."""

    person: str
    """A message to translate."""

    cause: str
    """What staff read in the trail."""

    advice: str
    """What staff can do."""


_OUT_OF_DATE = gettext_noop("This page was out of date. Try again now.")

FAULT_WORDS: dict[str, FaultWords] = {
    PasskeyFault.EXPIRED: FaultWords(
        gettext_noop("That took longer than 5 minutes. Try again."),
        "it was answered too late",
        "A page can be used for 5 minutes. Tell them to load it again, and to use the passkey at "
        "once.",
    ),
    PasskeyFault.OTHER_SESSION: FaultWords(
        _OUT_OF_DATE,
        "it was asked for in another session, or for another purpose",
        "Tell them to close all tabs of this service, and to sign in again in one of them.",
    ),
    PasskeyFault.USED: FaultWords(
        _OUT_OF_DATE,
        "its challenge, or a later one, was answered before",
        "Tell them to load the page again, and to use the passkey there. A passkey was used in "
        "another tab meanwhile.",
    ),
    PasskeyFault.WRONG_ORIGIN: FaultWords(
        gettext_noop(
            "That passkey was used on another website, so we refused it. Look at the address of "
            "the page, and go to our website yourself."
        ),
        "it was used on another website",
        "Ask which address their browser shows. If it is not the one of this service, it may be a "
        "fake website: tell them to close it, and to choose a new password.",
    ),
    PasskeyFault.UNKNOWN: FaultWords(
        gettext_noop(
            "That passkey doesn't belong to this account, or it was removed. Use another one."
        ),
        "this account does not have it",
        "It is a passkey of another account, or one that was removed. Ask which of their passkeys, "
        "named above, they have at hand. To use this device, they sign in another way, and add a "
        "passkey under “Security”.",
    ),
    PasskeyFault.NOT_VERIFIED: FaultWords(
        gettext_noop(
            "Your passkey didn't check that it's you. Use one with a PIN, a fingerprint or a face."
        ),
        "it did not verify the person",
        "Tell them to give the security key a PIN, or the device a screen lock, or to sign in with "
        "the password.",
    ),
    PasskeyFault.CLONED: FaultWords(
        gettext_noop(
            "There may be a copy of that passkey, so we refused it. Use another way, and then "
            "remove it from your account."
        ),
        "its counter did not grow: there may be a copy of the key",
        "Somebody may have a copy of this key. Tell them to sign in with another second factor, to "
        "remove the key under “Security”, and to add another one. If they have no other second "
        "factor, an administrator can press “Remove a passkey”.",
    ),
    PasskeyFault.INVALID: FaultWords(
        gettext_noop("Your browser's answer couldn't be read. Try again."),
        "the answer of the browser is wrong or unreadable",
        "Tell them to update their browser, or to use another one or another way. If it happens "
        "again, tell the operators.",
    ),
}
