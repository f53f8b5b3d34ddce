"""Why a call was answered with 403."""

from collections.abc import Iterator

from optin.causes import Cause, Question, Why
from optin.models import AuditEvent
from optin.origin import Face
from optin.outcomes import TokenOutcome
from optin.support.diagnosis.explanations import EXPLAINED
from optin.support.diagnosis.facts import FILES_NAMED, Known
from optin.support.wording import moment, plain


def of_access(known: Known) -> Iterator[Cause]:
    """What refused the last call for a file, and what programs cannot do for the person."""
    yield from of_file(known)
    sign_in = known.sign_in
    has_only_passkeys = known.factors.passkeys and not known.factors.has_codes
    if not (sign_in and sign_in.face == Face.TOKEN and has_only_passkeys):
        return
    if sign_in.outcome == TokenOutcome.CODE_REQUIRED:
        yield Cause(
            Question.NO_ACCESS,
            Why.PASSKEY_ONLY,
            f"At the last sign-in through an application, {moment(sign_in.at)}, no code was sent: "
            "a passkey is the only second factor, and it works in a browser only.",
            EXPLAINED[Why.PASSKEY_ONLY].staff,
        )


def of_file(known: Known) -> Iterator[Cause]:
    refused = known.access
    if refused is None or known.files.get(refused.file_id or 0):
        return
    if refused.file_id in known.files:
        yield Cause(
            Question.NO_ACCESS,
            Why.FILE_CLOSED,
            f"The file {refused.file_id} is closed: calls for it get 403, the last one at "
            f"{moment(refused.at)}.",
            "An administrator can open it again, if it was closed by mistake.",
        )
        return
    named = ", ".join(map(str, [*known.files][:FILES_NAMED])) or "no file"
    more = " and more" if len(known.files) > FILES_NAMED else ""
    yield Cause(
        Question.NO_ACCESS,
        Why.NOT_A_MEMBER,
        f"{plain(known.user.get_username())} is not a member of file {refused.file_id} (member of "
        f"{named}{more}): calls for it get 403, the last one at {moment(refused.at)}.",
        "Ask which file they mean: the call names it as FileId. If they should use this one, an "
        "administrator can add them to it.",
    )


def of_refused(event: AuditEvent, known: Known) -> Cause:
    """Name the cause of one refused call, which *known* was read about."""
    if event.outcome == "insufficient_scope":
        return Cause(
            Question.NO_ACCESS,
            Why.SCOPE,
            f"At {moment(event.at)}, the scope of the token did not allow the call.",
            "The application asks for a token with the scope full, 2fa or modify. To read events "
            "or manage endpoints, it needs full or events.",
        )
    for cause in of_file(known):
        return cause
    return Cause(
        Question.NO_ACCESS,
        Why.OTHER_FILE,
        f"The call at {moment(event.at)} was for file {event.file_id}, and "
        f"{plain(known.user.get_username())} is a member of it now. So the token or the access key "
        "is for another file, or they became a member or the file was opened later. To read "
        "events, one must also be a manager of the file.",
        "Ask which token or key the application uses: it needs one that was made for this file, "
        "by somebody who is a member of it. An administrator can make an access key.",
    )
