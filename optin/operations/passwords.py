"""Passwords: check one, choose a new one, replace a lost one.

Each try counts as failed before the password is checked. If the password was right, the count is
taken back. So the limits hold, however many try at once.
"""

import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.tokens import default_token_generator
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.http import base36_to_int

from optin import limits
from optin.audit import restores
from optin.errors import SamePassword, SignedOut
from optin.messaging import delivery, wording
from optin.models import AuditEvent, Notice, Purpose, SimAnswer, User
from optin.operations import sim_swaps
from optin.operations.factors import (
    Factors,
    Standing,
    close_begun,
    read_caller_locked,
    read_locked,
    refuse_ended,
)
from optin.operations.opt_ins import KeepSession, end_session
from optin.origin import Origin
from optin.outcomes import SignInOutcome
from optin.runtime import hashing

RESET_WAIT = timedelta(minutes=1)
"""Between two mails with a link to a new password."""

RESETS_IN_A_ROW = 5

RESET_PAUSE = timedelta(seconds=settings.PASSWORD_RESET_TIMEOUT)
"""Time between two such mails after ``RESETS_IN_A_ROW`` of them in a day: so at most 10 in 24
hours, as for texts to one user. The last link works until then. With a shorter life of links, or
a simple limit, a stranger could shut the owner out.
"""

INVITED_FOR = timedelta(days=7)
"""How long the link of an invitation works. The mail and the page say so."""

ANY_NAME = "any name"
"""The subject of refusals that count together whatever the name: of an address over its limit, and
of names that nobody has. Else each made-up name could write an event."""

Kind = AuditEvent.Kind


# -- one try -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Attempt:
    """The result of a try of a password."""

    outcome: SignInOutcome  # SIGNED_IN for a right one, INVALID_GRANT, or NOT_NOW
    now: datetime
    factors: Factors | None = None  # of the user whose password was right, locked in the block
    retry_after: timedelta | None = None


@contextmanager
def trying(
    username: str,
    password: str,
    *,
    origin: Origin,
    kind: AuditEvent.Kind = Kind.SIGN_IN,
    ask: Callable[[User], SimAnswer | None] | None = None,
) -> Iterator[Attempt]:
    """Try a password; for a right one, the block is the operation's transaction.

    Refusals are recorded here: a wrong password under *kind*, one over a limit under sign-in. The
    block records a right one.

    :param ask: is called before that transaction, with the user whose password was right, and may
        wait for the network. The answer is kept in the transaction.
    :raises Busy: if too many passwords are being checked; nothing is counted or recorded.
    """
    with hashing.place():
        now, name, user = timezone.now(), _spelling(username), _by_login(username)
        charged = _charge(name, user, origin, now)
        right = not isinstance(charged, limits.Refused) and _is_right(user, password)
    if isinstance(charged, limits.Refused):
        yield Attempt(SignInOutcome.NOT_NOW, now, retry_after=charged.retry_after)
        return
    answer = ask(user) if ask and user and right else None
    with transaction.atomic(durable=True):
        factors = _admit(user) if user and right else None
        if factors:
            charged.refund()
            sim_swaps.keep(answer, factors, origin)
        elif user and not charged.beyond:
            _record(kind, SignInOutcome.INVALID_GRANT, user, origin, now)
        else:
            _count(kind, SignInOutcome.INVALID_GRANT, user, name, origin, now, charged.beyond)
        outcome = SignInOutcome.SIGNED_IN if factors else SignInOutcome.INVALID_GRANT
        yield Attempt(outcome, factors.now if factors else now, factors)


def _spelling(username: str) -> str:
    """Return what all spellings of a user name have in common; they count together."""
    return unicodedata.normalize("NFKC", username).casefold()


def _by_login(username: str) -> User | None:
    """Return who signs in as *username*, in any spelling of it.

    PostgreSQL also finds ``ian`` for a dotless ``ıan``: a spelling of another name, with
    a count of its own.
    """  # noqa: RUF002
    user: User | None = User.objects.by_login(unicodedata.normalize("NFKC", username))
    if user and _spelling(username) in {_spelling(user.username), _spelling(user.email)}:
        return user
    return None


def _charge(
    name: str, user: User | None, origin: Origin, now: datetime
) -> limits.Charge | limits.Refused:
    """Charge one failed try before the password is looked at, or say why not."""
    with transaction.atomic(durable=True):
        charged = limits.reserve_sign_in(name, origin, now, user)
        if isinstance(charged, limits.Refused):
            _count(Kind.SIGN_IN, SignInOutcome.NOT_NOW, user, name, origin, now, charged)
    return charged


def _is_right(user: User | None, password: str) -> bool:
    """Whether the password is right: slow by design, so outside any transaction.

    As slow for a name that nobody has.
    """
    if user is None:
        hashing.make(password)
        return False
    right, outdated = hashing.verify(password, user.password)
    if right and outdated:
        right = _hash_anew(user, password)
    return right and user.is_active


def _hash_anew(user: User, password: str) -> bool:
    """Store the right *password* as a hash of today's kind; return whether it is still right.

    It may have been changed meanwhile, or hashed anew for another sign-in.
    """
    anew = hashing.make(password)
    if User.objects.filter(pk=user.pk, password=user.password).update(password=anew):
        user.password = anew
        return True
    user.refresh_from_db(fields=["password"])
    return hashing.verify(password, user.password)[0]


def _admit(user: User) -> Factors | None:
    """Lock the *user* whose password was right.

    Nothing, if it was changed while it was checked.
    """
    factors = read_locked(user, Purpose.SIGN_IN, every_factor=True)
    locked = factors.user
    return factors if locked.password == user.password and locked.is_active else None


# -- what a person does with theirs ------------------------------------------------


def confirm(user: User, password: str, *, origin: Origin) -> Attempt:
    """Check the password of somebody who is signed in, before a change."""
    with trying(user.get_username(), password, origin=origin, kind=Kind.PASSWORD) as tried:
        if tried.factors:
            _record(Kind.PASSWORD, tried.outcome, user, origin, tried.now)
    return tried


def choose(
    user: User,
    password: str,
    *,
    origin: Origin,
    standing: Standing | None = None,
    link: str = "",
    keep_session: KeepSession = end_session,
) -> None:
    """Give *user* a new password; it ends their sessions and what was granted or begun before.

    Validated by the caller (Django's validators).

    :param user: as the session has them.
    :param standing: what the session has proved; or
    :param link: the token of the mailed link, which works once.
    :param keep_session: as for ``opt_ins.verify_opt_in``.
    :raises PasswordNeeded: if *standing* has not proved the password lately.
    :raises SignedOut: if the session was ended meanwhile, or the link was used.
    :raises SamePassword: if it is the one that they have.
    :raises Busy: if too many passwords are being hashed.
    """
    with hashing.place():
        if hashing.verify(password, user.password)[0]:
            raise SamePassword
        hashed = hashing.make(password)  # slow by design: before the lock
    with transaction.atomic(durable=True):
        factors = read_caller_locked(user, Purpose.SIGN_IN, origin=None)
        now = factors.now
        locked = factors.user
        if standing:
            refuse_ended(factors, user)
            standing.demand(now)
        elif not opens(locked, link):
            raise SignedOut
        locked.password = hashed
        locked.password_mailed_at = now if link else locked.password_mailed_at
        locked.proved_email = locked.email if link else locked.proved_email
        is_invited = wording.is_of_invitation(link)
        locked.invitation_used_at = now if is_invited else locked.invitation_used_at
        mailed = ["password_mailed_at", "proved_email", "invitation_used_at"]
        locked.save(update_fields=["password", *mailed])
        close_begun(locked, factors.number, now)
        locked.end_sign_ins(now)
        keep_session(locked)
        delivery.notify(locked, Notice.Kind.PASSWORD, now)
        if is_invited:
            _record(Kind.INVITATION, "used", locked, origin, now)
        else:
            _record(Kind.PASSWORD, "changed", locked, origin, now)


def opens(user: User | None, link: str) -> bool:
    """Whether *link* is the token of a mailed link by which *user* may choose a password.

    It works once. After a restore, no link from before works: it may have been used.
    """
    if user and wording.is_of_invitation(link):
        return _is_invited(user, link)
    if user is None or not _may_choose(user) or not default_token_generator.check_token(user, link):
        return False
    # In the unit of ``check_token``, which counts seconds in local time.
    now = default_token_generator._num_seconds(default_token_generator._now())
    age = timedelta(seconds=now - base36_to_int(link.partition("-")[0]))
    return all(timezone.now() - age > gap.at for gap in restores.gaps())


def _is_invited(user: User, link: str) -> bool:
    """Whether *link* is that of an invitation of somebody who has no password yet."""
    if user.invited_at is None or timezone.now() - user.invited_at >= INVITED_FOR:
        return False
    has_none = user.is_active and not user.has_usable_password()
    return has_none and _may_choose(user) and wording.invites(user, link)


def is_theirs(user: User, password: str) -> bool:
    """Whether *password* is that of *user*, who just chose it. This is no try: it is not counted.

    :raises Busy: if too many passwords are being checked.
    """
    with hashing.place():
        return hashing.verify(password, user.password)[0]


def ask_reset(email: str, *, origin: Origin) -> bool:
    """Mail a link to a new password, if *email* is somebody's; return whether one is mailed.

    The person who asks must not learn the result (S-38). One link a minute, few in a day, and as
    many tries as for passwords, counted apart.
    """
    now = timezone.now()
    known = _by_login(email)
    with transaction.atomic(durable=True):
        name = _spelling(email)
        if refused := limits.reserve_reset(name, origin, now):
            _count(Kind.PASSWORD, SignInOutcome.NOT_NOW, known, name, origin, now, refused)
            return False
    with transaction.atomic(durable=True):
        # For nobody the same statements, but for the mail's own: their time would tell, too.
        pk = known.pk if known and "@" in email else 0
        user = User.objects.select_for_update(no_key=True).filter(pk=pk).first()
        now = timezone.now()
        links = Notice.objects.filter(user=pk, kind=Notice.Kind.PASSWORD_RESET)
        lately = _too_soon(links, now)
        due = user is not None and user.is_active and _may_choose(user) and not lately
        if user and due:
            delivery.notify_apart(user, Notice.Kind.PASSWORD_RESET, now)
            _record(Kind.PASSWORD, "reset_asked", user, origin, now)
        else:
            _count(Kind.PASSWORD, "refused", known, ANY_NAME, origin, now)
    return due


def _may_choose(user: User) -> bool:
    """Whether *user* may choose a password by a mailed link: staff only in place of another."""
    return user.has_usable_password() or not (user.is_staff or user.is_superuser)


def _too_soon(links: QuerySet[Notice], now: datetime) -> bool:
    """Whether it is too soon after the newest of *links* for another."""
    lately = links.filter(created_at__gt=now - timedelta(days=1)).order_by("-created_at")
    sent = list(lately.values_list("created_at", flat=True)[:RESETS_IN_A_ROW])
    wait = RESET_WAIT if len(sent) < RESETS_IN_A_ROW else RESET_PAUSE
    return bool(sent) and now - sent[0] < wait


def _record(kind: AuditEvent.Kind, outcome: str, user: User, origin: Origin, now: datetime) -> None:
    """Add the event of what *user* did with their password, or of a wrong one for their name."""
    AuditEvent.objects.record(kind, outcome, now=now, origin=origin, user_id=user.pk)


def _count(
    kind: AuditEvent.Kind,
    outcome: str,
    user: User | None,
    name: str,
    origin: Origin,
    now: datetime,
    over: limits.Reserved | limits.Refused | None = None,
) -> None:
    """Count a refusal. It takes one statement, as an event does, so it tells nothing (S-38).

    :param over: the limit that was reached, if one was.
    """
    of_address = over is not None and over.rule not in _RULES_OF_A_NAME
    AuditEvent.objects.record(
        kind,
        outcome,
        now=now,
        origin=origin,
        user_id=user.pk if user else None,
        data=over.data if over else None,
        subject=ANY_NAME if of_address or user is None else name,
        only_count=True,
    )


_RULES_OF_A_NAME = {
    limits.Rule.SIGN_IN_NAME,
    limits.Rule.SIGN_IN_NEW,
    limits.Rule.SIGN_IN_ALL,
    limits.Rule.RESET_NAME,
}
