"""Opt in: text a code to a number, and activate the number with the right code."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from django.db import IntegrityError, transaction
from django.utils import timezone

from optin import keys, limits, phones
from optin.causes import Why
from optin.conf import conf
from optin.errors import InvalidMobileNumber
from optin.messaging import delivery
from optin.models import (
    AuditEvent,
    File,
    IdempotencyKey,
    Notice,
    PendingOtp,
    ProposedNumber,
    ProviderUser,
    Purpose,
    SmsMessage,
    User,
)
from optin.models.second_factors import SecondFactors
from optin.operations import sandbox, verification
from optin.operations.factors import (
    Factors,
    Standing,
    asked_by_session,
    read_caller_locked,
    record,
    refuse_ended,
)
from optin.operations.sending import Sending, barred, text_code
from optin.operations.verification import Verification
from optin.origin import Origin
from optin.outcomes import MALFORMED, CodeOutcome, SendOutcome
from optin.phones import MobileNumber

Kind = AuditEvent.Kind
Closed = PendingOtp.Closed

KeepSession = Callable[[User], None]


def end_session(user: User) -> None:
    """Keep no session: a client has none."""


def opt_in(
    user: User,
    file: File,
    mobile_number: str,
    *,
    origin: Origin,
    standing: Standing | None = None,
    reference: str = "",
    key: IdempotencyKey | None = None,
) -> Sending:
    """Text a code to *mobile_number*; asked again, text it again.

    :param reference: what the client calls the number. Without one, that of the last opt-in under
        this file stays.
    :param key: if this is not the first request with it, the result is that of the first one.
    :param standing: what the session of a page has proved. There an active number is
        changed so, by proving another; a client's credentials are not enough for that.
    :raises InvalidMobileNumber: unless it is a mobile number of some region, for fiction if *file*
        is a sandbox, else not.
    :raises KeyReused: if *key* came with something else.
    :raises PasswordNeeded: and
    :raises FactorNeeded: if *standing* is given and has not proved enough.
    """
    home = conf.sms_regions[0]
    try:
        number = phones.parse(mobile_number, home_region=home)
    except InvalidMobileNumber:
        data = {"rule": MALFORMED, "fault": phones.fault(mobile_number, home_region=home)}
        verification.record_malformed(Kind.OPT_IN, user, origin, data, file_id=file.pk)
        raise
    return _opt_in(user, file, number, origin, standing, reference, key)


@limits.decided_again
def _opt_in(
    user: User,
    file: File,
    number: MobileNumber,
    origin: Origin,
    standing: Standing | None,
    reference: str = "",
    key: IdempotencyKey | None = None,
) -> Sending:
    with transaction.atomic(durable=True):
        factors = read_caller_locked(user, Purpose.OPT_IN, every_factor=True, origin=origin)
        now = factors.now
        if first := key.first(now) if key else None:
            return Sending(SendOutcome(first["outcome"]), first["provider_user_id"])
        if standing:
            refuse_ended(factors, user)
            standing.to_replace(factors.number).demand(now, factors)
        sandbox.refuse_unfit(number, factors)
        digest = ProviderUser.digest_of(number.e164, factors.user)
        result = (
            (factors.user.is_test and sandbox.answer_opt_in(factors, number, origin))
            or _may_opt_in(factors, number, digest, file, standing)
            or send_code(factors, number, digest, file, origin, reference)
        )
        if key and result.is_text:
            key.keep(now, outcome=result.outcome, provider_user_id=result.provider_user_id)
        AuditEvent.objects.record(
            Kind.OPT_IN,
            result.decided,
            now=now,
            origin=origin,
            user_id=user.pk,
            file_id=file.pk,
            provider_user_id=result.provider_user_id,
            number_digest=digest,
            last_three=number.last_three,
            data=result.facts,
        )
    return result


def _may_opt_in(
    factors: Factors,
    number: MobileNumber,
    digest: str,
    file: File,
    standing: Standing | None,
) -> Sending | None:
    """Say why no code may be made for *number*, if so."""
    if refusal := not_allowed(number):
        return refusal
    # A client adds nothing to what is on: it is told so.
    is_new = standing is not None or not factors.is_on
    if is_new and not _takes_number(file, factors):
        return Sending(SendOutcome.FACTOR_DISABLED, data={"rule": Why.TEXTS_END.value})
    beyond = standing is not None and standing.is_beyond_texts
    if refusal := barred(factors, changing=beyond):
        return refusal
    if factors.number and factors.number.number_digest == digest:
        return Sending(SendOutcome.ALREADY_OPTED_IN)
    if factors.is_on and standing is None:
        return Sending(SendOutcome.ALREADY_OPTED_IN)
    return None


def files_for_numbers(user: User, factors: SecondFactors) -> list[File]:
    """Return the files of *user* that take a new number from them today, by name."""
    files = File.objects.open_to(user).order_by("name")
    return [file for file in files if _takes_number(file, factors)]


def _takes_number(file: File, factors: SecondFactors) -> bool:
    return factors.works_without_texts or file.takes_numbers_alone(timezone.localdate())


def not_allowed(number: MobileNumber) -> Sending | None:
    """Refuse a number of a region that gets no texts."""
    if number.region in conf.sms_regions:
        return None
    return Sending(SendOutcome.REGION_NOT_ALLOWED, data={"region": number.region})


def send_code(
    factors: Factors,
    number: MobileNumber,
    digest: str,
    file: File,
    origin: Origin,
    reference: str = "",
) -> Sending:
    """Reserve a text for *number* and send its code, unless a limit says no.

    If a rule about others says no, the result is as if the text was sent, but none leaves.
    """
    user, now = factors.user, factors.now
    row = next((r for r in factors.rows.values() if r.number_digest == digest), None)
    decision = limits.reserve_text(
        user_id=user.pk,
        number_digest=digest,
        purpose=Purpose.OPT_IN,
        file_id=file.pk,
        origin=origin,
        now=now,
        number=number,
        is_verified=bool(row and row.is_proved),
        is_test=user.is_test,
    )
    if isinstance(decision, limits.Refused) and not isinstance(decision, limits.Withheld):
        return Sending(
            SendOutcome.SEND_LIMIT,
            row.pk if row and row.open_code else None,
            retry_after=decision.retry_after,
            data=decision.data,
        )
    if row is None:
        row = ProviderUser(
            user=user,
            file=file,
            number_encrypted=ProviderUser.seal(number.e164, user),
            number_digest=digest,
            last_three=number.last_three,
            client_reference=reference,
            created_at=now,
        )
        row.insert()
    else:
        _bring_up_to_date(row, number, file, reference)
    return text_code(factors, row, Purpose.OPT_IN, file, decision)


def _bring_up_to_date(row: ProviderUser, number: MobileNumber, file: File, reference: str) -> None:
    """Save of *row* what this opt-in changes: its file, the key of its number, its reference."""
    moves = row.file_id != file.pk
    # The client of another file must not learn what the one before called the number.
    kept = reference or ("" if moves else row.client_reference)
    if moves or kept != row.client_reference or not keys.is_current(row.number_encrypted):
        row.file, row.client_reference = file, kept
        row.number_encrypted = ProviderUser.seal(number.e164, row.user)
        row.save(update_fields=["file", "client_reference", "number_encrypted"])


def send_again(user: User, provider_user_id: int, *, origin: Origin, standing: Standing) -> Sending:
    """``opt_in`` again for a number that was named before, on a page that does not show it."""
    row = ProviderUser.objects.select_related("file").filter(user=user, pk=provider_user_id).first()
    # Purged, a day later; or the file is not theirs any more.
    if row is None or not File.objects.open_to(user).filter(pk=row.file_id).exists():
        return Sending(SendOutcome.NOT_OPTED_IN)
    # Nothing can be sent where the key of the number is gone, or to one for fiction, taken before.
    with suppress(keys.UndecryptableError, InvalidMobileNumber):
        number = MobileNumber.stored(row.open_number())
        return _opt_in(user, row.file, number, origin, standing)
    result = Sending(SendOutcome.UNREADABLE)
    with asked_by_session(user, None) as factors:
        record(Kind.OPT_IN, result.outcome, factors, row, origin, data=result.facts, file=row.file)
    return result


def verify_opt_in(
    user: User,
    file: File,
    provider_user_id: int,
    otp: str,
    *,
    origin: Origin,
    keep_session: KeepSession = end_session,
) -> Verification:
    """Check one attempt at the code of an opt-in; the right one activates the number.

    :param keep_session: called within the transaction once all sessions are ended: the
        one in which it was done goes on.
    :raises MalformedCode: if *otp* cannot be a code; nothing is counted.
    """
    about = {"file_id": file.pk, "provider_user_id": provider_user_id}
    with verification.wrong_length_is_told(Kind.VERIFY_OPT_IN, otp, user, origin=origin, **about):
        code = verification.parse(otp, user)
    attempt = verification.attempt_digest(origin, code, Purpose.OPT_IN, provider_user_id)
    with transaction.atomic(durable=True):
        factors = read_caller_locked(user, Purpose.OPT_IN, origin=origin)
        now = factors.now
        row = factors.rows.get(provider_user_id)
        if known := verification.repeated(factors, row, attempt):
            return known
        if origin.session:
            refuse_ended(factors, user)
        if factors.user.is_test:
            result = sandbox.judge_opt_in(factors, row, file, code, origin)
        else:
            result = verification.judge_opt_in(factors, row, file, code)
        other = None
        if result.outcome is CodeOutcome.OK and row:
            result, other = _activate(factors, row, result, attempt, keep_session)
        elif result.compared:
            result = verification.count_failure(factors, result, attempt)
        AuditEvent.objects.record(
            Kind.VERIFY_OPT_IN,
            result.outcome,
            now=now,
            origin=origin,
            user_id=user.pk,
            file_id=file.pk,
            provider_user_id=provider_user_id,
            other_user_id=other.user_id if other else None,
            number_digest=row.number_digest if row else "",
            last_three=row.last_three if row else "",
            data=result.data,
            number=row,
        )
    return result


def belongs_to_another(user: User, provider_user_id: int) -> bool:
    """Whether *user* entered the right code for that number, and learned that another has it.

    Of what happened since, it tells nothing: nobody may learn whose a number is (S-38).
    """
    newest = (
        PendingOtp.objects.filter(
            provider_user=provider_user_id, provider_user__user=user, purpose=Purpose.OPT_IN
        )
        .select_related("provider_user")
        .order_by("-pk")
        .first()
    )
    if newest is None or newest.closed_at is None or newest.closed_as != Closed.VERIFIED:
        return False
    verified_at = newest.provider_user.verified_at
    return verified_at is None or verified_at < newest.closed_at


def _activate(
    factors: Factors,
    row: ProviderUser,
    result: Verification,
    attempt: str,
    keep_session: KeepSession,
) -> tuple[Verification, ProviderUser | None]:
    """Make *row* the user's active number, now that its code was right.

    Returns the row of the user who has the number active already, if somebody has:
    then the code is used up, and nothing else changes but the count.
    """
    user, old, now = factors.user, factors.number, factors.now
    factors.pending[row.pk].close_as_verified(now)
    if other := _confirm(row, old, now):
        result = Verification(CodeOutcome.MOBILE_NUMBER_IN_USE)
        verification.count_right(factors, result, attempt)
        delivery.notify(other.user, Notice.Kind.NUMBER_CLAIMED, now, other)
        return result, other
    if len(factors.pending) > 1:
        PendingOtp.objects.filter(provider_user__user=user, purpose=Purpose.OPT_IN).close(
            now, Closed.OTHER_VERIFIED
        )
    # Earlier sign-ins had no second factor, or another one.
    user.session_epoch += 1
    user.sign_ins_ended_at = now
    verification.count_right(factors, result, attempt)
    user.revoke_grants(now)
    ProposedNumber.objects.drop(user)
    kind = Notice.Kind.CHANGED if old else Notice.Kind.ACTIVATED
    delivery.notify(user, kind, now, row, about_id=row.pk)
    if old:
        delivery.dispatch(SmsMessage(news_to=old, created_at=now))
        result = replace(result, data={**result.data, "replaced": old.pk})
    keep_session(user)
    # Only the first time: else one handset could hold a prefix open.
    if not row.is_proved and not user.is_test:
        _count_verified(row, factors.pending[row.pk])
    return result, None


def _count_verified(row: ProviderUser, code: PendingOtp) -> None:
    """Count for its prefix and region that *code* was verified.

    Sent with the commit, because all verified opt-ins of a region wait for one row.
    """
    with suppress(keys.UndecryptableError):  # the key of a number that was lost meanwhile
        limits.count_verified(MobileNumber.stored(row.open_number()), code.issued_at)


def _confirm(row: ProviderUser, old: ProviderUser | None, now: datetime) -> ProviderUser | None:
    """Set *row* active in place of *old*; return the owner who has its number already, if any.

    Two users who verify one number at the same time lock different rows. So the unique index
    decides whose it is.
    """
    try:
        with transaction.atomic():
            if old:
                old.release(now)
            row.confirm(now)
    except IntegrityError:
        owner = ProviderUser.objects.active_owner(row.number_digest)
        if owner is None:
            raise  # it was something else: nothing happens
        return owner
    return None
