"""Opting in and out.

Each story is told in one format, for one of the numbers, and leaves the person as it found
them: without a second factor. Codes are read by the command of ``--texts``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

from conformance.options import NotChecked
from conformance.registry import add
from conformance.session import Looks, Session
from conformance.wire import JSON, TEXT_XML, Answer


@dataclass(frozen=True)
class Story:
    """A section of the report: the format, and which of the numbers it is about."""

    title: str
    kind: str
    place: int


Step = Callable[[Session, Story], None]


def _number(s: Session, story: Story) -> str:
    s.options.need("texts", "numbers")
    if len(s.options.numbers) <= story.place:
        raise NotChecked(f"not given: {story.place + 1} --numbers")
    return s.options.numbers[story.place]


def _opt_in(s: Session, number: str, kind: str, key: str = "", **more: str) -> Answer:
    headers = {"Client-Reference": key, "Idempotency-Key": key} if key else {}
    return s.call("opt-in", {"MobileNumber": number} | more, kind, headers=headers)


def _verify(s: Session, kind: str, id_: object, otp: str, accept: str | None = None) -> Answer:
    return s.call("verify", {"ProviderUserId": id_, "Otp": otp}, kind, accept)


def _wrong(s: Session, code: str) -> str:
    """A code of the same shape that is not right. It tells of the right one: it is secret too."""
    wrong = str(9 - int(code[0])) + code[1:]
    s.secrets.add_code(wrong)
    return wrong


def nothing_active(s: Session, story: Story) -> None:
    """Without an active number an opt-out is 409 not_opted_in. [4.2]"""
    s.kept.clear()  # the facts of the story before
    _number(s, story)
    answer = s.call("opt-out", {}, story.kind)
    if answer.code == "2fa_code_required":
        raise NotChecked("the person has an active number: opt them out first")
    s.expect(answer, 409, "not_opted_in")
    s.expect(s.call("opt-out", {"Otp": "0" * s.options.digits}, story.kind), 409, "not_opted_in")
    s.keep(start="yes")


def opt_in(s: Session, story: Story) -> None:
    """An opt-in texts a code, and answers with a ProviderUserId. [4.2]"""
    s.keeping("start")
    number = _number(s, story)
    key = f"kit-{uuid4()}"
    answer, code = s.code_sent_by(lambda: _opt_in(s, number, story.kind, key), number)
    s.require(answer, 200)
    s.keep(id=str(answer.get("ProviderUserId")), code=code, key=key, answer=answer.body.decode())


def lost_answer(s: Session, story: Story) -> None:
    """The same Idempotency-Key gets the first answer again, and no text. [1.4]"""
    number, key = _number(s, story), s.keeping("key")
    text = s.newest(number)
    for _ in range(2):
        answer = s.expect(_opt_in(s, number, story.kind, key), 200)
        s.equal(answer, answer.body.decode(), s.keeping("answer"), "the body")
    s.equal(answer, s.newest(number) == text, True, "no other text:")


def another_body(s: Session, story: Story) -> None:
    """The same Idempotency-Key with another body is invalid_request. [1.4]"""
    answer = _opt_in(s, _number(s, story), story.kind, s.keeping("key"), Other="1")
    s.expect(answer, 400, "invalid_request")


def id_is_a_number(s: Session, story: Story) -> None:
    """ProviderUserId is a number from 1 to 2147483647. [1.2]"""
    id_ = s.keeping("id")
    answer = next(a for c, a in reversed([*s.api_answers()]) if c == "opt-in" and a.status == 200)
    s.equal(answer, id_.isdecimal() and 1 <= int(id_) < 2**31, True, "an id:")
    if not answer.is_xml:
        s.equal(answer, type(answer.get("ProviderUserId")).__name__, "int", "the type of the id")


def again(s: Session, story: Story) -> None:
    """The same number again: 429 send_limit within the wait, else the same id. [4.2]"""
    s.keeping("id")
    number = _number(s, story)
    texts = s.newest(number)
    answer = _opt_in(s, number, story.kind)
    if answer.status == 200:
        s.equal(answer, str(answer.get("ProviderUserId")), s.keeping("id"), "ProviderUserId")
        s.keep(code=s.code_in(s.newest_after(number, texts)))
    else:
        s.expect(answer, 429, "send_limit")


def malformed(s: Session, story: Story) -> None:
    """A malformed Otp is invalid_request, and no try. [4.2]"""
    part = s.keeping("code")[1:]
    s.secrets.add_code(part)
    s.expect(_verify(s, story.kind, s.keeping("id"), part), 400, "invalid_request")


def wrong_code(s: Session, story: Story) -> None:
    """A wrong code is otp_incorrect. [4.2]"""
    answer = _verify(s, story.kind, s.keeping("id"), _wrong(s, s.keeping("code")))
    s.expect(answer, 400, "otp_incorrect")


def unknown_id(s: Session, story: Story) -> None:
    """An unknown id gets the same bytes as a wrong code. [4.2]"""
    id_, otp = s.keeping("id"), _wrong(s, s.keeping("code"))
    for accept in (JSON, TEXT_XML):
        wrong = s.expect(_verify(s, story.kind, id_, otp, accept), 400, "otp_incorrect")
        unknown = s.expect(_verify(s, story.kind, 2147483647, otp, accept), 400, "otp_incorrect")
        s.equal(unknown, unknown.body, wrong.body, "the same body:")


def of_others(s: Session, story: Story) -> None:
    """Another person cannot use the code. [4.2]"""
    s.options.need("other_file", "other_access_key")
    target = s.target(
        "verify", WsAccessKey=s.options.other_access_key, FileId=str(s.options.other_file)
    )
    body = s.write(
        "verify", {"ProviderUserId": s.keeping("id"), "Otp": s.keeping("code")}, story.kind
    )
    s.expect(s.send("POST", target, body, {"Content-Type": story.kind}), 400, "otp_incorrect")


def verify(s: Session, story: Story) -> None:
    """The right code, with a space in it, turns two-factor on. [4.2]"""
    code = s.keeping("code")
    s.require(_verify(s, story.kind, s.keeping("id"), f"{code[:3]} {code[3:]}"), 200)
    s.keep(active=s.keeping("id"))


def read_events(s: Session, after: object = 0, limit: int = 100, accept: str = JSON) -> Answer:
    """Return the events after a ``Sequence``.

    :raises NotChecked: if the person may not read them.
    """
    query = f"{s.query(s.options.file)}&after={after}&limit={limit}"
    answer = s.call("events", accept=accept, query=query)
    if answer.code == "file_access_denied":
        raise NotChecked("the person does not manage the file")
    return s.require(answer, 200)


def event(s: Session, story: Story) -> None:
    """The file has an event about it, with the Client-Reference of the opt-in. [1.1]"""
    id_ = int(s.keeping("active"))
    answer = read_events(s)
    while len(answer.get("events")) == 100:
        answer = read_events(s, answer.get("next"))
    newest = (answer.get("events") or [{"type": "", "data": {}}])[-1]
    told = [newest["type"], *(newest["data"].get(n) for n in ("ProviderUserId", "Reference"))]
    s.equal(answer, told, ["number.activated", id_, s.keeping("key")], "the newest event")


def verify_again(s: Session, story: Story) -> None:
    """The second of two equal calls is 409 already_verified. [4.2]"""
    answer = _verify(s, story.kind, s.keeping("active"), s.keeping("code"))
    s.expect(answer, 409, "already_verified")


def opt_in_again(s: Session, story: Story) -> None:
    """With an active number an opt-in is 409 already_opted_in. [4.2]"""
    s.keeping("active")
    s.expect(_opt_in(s, _number(s, story), story.kind), 409, "already_opted_in")


def sign_in(s: Session, story: Story) -> None:
    """With a second factor a password alone is 401 2fa_code_required. [3.3]"""
    s.keeping("active")
    number, body = _number(s, story), s.password()
    answer, code = s.code_sent_by(lambda: s.call("token", body, story.kind), number)
    s.require(answer, 401, "2fa_code_required")
    s.expect(
        s.call("token-2fa", body | {"verification_code": ""}, story.kind), 401, "2fa_code_required"
    )
    s.keep(sign_in=code)


def sign_in_wrong(s: Session, story: Story) -> None:
    """A wrong verification_code is invalid_grant. [3.5]"""
    code = _wrong(s, s.keeping("sign_in"))
    answer = s.call("token", s.password(verification_code=code), story.kind)
    s.expect(answer, 400, "invalid_grant")


def sign_in_right(s: Session, story: Story) -> None:
    """The texted code gets a token, once. [3.3]"""
    body = s.password(verification_code=s.keeping("sign_in"))
    s.require(s.call("token-2fa", body, story.kind), 200)
    s.expect(s.call("token", body, story.kind), 400, "invalid_grant")


def opt_out_asks(s: Session, story: Story) -> None:
    """An opt-out without a code texts one: 401 2fa_code_required. [4.2]"""
    s.keeping("active")
    number = _number(s, story)
    body: bytes | dict[str, object] = {} if story.kind == JSON else b""
    key = {"Idempotency-Key": f"kit-{uuid4()}"}

    def ask() -> Answer:
        return s.call("opt-out", body, story.kind, headers=key)

    answer, code = s.code_sent_by(ask, number)
    s.require(answer, 401, "2fa_code_required")
    s.keep(out=code)
    again = s.expect(ask(), 401, "2fa_code_required")
    s.equal(again, again.body, answer.body, "the same answer again:")
    s.expect(s.call("opt-out", b"null", JSON), 401, "2fa_code_required")


def opt_out_wrong(s: Session, story: Story) -> None:
    """A wrong code, and the code of another purpose, do not opt out. [4.2]"""
    for otp in (_wrong(s, s.keeping("out")), s.keeping("code")):
        if otp != s.keeping("out"):
            s.expect(s.call("opt-out", {"Otp": otp}, story.kind), 400, "otp_incorrect")


def opt_out(s: Session, story: Story) -> None:
    """The right code turns two-factor off, once for each key; access keys and tokens stay. [4.2]"""
    key, body = {"Idempotency-Key": f"kit-{uuid4()}"}, {"Otp": s.keeping("out")}
    first = s.require(s.call("opt-out", body, story.kind, headers=key), 200)
    again = s.expect(s.call("opt-out", body, story.kind, headers=key), 200)
    s.equal(again, again.body, first.body, "the same answer again:")
    s.expect(s.call("ping"), 200)
    s.expect(s.call("opt-out", {}, story.kind), 409, "not_opted_in")


def exhausted(s: Session, story: Story) -> None:
    """The fifth wrong try is otp_incorrect, then the right code is otp_exhausted. [4.2]"""
    id_, code = s.keeping("id"), s.keeping("code")
    for _ in range(5):
        s.require(_verify(s, story.kind, id_, _wrong(s, code)), 400, "otp_incorrect")
    s.expect(_verify(s, story.kind, id_, code), 400, "otp_exhausted")


WHOLE: list[Step] = [
    *(
        nothing_active,
        opt_in,
        id_is_a_number,
        lost_answer,
        another_body,
        again,
        malformed,
        wrong_code,
        unknown_id,
        of_others,
    ),
    *(verify, event, verify_again, opt_in_again, sign_in, sign_in_wrong, sign_in_right),
    *(opt_out_asks, opt_out_wrong, opt_out),
]
# The third number's code is used up before the story of the second: its right code sets the
# failures of the person back to 0.
STORIES: list[tuple[Story, list[Step]]] = [
    (Story("Opting in and out, in JSON", JSON, 0), WHOLE),
    (Story("A code that is used up", JSON, 2), [nothing_active, opt_in, exhausted]),
    (Story("Opting in and out, in XML", TEXT_XML, 1), WHOLE),
]


def _told(step: Step, story: Story) -> Looks:
    return lambda session: step(session, story)


for _story, _steps in STORIES:
    for _step in _steps:
        add(_told(_step, _story), _story.title, _step.__doc__)
