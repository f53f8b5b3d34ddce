"""The attacks: who attacks, how, and what it must not come to with the shipped settings."""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count, islice

from optin.conf import conf
from optin.models import Guard, Purpose
from optin.operations import challenges, opt_ins, passwords, sign_in
from optin.origin import Face, Origin
from optin.outcomes import CodeOutcome, SignInOutcome
from tools.rehearsals import people
from tools.rehearsals.honest import blocked_by, mistyped, opts_in, rule_of, signs_in, why_refused
from tools.rehearsals.people import WEAK, Numbers, Person
from tools.rehearsals.stage import BEGINS, Script, Stage


@dataclass(frozen=True, slots=True)
class Size:
    """How much is played. The short form shows the same rules in less time."""

    hours: float
    newcomers: int
    owners: int  # of active numbers
    visits: int  # of each owner
    pace: float  # seconds between two acts of the attack
    words: int  # that are sprayed


FULL = Size(hours=6, newcomers=600, owners=300, visits=3, pace=8, words=5)
SHORT = Size(hours=1, newcomers=60, owners=60, visits=2, pace=12, words=2)


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays, beside the attackers."""

    size: Size
    home: Numbers
    attacked: Numbers  # of the region that is attacked
    newcomers: list[Person]
    owners: list[Person]
    attackers: list[Person]


@dataclass(frozen=True, slots=True)
class Bound:
    """One part of the promise: what was measured, and what it may come to at most."""

    says: str
    measured: int
    at_most: int

    @property
    def is_kept(self) -> bool:
        return self.measured <= self.at_most


@dataclass(frozen=True, slots=True)
class Attack:
    name: str
    title: str
    says: str
    enter: Callable[[Stage, Cast], None]
    bounds: Callable[[Stage], list[Bound]]
    notes: Callable[[Stage], str] = lambda stage: ""
    spares_targets: bool = True  # whether those who are attacked must succeed, as all others


def cast(stage: Stage, size: Size, home_region: str) -> Cast:
    """Make everybody, and let the newcomers come over the hours."""
    dice = stage.chance("cast")
    home = Numbers(home_region, stage.chance("numbers"))
    attacked = home if stage.region == home_region else Numbers(stage.region, stage.chance("far"))
    files = people.make_files()
    owners = people.make("owner", [home.any() for _ in range(size.owners)], files, "11.0.0.20")
    people.let_verify(owners)
    mobiles = [home.any() for _ in range(size.newcomers)]
    newcomers = people.make("newcomer", mobiles, files, "12.0.0.20")
    attackers = people.make("attacker", [""] * 120, files, "10.0.0.66")
    for person in newcomers:
        stage.enter(opts_in(stage, person), dice.uniform(0, stage.length))
    return Cast(size, home, attacked, newcomers, owners, attackers)


def let_owners_sign_in(stage: Stage, cast: Cast, targets: Sequence[Person] = ()) -> None:
    """Let each come as often as the size says; *targets* are those who are attacked."""
    attacked = {person.user.pk for person in targets}
    for person in cast.owners:
        dice = stage.chance("comes", person.user.pk)
        part = stage.length / cast.size.visits
        for nth in range(cast.size.visits):
            script = signs_in(stage, person, nth, is_target=person.user.pk in attacked)
            stage.enter(script, nth * part + dice.uniform(0, part * 0.8))


def networks(first: str) -> Callable[[], str]:
    """Return a source of addresses, each of another network."""
    nth = count()
    return lambda: people.address(first, next(nth) % 65_536)


# -- pumping -----------------------------------------------------------------------

SHARES = (0, 12, 25, 30, 50)
"""Percent of the texts under each prefix that are verified: the attackers have some telephones."""
PUMPERS = 1000
AT_HOME = 250
"""One newcomer of so many has a number under an attacked prefix."""


def _pump(stage: Stage, cast: Cast) -> None:
    let_owners_sign_in(stage, cast)
    taken = {person.mobile[:-4] for person in cast.newcomers}
    others = (mobile for mobile in iter(cast.attacked.any, "") if mobile[:-4] not in taken)
    firsts = list(islice(others, len(SHARES)))
    beside = max(1, len(cast.newcomers) // AT_HOME)
    for n in range(beside):
        mobile = cast.attacked.beside(firsts[n % len(SHARES)])
        (person,) = people.make(f"beside{n}-", [mobile], [cast.newcomers[n].file], f"13.0.{n}.20")
        stage.enter(opts_in(stage, person), stage.length * (n + 0.5) / beside)
    stage.enter(_pumper(stage, cast, firsts), 600, attacks=True)


def _pumper(stage: Stage, cast: Cast, firsts: Sequence[str]) -> Script:
    dice, address = stage.chance("pumper"), networks("20.0.0.66")
    files = [person.file for person in cast.attackers]
    accounts = deque(people.make("pumper", [""] * PUMPERS, files, "10.0.0.66"))
    for n in count():
        person = accounts[0]
        accounts.rotate()
        share = SHARES[n % len(SHARES)]
        mobile = cast.attacked.beside(firsts[n % len(SHARES)])
        origin = Origin(Face.WEB, actor_id=person.user.pk, ip=address())
        if dice.random() < 0.5:
            origin = person.by_client()
        sending = opt_ins.opt_in(person.user, person.file, mobile, origin=origin)
        blocked = blocked_by(sending)
        stage.attack(blocked)
        yield 0.0
        row = sending.provider_user_id
        if row and not blocked:
            stage.seen[f"at {share} %"] += 1
        texts = stage.seen[f"at {share} %"]
        if row and not blocked and texts * share // 100 > (texts - 1) * share // 100:
            code = stage.codes[mobile, Purpose.OPT_IN]
            accounts.remove(person)  # its number is active now: it can get no more texts so
            opt_ins.verify_opt_in(person.user, person.file, row, code, origin=origin)
        yield cast.size.pace / 4 * dice.uniform(0.5, 1.5)


def _by_share(stage: Stage) -> str:
    texts = ", ".join(f"{share} %: {stage.seen[f'at {share} %']}" for share in SHARES)
    return f"Texts, by the share of them that was verified: {texts}."


def _pumping_bounds(stage: Stage) -> list[Bound]:
    """The breaker counts in windows that begin on the clock, and so does this."""
    began = int(BEGINS.timestamp())
    windows = Counter(
        (Guard.prefix_of(text.to), int(began + text.at) // 3600)
        for text in stage.sent
        if text.by_attack
    )
    most = max(windows.values(), default=0)
    return [Bound("Texts under one prefix in an hour of the clock", most, 100)]


# -- guessing ----------------------------------------------------------------------

GUESSES = 5
"""Wrong codes in a row, then they ask for another text."""


def _guess(stage: Stage, cast: Cast) -> None:
    victims = cast.owners[: max(4, len(cast.owners) // 30)]
    let_owners_sign_in(stage, cast, victims)
    for n, victim in enumerate(victims):
        ip = people.address("21.0.0.66", n)
        stage.enter(_guesser(stage, victim, ip), 300 + 10 * n, attacks=True)


def _guesser(stage: Stage, victim: Person, ip: str) -> Script:
    dice = stage.chance("guesser", victim.user.pk)
    for session in count():
        origin = Origin(Face.WEB, ip=ip, session=f"guess {victim.user.pk} {session}")
        signed = sign_in.sign_in(victim.user.username, people.PASSWORD, origin=origin)
        sending = signed.sending
        if signed.user is None or sending is None:
            stage.attack(why_refused(signed.outcome))
            yield 60.0
            continue
        stage.attack(blocked_by(sending))
        yield dice.uniform(2, 6)
        for _ in range(GUESSES):
            digits = conf.otp_digits
            guess = f"{dice.randrange(10**digits):0{digits}d}"
            if guess == stage.codes.get((victim.mobile, Purpose.SIGN_IN)):
                guess = mistyped(guess)  # the odds are told apart: no luck in a rehearsal
            judged = challenges.check(signed.user, Purpose.SIGN_IN, guess, origin=origin)
            stage.attack("" if judged.compared else rule_of(judged.outcome))
            if judged.compared:
                stage.seen["guesses"] += 1
                in_a_row = judged.data.get("failures", 0)
                stage.seen["in a row"] = max(in_a_row, stage.seen["in a row"])
            if judged.outcome is CodeOutcome.OK:
                stage.seen["entered"] += 1
            yield dice.uniform(1, 3)
            if not judged.compared:
                break
        yield dice.uniform(30, 90)


def _guessing_bounds(stage: Stage) -> list[Bound]:
    return [
        Bound("Wrong codes in a row for one person", stage.seen["in a row"], 50),
        Bound("Accounts entered", stage.seen["entered"], 0),
    ]


def _odds(stage: Stage) -> str:
    guesses = stage.seen["guesses"]
    one_in = 10**conf.otp_digits // guesses if guesses else 0
    return f"{guesses:,} codes were compared. One attack in {one_in:,} like it enters an account."


# -- lockout -----------------------------------------------------------------------


def _lock_out(stage: Stage, cast: Cast) -> None:
    targets = cast.owners[: max(4, len(cast.owners) // 30)]
    let_owners_sign_in(stage, cast, targets)
    stage.enter(_stranger(stage, cast, targets), 120, attacks=True)


def _stranger(stage: Stage, cast: Cast, targets: Sequence[Person]) -> Script:
    """Without a password: wrong ones, links to new ones, and opt-ins with their numbers."""
    dice, address = stage.chance("stranger"), networks("22.0.0.66")
    for n in count():
        target, ip = targets[n % len(targets)], address()
        origin = Origin(Face.WEB, ip=ip)
        match n // len(targets) % 4:
            case 0 | 1:
                _try(stage, target, f"wrong {n}", origin)
            case 2:
                asked = passwords.ask_reset(target.user.email, origin=origin)
                stage.attack("" if asked else "reset")
            case _:
                own = cast.attackers[n % len(cast.attackers)]
                origin = Origin(Face.WEB, actor_id=own.user.pk, ip=ip)
                sending = opt_ins.opt_in(own.user, own.file, target.mobile, origin=origin)
                stage.attack(blocked_by(sending))
        yield cast.size.pace / 4 * dice.uniform(0.5, 1.5)


def _try(stage: Stage, target: Person, password: str, origin: Origin) -> SignInOutcome:
    outcome = sign_in.sign_in(target.user.username, password, origin=origin).outcome
    refused = outcome is SignInOutcome.NOT_NOW
    stage.attack(why_refused(outcome) if refused else "")
    if not refused:
        stage.seen["passwords"] += 1
    return outcome


def _lockout_bounds(stage: Stage) -> list[Bound]:
    shut_out = sum(1 for visit in stage.visits if visit.is_target and not visit.reached)
    return [
        Bound("Visits of attacked people that failed", shut_out, 0),
        _to_one_number(stage),
    ]


def _to_one_number(stage: Stage) -> Bound:
    """No rehearsal takes a day: so these are all."""
    texts = Counter(text.to for text in stage.sent if text.by_attack)
    return Bound("Texts of strangers to one number in 24 hours", max(texts.values(), default=0), 10)


# -- spraying ----------------------------------------------------------------------

LIST = (WEAK, "Welcome1", "Summer2026", "Qwerty123", "letmein")
SOURCES = 4
NAMES = 150
"""So many names each source tries, one password after the other."""
WEAK_ONES = 60
"""One owner of so many has a password of the list."""


def _spray(stage: Stage, cast: Cast) -> None:
    let_owners_sign_in(stage, cast)
    weak = {person.user.pk for person in cast.owners[::WEAK_ONES]}
    for source in range(SOURCES):
        script = _sprayer(stage, cast, people.address("23.0.0.66", source), source, weak)
        stage.enter(script, 300 + source, attacks=True)


def _sprayer(stage: Stage, cast: Cast, ip: str, source: int, weak: set[int]) -> Script:
    dice = stage.chance("sprayer", source)
    everybody = [*cast.owners, *cast.newcomers]
    targets = dice.sample(everybody, min(NAMES, len(everybody)))
    for word in LIST[: cast.size.words]:
        for target in targets:
            origin = Origin(Face.WEB, ip=ip, session=f"spray {source} {target.user.pk} {word}")
            fits = word == WEAK and target.user.pk in weak
            outcome = _try(stage, target, people.PASSWORD if fits else word, origin)
            if outcome is SignInOutcome.INVALID_GRANT:
                stage.seen[f"from {source} in {int(stage.now.timestamp()) // 300}"] += 1
            if outcome is SignInOutcome.SIGNED_IN:
                stage.seen["entered"] += 1
            yield dice.uniform(0.4, 1.2)
        yield stage.length / cast.size.words / 2


def _spraying_bounds(stage: Stage) -> list[Bound]:
    tried = [n for name, n in stage.seen.items() if name.startswith("from ")]
    return [
        Bound("Wrong passwords from one address in 5 minutes", max(tried, default=0), 100),
        Bound("Accounts with a second factor entered", stage.seen["entered"], 0),
    ]


# -- bombing -----------------------------------------------------------------------


def _bomb(stage: Stage, cast: Cast) -> None:
    target = cast.owners[0]
    let_owners_sign_in(stage, cast, [target])
    stage.enter(_bomber(stage, cast, target), 300, attacks=True)


def _bomber(stage: Stage, cast: Cast, target: Person) -> Script:
    """Accounts enough, each from another address, and all for one number."""
    dice, address = stage.chance("bomber"), networks("24.0.0.66")
    for n in count():
        own = cast.attackers[n % len(cast.attackers)]
        origin = Origin(Face.WEB, actor_id=own.user.pk, ip=address())
        sending = opt_ins.opt_in(own.user, own.file, target.mobile, origin=origin)
        stage.attack(blocked_by(sending))
        yield cast.size.pace * dice.uniform(0.5, 1.5)


ATTACKS = {
    attack.name: attack
    for attack in (
        Attack(
            "pumping",
            "Pumping",
            f"{PUMPERS} accounts ask for texts to numbers under {len(SHARES)} prefixes, on pages "
            "from ever new networks and through clients. Each prefix has another share verified.",
            _pump,
            _pumping_bounds,
            _by_share,
        ),
        Attack(
            "guessing",
            "Guessing",
            f"Strangers who have the passwords of some people try codes: {GUESSES}, then they ask "
            "for another text.",
            _guess,
            _guessing_bounds,
            _odds,
            spares_targets=False,
        ),
        Attack(
            "lockout",
            "Lockout",
            "Strangers without a password try to shut some people out: by wrong passwords from "
            "ever new networks, by links to new passwords, and by opt-ins with their numbers.",
            _lock_out,
            _lockout_bounds,
        ),
        Attack(
            "spraying",
            "Spraying",
            f"{SOURCES} sources in different networks try up to {len(LIST)} common passwords at "
            f"{NAMES} names each. A few people have one of these.",
            _spray,
            _spraying_bounds,
        ),
        Attack(
            "bombing",
            "Bombing",
            "120 accounts, from ever new networks, ask to opt in the number of one person.",
            _bomb,
            lambda stage: [_to_one_number(stage)],
        ),
    )
}
