"""Causes that stand in the way now, of the next text and of signing in."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from optin import phones
from optin.causes import UNKNOWN, Cause, Question, Why
from optin.models import AuditEvent, GatewayHealth, Guard, Revocation
from optin.models.users import WrongCodes
from optin.origin import browser, network_of
from optin.support import wording
from optin.support.diagnosis.explanations import EXPLAINED, IF_NOT_THEIRS, no_entry, no_text
from optin.support.diagnosis.facts import Known
from optin.support.wording import moment, moment_by


def tripped(health: GatewayHealth) -> str:
    assert health.tripped_until
    return (
        f"The gateway {health.gateway} failed {health.failures} times in a row and rests until "
        f"{moment(health.tripped_until)}."
    )


def deactivated(question: Question, known: Known) -> Cause:
    button = "an administrator can press “Activate”."
    advice = f"Ask the operators why it is so before you promise anything. Then {button}"
    if end := known.ended:
        name = wording.plain(end.application.name)
        there = "" if end.deleted else "activate the person there, or "
        advice = f"Deactivated by {name}: {there}{button}"
    return Cause(
        question,
        Why.DEACTIVATED,
        "The account is deactivated: its password is refused as if wrong, and no text leaves.",
        advice,
    )


def in_force(known: Known) -> Iterator[Cause]:
    """What would refuse the next text, whatever became of the last one."""
    yield from controlled(known)
    yield from (replace(cause, question=Question.NO_TEXT) for cause in barred(known))


def controlled(known: Known) -> Iterator[Cause]:
    for control in known.controls:
        if control.kind == Guard.Kind.STOP:
            yield all_stopped(control)
        elif control.kind == Guard.Kind.OPTED_OUT:
            yield answered_stop(known, phones.mask(control.last_three))
        elif control.kind == Guard.Kind.NOT_ME:
            yield from _closed_by_owner(control, known)
        elif control.until:
            yield no_text(
                Why.DENIED,
                f"The number {phones.mask(control.last_three)} is on the deny list until "
                f"{moment(control.until)}: “{reason_of(control)}”.",
            )


def _closed_by_owner(control: Guard, known: Known) -> Iterator[Cause]:
    """What bars strangers only (G-08): not the owner, who has verified the number."""
    is_theirs = any(row.is_proved and row.number_digest == control.key for row in known.numbers)
    if control.until and not is_theirs:
        yield no_text(
            Why.DENIED,
            f"Until {moment(control.until)}, accounts that never verified the number "
            f"{phones.mask(control.last_three)} get no code to it: its owner said “that was not "
            "me”.",
            "If the caller proves that the number is now theirs, an administrator can press "
            "“Remove from a list”.",
        )


def resting(known: Known) -> Iterator[Cause]:
    if known.health:
        yield no_text(
            Why.GATEWAY_DOWN,
            " ".join(map(tripped, known.health)),
            "Meanwhile texts go through the next gateway, if there is one.",
        )


def reason_of(row: Guard | AuditEvent | Revocation) -> str:
    return wording.quoted(row.reason)


def all_stopped(control: Guard | None = None) -> Cause:
    words = "Staff stopped all texts."
    if control:
        words = f"Staff stopped all texts at {moment(control.made_at)}: “{reason_of(control)}”."
    return no_text(Why.ALL_STOPPED, words)


def answered_stop(known: Known, number: str) -> Cause:
    advice = EXPLAINED[Why.ANSWERED_STOP].staff
    if way := _another_way(known):
        advice += f" {way}Then they can turn text messages on again under “Security”."
    words = f"Somebody answered STOP from the number {number}: no text is sent to it."
    return no_text(Why.ANSWERED_STOP, words, advice)


def barred(known: Known) -> Iterator[Cause]:
    """A new SIM, suspended, locked: codes are refused, and texts not sent."""
    yield from _new_sim(known)
    if disabled_at := known.user.otp_disabled_at:
        said = f"Texted codes have been locked since {moment(disabled_at)}"
        yield _after_wrong_codes(known, Why.DISABLED, said, _another_way(known))
    yield from _suspended(known)
    until = known.user.otp_locked_until
    if until and known.user.own.locked_for(known.now):
        said = f"No code is accepted, and no text sent, until {moment_by(until)}"
        by_passkey = "They can sign in with a passkey meanwhile. "
        way = by_passkey if known.factors.usable_passkeys else ""
        yield _after_wrong_codes(known, Why.LOCKED, said, way)


def _another_way(known: Known) -> str:
    ways = (
        (known.factors.usable_passkeys, "a passkey"),
        (known.factors.app, "the app"),
        (known.factors.recovery_codes, "a recovery code"),
    )
    named = " or ".join(way for has, way in ways if has)
    return f"They can sign in with {named}. " if named else ""


def _new_sim(known: Known) -> Iterator[Cause]:
    number, sim = known.factors.number, known.factors.sim
    if number is None or sim is None:
        return
    let, do = "", EXPLAINED[Why.SIM_SWAPPED].staff
    if (until := sim.let_through_until) and until > known.now:
        let = f" Staff let one sign-in through until {moment_by(until)}."
        do = "Tell them to sign in now, by text message."
    yield no_entry(
        Why.SIM_SWAPPED,
        f"The provider says that the SIM of the number {number.masked_number} is new. Until "
        f"{moment_by(sim.swapped_until)} at the latest, no code is texted to it or "
        f"accepted.{let}",
        f"{_another_way(known)}{do}",
    )


def _suspended(known: Known) -> Iterator[Cause]:
    number, event = known.factors.number, known.suspension
    if number and number.suspended_at:
        yield no_entry(
            Why.SUSPENDED,
            f"Staff suspended the number {number.masked_number} at {moment(number.suspended_at)}: "
            f"“{reason_of(event) if event else UNKNOWN}”.",
            f"{_another_way(known)}{EXPLAINED[Why.SUSPENDED].staff}",
        )


def _after_wrong_codes(known: Known, why: Why, said: str, way: str) -> Cause:
    """Return the cause: *said* with the number of wrong codes, and *way* with other advice."""
    after = f"after {known.user.otp_failures} wrong codes"
    if known.user.is_test and not known.user.otp_failures:
        after = "because a number of the sandbox asks for it"
    came_from, is_foreign = sources(known)
    advice = f"{way}{EXPLAINED[why].staff}"
    if is_foreign:
        advice = f"{FIRST}{advice.removesuffix(IF_NOT_THEIRS).strip()}"
    return no_entry(why, f"{said}, {after}. {came_from}".strip(), advice)


FIRST = "First ask them to change the password: somebody else may know it. "

PLACES_NAMED = 3
"""How many places a sentence names at most."""


def sources(known: Known) -> tuple[str, bool]:
    """Say from where the wrong codes came and from where the last right one, and if these differ.

    They differ if the network or the browser does.
    """
    places = {_source(event): None for event in known.wrong_codes}
    others = "; and from other places" if len(places) > PLACES_NAMED else ""
    named = "; ".join(filter(None, [*places][:PLACES_NAMED]))
    if not named:
        return "", False
    said = f"The wrong codes came from {named}{others}."
    if known.right_code is None:
        return said, False
    right = _network(known.right_code)
    is_foreign = any(_network(event) != right for event in known.wrong_codes)
    return f"{said} The last right code came from {_source(known.right_code)}.", is_foreign


def _source(event: AuditEvent) -> str:
    return ", ".join(filter(None, [event.ip, browser(event.user_agent)]))


def _network(event: AuditEvent) -> tuple[str, str]:
    return network_of(event.ip or "", 24), browser(event.user_agent)


_UNLOCK_PROGRAMS = (
    "Under “What happened”, find which application it was. If the person does not "
    "know why, have it revoked. Then press “Unlock”. A lock also ends by itself."
)


def programs_barred(known: Known) -> Iterator[Cause]:
    """What applications cannot do, after wrong codes that came by them. People can."""
    count = known.user.programs
    if span := span_of(count, known.now):
        yield Cause(
            Question.NO_ACCESS,
            Why.DISABLED if count.disabled_at else Why.LOCKED,
            f"Codes of this person are locked for applications {span}, after {count.failures} "
            "wrong codes from applications. The person can still sign in.",
            _UNLOCK_PROGRAMS,
        )


def span_of(count: WrongCodes, now: datetime) -> str:
    """Return "since ..." or "until ..." if wrong codes lock what *count* is about, else ""."""
    if count.disabled_at:
        return f"since {moment(count.disabled_at)}"
    until = count.locked_until if count.locked_for(now) else None
    return f"until {moment_by(until)}" if until else ""
