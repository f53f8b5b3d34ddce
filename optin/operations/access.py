"""What a person does about whatever acts for them: browsers, applications, access keys.

Each needs the password, entered lately, in a session that stands.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import transaction

from optin.models import AuditEvent, Purpose, User
from optin.operations.factors import Factors, Standing, read_caller_locked, refuse_ended
from optin.operations.opt_ins import KeepSession
from optin.origin import Origin

Kind = AuditEvent.Kind


def sign_out(user: User, *, standing: Standing, origin: Origin, end: Callable[[], bool]) -> bool:
    """End one session of *user* by *end*; return whether it was still there.

    :param user: as the session that asks has them.
    :param end: called within the transaction; returns whether it ended anything.
    :raises PasswordNeeded: if *standing* has not proved the password lately.
    :raises SignedOut: and
    :raises Deactivated: if the session that asks was ended meanwhile.
    """
    with _allowed(user, standing) as factors:
        ended = end()
        if ended:
            _record(Kind.SESSION, "ended", factors, origin)
    return ended


def sign_out_others(
    user: User, *, standing: Standing, origin: Origin, keep_session: KeepSession
) -> None:
    """End every session of *user*, those that wait for a code too; applications stay.

    :param keep_session: as for ``opt_ins.verify_opt_in``.
    :raises PasswordNeeded, SignedOut, Deactivated: as ``sign_out``.
    """
    with _allowed(user, standing) as factors:
        factors.user.end_sessions(factors.now)
        keep_session(factors.user)
        _record(Kind.SESSION, "others_ended", factors, origin)


@contextmanager
def _allowed(user: User, standing: Standing) -> Iterator[Factors]:
    """The transaction of a change, with the lock of *user* held."""
    with transaction.atomic(durable=True):
        factors = read_caller_locked(user, Purpose.SIGN_IN)
        refuse_ended(factors, user)
        standing.demand(factors.now)
        yield factors


def _record(kind: AuditEvent.Kind, outcome: str, factors: Factors, origin: Origin) -> None:
    AuditEvent.objects.record(
        kind, outcome, now=factors.now, origin=origin, user_id=factors.user.pk
    )
