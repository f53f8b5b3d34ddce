"""What staff can do about each rule that refuses a text."""

from optin.limits import Rule
from optin.outcomes import SendOutcome
from optin.support.diagnosis.causes import Why
from optin.support.wording import SUSPENDED

IT_ENDS = (
    "Nobody here can lift it; it ends by itself. Tell them to wait until then, and to ask once."
)

BUDGET = (
    "Tell an administrator at once: others are refused too, and it may be fraud. Tell the person "
    "when to try again."
)

BY_LIST = (
    "Staff put it there: see “Stops and lists” for the reason and the end. An administrator can "
    "take it off."
)

BY_OWNER = (
    "If the caller proves that the number is now theirs, an administrator can press “Take off the "
    "lists”."
)

UNLOCK = (
    "Tell them to wait until then; or, if you are sure who it is, press “Unlock”. If the tries "
    "were not theirs, somebody else may know the password: ask the person to change it first."
)

ANOTHER_WAY = "They can sign in with the app or a recovery code."

UNLOCK_TEXTS = (
    "If you are sure who it is, press “Unlock”. If the tries were not theirs, somebody else may "
    "know the password: ask the person to change it first."
)

TWO_CODES = (
    "Tell them to enter the code that the app shows, then the next one within five minutes. A "
    "texted code or a recovery code works as ever. If the tries were not theirs, somebody else may "
    "know the password: ask the person to change it first."
)

END_SUSPENSION = (
    "Press “End the suspension” only if you are sure who it is, and its reason is gone."
)

CHOOSE_ANOTHER = "Tell them to choose a new one: “Forgotten your password?” on the page to sign in."

WHICH_ACCOUNT = (
    "Ask which name they sign in with: it may be another account. Ask also what the page or the "
    "application says: a request with a mistake in it, such as a number with too few digits, is "
    "not listed here. The operators find it in the log."
)

LOOK_AT_THE_LOG = (
    "Tell the operators to look at the workers and their log. Tell the person that it "
    "is not their phone."
)

ASK_LATER = (
    "Tell them to ask again then. Do not tell them what others did: the number may be somebody "
    "else's. If it is theirs, another person may have entered it by mistake."
)

OF_ANOTHER_ACCOUNT = (
    "Whoever entered the code has the phone. “What happened” names both accounts. Ask whether they "
    "have another account, but do not name it. If it is theirs, they turn two-factor off there, "
    "and opt in again here. If not, its owner got an e-mail: ask an administrator if nothing "
    "happens for some days."
)

HAVE_FORGOTTEN = "Have they forgotten it? “Forgotten your password?” mails a link to a new one."

RULES: dict[str, tuple[Why, str]] = {
    Rule.ASKED_PAIR: (Why.NUMBER_LIMIT, IT_ENDS),
    Rule.ASKED_NUMBER: (Why.NUMBER_LIMIT, IT_ENDS),
    Rule.OFF_NUMBER: (Why.NUMBER_LIMIT, IT_ENDS),
    Rule.OWN_NUMBER: (Why.NUMBER_LIMIT, IT_ENDS),
    Rule.ASKED_USER: (Why.USER_LIMIT, IT_ENDS),
    Rule.OWN_USER: (Why.USER_LIMIT, IT_ENDS),
    Rule.ASKED_IP: (Why.ADDRESS_LIMIT, IT_ENDS),
    Rule.OWN_IP: (Why.ADDRESS_LIMIT, IT_ENDS),
    Rule.ASKED_CLIENT: (Why.CLIENT_LIMIT, IT_ENDS),
    Rule.OWN_CLIENT: (Why.CLIENT_LIMIT, IT_ENDS),
    Rule.FILE: (Why.FILE_BUDGET, BUDGET),
    Rule.TOTAL: (Why.TOTAL_BUDGET, BUDGET),
    Rule.OWN_TOTAL: (Why.TOTAL_BUDGET, BUDGET),
    Rule.RESEND_WAIT: (
        Why.RESEND_WAIT,
        "Tell them to look for the text that was sent before: its code still works.",
    ),
    Rule.PREFIX: (
        Why.PREFIX_CLOSED,
        "An administrator can open the prefix, or put this number on the safe list. Tell the "
        "person that it is not their phone.",
    ),
    Rule.STOP: (
        Why.ALL_STOPPED,
        "Tell the person that it is not their phone, and that nobody gets texts now. An "
        "administrator knows when they go again.",
    ),
    Rule.OPTED_OUT: (
        Why.ANSWERED_STOP,
        "Tell them to text START to the sender of the last text. Or, once they have signed in "
        "with an app or a recovery code, to turn text messages on again under “Two-factor”. "
        "An administrator can allow the number again.",
    ),
    Rule.DENY_NUMBER: (Why.DENIED, BY_LIST),
    Rule.DENY_PREFIX: (Why.DENIED, BY_LIST),
    SendOutcome.REGION_NOT_ALLOWED: (
        Why.REGION,
        "Tell them that it takes a mobile number of an allowed country, or an authenticator app "
        "in place of texts. Operators can allow more countries.",
    ),
    SendOutcome.LOCKED: (Why.LOCKED, UNLOCK),
    SendOutcome.FACTOR_DISABLED: (Why.DISABLED, UNLOCK_TEXTS),
    SUSPENDED: (Why.SUSPENDED, END_SUSPENSION),
    SendOutcome.ALREADY_OPTED_IN: (
        Why.ON_ALREADY,
        "Tell them to sign in to change the number, or to turn it off first.",
    ),
    SendOutcome.NOT_OPTED_IN: (
        Why.NO_NUMBER,
        "Tell them to opt in first, if they wish to get codes by text message.",
    ),
}
