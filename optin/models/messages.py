"""Texts and mails, each try at a gateway, and the counters of the limits."""

import hmac
import re
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any, ClassVar, Self, TypeVar, cast

from django.db import models
from django.db.models import Case, F, Q, Value, When
from django.utils.translation import gettext_lazy as _

from optin import keys
from optin.database import Insert, Param, Select, Update, run
from optin.events import News
from optin.models.choices import ChoiceField
from optin.models.factors import PendingOtp, ProviderUser
from optin.models.users import User
from optin.models.webhooks import WebhookEvent

# Longer than any gateway may take (see gateways.Gateway.send), so that a lease runs out
# only when its sender is gone.
LEASE = timedelta(seconds=30)

MAIL_LEASE = timedelta(minutes=2)
"""The same for a mail: a dozen replies of the server, of 5 s each at most (EMAIL_TIMEOUT)."""

MAX_UNKNOWN_ATTEMPTS = 2
"""How many unknown attempts a message may have: its sender died, or no gateway answered, and
nobody knows whether it left. So it is sent at most twice, and never lost."""

TRIPS_AT = 3
"""Failures in a row after which a gateway is left alone."""

TRIPPED_FOR = timedelta(minutes=1)

SIM_SWAPS = "SIM swaps"
"""The provider that knows of swapped SIMs, in ``GatewayHealth``. No gateway has such a name."""


class State(models.TextChoices):
    """How far a message came."""

    QUEUED = "queued", "Waiting to be sent"
    SENDING = "sending", "Being sent"
    SENT = "sent", "Taken by the gateway"
    DELIVERED = "delivered", "Delivered"
    FAILED = "failed", "Failed"
    EXPIRED = "expired", "Not sent: its code was of no use any more"
    WITHHELD = "withheld", "Not sent, and whoever asked was not told"


class Unsent(StrEnum):
    """Why the service did not send a text or a mail, or not yet. The values are stored."""

    CODE_CLOSED = "its code was no longer open"
    CODES_REFUSED = "the user was locked, disabled or suspended"
    ALL_STOPPED = "all texts are stopped"
    NO_GATEWAY = "no gateway serves this number now"
    OPTED_OUT = "the number answered STOP"
    CALLED_OFF = "what it tells of was called off"
    SENDER_DIED = "its sender stopped, twice"
    TOO_OLD = "it could not be sent for a day"
    NO_ADDRESS = "the user has no email address"
    FICTION = "nobody has this number: it is for fiction"
    RESTORED = "the database was restored from a backup"


CARRIER = "the carrier: "
"""The beginning of the reason if a receipt says that a text was not delivered."""


M = TypeVar("M", bound="Outgoing")


class OutboxQuerySet(models.QuerySet[M]):
    def due(self, now: datetime) -> Self:
        """Messages that should leave at *now*: queued, or left by a sender that died."""
        return self.free(now - self.model.lease)

    def free(self, last_claim: datetime | Param) -> Self:
        """Messages that nobody sends: queued, or claimed until *last_claim* by a dead sender."""
        return self.filter(
            self.model.is_known,
            Q(state=State.QUEUED)
            | Q(
                state=State.SENDING,
                claimed_at__lte=last_claim,
                unknown_attempts__lt=MAX_UNKNOWN_ATTEMPTS,
            ),
        )

    def claim(self, pk: int, now: datetime) -> M | None:
        """Take the message for sending, and return it; of many who try at once, one gets it."""
        claim = _CLAIM[self.model].bind(id=pk, now=now, last_claim=now - self.model.lease)
        selects = [select.bind(id=pk) for select in _WITH_OWNERS[self.model]]
        claimed, rows, *others = run([claim, *selects])
        if not claimed or not rows:  # it may be erased by now
            return None
        row: Any = rows[0]
        row.join(*others)
        return cast(M, row)

    def abandoned(self, now: datetime) -> Self:
        """Messages that are not sent again: their last sender died."""
        return self.filter(
            state=State.SENDING,
            claimed_at__lte=now - self.model.lease,
            unknown_attempts__gte=MAX_UNKNOWN_ATTEMPTS,
        )


class Outgoing(models.Model):
    """What a text and a mail have in common: an outbox entry and its delivery record."""

    state = ChoiceField(max_length=9, choices=State.choices, default=State.QUEUED)
    tries = models.PositiveSmallIntegerField(default=0)
    # Tries of which nobody knows whether they left: while one is made, it is among them.
    unknown_attempts = models.PositiveSmallIntegerField(default=0)
    reason = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField()
    claimed_at = models.DateTimeField(null=True, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    # The language of the page that caused it, or of the person; "" for the service's own.
    language = models.CharField(max_length=8, blank=True)

    is_known = Q()
    """Rows that this release can send. The others wait for the next release, while both run."""

    objects = OutboxQuerySet.as_manager()

    lease: ClassVar[timedelta] = LEASE

    class Meta:
        abstract = True

    def save_claimed(self) -> None:
        """Save the new row as claimed by this process, from the time it was made."""
        self.state = State.SENDING
        self.claimed_at = self.created_at
        self.tries = self.unknown_attempts = 1
        self.save_queued()

    def save_queued(self) -> None:
        """Save the new row for another to claim."""
        _INSERT[type(self)].run(self)

    def save_queued_later(self) -> None:
        """``save_queued`` with the commit: the row has its key after that."""
        _INSERT[type(self)].run_later(self)

    def finish(self, state: State, **changes: object) -> bool:
        """Record what became of the message that this process claimed.

        Return False if it is not this process's any more: its lease is over, or a receipt
        came first.
        """
        finishing = _finishing(type(self), *sorted(changes))
        return finishing.run(id=self.pk, mine=self.tries, state=state, **changes)


class SmsMessage(Outgoing):
    """One text message: a code, or news to a number that has no code.

    The news is that another number took its place or, with ``about_id``, that all second factors
    will be removed. Its words are made when it is sent: no code and no link is stored.
    """

    pending_otp = models.ForeignKey(
        PendingOtp, models.CASCADE, null=True, blank=True, related_name="messages"
    )
    # The column has the name of the one kind of news that there was until 0.11.0.
    news_to = models.ForeignKey(
        ProviderUser,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="news",
        db_column="replaced_id",
    )
    # The id of the removal that the news is about. No foreign key, as with ``Notice.about_id``.
    about_id = models.BigIntegerField(null=True, blank=True)
    gateway = models.CharField(max_length=32, blank=True)
    gateway_message_id = models.CharField(max_length=100, blank=True)
    segments = models.PositiveSmallIntegerField(default=0)
    cost = models.DecimalField(max_digits=8, decimal_places=4, default=0)
    delivered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "text message"
        indexes = [
            models.Index(
                fields=["created_at"],
                condition=Q(state__in=[State.QUEUED, State.SENDING]),
                name="sms_message_waiting",
            ),
            models.Index(fields=["created_at"], name="sms_message_by_time"),
            models.Index(
                fields=["state", "-id"],
                condition=Q(state__in=[State.FAILED, State.EXPIRED]),
                name="sms_message_not_sent",
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(pending_otp__isnull=False, news_to__isnull=True)
                | Q(pending_otp__isnull=True, news_to__isnull=False),
                name="sms_message_is_a_code_or_a_farewell",
            )
        ]

    def __str__(self) -> str:
        return f"text message {self.pk}"

    @property
    def provider_user(self) -> ProviderUser:
        """The number that it goes to."""
        number = self.news_to or (self.pending_otp and self.pending_otp.provider_user)
        assert number  # by the constraint
        return number

    def tell(self, kind: News, why: str, now: datetime) -> None:
        """Tell the endpoints of the file that this text failed, in the transaction of that.

        Not that somebody answered STOP, where the person has never verified the number (S-38).
        """
        number = self.provider_user
        if number.is_proved or why != "opted_out":
            WebhookEvent.objects.tell(kind, why, now, number.file_id, number)

    @property
    def is_warning(self) -> bool:
        """Whether it tells that all second factors will be removed."""
        return self.about_id is not None

    @property
    def carrier_refused(self) -> bool:
        """Whether a receipt says that it was not delivered."""
        return self.reason.startswith(CARRIER)

    def join(self, codes: list[PendingOtp], numbers: list[ProviderUser], users: list[User]) -> None:
        """Take what was read with it."""
        for code, number, user in zip(codes, numbers, users, strict=False):
            number.user, code.provider_user, self.pending_otp = user, number, code

    def hold(self, gateway: str) -> bool:
        """Record, before it happens, that *gateway* is handed this message.

        As one more unknown attempt: should this process die, it may have left. Return False if
        the message is not this process's any more; then it must not be sent.
        """
        self.unknown_attempts += 1
        return self.finish(State.SENDING, gateway=gateway, unknown_attempts=self.unknown_attempts)

    def taken(self, **facts: object) -> None:
        """Record that the gateway took it, with what else the open transaction writes.

        If a receipt came before its answer, the state and the reason stay: they are the carrier's.
        """
        _TAKEN.run_later(id=self.pk, mine=self.tries, **facts)

    @staticmethod
    def of_reference(reference: str) -> "SmsMessage | None":
        """Return the message whose ``reference`` this is: nobody can make one up."""
        found = re.fullmatch(r"sms-([1-9][0-9]{0,17})-[0-9a-f]{20}", reference)
        message = SmsMessage.objects.filter(pk=int(found[1])).first() if found else None
        if message and hmac.compare_digest(message.reference, reference):
            return message
        return None

    @property
    def reference(self) -> str:
        """The same for every attempt at this message: the gateway's idempotency key.

        No other message has it, not that of a restored copy of the database either: a
        gateway would take that for a message that it has sent.
        """
        made = f"{self.pk} {self.created_at.isoformat()}"
        return f"sms-{self.pk}-{keys.digest('sms reference', made)[:20]}"


class GatewayTry(models.Model):
    """One handing of a text to a gateway, and what came of it."""

    message = models.ForeignKey(SmsMessage, models.CASCADE, related_name="gateway_tries")
    gateway = models.CharField(max_length=32)
    at = models.DateTimeField()
    fate = models.CharField(max_length=16)  # gateways.Fate
    reason = models.CharField(max_length=200, blank=True)
    gateway_message_id = models.CharField(max_length=100, blank=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["gateway", "gateway_message_id"],
                condition=~Q(gateway_message_id=""),
                name="gateway_try_by_their_id",
            )
        ]

    def __str__(self) -> str:
        return f"{self.gateway}: {self.fate}"

    def insert(self) -> None:
        """Save the new row, with what else the open transaction writes."""
        _INSERT_TRY.run_later(self)


class GatewayHealthQuerySet(models.QuerySet["GatewayHealth"]):
    def all_known(self) -> "dict[str, GatewayHealth]":
        """The health of every gateway that ever failed, by its name."""
        return {row.gateway: row for row in HEALTH.rows()}

    def of_gateways(self) -> Self:
        """Those of gateways: not of the provider that knows of swapped SIMs."""
        return self.exclude(gateway=SIM_SWAPS)

    def failed(self, gateway: str, now: datetime) -> None:
        """Count a failure; from ``TRIPS_AT`` in a row on the gateway is left alone a while."""
        self.tried(gateway)
        self.filter(gateway=gateway).update(failures=F("failures") + 1)
        self.filter(gateway=gateway, failures__gte=TRIPS_AT).update(tripped_until=now + TRIPPED_FOR)

    def tried(self, gateway: str) -> None:
        """Make its row, if it has none."""
        _TRIED.run_later(GatewayHealth(gateway=gateway))

    def worked(self, gateway: str) -> None:
        """Forget the failures."""
        _WORKED.run_later(gateway=gateway)


class GatewayHealth(models.Model):
    """How often a gateway failed in a row, seen by all processes.

    The simulator has a row from its first text on: it tells that there was a trial.
    """

    gateway = models.CharField(max_length=32, unique=True)
    failures = models.PositiveIntegerField(default=0)
    tripped_until = models.DateTimeField(null=True, blank=True)

    objects = GatewayHealthQuerySet.as_manager()

    class Meta:
        verbose_name = "gateway"

    def __str__(self) -> str:
        return f"health of {self.gateway}"

    def is_tripped(self, now: datetime) -> bool:
        return self.tripped_until is not None and self.tripped_until > now

    def claim_trial(self, now: datetime) -> bool:
        """Whether a text may go to this gateway, which is not tripped at *now*.

        Once a tripping is over, one text may, of all processes: it decides for all how it
        goes on.
        """
        if self.tripped_until is None:
            return True
        over = GatewayHealth.objects.filter(pk=self.pk, tripped_until=self.tripped_until)
        return bool(over.update(tripped_until=now + TRIPPED_FOR))


class Notice(Outgoing):
    """One email that tells a user what happened to their account."""

    lease = MAIL_LEASE

    class Kind(models.TextChoices):
        """Each with the subject of the mail. Some have another one in some cases."""

        ACTIVATED = "activated", _("Two-factor sign-in is on")
        RELEASED = "released", _("Your mobile number was removed from your account")
        REVOKED = "revoked", _("Two-factor sign-in was turned off by staff")
        LOCKED = "locked", _("Too many wrong codes: your account is locked for a while")
        DISABLED = "disabled", _("Codes by text message are switched off for your account")
        PROGRAMS_LOCKED = (
            "programs_locked",
            _("Too many wrong codes from a connected app: such apps are locked for a while"),
        )
        PROGRAMS_OFF = "programs_off", _("Connected apps can't use your codes any more")
        SUSPENDED = "suspended", _("Your mobile number was suspended by staff")
        RESUMED = "resumed", _("Your mobile number works again")
        UNLOCKED = "unlocked", _("Your account was unlocked by staff")
        NUMBER_CLAIMED = "number_claimed", _("Somebody else verified your mobile number")
        CHANGED = "changed", _("Your mobile number was changed")
        APP_ADDED = "app_added", _("An authenticator app was added to your account")
        APP_REMOVED = "app_removed", _("The authenticator app was removed from your account")
        PASSKEY_ADDED = "passkey_added", _("A passkey was added to your account")
        PASSKEY_REMOVED = "passkey_removed", _("A passkey was removed from your account")
        PASSKEY_CLONED = "passkey_cloned", _("A copy of your security key may be in use")
        RECOVERY_CODES = "recovery_codes", _("New recovery codes were made for your account")
        RECOVERED = "recovered", _("A recovery code was used for your account")
        PASSWORD = "password", _("Your password was changed")
        PASSWORD_RESET = "password_reset", _("Choose a new password")
        INVITATION = "invitation", _("Staff sent an invitation")
        DISOWNED = "disowned", _("A change was taken back")
        SECURED = "secured", _("Everybody else was signed out of your account")
        NO_TEXTS = "no_texts", _("No text messages go to your mobile number any more")
        REVOKE_PLANNED = "revoke_planned", _("Staff will turn off two-factor sign-in")
        REVOKE_OFF = "revoke_off", _("Two-factor sign-in stays on")
        OWN_REMOVAL = "own_removal", _("Two-factor sign-in will be turned off")
        OWN_REMOVAL_OFF = "own_removal_off", _("Two-factor sign-in stays on")
        OWN_REMOVED = "own_removed", _("Two-factor sign-in was turned off")
        KEY_MADE = "key_made", _("An access key was made for your account")
        KEY_REVOKED = "key_revoked", _("An access key of your account was revoked")
        ROLE = "role", _("Your role as a member of staff was changed")
        EMAIL_PROVE = "email_prove", _("A new email address is to be confirmed")
        EMAIL_ASKED = "email_asked", _("Somebody asked to change your email address")
        EMAIL_CHANGED = "email_changed", _("The email address of your account was changed")
        EMAIL_OFF = "email_off", _("Your email address stays the same")
        ENDPOINT_OFF = "endpoint_off", _("A webhook endpoint was switched off")
        ENDPOINT_ADDED = "endpoint_added", _("A webhook endpoint was added, or its address changed")
        CONSENT = "consent", _("An app was allowed to act for your account")
        SIM_SWAPPED = "sim_swapped", _("Your mobile number seems to have a new SIM")
        SIM_LET_THROUGH = "sim_let_through", _("Staff allowed one sign-in by text message")
        SIGNED_IN_TO = "signed_in_to", _("You signed in to an app with your account")

    is_known = Q(kind__in=Kind.values)

    user = models.ForeignKey(User, models.CASCADE, related_name="notices")
    kind = ChoiceField(max_length=16, choices=Kind.choices)
    last_three = models.CharField(max_length=3, blank=True)
    # The id of what the mail is about: the number, app or passkey that was added, the revocation
    # that was planned, the access key, the role that was given (a group), the change of the
    # email address, the webhook endpoint, the application. No foreign key: the row may go, and
    # the link must not lead to another one.
    about_id = models.BigIntegerField(null=True, blank=True)
    # When its "this was not me" link was used: it works once.
    disowned_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "email"
        indexes = [
            models.Index(
                fields=["created_at"],
                condition=Q(state__in=[State.QUEUED, State.SENDING]),
                name="notice_waiting",
            ),
            models.Index(
                fields=["state", "-id"],
                condition=Q(state__in=[State.FAILED, State.EXPIRED]),
                name="notice_not_sent",
            ),
        ]

    def __str__(self) -> str:
        return f"notice {self.pk}"

    def join(self, users: list[User]) -> None:
        """Take what was read with it."""
        for user in users:
            self.user = user


class SendCounter(models.Model):
    """How often something was done in one fixed window of time."""

    scope = models.CharField(max_length=40)
    key = models.CharField(max_length=64)  # a keyed digest: no number, name or address
    window_start = models.DateTimeField()
    count = models.PositiveIntegerField()
    # How many of these were verified. Only for opt-ins, by prefix and by region.
    verified = models.PositiveIntegerField(default=0, db_default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["scope", "key", "window_start"], name="send_counter_one_per_window"
            )
        ]

    def __str__(self) -> str:
        return f"{self.scope} counter"


_MODELS: tuple[type[Outgoing], ...] = SmsMessage, Notice
_INSERT: dict[type[Outgoing], Insert[Any]] = {model: Insert(model) for model in _MODELS}


def _by_message(model: type[Any], path: str) -> Select[Any]:
    return Select(lambda: model._base_manager.filter(**{path: Param("id", model)}))


_WITH_OWNERS: dict[type[Outgoing], tuple[Select[Any], ...]] = {
    SmsMessage: (
        _by_message(SmsMessage, "id"),
        _by_message(PendingOtp, "messages"),
        _by_message(ProviderUser, "pending_otps__messages"),
        _by_message(User, "provider_users__pending_otps__messages"),
    ),
    Notice: (_by_message(Notice, "id"), _by_message(User, "notices")),
}
"""A message, and the rows that it belongs to (``join``)."""


def _claim(model: type[Any]) -> Update:
    return Update(
        lambda: model.objects.free(Param("last_claim", model, "claimed_at")).filter(
            pk=Param("id", model)
        ),
        state=State.SENDING,
        claimed_at=Param("now", model, "claimed_at"),
        tries=F("tries") + 1,
        unknown_attempts=F("unknown_attempts") + 1,
    )


_CLAIM = {model: _claim(model) for model in _MODELS}


@cache
def _finishing(model: type[Any], *changes: str) -> Update:
    return Update(
        lambda: model.objects.filter(
            pk=Param("id", model), state=State.SENDING, tries=Param("mine", model, "tries")
        ),
        **{name: Param(name, model) for name in ("state", *changes)},
    )


def _unless_receipt_came(name: str, value: str) -> Case:
    """Set *value* where no receipt came before."""
    sent = When(state=State.SENDING, then=Value(value))
    return Case(sent, default=F(name), output_field=models.CharField())


_TAKEN = Update(
    lambda: SmsMessage.objects.filter(
        pk=Param("id", SmsMessage),
        state__in=[State.SENDING, State.DELIVERED, State.FAILED],
        tries=Param("mine", SmsMessage, "tries"),
    ),
    state=_unless_receipt_came("state", State.SENT),
    reason=_unless_receipt_came("reason", ""),
    **{
        name: Param(name, SmsMessage)
        for name in ("sent_at", "gateway", "gateway_message_id", "segments", "cost")
    },
)
_INSERT_TRY = Insert(GatewayTry)
HEALTH = Select(lambda: GatewayHealth.objects.all())
_TRIED = Insert(GatewayHealth, or_else="ON CONFLICT (gateway) DO NOTHING")
_WORKED = Update(
    lambda: GatewayHealth.objects.filter(gateway=Param("gateway", GatewayHealth), failures__gt=0),
    failures=0,
    tripped_until=None,
)
