"""Why a call for a file was answered with 403."""

from collections.abc import Iterator

from optin.support.diagnosis.causes import Cause, Question, Why
from optin.support.diagnosis.facts import FILES_NAMED, Known
from optin.support.wording import moment, plain


def of_access(known: Known) -> Iterator[Cause]:
    refused = known.access
    if refused is None or refused.file_id in known.files:
        return
    named = ", ".join(map(str, known.files[:FILES_NAMED])) or "no file"
    more = " and more" if len(known.files) > FILES_NAMED else ""
    yield Cause(
        Question.NO_ACCESS,
        Why.NOT_A_MEMBER,
        f"{plain(known.user.get_username())} is not a member of file {refused.file_id} (member of "
        f"{named}{more}): calls for it get 403, the last one at {moment(refused.at)}.",
        "Ask which file they mean: the call names it as FileId. If they should use this one, an "
        "administrator can add them to it.",
    )
