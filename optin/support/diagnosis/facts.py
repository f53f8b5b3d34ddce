"""What is read of one account, by a fixed number of queries."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile

from django.db.models import Case, Exists, OuterRef, When

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


@dataclass(frozen=True, slots=True)
class Known:
    """All that is known of the account and bears on texts and signing in."""

    now: datetime
    user: User
    numbers: list[ProviderUser]
    proposed: ProposedNumber | None
    code_waits: bool  # to be entered
    code_used_up: bool  # it has not expired, and no tries are left
    factors: Overview
    request: AuditEvent | None  # the last one for a text
    refused_before: list[AuditEvent]  # while it and those before it were refused, newest first
    sign_in: AuditEvent | None  # the last password on the way to a text
    attempt: AuditEvent | None  # the last code entered, or passkey used
    refused_passkey: AuditEvent | None  # the last one, if none was accepted since
    wrong_codes: list[AuditEvent]  # newest first, while they bar texted codes
    right_code: AuditEvent | None  # the last one on a page, likewise
    suspension: AuditEvent | None
    access: AuditEvent | None  # the last call for a file that was not theirs, lately, or ``about``
    files: dict[
        int, bool
    ]  # of which they are a member, if there is such a call, and which are open
    text: SmsMessage | None  # the last one
    tries: list[GatewayTry]  # of it, newest first
    controls: list[Guard]
    revocation: Revocation | None  # that waits
    asked_by: str  # who of the staff asked for that: a name and a role, or ""
    health: list[GatewayHealth]  # of gateways that are left alone now
    ended: ScimEnd | None  # by which application the account is deactivated, if it is by one


def read_facts(user: User, now: datetime, about: AuditEvent | None = None) -> Known:
    """Read what is known of *user*, who was just read.

    :param about: in place of the last refused call, if it is one: any call that was refused.
    """
    open_codes = PendingOtp.objects.open().filter(expires_at__gt=now, provider_user=OuterRef("pk"))
    numbers = list(
        ProviderUser.objects.filter(user=user)
        .annotate(
            waits=Exists(open_codes.filter(tries__lt=conf.otp_tries)),
            used_up=Exists(open_codes.filter(tries__gte=conf.otp_tries)),
        )
        .order_by("-pk")
    )
    trail = AuditEvent.objects.about(user)

    def newest(kinds: list[Kind]) -> list[AuditEvent]:
        # A refused request of staff does not tell which text the person waits for.
        asked = trail.filter(kind__in=kinds).exclude(kind=Kind.RESEND, outcome__in=_IN_VAIN)
        return repeats.newest(asked, user, kinds)

    def latest(kinds: list[Kind]) -> AuditEvent | None:
        return next(iter(newest(kinds)), None)

    attempts = newest(_CODES)
    of_passkeys = [one for one in attempts if _is_of_passkey(one)]
    requests = newest([Kind.OPT_IN, Kind.CHALLENGE, Kind.RESEND])
    request = requests[0] if requests else None
    # The first one of each hour has an event; that is enough to know of it.
    denied = trail.filter(kind=Kind.ACCESS, outcome="file_access_denied", at__gt=now - LATELY)
    access = about if about and about.kind == Kind.ACCESS else denied.first()
    is_barred = user.own.bars(now)
    wrong = trail.filter(kind__in=_CODES, outcome=CodeOutcome.OTP_INCORRECT)
    right = trail.filter(kind__in=_CODES, outcome=CodeOutcome.OK, face=Face.WEB)
    revocation = Revocation.objects.open_of(user).first()
    suspensions = trail.filter(kind=Kind.SUSPEND, outcome=StaffOutcome.OK)
    # By their times: by id the newest might be sought among the texts of everybody.
    own = SmsMessage.objects.filter(pending_otp__provider_user__user=user)
    text = own.select_related("pending_otp__provider_user").order_by("-created_at", "-pk").first()
    tries = GatewayTry.objects.filter(message=text.pk if text else 0).order_by("-pk")
    wanted = {"", request.number_digest if request else ""}  # "": of the stop
    wanted |= {row.number_digest for row in numbers if row.confirmed}
    return Known(
        now=now,
        user=user,
        numbers=list(numbers),
        proposed=getattr(user, "proposed", None),
        code_waits=any(row.waits for row in numbers),
        code_used_up=any(row.used_up for row in numbers),
        factors=overview_of(user, next((row for row in numbers if row.confirmed), None)),
        request=request,
        refused_before=list(takewhile(wording.is_refusal, requests))[1:],
        sign_in=latest([Kind.SIGN_IN]),
        attempt=next(iter(attempts), None),
        refused_passkey=next(filter(wording.is_refusal, of_passkeys[:1]), None),
        wrong_codes=list(wrong.exclude(face=Face.API)[: user.otp_failures]) if is_barred else [],
        right_code=right.first() if is_barred else None,
        suspension=suspensions.first() if any(row.suspended_at for row in numbers) else None,
        access=access,
        files=_files_of(user, access.file_id) if access else {},
        text=text,
        tries=list(tries[:TRIES_LOOKED_AT]),
        revocation=revocation,
        asked_by=_asked_by(revocation) if revocation and not revocation.is_own else "",
        controls=list(Guard.objects.in_force(now).filter(key__in=wanted, kind__in=_BARS)),
        health=[one for one in GatewayHealth.objects.of_gateways() if one.is_tripped(now)],
        ended=None if user.is_active else _ended(user),
    )


def _is_of_passkey(event: AuditEvent) -> bool:
    return event.outcome == CodeOutcome.PASSKEY_REFUSED or event.data.get("by") == By.PASSKEY


def _ended(user: User) -> ScimEnd | None:
    """Return the row of who deactivated *user* by SCIM; first of who can activate them again."""
    ends = user.scim_ends.filter(of_account=True).select_related("application")
    found: ScimEnd | None = ends.order_by("deleted", "pk").first()
    return found


def _asked_by(revocation: Revocation) -> str:
    """Return the name and the role of who asked; "" for an operator, who has no account here."""
    asker = User.objects.filter(pk=revocation.actor_id)
    found = list(asker.values_list("username", "is_superuser", "groups__name"))
    if not found:
        return ""
    name, is_superuser, _ = found[0]
    roles = ["superuser"] if is_superuser else sorted(role for _, _, role in found if role)
    return f"{wording.plain(name)} ({', '.join(roles)})" if roles else wording.plain(name)


def _files_of(user: User, asked: int | None) -> dict[int, bool]:
    """Return files of *user* and which are open, the one that was *asked* for first."""
    theirs = Membership.objects.filter(user=user, active=True)
    is_asked = Case(When(file_id=asked, then=0), default=1)
    files = theirs.order_by(is_asked, "file_id").values_list("file_id", "file__active")
    return dict(files[: FILES_NAMED + 1])


_CODES = [Kind.VERIFY_OPT_IN, Kind.CHECK, Kind.OPT_OUT]

_IN_VAIN = [StaffOutcome.NOTHING_WAITING, StaffOutcome.OUT_OF_REACH]

_BARS = [Guard.Kind.STOP, Guard.Kind.DENY, Guard.Kind.OPTED_OUT, Guard.Kind.NOT_ME]


def is_later(one: AuditEvent, other: AuditEvent) -> bool:
    return (one.at, one.pk) > (other.at, other.pk)
