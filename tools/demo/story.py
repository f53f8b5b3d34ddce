"""Rows of the past, and the events that tell of them.

The operations know only the present time. So this writes what they would have written, with the
times of a story: the rows in bulk, then the events by ``AuditEvent.objects.record``, in their
order, then the seals that would have been made meanwhile. So the audit trail is as sound as one
that grew in a month, and figures are counted from the rows like all others.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Any

from django.db import connection, models, transaction

from optin import codes, keys
from optin.audit import seals
from optin.conf import Rate, conf
from optin.gateways import Fate
from optin.limits import Rule
from optin.limits.counters import Limit, each_rate
from optin.models import (
    AuditEvent,
    AuthenticatorApp,
    File,
    GatewayTry,
    Guard,
    Membership,
    Notice,
    PendingOtp,
    ProviderUser,
    Purpose,
    RecoveryCode,
    Revocation,
    SendCounter,
    SmsMessage,
    User,
)
from optin.models.audit import committed
from optin.models.messages import CARRIER, State
from optin.operations import verification
from optin.origin import Origin
from optin.outcomes import By
from optin.phones import MobileNumber
from optin.support import statistics

Kind = AuditEvent.Kind
Closed = PendingOtp.Closed

GATEWAY, PRICE = "kannel", Decimal("0.0450")
"""What takes the texts of the story, and what one costs."""

SEALED_EVERY = timedelta(minutes=135)
"""``verify_audit`` takes a seal that was made later for one that replaces another."""

SECOND = timedelta(seconds=1)


@dataclass(slots=True)
class Code:
    """One code that somebody was texted, and what it was for."""

    row: ProviderUser
    otp: PendingOtp
    text: SmsMessage
    origin: Origin

    @property
    def user(self) -> User:
        user: User = self.row.user
        return user


@dataclass(slots=True)
class Story:
    """Rows to save. Users are saved at once: numbers are sealed for their ids."""

    now: datetime
    people: list[User] = field(default_factory=list)
    _rows: dict[type[models.Model], list[Any]] = field(default_factory=dict)
    _events: list[tuple[datetime, Callable[[], object]]] = field(default_factory=list)
    _open: dict[tuple[int, str], PendingOtp] = field(default_factory=dict)
    _counts: Counter[tuple[str, str, datetime]] = field(default_factory=Counter)
    _verified: Counter[tuple[str, str, datetime]] = field(default_factory=Counter)

    # -- people ------------------------------------------------------------------------

    def join(self, names: Iterable[str], file: File, password: str, since: datetime) -> list[User]:
        """Make people, members of *file*, who have the hash *password*."""
        people: list[User] = User.objects.bulk_create(
            User(username=name, email=f"{name}@example.com", password=password, date_joined=since)
            for name in names
        )
        Membership.objects.bulk_create(Membership(user=user, file=file) for user in people)
        self.people += people
        return people

    def add(self, row: Any) -> Any:
        """Have *row* saved, and return it. What it points at must be saved before."""
        self._rows.setdefault(type(row), []).append(row)
        return row

    def tell(
        self,
        kind: AuditEvent.Kind,
        outcome: str,
        at: datetime,
        origin: Origin,
        user: User | None,
        row: ProviderUser | None = None,
        reason: str = "",
        file: File | None = None,
        facts: dict[str, Any] | None = None,
    ) -> None:
        """Have an event recorded.

        :param facts: its data. Where a fact is a row, its id is told.
        """

        def record() -> None:
            AuditEvent.objects.record(
                kind,
                outcome,
                now=at,
                origin=origin,
                user_id=user.pk if user else None,
                file_id=file.pk if file else None,
                provider_user_id=row.pk if row else None,
                number_digest=row.number_digest if row else "",
                last_three=row.last_three if row else "",
                reason=reason,
                data={name: _id_of(fact) for name, fact in (facts or {}).items()},
            )

        self._events.append((at, record))

    def mail(self, user: User, kind: Notice.Kind, at: datetime, end: str = "") -> None:
        """Have a mail told of, which left at once."""
        self.add(
            Notice(
                user=user,
                kind=kind,
                last_three=end,
                state=State.SENT,
                tries=1,
                created_at=at,
                claimed_at=at,
                sent_at=at + SECOND,
            )
        )

    # -- texts and codes ---------------------------------------------------------------

    def opt_in(
        self, user: User, number: str, file: File, at: datetime, origin: Origin, **text: Any
    ) -> Code:
        """Somebody names a number for the first time, and is texted a code."""
        row = self.add(
            ProviderUser(
                user=user,
                file=file,
                number_encrypted=ProviderUser.seal(number, user),
                number_digest=ProviderUser.digest_of(number),
                last_three=number[-3:],
                created_at=at,
            )
        )
        self._count(self._of_opt_in(number), at)
        code = self._text(row, Purpose.OPT_IN, file, at, origin, **text)
        facts = _rule(Rule.ASKED_PAIR, conf.sends_per_number)
        self.tell(
            Kind.OPT_IN,
            "sent",
            at,
            origin,
            user,
            row,
            file=file,
            facts={"message": code.text, **facts},
        )
        return code

    def sign_in(self, row: ProviderUser, at: datetime, origin: Origin, **text: Any) -> Code:
        """Somebody signs in with the password, and is texted a code."""
        code = self._text(row, Purpose.SIGN_IN, None, at, origin, **text)
        facts = {**_rule(Rule.OWN_NUMBER, conf.sends_per_number), "purpose": Purpose.SIGN_IN.value}
        self.tell(
            Kind.CHALLENGE, "sent", at, origin, row.user, row, facts={"message": code.text, **facts}
        )
        return code

    def _text(
        self,
        row: ProviderUser,
        purpose: Purpose,
        file: File | None,
        at: datetime,
        origin: Origin,
        *,
        state: State = State.DELIVERED,
    ) -> Code:
        """A code, and its text."""
        if before := self._open.get((id(row), purpose)):
            before.closed_at, before.closed_as = at, Closed.SUPERSEDED
        otp = self.add(
            PendingOtp(
                provider_user=row,
                purpose=purpose,
                file=file,
                nonce=codes.new_nonce(),
                key_id=keys.current_id(),
                digits=conf.otp_digits,
                issued_at=at,
                expires_at=at + timedelta(seconds=conf.otp_lifetime),
            )
        )
        self._open[id(row), purpose] = otp
        arrived = at + 6 * SECOND if state == State.DELIVERED else None
        text = self.add(
            SmsMessage(
                pending_otp=otp,
                state=state,
                reason=f"{CARRIER}absent subscriber" if state == State.FAILED else "",
                tries=1,
                created_at=at,
                claimed_at=at,
                sent_at=at + SECOND,
                delivered_at=arrived,
                gateway=GATEWAY,
                segments=1,
                cost=PRICE,
            )
        )
        self.add(GatewayTry(message=text, gateway=GATEWAY, at=at, fate=Fate.ACCEPTED))
        asked = purpose is Purpose.OPT_IN
        budgets = each_rate(Rule.TOTAL, "", conf.sends_total) if asked else []
        budgets += each_rate(Rule.FILE, str(file.pk), conf.sends_per_file) if file else []
        budgets += [] if asked else each_rate(Rule.OWN_TOTAL, "", conf.own_sends_total)
        self._count([one for one in budgets if one.window(at) == one.window(self.now)], at)
        return Code(row, otp, text, origin)

    def verify(self, code: Code, at: datetime) -> None:
        """The right code is entered; that of an opt-in makes the number active."""
        code.otp.closed_at, code.otp.closed_as = at, Closed.VERIFIED
        row, user, facts = code.row, code.user, {"purpose": code.otp.purpose, "by": By.TEXT.value}
        del self._open[id(row), code.otp.purpose]
        user.last_login = at
        user.own.forget()
        kind = Kind.CHECK
        if code.otp.purpose == Purpose.OPT_IN:
            row.confirmed, row.verified_at = True, at
            user.session_epoch, user.sign_ins_ended_at = 1, at
            self._count(self._of_opt_in(row.open_number()), code.otp.issued_at, self._verified)
            self.mail(user, Notice.Kind.ACTIVATED, at, row.last_three)
            kind, facts = Kind.VERIFY_OPT_IN, {}
        self.tell(kind, "ok", at, code.origin, user, row, file=code.otp.file, facts=facts)

    def miss(self, code: Code, at: datetime) -> None:
        """A wrong code is entered: it counts, and locks or disables at its limit."""
        user, otp = code.user, code.otp
        user.own.add()
        otp.tries += 1
        bars, mail = verification.bar(user.own, False, at)
        if mail:
            self.mail(user, mail, at)
        facts: dict[str, Any] = {"failures": user.own.failures, "try": otp.tries, **bars}
        kind = Kind.VERIFY_OPT_IN
        if otp.purpose != Purpose.OPT_IN:
            kind, facts["purpose"] = Kind.CHECK, otp.purpose
        self.tell(
            kind, "otp_incorrect", at, code.origin, user, code.row, file=otp.file, facts=facts
        )

    def _of_opt_in(self, number: str) -> list[Limit]:
        """The counters of opt-ins under a prefix and in a region."""
        prefix, region = Guard.prefix_of(number), MobileNumber.stored(number).region
        return [
            Limit(rule, key, 0, conf.breaker_seconds)
            for rule, key in ((Rule.PREFIX, prefix), (Rule.REGION, region))
        ]

    def _count(
        self,
        limits: Iterable[Limit],
        at: datetime,
        counts: Counter[tuple[str, str, datetime]] | None = None,
    ) -> None:
        for limit in limits:
            key = limit.scope, keys.digest("counter", limit.key), limit.window(at)
            (self._counts if counts is None else counts)[key] += 1

    # -- saved -------------------------------------------------------------------------

    def save(self) -> None:
        """Save all, seal the events, and count the figures.

        The lines of these events and seals are no news to any log.
        """
        if connection.vendor == "sqlite":
            with connection.cursor() as cursor:
                # Some hundred commits need not wait for the disk: nobody has used this yet.
                cursor.execute("PRAGMA synchronous=NORMAL")
        self._events.sort(key=lambda event: event[0])
        # The thread that seals would do it now, all at once: ``verify_audit`` would find that late.
        committed.disconnect(dispatch_uid="keep_sealing")
        level = seals.logger.level
        seals.logger.setLevel(logging.WARNING)
        try:
            with transaction.atomic():
                self._save_rows()
                for _at, record in self._events:
                    record()
            self._seal()
            statistics.roll_up(self.now)
        finally:
            seals.logger.setLevel(level)
            committed.connect(seals.keep_sealing, dispatch_uid="keep_sealing")

    def _save_rows(self) -> None:
        for model, clock in _ORDER.items():
            # Lists show rows by their ids.
            rows = sorted(self._rows.pop(model, []), key=attrgetter(clock))
            model._default_manager.bulk_create(rows)
        assert not self._rows, "say in which order these are saved"
        SendCounter.objects.bulk_create(
            SendCounter(
                scope=key[0],
                key=key[1],
                window_start=key[2],
                count=count,
                verified=self._verified[key],
            )
            for key, count in self._counts.items()
        )
        User.objects.bulk_create(
            self.people, update_conflicts=True, unique_fields=["id"], update_fields=_CHANGED
        )

    def _seal(self) -> None:
        """Seal the events with the times at which it would have been done."""
        due = self._events[0][0]
        for at, _record in self._events:
            if at >= due and at + SEALED_EVERY < self.now:
                seals.seal(at + SEALED_EVERY)
                due = at + SEALED_EVERY - seals.AGE
        seals.seal(self.now)


def _id_of(fact: object) -> object:
    """Rows have their ids only once they are saved."""
    return fact.pk if isinstance(fact, models.Model) else fact


def _rule(rule: Rule, rates: Sequence[Rate]) -> dict[str, Any]:
    """The facts of a text that was sent: the rule that was nearest to saying no."""
    for one in each_rate(rule, "", rates[:1]):
        return {"rule": one.scope, "count": 1, "limit": one.count}
    return {"rule": Rule.NONE.value, "count": 0, "limit": 0}


_ORDER: dict[type[models.Model], str] = {
    ProviderUser: "created_at",
    AuthenticatorApp: "created_at",
    RecoveryCode: "created_at",
    PendingOtp: "issued_at",
    SmsMessage: "created_at",
    GatewayTry: "at",
    Revocation: "asked_at",
    Notice: "created_at",
    Guard: "made_at",
}
"""In which order rows are saved, and their time."""

_CHANGED = (
    *("is_staff", "last_login", "session_epoch", "sign_ins_ended_at"),
    *("otp_failures", "otp_locked_until", "otp_disabled_at"),
)
