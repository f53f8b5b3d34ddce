"""Honest people, over the same hours: they opt in and sign in, mistype, and ask again."""

import random

from django.utils import timezone

from optin.models import AuditEvent, Purpose, RefusalCount
from optin.operations import challenges, opt_ins, sign_in
from optin.operations.sending import Sending
from optin.origin import Face, Origin
from optin.outcomes import CodeOutcome, SendOutcome, SignInOutcome, TokenOutcome
from tools.rehearsals.people import PASSWORD, Person
from tools.rehearsals.stage import Script, Stage, Visit

OPTS_IN, SIGNS_IN = "opt in", "sign in"
SIGN_IN = Purpose.SIGN_IN

LEAVES = 0.08
"""So many never type the code of their opt-in, though it came."""
ASKS_AGAIN = 0.12
MISTYPES = 0.12
BY_TOKEN = 0.3
"""So many sign in through a client that takes passwords."""
ELSEWHERE = 0.1
"""So many sign in from a network from which they never did."""


def blocked_by(sending: Sending) -> str:
    """The rule by which no text left, "" if one did."""
    if sending.is_withheld or sending.outcome not in {SendOutcome.SENT, SendOutcome.RESENT}:
        return rule_of(str(sending.data.get("rule", sending.outcome)))
    return ""


def rule_of(stored: str) -> str:
    """A rule without its window."""
    return stored.partition("/")[0]


def mistyped(code: str, by: int = 1) -> str:
    return f"{(int(code) + by) % 10 ** len(code):0{len(code)}d}"


def why_refused(outcome: str) -> str:
    """The rule that refused somebody just now, as the counts of refusals or the trail have it.

    *outcome* itself, where neither names a rule. Only one acts at a time.
    """
    now = timezone.now()
    counted = RefusalCount.objects.filter(last_at=now).order_by("-pk").first()
    told = AuditEvent.objects.filter(at=now).order_by("-pk").first()
    data = counted.last["data"] if counted else told.data if told else None
    return rule_of(str((data or {}).get("rule", outcome)))


def end(visit: Visit, outcome: str, wanted: str) -> None:
    """Note what the last step of a visit came to."""
    visit.reached = outcome == wanted
    if not visit.reached:
        visit.hit = str(outcome)


def opts_in(stage: Stage, person: Person) -> Script:
    """Opt in: on a page, or through the client of an integrator."""
    dice = stage.chance(OPTS_IN, person.user.pk)
    visit = stage.visit(OPTS_IN)
    origin = person.at_home() if dice.random() < 0.5 else person.by_client()

    def ask() -> Sending:
        return opt_ins.opt_in(person.user, person.file, person.mobile, origin=origin)

    sending = ask()
    visit.hit = blocked_by(sending)
    row = sending.provider_user_id
    if visit.hit or row is None:
        return
    yield dice.uniform(12, 60)
    if dice.random() < ASKS_AGAIN:
        yield dice.uniform(30, 90)
        ask()  # if it is too soon, the first text is still good
        yield dice.uniform(10, 30)
    if dice.random() < LEAVES:
        visit.reached = True  # what they asked for came
        return
    code = stage.codes[person.mobile, Purpose.OPT_IN]
    if dice.random() < MISTYPES:
        opt_ins.verify_opt_in(person.user, person.file, row, mistyped(code), origin=origin)
        yield dice.uniform(5, 20)
    judged = opt_ins.verify_opt_in(person.user, person.file, row, code, origin=origin)
    end(visit, judged.outcome, CodeOutcome.OK)


def signs_in(stage: Stage, person: Person, nth: int, *, is_target: bool = False) -> Script:
    """Sign in: the password, sometimes a wrong one first, then the code."""
    dice = stage.chance(SIGNS_IN, person.user.pk, nth)
    visit = stage.visit(SIGNS_IN, is_target=is_target)
    origin = person.at_home(f"{person.user.pk} {nth}")
    if dice.random() < ELSEWHERE:
        ip = f"172.{dice.randrange(16, 32)}.{dice.randrange(256)}.{dice.randrange(1, 255)}"
        origin = Origin(Face.WEB, actor_id=person.user.pk, ip=ip, session=origin.session)
    if dice.random() < MISTYPES:
        sign_in.sign_in(person.user.username, f"{PASSWORD}r", origin=origin)
        yield dice.uniform(3, 15)
    way = _by_token if dice.random() < BY_TOKEN else _on_a_page
    yield from way(stage, person, visit, origin, dice)


def _on_a_page(
    stage: Stage, person: Person, visit: Visit, origin: Origin, dice: random.Random
) -> Script:
    signed = sign_in.sign_in(person.user.username, PASSWORD, origin=origin)
    if signed.outcome is not SignInOutcome.CODE_REQUIRED or not signed.user or not signed.sending:
        visit.hit = why_refused(signed.outcome)
        return
    sending = signed.sending
    if sending.outcome is SendOutcome.WAITING and sending.retry_after:
        # A text went out a moment ago. The page says when there can be another.
        yield sending.retry_after.total_seconds() + 1
        sending = challenges.challenge(signed.user, SIGN_IN, origin=origin)
    visit.hit = blocked_by(sending)
    if visit.hit:
        return
    yield dice.uniform(8, 40)
    if dice.random() < MISTYPES:
        code = mistyped(stage.codes[person.mobile, SIGN_IN])
        challenges.check(signed.user, SIGN_IN, code, origin=origin)
        yield dice.uniform(4, 20)
    code = stage.codes[person.mobile, SIGN_IN]
    judged = challenges.check(signed.user, SIGN_IN, code, origin=origin)
    end(visit, judged.outcome, CodeOutcome.OK)


def _by_token(
    stage: Stage, person: Person, visit: Visit, origin: Origin, dice: random.Random
) -> Script:
    origin = Origin(Face.TOKEN, ip=origin.ip)
    client = sign_in.application()
    assert client  # ``people.make_files`` made it

    def grant(code: str = "") -> TokenOutcome:
        return sign_in.password_grant(
            person.user.username,
            PASSWORD,
            scope="",
            verification_code=code,
            client=client,
            origin=origin,
        ).outcome

    asked = grant()
    if asked is not TokenOutcome.CODE_REQUIRED:
        visit.hit = why_refused(asked)
        return
    yield dice.uniform(8, 40)
    if dice.random() < MISTYPES:
        grant(mistyped(stage.codes[person.mobile, SIGN_IN]))
        yield dice.uniform(4, 20)
    end(visit, grant(stage.codes.get((person.mobile, SIGN_IN), "")), TokenOutcome.ISSUED)
