"""Why a call for a file was answered with 403."""

from collections.abc import Iterator

from optin.models import AuditEvent
from optin.support.diagnosis.causes import Cause, Question, Why
from optin.support.diagnosis.facts import FILES_NAMED, Known
from optin.support.wording import moment, plain


def of_access(known: Known) -> Iterator[Cause]:
    if known.access and known.access.file_id not in known.files:
        yield denied(known.access, known)


def denied(event: AuditEvent, known: Known) -> Cause:
    """Say why the call that *event* tells of may not use its file."""
    if event.outcome == SCOPE:
        return Cause(
            Question.NO_ACCESS,
            Why.NOT_ALLOWED,
            f"The token of a call for file {event.file_id}, at {moment(event.at)}, does not allow "
            "that call: it was given for less.",
            "Tell the developers of the application: it must ask for the right to make this call "
            "(scope), and the person must sign in there again.",
        )
    if event.file_id in known.files:
        return Cause(
            Question.NO_ACCESS,
            Why.NOT_A_MEMBER,
            f"At {moment(event.at)}, a call for file {event.file_id} got 403. "
            f"{plain(known.user.get_username())} is a member of it now: the token or the key is "
            "for another file, or they joined it since.",
            "Tell them to sign in again in the application, so that it gets a new token. An access "
            "key is for one file: an administrator can make one for this file.",
        )
    named = ", ".join(map(str, known.files[:FILES_NAMED])) or "no file"
    more = " and more" if len(known.files) > FILES_NAMED else ""
    return Cause(
        Question.NO_ACCESS,
        Why.NOT_A_MEMBER,
        f"{plain(known.user.get_username())} is not a member of file {event.file_id} (member of "
        f"{named}{more}): calls for it get 403, the last one at {moment(event.at)}.",
        "Ask which file they mean: the call names it as FileId. If they should use this one, an "
        "administrator can add them to it.",
    )


SCOPE = "insufficient_scope"
"""The outcome of a call that the scope of its token does not allow."""
