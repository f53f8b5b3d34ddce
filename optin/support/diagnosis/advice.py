"""What staff can do: sentences that several causes share."""

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

UNLOCK_PROGRAMS = (
    "Under “What happened”, find which application it was. If the person does not "
    "know why, have it revoked. Then press “Unlock”. A lock also ends by itself."
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

ENTER_A_MOBILE = (
    "Ask for the number: it may have too few or too many digits, or lack the code of its country. "
    "Tell them to enter it as +61 499 999 999."
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
