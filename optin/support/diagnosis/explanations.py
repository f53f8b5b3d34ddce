"""Each cause of a refusal, in the words of each of the three who read of it (G-07).

A decision names its rule, and the rule its cause (``wording.RULES``). From the cause, a page has a
sentence for the person, ``/Help/Errors`` an entry for a client's developer, and the page of the
account what staff can do. What is so at this moment, with counts and times, is added by whoever
writes the sentence. A rule that withholds a text has words for staff only (S-38).
"""

from dataclasses import dataclass

from django.utils.translation import gettext_noop

from optin.causes import Why
from optin.support.diagnosis.advice import (
    ASK_LATER,
    BUDGET,
    BY_LIST,
    END_SUSPENSION,
    ENTER_A_MOBILE,
    HAVE_FORGOTTEN,
    IT_ENDS,
    UNLOCK,
    UNLOCK_TEXTS,
)


@dataclass(frozen=True, slots=True)
class Explanation:
    """One cause and what helps, in words for each reader."""

    staff: str
    """The advice. The cause itself is told with its facts (``refusals``)."""

    client: str = ""
    """For a client's developer. "" where the code says it all, or no client may know."""

    person: str = ""
    """A message to translate, with ``%(wait)s``. "" where the page says it with what else it knows
    (``web.words``), or the person may not know."""


_WAIT = "Wait as many seconds as Retry-After says, then ask once."

EXPLAINED: dict[Why, Explanation] = {
    Why.NUMBER_LIMIT: Explanation(
        IT_ENDS,
        f"Many texts were sent to this number for this person. {_WAIT} The newest code stays valid "
        "until it expires.",
        gettext_noop(
            "We have sent you many text messages to this number. You can ask again in %(wait)s."
        ),
    ),
    Why.USER_LIMIT: Explanation(
        IT_ENDS,
        f"Many texts were requested for this person. {_WAIT} The newest code stays valid until it "
        "expires.",
        gettext_noop(
            "Many text messages were asked for with your account. You can ask again in %(wait)s."
        ),
    ),
    Why.ADDRESS_LIMIT: Explanation(
        IT_ENDS,
        f"Many texts were asked for from one address (IPv6: one /64). {_WAIT} If your server signs "
        "many people in, ask the operators for a higher limit.",
        gettext_noop(
            "Many text messages were asked for from your network. You can ask again in %(wait)s."
        ),
    ),
    Why.CLIENT_LIMIT: Explanation(
        IT_ENDS,
        f"Your key or application has asked for many texts under this file. {_WAIT} If you need "
        "more, ask the operators for a higher limit.",
    ),
    Why.FILE_BUDGET: Explanation(
        BUDGET,
        "All people of the file together have asked for as many texts as may be sent. "
        f"{_WAIT} If you did not expect that, tell the operators.",
        gettext_noop(
            "The people of your file have asked for as many text messages as may be sent. The "
            "cause is not your phone. You can ask again in %(wait)s."
        ),
    ),
    Why.TOTAL_BUDGET: Explanation(
        BUDGET,
        f"The service has sent as many texts as it may: the budget of all texts is used up. {_WAIT}"
        " The operators know of it.",
        gettext_noop(
            "This service has sent as many text messages as it may for now. The cause is not "
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
        "the safe list: “Stops and lists” shows which. Tell the person that it is not their phone.",
        "Opt-ins of numbers with this prefix (the number without its last 4 digits) are closed for "
        "a while, against fraud. Wait as many seconds as Retry-After says, or let the person "
        "use another number.",
        gettext_noop(
            "Numbers that begin like this one get no codes for a while. The cause is not your "
            "phone. You can ask again in %(wait)s, or use another number."
        ),
    ),
    Why.ALL_STOPPED: Explanation(
        "Tell the person that it is not their phone, and that nobody gets texts now. An "
        "administrator knows when they go again.",
        "Staff stopped all texts. The end is not known: Retry-After says when to ask again. Tell "
        "the person that it is not their phone.",
        gettext_noop(
            "This service sends no text messages at the moment, and we do not know for how long. "
            "The cause is not your phone. Try again in %(wait)s."
        ),
    ),
    Why.ANSWERED_STOP: Explanation(
        "Tell them to text START to the sender of the last text. Or, once they have signed in "
        "with an app or a recovery code, to turn text messages on again under “Two-factor”. "
        "An administrator can allow the number again.",
        "Somebody answered STOP from the person's number. Do not ask again before its owner has "
        "sent START, or has turned texts on again on the pages of the service.",
    ),
    Why.LOCKED: Explanation(
        UNLOCK,
        "Too many wrong codes have locked the account, or its access keys and tokens. Wait as many "
        "seconds as Retry-After says: until then, right codes are refused too, and no text is "
        "sent.",
        gettext_noop(
            "Too many wrong codes: no text message is sent. You can ask again in %(wait)s."
        ),
    ),
    Why.DISABLED: Explanation(
        UNLOCK_TEXTS,
        "Too many wrong codes disabled codes by text message: no text is sent, and no texted code "
        "is accepted. At sign-in, a code of an authenticator app or a recovery code still works, "
        "and ends this. Otherwise the person asks support. If the wrong codes came by access keys "
        "and tokens, only these are refused, and only support ends it.",
    ),
    Why.SUSPENDED: Explanation(
        END_SUSPENSION,
        "Staff suspended the person's number: no text is sent, and no texted code is accepted. At "
        "sign-in, a code of an authenticator app or a recovery code still works. Otherwise the "
        "person asks support.",
    ),
    Why.PASSWORD_LIMIT: Explanation(
        HAVE_FORGOTTEN,
        "Too many passwords were tried, for this name or from this address. The password of this "
        "call was not checked. Wait as many seconds as Retry-After says.",
    ),
    Why.NOT_MOBILE: Explanation(ENTER_A_MOBILE),
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
    Why.DENIED: Explanation(BY_LIST),
    Why.OTHERS_ASKED: Explanation(ASK_LATER),
}
