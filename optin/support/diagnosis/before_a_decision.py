"""Why a request was refused before anything was decided: the causes in a reference (G-07).

There is no event and no row: the reference itself has the cause (``runtime.references``).
"""

from typing import NamedTuple

from optin.causes import Why
from optin.runtime.references import Undecided
from optin.support.diagnosis.explanations import EXPLAINED


class Reason(NamedTuple):
    """Why it was refused, in words, and what to do about it."""

    words: str
    advice: str


_OPERATORS_KNOW = "Tell the operators, with the reference: the log says more."

_IT_ENDS = "It ends by itself. The answer says how long to wait."

_DEVELOPER = (
    "Whoever wrote the application can fix it: the answer says what is wrong, and its header Link "
    "leads to the help."
)

REASONS: dict[Undecided, Reason] = {
    # -- credentials ---------------------------------------------------------------
    Undecided.NO_CREDENTIAL: Reason(
        "The call had no credential at all: neither a bearer token nor an access key.",
        "Whoever runs the application must add one. A token goes in the header Authorization, "
        "after the word Bearer. An access key goes in the address, as WsAccessKey.",
    ),
    Undecided.KEYS_OFF: Reason(
        "The call had an access key only, and access keys are switched off on this server.",
        "The application needs a token. Ask the operators if it was to work with keys: they can "
        "switch them on (LEGACY_ACCESS_KEYS).",
    ),
    Undecided.INVALID_TOKEN: Reason(
        "The token of the call is not valid. It has expired or was revoked, it is for another "
        "server, it never existed, or its account is deactivated. The reference does not say "
        "which, because a thief could find it out too.",
        "Tokens end after a while, and when somebody opts in, chooses a new password or signs out "
        "everywhere. So the application must get a new one: with its refresh token, or the person "
        "signs in again. If that does not help, search for the account: its page says if it is "
        "deactivated.",
    ),
    Undecided.INVALID_KEY: Reason(
        "The access key of the call is not valid. It was revoked, it is mistyped, it was never "
        "one of ours, or its account is deactivated. The reference does not say which, because a "
        "thief could find it out too.",
        "Ask for the first 6 characters of the key, and enter them in the search: it says whose "
        "key it is, and if it works. An administrator can make a new key.",
    ),
    Undecided.TWO_PEOPLE: Reason(
        "The call had a token of one account and an access key of another. Both are valid.",
        "Whoever runs the application leaves one of them out, or uses two of the same account.",
    ),
    Undecided.UNKNOWN_CLIENT: Reason(
        "The application did not prove who it is: its client id or its secret is wrong.",
        "Whoever runs the application compares both with what they were given. If the secret is "
        "lost, an administrator removes the application and makes it again.",
    ),
    Undecided.CLIENT_GRANT: Reason(
        "The application is known, but may not get a token in this way.",
        "Whoever runs it looks at grant_type. An administrator sees which way is meant, among the "
        "applications.",
    ),
    Undecided.PASSWORD_CALLS_OFF: Reason(
        "The token calls are switched off on this server: an application cannot sign people in "
        "with their password.",
        "The application can use /o/ instead. Ask the operators if it was to work: they can switch "
        "the calls on (manage password_clients on).",
    ),
    Undecided.GRANT_TYPE: Reason("The call does not serve the grant_type that it had.", _DEVELOPER),
    Undecided.UNKNOWN_SCOPE: Reason(
        "The application asked for a scope that it cannot have: it is unknown, too long, or more "
        "than was granted before.",
        _DEVELOPER,
    ),
    Undecided.FILE_UNTOLD: Reason(
        "The caller may not use the file of the call. This was not listed under the account, "
        "because the caller sent too many requests.",
        "Search for the account: the first such calls are listed there. Ask which file they mean: "
        "the call names it as FileId.",
    ),
    Undecided.SCOPE_UNTOLD: Reason(
        "The scope of the token does not allow the call. This was not listed under the account, "
        "because the caller sent too many requests.",
        "The application asks for a token with the scope full, 2fa or modify. To read events or "
        "manage endpoints, it needs full or events.",
    ),
    # -- what was sent -------------------------------------------------------------
    Undecided.MALFORMED: Reason(
        "The request has a mistake: something is missing, malformed or given twice.",
        _DEVELOPER,
    ),
    Undecided.NO_NUMBER: Reason(
        "What was entered is not a mobile number.",
        EXPLAINED[Why.NOT_MOBILE].staff,
    ),
    Undecided.ONLY_FICTION: Reason(
        "The file is a sandbox, and the number is not one that is kept free for films and books.",
        "To use a real number, they opt in for another file. Test accounts are for sandboxes only.",
    ),
    Undecided.TOO_LARGE: Reason("The body of the request was too large.", _DEVELOPER),
    Undecided.MEDIA_TYPE: Reason(
        "The body of the call had a content type that is not accepted.", _DEVELOPER
    ),
    Undecided.METHOD: Reason(
        "The address is right, but does not take the method of the request, such as GET or POST.",
        f"A person opens the page again from its start page. {_DEVELOPER}",
    ),
    Undecided.NO_ADDRESS: Reason(
        "There is nothing at the address, or not for the account that was signed in.",
        "Ask for the address. A person goes to the start page and signs in with the right account; "
        "an application needs the right address of the call.",
    ),
    Undecided.FOREIGN_HOST: Reason(
        "The host name in the request is not the one of this service.",
        "Ask for the beginning of the address: it may be an old one. If it is right, tell the "
        "operators: the proxy may pass on a wrong Host, or BASE_URL may name another one.",
    ),
    Undecided.CURSOR_GONE: Reason(
        "The application asked for events that are not kept any more, or do not exist yet.",
        "Whoever runs it reads the events from the beginning, with after=0.",
    ),
    Undecided.ENDPOINT: Reason(
        "The file has 5 webhook endpoints already, or a new secret was asked for twice in a day.",
        "A member who manages the file looks at its endpoints, on the page Integrations.",
    ),
    Undecided.REHEARSED: Reason(
        "Nothing is wrong: the file is a sandbox, and the ending of the number asked for this "
        "answer.",
        "Tell them to use a number with another ending if they expected a text.",
    ),
    # -- too many ------------------------------------------------------------------
    Undecided.USER_REQUESTS: Reason(
        "The credentials were valid, but calls for this account came too often.",
        f"{_IT_ENDS} Whoever runs the application lets it ask less often.",
    ),
    Undecided.NETWORK_REQUESTS: Reason(
        "Too many requests came from one network.",
        f"{_IT_ENDS} Others in the same network may have caused it. From another network it works "
        "now.",
    ),
    Undecided.PAGE_REQUESTS: Reason(
        "One session asked for too many pages in a short time.",
        f"{_IT_ENDS} A page that reloads itself, or many tabs, may have caused it.",
    ),
    Undecided.BUSY: Reason(
        "Too many passwords were being checked at the same moment. This one was not checked, and "
        "it does not count as a try.",
        "Tell them to try again now. If it comes again, tell the operators: many may be signing "
        "in, or somebody may be guessing passwords.",
    ),
    # -- faults --------------------------------------------------------------------
    Undecided.DATABASE_AWAY: Reason(
        "The database did not answer, or had no room.",
        f"Tell them to try again now. Does it happen again? {_OPERATORS_KNOW}",
    ),
    Undecided.NOT_WRITTEN: Reason(
        "The database did not let the service write, for example into the audit log. Without "
        "its event, nothing is done.",
        f"Trying again does not help. {_OPERATORS_KNOW}",
    ),
    Undecided.INTERNAL: Reason(
        "The service itself failed: this is a fault of ours.",
        f"{_OPERATORS_KNOW} Look at the account before they try again: a part may be done.",
    ),
    # -- pages ---------------------------------------------------------------------
    Undecided.CSRF: Reason(
        "The form was too old, came from another website, or the browser sent no cookies.",
        "Tell them to go back, load the page again and send the form once more. Their browser must "
        "accept cookies.",
    ),
    Undecided.SESSION_ENDED: Reason(
        "The session had ended: it was idle too long, or was ended somewhere else, such as by a "
        "new password.",
        "Tell them to sign in again: then they go on where they were.",
    ),
    Undecided.NOT_STAFF: Reason(
        "The page is for staff, or for staff with another role.",
        "If they should see it, an administrator can give them the role.",
    ),
    Undecided.LINK_GONE: Reason(
        "The link is too old, was used already, or is not complete.",
        "Tell them to copy all of it from the newest email, or to ask for a new one. If "
        "somebody is signed in, the link of an account works only if it is this account.",
    ),
    Undecided.BAD_CONSENT: Reason(
        "An application sent the person here with a request that is not valid: for example, the "
        "client id is unknown, or the redirect address is not one of the application.",
        "The person cannot fix it. Whoever runs the application compares its client id and its "
        "redirect address with those that an administrator sees among the applications.",
    ),
}
