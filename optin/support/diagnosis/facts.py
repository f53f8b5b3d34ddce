"""What is read of one account, by a fixed number of queries at most."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from itertools import takewhile
from typing import Any

from django.db.models import Case, Exists, OuterRef, QuerySet, When

from optin.audit import repeats
from optin.conf import conf
from optin.models import (
    AuditEvent,
    GatewayHealth,
    GatewayTry,
    Guard,
    Membership,
    PendingOtp,
    ProposedNumber,
    ProviderUser,
    Revocation,
    ScimEnd,
    SmsMessage,
    User,
)
from optin.models.second_factors import Overview, overview_of
from optin.origin import Face
from optin.outcomes import By, CodeOutcome, StaffOutcome
from optin.support import wording

Kind = AuditEvent.Kind

LATELY = timedelta(hours=24)
"""A request or a wrong code from before is no news; texts are kept as long (S-55)."""

TRIES_LOOKED_AT = 20

FILES_NAMED = 5
"""How many ids of files a sentence names at most."""


@dataclass(frozen=True)
class Known:
    """All that is known of an account and bears on texts and signing in, each read once."""

    user: User  # who was just read
    now: datetime
    about: AuditEvent | None = None  # what is asked about: any call that was refused

    # -- the factors -------------------------------------------------------------------

    @cached_property
    def numbers(self) -> list[Any]:
        open_codes = PendingOtp.objects.open().filter(
            expires_at__gt=self.now, provider_user=OuterRef("pk")
        )
        rows = ProviderUser.objects.filter(user=self.user).annotate(
            waits=Exists(open_codes.filter(tries__lt=conf.otp_tries)),
            used_up=Exists(open_codes.filter(tries__gte=conf.otp_tries)),
        )
        return list(rows.order_by("-pk"))

    @property
    def proposed(self) -> ProposedNumber | None:
        return getattr(self.user, "proposed", None)

    @cached_property
    def factors(self) -> Overview:
        return overview_of(self.user, next((row for row in self.numbers if row.confirmed), None))

    @property
    def code_waits(self) -> bool:
        """Whether a code waits to be entered."""
        return any(row.waits for row in self.numbers)

    @property
    def code_used_up(self) -> bool:
        """Whether a code has not expired, and no tries of it are left."""
        return any(row.used_up for row in self.numbers)

    # -- what bars them ----------------------------------------------------------------

    @property
    def is_refused(self) -> bool:
        """Whether texted codes are refused, because of wrong ones."""
        return self.user.own.bars(self.now)

    @property
    def is_suspended(self) -> bool:
        return bool(self.factors.number and self.factors.number.suspended_at)

    @cached_property
    def controls(self) -> list[Guard]:
        wanted = {row.number_digest for row in self.numbers if row.confirmed}
        wanted |= {"", self.request.number_digest if self.request else ""}  # "": of the stop
        return list(Guard.objects.in_force(self.now).filter(key__in=wanted, kind__in=_BARS))

    @cached_property
    def health(self) -> list[GatewayHealth]:
        """The gateways that get no texts now, because they failed."""
        return [one for one in GatewayHealth.objects.of_gateways() if one.is_tripped(self.now)]

    @cached_property
    def ended(self) -> ScimEnd | None:
        """The application that deactivated the account by SCIM; rather one that can undo it."""
        ends = self.user.scim_ends.filter(of_account=True).select_related("application")
        found: ScimEnd | None = ends.order_by("deleted", "pk").first()
        return found

    @cached_property
    def revocation(self) -> Revocation | None:
        """The removal that waits."""
        return Revocation.objects.open_of(self.user).first()

    @cached_property
    def asked_by(self) -> str:
        """Who of the staff asked for that: a name and a role; "" for an operator."""
        asker = User.objects.filter(pk=self.revocation.actor_id if self.revocation else None)
        found = list(asker.values_list("username", "is_superuser", "groups__name"))
        if not found:
            return ""
        name, is_superuser, _ = found[0]
        roles = ["superuser"] if is_superuser else sorted(role for _, _, role in found if role)
        return f"{wording.plain(name)} ({', '.join(roles)})" if roles else wording.plain(name)

    @property
    def revocation_holds(self) -> bool:
        """Whether the removal that waits is still about the factors that there are."""
        return bool(self.revocation and self.revocation.is_about(self.factors.added_at))

    # -- what happened -----------------------------------------------------------------

    @property
    def _trail(self) -> "QuerySet[AuditEvent]":
        return AuditEvent.objects.about(self.user)

    def _newest(self, *kinds: Kind) -> list[AuditEvent]:
        # A refused request of staff does not tell which text the person waits for.
        asked = self._trail.filter(kind__in=kinds).exclude(kind=Kind.RESEND, outcome__in=_IN_VAIN)
        return repeats.newest(asked, self.user, kinds)

    @cached_property
    def _requests(self) -> list[AuditEvent]:
        return self._newest(Kind.OPT_IN, Kind.CHALLENGE, Kind.RESEND)

    @property
    def request(self) -> AuditEvent | None:
        """The last request for a text."""
        return next(iter(self._requests), None)

    @property
    def refused_before(self) -> list[AuditEvent]:
        """The requests before, newest first, while they and the last one were refused."""
        return list(takewhile(wording.is_refusal, self._requests))[1:]

    @cached_property
    def sign_in(self) -> AuditEvent | None:
        """The last password on the way to a text."""
        return next(iter(self._newest(Kind.SIGN_IN)), None)

    @cached_property
    def _attempts(self) -> list[AuditEvent]:
        return self._newest(*_CODES)

    @property
    def attempt(self) -> AuditEvent | None:
        """The last code entered, or passkey used."""
        return next(iter(self._attempts), None)

    @property
    def refused_passkey(self) -> AuditEvent | None:
        """The last passkey that was used, if it was refused."""
        last = next(filter(_is_of_passkey, self._attempts), None)
        return last if last and wording.is_refusal(last) else None

    @cached_property
    def wrong_codes(self) -> list[AuditEvent]:
        """Those that bar texted codes, newest first."""
        if not self.is_refused:
            return []
        wrong = self._trail.filter(kind__in=_CODES, outcome=CodeOutcome.OTP_INCORRECT)
        return list(wrong.exclude(face=Face.API)[: self.user.otp_failures])

    @cached_property
    def right_code(self) -> AuditEvent | None:
        """The last right code on a page."""
        right = self._trail.filter(kind__in=_CODES, outcome=CodeOutcome.OK, face=Face.WEB)
        return right.first()

    @cached_property
    def suspension(self) -> AuditEvent | None:
        return self._trail.filter(kind=Kind.SUSPEND, outcome=StaffOutcome.OK).first()

    @cached_property
    def access(self) -> AuditEvent | None:
        """The last call for a file that was not theirs, lately; or the one that is asked about."""
        if self.about and self.about.kind == Kind.ACCESS:
            return self.about
        # The first one of each hour has an event; that is enough to know of it.
        denied = self._trail.filter(kind=Kind.ACCESS, outcome="file_access_denied")
        return denied.filter(at__gt=self.now - LATELY).first()

    @cached_property
    def files(self) -> dict[int, bool]:
        """Files of which they are a member, the one of ``access`` first, and which are open."""
        theirs = Membership.objects.filter(user=self.user, active=True)
        is_asked = Case(When(file_id=self.access and self.access.file_id, then=0), default=1)
        files = theirs.order_by(is_asked, "file_id").values_list("file_id", "file__active")
        return dict(files[: FILES_NAMED + 1])

    @cached_property
    def text(self) -> SmsMessage | None:
        """The last text."""
        # By their times: by id the newest might be sought among the texts of everybody.
        own = SmsMessage.objects.filter(pending_otp__provider_user__user=self.user)
        own = own.select_related("pending_otp__provider_user")
        return own.order_by("-created_at", "-pk").first()

    @cached_property
    def tries(self) -> list[GatewayTry]:
        """What gateways said of it, newest first."""
        tries = GatewayTry.objects.filter(message=self.text.pk if self.text else 0)
        return list(tries.order_by("-pk")[:TRIES_LOOKED_AT])


def _is_of_passkey(event: AuditEvent) -> bool:
    return event.outcome == CodeOutcome.PASSKEY_REFUSED or event.data.get("by") == By.PASSKEY


_CODES = [Kind.VERIFY_OPT_IN, Kind.CHECK, Kind.OPT_OUT]

_IN_VAIN = [StaffOutcome.NOTHING_WAITING, StaffOutcome.OUT_OF_REACH]

_BARS = [Guard.Kind.STOP, Guard.Kind.DENY, Guard.Kind.OPTED_OUT, Guard.Kind.NOT_ME]


def is_later(one: AuditEvent, other: AuditEvent) -> bool:
    return (one.at, one.pk) > (other.at, other.pk)
