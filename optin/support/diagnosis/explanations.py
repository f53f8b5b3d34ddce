"""Each cause of a refusal, in the words of each of the three who read of it (G-07).

A decision names its rule, and the rule its cause (``wording.RULES``). From the cause, a page has a
sentence for the person, ``/Help/Errors`` an entry for a client's developer, and the page of the
account what staff can do. What is so at this moment, with counts and times, is added by whoever
writes the sentence. A rule that withholds a text has words for staff only (S-38).
"""

from dataclasses import dataclass

from django.utils.translation import gettext_noop

from optin.causes import Cause, Question, Why


@dataclass(frozen=True, slots=True)
class Explanation:
    """One cause and what helps, in words for each reader."""

    staff: str
    """The advice. The cause itself is told with its facts (by ``no_text`` and ``no_entry``)."""

    client: str = ""
    """For a client's developer. "" where the code says it all, or no client may know."""

    person: str = ""
    """A message to translate, with ``%(wait)s``. "" where the page says it with what else it knows
    (``web.words``), or the person may not know."""


_IT_ENDS = (
    "Nobody here can lift it; it ends by itself. Tell them to wait until then, and to ask once."
)
_BUDGET = (
    "Tell an administrator at once: others are refused too, and it may be fraud. Tell the person "
    "when to try again."
)
IF_NOT_THEIRS = (
    "If the tries weren't theirs, somebody else may know the password: ask the person to change "
    "it first."
)
_WAIT = "Wait as many seconds as Retry-After says, then ask once."

EXPLAINED: dict[Why, Explanation] = {
    Why.NUMBER_LIMIT: Explanation(
        _IT_ENDS,
        f"Many texts were sent to this number for this person. {_WAIT} The newest code stays valid "
        "until it expires.",
        gettext_noop(
            "We have sent you many text messages to this number. You can ask again in %(wait)s."
        ),
    ),
    Why.USER_LIMIT: Explanation(
        _IT_ENDS,
        f"Many texts were requested for this person. {_WAIT} The newest code stays valid until it "
        "expires.",
        gettext_noop(
            "Many text messages were asked for with your account. You can ask again in %(wait)s."
        ),
    ),
    Why.ADDRESS_LIMIT: Explanation(
        _IT_ENDS,
        f"Many texts were asked for from one address (IPv6: one /64). {_WAIT} If your server signs "
        "many people in, ask the operators for a higher limit.",
        gettext_noop(
            "Many text messages were asked for from your network. You can ask again in %(wait)s."
        ),
    ),
    Why.CLIENT_LIMIT: Explanation(
        _IT_ENDS,
        f"Your key or application has asked for many texts under this file. {_WAIT} If you need "
        "more, ask the operators for a higher limit.",
    ),
    Why.FILE_BUDGET: Explanation(
        _BUDGET,
        "All people of the file together have asked for as many texts as may be sent. "
        f"{_WAIT} If you didn't expect that, tell the operators.",
        gettext_noop(
            "The people of your organisation have asked for as many text messages as may be "
            "sent. The cause isn't your phone. You can ask again in %(wait)s."
        ),
    ),
    Why.TOTAL_BUDGET: Explanation(
        _BUDGET,
        f"The service has sent as many texts as it may: the budget of all texts is used up. {_WAIT}"
        " The operators know of it.",
        gettext_noop(
            "This service has sent as many text messages as it may for now. The cause isn't "
            "your phone. You can ask again in %(wait)s."
        ),
    ),
    Why.RESEND_WAIT: Explanation(
        "Tell them to look for the text that was sent before: its code still works.",
        "The last text was sent a moment ago, and its code is still valid: ask the person for it. "
        "Another text can be sent a little later. If the answer has a Retry-After header, it says "
        "when.",
        gettext_noop("A text message was sent a moment ago. You can ask for another in %(wait)s."),
    ),
    Why.PREFIX_CLOSED: Explanation(
        "An administrator can open the prefix, take it off the deny list, or put this number on "
        "the safe list: “Stops and lists” shows which. Tell the person that it isn't their phone.",
        "Opt-ins of numbers with this prefix (the number without its last 4 digits) are closed for "
        "a while, against fraud. Wait as many seconds as Retry-After says, or let the person "
        "use another number.",
        gettext_noop(
            "Numbers that begin like this one get no codes for a while. The cause isn't your "
            "phone. You can ask again in %(wait)s, or use another number."
        ),
    ),
    Why.ALL_STOPPED: Explanation(
        "Tell the person that it isn't their phone, and that nobody gets texts now. An "
        "administrator knows when they go again.",
        "Staff stopped all texts. The end isn't known: Retry-After says when to ask again. Tell "
        "the person that it isn't their phone.",
        gettext_noop(
            "This service sends no text messages at the moment, and we don't know for how long. "
            "The cause isn't your phone. Try again in %(wait)s."
        ),
    ),
    Why.ANSWERED_STOP: Explanation(
        "Tell them to text START to the sender of the last text. An administrator can allow the "
        "number again.",
        "Somebody answered STOP from the person's number. Don't ask again before its owner has "
        "sent START, or has turned texts on again on the pages of the service.",
    ),
    Why.LOCKED: Explanation(
        "Tell them to wait until then; or, if you're sure who it is, press “Unlock”. "
        f"{IF_NOT_THEIRS}",
        "Too many wrong codes have locked the account, or its access keys and tokens. Wait as many "
        "seconds as Retry-After says: until then, right codes are refused too, and no text is "
        "sent.",
        gettext_noop(
            "Too many wrong codes: no text message is sent. You can ask again in %(wait)s."
        ),
    ),
    Why.DISABLED: Explanation(
        f"If you're sure who it is, press “Unlock”. {IF_NOT_THEIRS}",
        "Too many wrong codes disabled codes by text message: no text is sent, and no texted code "
        "is accepted. At sign-in, a code of an authenticator app or a recovery code still works, "
        "and ends this. Otherwise the person asks support. If the wrong codes came by access keys "
        "and tokens, only these are refused, and only support ends it.",
    ),
    Why.SUSPENDED: Explanation(
        "Press “End the suspension” only if you're sure who it is, and its reason is gone.",
        "Staff suspended the person's number: no text is sent, and no texted code is accepted. At "
        "sign-in, a code of an authenticator app or a recovery code still works. Otherwise the "
        "person asks support.",
    ),
    Why.PASSKEY_ONLY: Explanation(
        "Tell them to give the program a recovery code, or to add a mobile number or an "
        "authenticator app under “Security”.",
        "The person's only second factor is a passkey, which works in a browser only: no text is "
        "sent. Send one of their recovery codes. For sign-ins without a browser, the person can "
        "add a mobile number or an authenticator app on the pages of the service. Or use the "
        "authorization code flow, in which the person signs in with a browser.",
    ),
    Why.SIM_SWAPPED: Explanation(
        "Ask whether they changed their SIM or carrier. If not, somebody may have taken over the "
        "number: tell them to call their carrier, and to choose a new password. Press “Let one "
        "sign-in through” only if you're sure who it is.",
        "The person's carrier says that the SIM of the number is new, so somebody else may have "
        "the number: no text is sent, and no texted code is accepted. At sign-in, a code of an "
        "authenticator app or a recovery code still works. Otherwise the person waits, or asks "
        "support.",
    ),
    Why.SIM_UNKNOWN: Explanation(
        "Tell them that the cause isn't their phone, and to ask again. If it happens again, tell "
        "the operators: the provider that is asked about SIM swaps gives no answer.",
        "Before a text leaves, this service asks whether the SIM of the number is new. There was "
        "no answer, so no text was sent. At sign-in, a code of an authenticator app or a recovery "
        "code still works. Ask for another text after as many seconds as Retry-After says.",
        gettext_noop(
            "We couldn't check whether your number has a new SIM, so no text message was sent. The "
            "cause isn't your phone. You can ask again in %(wait)s."
        ),
    ),
    Why.PASSWORD_LIMIT: Explanation(
        "Have they forgotten it? “Forgotten your password?” mails a link to a new one.",
        "Too many passwords were tried, for this name or from this address. The password of this "
        "call wasn't checked. Wait as many seconds as Retry-After says.",
    ),
    Why.TEXTS_END: Explanation(
        "Tell them to sign in and to set up an authenticator app or a passkey first. Then they can "
        "also add a number. The page of the file says since when texts have ended.",
        "This file takes a new mobile number only from people who have an authenticator app or a "
        "passkey. They set it up on the pages of the service, where they can then add the number. "
        "Don't ask again. Numbers that were opted in before keep working.",
        gettext_noop(
            "Your organisation takes a new mobile number only from people who also use an "
            "authenticator app or a passkey. Set up one of these first."
        ),
    ),
    Why.NOT_MOBILE: Explanation(
        "Ask for the number: it may have too few or too many digits, or lack the code of its "
        "country. Tell them to enter it as +61 499 999 999.",
    ),
    Why.REGION: Explanation(
        "Tell them that it takes a mobile number of an allowed country, or an authenticator app "
        "in place of texts. Operators can allow more countries.",
    ),
    Why.ON_ALREADY: Explanation(
        "Tell them to sign in to change the number, or to turn it off first.",
    ),
    Why.NO_NUMBER: Explanation(
        "Tell them to opt in first, if they wish to get codes by text message.",
    ),
    Why.REHEARSED: Explanation(
        "This is a test account, and nothing is wrong. Tell them to use another number of the "
        "sandbox: the help for developers lists what each one does."
    ),
    Why.DENIED: Explanation(
        "Staff put it there: see “Stops and lists” for the reason and the end. An administrator "
        "can take it off.",
    ),
    Why.OTHERS_ASKED: Explanation(
        "Tell them to ask again then. Don't tell them what others did: the number may be somebody "
        "else's. If it is theirs, another person may have entered it by mistake.",
    ),
    Why.NOTHING_ASKED: Explanation(
        "Ask which name they sign in with: it may be another account. Ask also what the page or "
        "the application says: a request that lacks something, such as the number, isn't listed "
        "here. The operators find it in the log.",
    ),
    Why.NOT_TAKEN_UP: Explanation(
        "Tell the operators to look at the workers and their log. Tell the person that it isn't "
        "their phone.",
    ),
    Why.WRONG_PASSWORD: Explanation(
        "Tell them to choose a new password, by “Forgotten your password?” on the page to sign in.",
    ),
    Why.NO_PASSWORD: Explanation(
        "Tell them to choose a password, by “Forgotten your password?” on the page to sign in. Or "
        "press “Send an invitation”. Only operators give staff one.",
    ),
    Why.TWO_CODES: Explanation(
        "Tell them to enter the code that the app shows, then the next one within five minutes. A "
        f"texted code or a recovery code works as ever. {IF_NOT_THEIRS}",
    ),
    Why.NUMBER_IN_USE: Explanation(
        "Whoever entered the code has the phone. “What happened” names both accounts. Ask whether "
        "they have another account, but don't name it. If it is theirs, they turn two-factor off "
        "there, and opt in again here. If its page says that the number was taken over, it came "
        "wrong from the old system: remove the second factors there. Otherwise its owner got an "
        "email: ask an administrator if nothing happens for some days.",
    ),
}


def no_text(why: Why, words: str, advice: str = "") -> Cause:
    """Return a cause for why there is no text, with the advice of ``EXPLAINED`` by default."""
    return Cause(Question.NO_TEXT, why, words, advice or EXPLAINED[why].staff)


def no_entry(why: Why, words: str, advice: str = "") -> Cause:
    """Return a cause for why somebody cannot sign in, likewise."""
    return Cause(Question.NO_ENTRY, why, words, advice or EXPLAINED[why].staff)
