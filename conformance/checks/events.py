"""Events. The stories before have made some."""

from conformance.checks.ping import ELSEWHERE
from conformance.checks.stories import read_events
from conformance.options import NotChecked
from conformance.registry import check
from conformance.session import Session
from conformance.wire import JSON, MEDIA_TYPES, Answer

_NAMES = ["type", "timestamp", "data"]
_FACTS = {"FileId", "ProviderUserId", "Sequence", "Reason", "Reference"}


def _some(s: Session, accept: str = JSON) -> Answer:
    answer = read_events(s, accept=accept)
    if len(answer.get("events") or ()) < 2:
        raise NotChecked("the file has no two events")
    return answer


@check
def in_each_format(s: Session) -> None:
    """The events are those after the one that is named, in order, in each format. [1.1]"""
    for kind in MEDIA_TYPES:
        answer = _some(s, kind)
        numbers = [int(event["data"]["Sequence"]) for event in answer.get("events")]
        s.equal(answer, numbers, sorted(set(numbers)), "the Sequences")
        s.equal(answer, int(answer.get("next")), max([0, *numbers]), "next")


@check
def one_at_a_time(s: Session) -> None:
    """limit is the most events of an answer; the next one goes on behind them. [1.1]"""
    whole = _some(s).get("events")
    first = read_events(s, limit=1)
    second = read_events(s, first.get("next"), limit=1)
    s.equal(second, [*first.get("events"), *second.get("events")], whole[:2], "the first two")


@check
def names(s: Session) -> None:
    """An event has type, timestamp and data, and these facts about the file. [1.1]"""
    answer = _some(s)
    for event in answer.get("events"):
        s.equal(answer, [*event], _NAMES, "the properties of an event:")
        s.equal(answer, event["data"].keys() >= _FACTS, True, "the properties of its data:")
        s.equal(answer, event["data"]["FileId"], s.options.file, "FileId")


@check
def malformed(s: Session) -> None:
    """A malformed after or limit, or one given twice, is 400. [2.4]"""
    of_after = [f"after={value}" for value in ("-1", "01", "1.0", "x", "")]
    of_limit = [f"limit={value}" for value in ("0", "101", "x", "")]
    for more in (*of_after, *of_limit, "after=1&AFTER=1"):
        answer = s.call("events", query=f"{s.query(s.options.file)}&{more}")
        s.expect(answer, 400, "invalid_request")
    s.expect(s.call("events", query=s.query("").rpartition("FileId=")[0]), 400, "invalid_request")


@check
def gone(s: Session) -> None:
    """After an event that there is not, the answer is 410 cursor_gone. [4.1]"""
    read_events(s)
    query = f"{s.query(s.options.file)}&after={2**62}"
    s.expect(s.call("events", query=query), 410, "cursor_gone")


@check
def scopes(s: Session) -> None:
    """full and events allow events, and no other scope does. [3.2]"""
    read_events(s)
    for scope, expected in (
        *((scope, (200, "")) for scope in ("full", "events")),
        *((scope, (403, "insufficient_scope")) for scope in ("2fa", "modify", "view")),
    ):
        bearer = {"Authorization": f"Bearer {s.token_for(scope)}"}
        query = f"FileId={s.options.file}"
        s.expect(s.call("events", credential="none", query=query, headers=bearer), *expected)


@check
def events_only(s: Session) -> None:
    """The scope events does not allow the User/ calls. [3.2]"""
    bearer = {"Authorization": f"Bearer {s.token_for('events')}"}
    answer = s.call("opt-out", credential="none", query=f"FileId={s.options.file}", headers=bearer)
    s.expect(answer, 403, "insufficient_scope")


@check
def of_others(s: Session) -> None:
    """Another file's events are 403, and those without a credential 401. [3.1]"""
    s.expect(s.call("events", query=s.query(ELSEWHERE)), 403, "file_access_denied")
    s.expect(s.call("events", credential="none"), 401, "not_authenticated")
