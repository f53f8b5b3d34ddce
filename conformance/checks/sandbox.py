"""The answers that a sandbox gives on purpose.

The last two digits of a number ask for them (``goldens.SANDBOX``). Each opt-in ends the lock or
disabling that the one before it caused.
"""

from conformance.goldens import SANDBOX, SENTENCES
from conformance.options import NotChecked
from conformance.registry import add
from conformance.session import Looks, Session
from conformance.wire import Answer

TITLE = "The answers of a sandbox"


def _opt_in(s: Session, number: str) -> Answer:
    return s.call("opt-in", {"MobileNumber": number})


def _verify(s: Session, id_: object, otp: str) -> Answer:
    return s.call("verify", {"ProviderUserId": id_, "Otp": otp})


def _asked(call: str, number: str, code: str) -> Looks:
    def look(s: Session) -> None:
        if not s.options.sandbox:
            raise NotChecked("not given: --sandbox")
        s.secrets.add_number(number)
        answer = _opt_in(s, number) if call == "opt-in" else _verified(s, number)
        if code == "internal_error":
            s.asked_for.append(answer)
        s.expect(answer, SENTENCES[code][0], code)
        if code in {"locked", "factor_disabled"}:
            _is_for_all_calls(s, code)

    return look


def _verified(s: Session, number: str) -> Answer:
    """Return the answer to the right code."""
    opted, otp = s.code_sent_by(lambda: _opt_in(s, number), number)
    s.require(opted, 200)
    return _verify(s, opted.get("ProviderUserId"), otp)


def _is_for_all_calls(s: Session, code: str) -> None:
    for answer in (_verify(s, 1, "0" * s.options.digits), s.call("opt-out", b"")):
        s.expect(answer, SENTENCES[code][0], code)


for _number, (_call, _code) in SANDBOX.items():
    if _code != "throttled" and _call != "opt-out":
        # A run repeats what is throttled; and whose opt-out fails stays opted in.
        _told = f"{_call} of a number that ends in {_number[-2:]} is {_code}. [4.1]"
        add(_asked(_call, _number, _code), TITLE, _told)
