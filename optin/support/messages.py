"""What staff are told of a text or a mail: how far it came, and why it was not sent."""

from optin.gateways import Fate
from optin.models import GatewayTry, Notice, PendingOtp, SmsMessage
from optin.models.messages import CARRIER, State, Unsent
from optin.support.wording import length, masked, moment


def text(message: SmsMessage, *, is_one: bool = True) -> str:
    """Say what a text is, how far it came, and how long that took if it *is_one* alone."""
    number, state = message.provider_user.masked_number, _STATES[State(message.state)]
    if message.delivered_at and is_one:
        state += f" after {length(message.delivered_at - message.created_at)}"
    if message.is_warning:
        state = "not sent any more" if message.state == State.EXPIRED else state
        return f"Text to {number} that all second factors will be removed: {state}"
    if message.pending_otp is None:
        return f"Text to {number} that another number replaced it: {state}"
    return f"Code for {number} {message.pending_otp.get_purpose_display()}: {state}"


def code_of(pending: PendingOtp | None) -> list[str]:
    """Say how long the code of a text works, and what became of it."""
    if pending is None:
        return []
    said = [f"its code works until {moment(pending.expires_at)}"]
    if pending.tries:
        said.append(f"wrong tries of this code: {pending.tries}")
    if pending.closed_at:
        closed = _CLOSED[PendingOtp.Closed(pending.closed_as)]
        said.append(f"{closed} ({moment(pending.closed_at)})")
    return said


def given(made: GatewayTry) -> str:
    """Say what came of handing a text to a gateway."""
    words = _FATES.get(made.fate, _FATES[Fate.UNKNOWN])
    return words % {"gateway": made.gateway}


def outcome(message: SmsMessage) -> str:
    """Say what became of a text in the end; "" while nothing did."""
    if message.state == State.DELIVERED:
        return f"The gateway {message.gateway} reports: delivered"
    if message.state == State.EXPIRED:
        return "The text was not sent"
    if message.state != State.FAILED:
        return ""
    if message.carrier_refused:
        return "After it was sent, the carrier refused the text"
    return "The service stopped trying to send the text"


def why(reason: str) -> str:
    """Say in words of staff the reason of a text or a mail, where it is one of the service's."""
    return _REASONS.get(reason) or masked(reason.removeprefix(CARRIER))


def mail(notice: Notice) -> str:
    """Say what a mail tells, and how far it came."""
    return f"“{notice.get_kind_display()}”: {_MAIL_STATES[State(notice.state)]}"


_STATES: dict[State, str] = {
    State.QUEUED: "waiting to be sent",
    State.SENDING: "being sent",
    State.SENT: "sent, and no receipt yet",
    State.DELIVERED: "delivered",
    State.FAILED: "not delivered",
    State.EXPIRED: "not sent, because its code no longer worked",
    State.WITHHELD: "withheld, and the person was told that it was sent",
}
_MAIL_STATES: dict[State, str] = {
    **_STATES,
    State.SENT: "sent",
    State.FAILED: "not sent",
}
_CLOSED: dict[PendingOtp.Closed, str] = {
    PendingOtp.Closed.VERIFIED: "its code was accepted",
    PendingOtp.Closed.SUPERSEDED: "its code was replaced or withdrawn",
    PendingOtp.Closed.RELEASED: "its code ended with the number",
    PendingOtp.Closed.OTHER_VERIFIED: "its code ended when another factor was verified",
    PendingOtp.Closed.RESTORED: "its code ended when the database was restored",
}
_FATES: dict[str, str] = {
    Fate.ACCEPTED: "The gateway %(gateway)s took the text",
    Fate.TRY_ANOTHER: "The gateway %(gateway)s is down or failed: the text was not sent",
    Fate.NOT_HERE: "The gateway %(gateway)s does not serve this number",
    Fate.UNKNOWN: "The gateway %(gateway)s did not answer: the text may have been sent",
    Fate.REFUSED: "The gateway %(gateway)s refused the text for good",
    Fate.OPTED_OUT: "The gateway %(gateway)s says that the person answered STOP",
}
_REASONS: dict[str, str] = {
    Unsent.CODE_CLOSED: "its code had expired or was replaced before",
    Unsent.CODES_REFUSED: "codes were locked, or the number suspended, before",
    Unsent.ALL_STOPPED: "staff stopped all texts",
    Unsent.NO_GATEWAY: "no gateway serves this number now",
    Unsent.OPTED_OUT: "somebody answered STOP from this number",
    Unsent.CALLED_OFF: "the removal had been cancelled",
    Unsent.SENDER_DIED: "the process that sent it died, twice",
    Unsent.TOO_OLD: "it could not be sent for a day",
    Unsent.NO_ADDRESS: "the person has no email address",
    Unsent.FICTION: "nobody has this number: it is for films and books",
    Unsent.RESTORED: "the database was restored from a backup",
}
