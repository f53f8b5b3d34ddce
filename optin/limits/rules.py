"""The rules: each has a name, which audit events and counters keep."""

from enum import StrEnum


class Rule(StrEnum):
    """What can refuse a text, a sign-in or an action of staff. The values are stored.

    The rule of a rate is stored with its window in seconds: ``asked-number/600``.
    """

    # Rates of texts. "Asked": for opt-in and opt-out, which anybody with a key can ask for.
    # "Own": for signing in and changes, which only a right password causes.
    ASKED_NUMBER = "asked-number"  # for opt-in, over all users
    ASKED_PAIR = "asked-pair"  # for opt-in, of one user
    OFF_NUMBER = "off-number"  # for opt-out
    OWN_NUMBER = "own-number"
    ASKED_USER = "asked-user"
    OWN_USER = "own-user"
    ASKED_IP = "asked-ip"
    OWN_IP = "own-ip"
    ASKED_CLIENT = "asked-client"
    OWN_CLIENT = "own-client"
    FILE = "file"
    TOTAL = "total"
    OWN_TOTAL = "own-total"

    # Other rules about texts.
    RESEND_WAIT = "resend-wait"  # a text to a number waits a little for the one before it
    PREFIX = "prefix"  # the breaker
    DENY_NUMBER = "deny-number"
    DENY_PREFIX = "deny-prefix"
    OPTED_OUT = "stopped"  # somebody answered STOP from the number
    STOP = "stop"  # staff stopped all texts

    # A rate of questions to the provider that knows of swapped SIMs. It refuses no text itself.
    SIM_SWAP = "sim-swap"

    # Rates of passwords.
    SIGN_IN_NAME = "sign-in-name"  # wrong ones for one name
    SIGN_IN_IP = "sign-in-ip"  # wrong ones from one address
    SIGN_IN_TRIES = "sign-in-tries"  # all from one address
    SIGN_IN_ALL = "sign-in-all"  # wrong ones for one name over all networks: refuses nobody itself
    SIGN_IN_NEW = "sign-in-new"  # while that is over: networks from which a user never signed in
    RESET_NAME = "reset-name"  # requests for a lost password of one name
    RESET_IP = "reset-ip"  # and from one address

    # A rate of one person.
    EMAIL = "email"  # requests for another email address

    # Rates of one member of staff.
    SEARCH = "search"
    REVOCATION = "revocation"

    # These refuse nothing.
    NONE = "none"  # where no rule has a limit
    OWN_FIRST = "own-first"  # a user's own texts, of which the first leave beyond OWN_TOTAL
    REGION = "region"  # opt-ins in a region, for an alarm
    REGION_ALARM = "region-alarm"  # whether that alarm was sounded
