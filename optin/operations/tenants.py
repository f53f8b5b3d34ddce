"""Files, their members, access keys, OAuth applications and sign-in by password.

Operators do this by commands, administrators do most of it in the admin.

As every operation: one transaction each, and one audit event last, so that
"who made this key, and when?" has an answer.
"""

from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from oauth2_provider.generators import generate_client_secret
from oauth2_provider.models import (
    get_access_token_model,
    get_application_model,
    set_token_value,
)

from optin.errors import (
    FileIdTaken,
    Mixed,
    NotAMember,
    NotConfidential,
    NotProvisioning,
    OutOfReach,
)
from optin.messaging import delivery
from optin.models import (
    AccessKey,
    AuditEvent,
    File,
    Membership,
    Notice,
    ScimClient,
    ScimEnd,
    TrustedClient,
    User,
)
from optin.models.reasons import fit_reason
from optin.operations import sign_in, staff
from optin.origin import Origin
from optin.outcomes import StaffOutcome

Kind = AuditEvent.Kind


def create_file(file_id: int, name: str, *, is_sandbox: bool = False, origin: Origin) -> File:
    """Make a file; whether it is a sandbox never changes afterwards.

    :raises FileIdTaken: if there is one with this id.
    """
    file = File(id=file_id, name=name, is_sandbox=is_sandbox)
    with transaction.atomic(durable=True):
        keep_file(file, origin=origin)
    return file


def keep_file(file: File, *, origin: Origin) -> None:
    """``create_file`` for a caller with a transaction.

    :raises FileIdTaken: if there is one with this id.
    """
    try:
        with transaction.atomic():
            file.save(force_insert=True)
    except IntegrityError:
        raise FileIdTaken from None
    data = {"sandbox": True} if file.is_sandbox else {}
    _record(Kind.FILE, "created", origin, file=file, data=data)


def _refuse_beyond(
    kind: AuditEvent.Kind, origin: Origin, user: User, file: File, key: AccessKey | None = None
) -> None:
    """Refuse staff who may not act on *user*, and record it (S-37).

    :raises OutOfReach: if so.
    """
    if staff.is_out_of_reach(origin, user):
        with transaction.atomic(durable=True):
            _record(kind, StaffOutcome.OUT_OF_REACH, origin, user=user, file=file, key=key)
        raise OutOfReach


def add_member(user: User, file: File, *, origin: Origin) -> None:
    """Let *user* act in *file*; again, if they were put out of it.

    :raises Mixed: if one is for tests and the other is not.
    :raises OutOfReach: if staff do it for themselves or a superior.
    """
    # Neither ever changes, so no lock is needed.
    if user.is_test is not file.is_sandbox:
        raise Mixed
    _refuse_beyond(Kind.MEMBER, origin, user, file)
    with transaction.atomic(durable=True):
        User.objects.locked(user.pk)
        let_in(user, file, origin=origin)


def let_in(user: User, file: File, *, origin: Origin) -> None:
    """``add_member`` for a caller that has decided that it may, in its transaction."""
    Membership.objects.update_or_create(user=user, file=file, defaults={"active": True})
    ScimEnd.objects.filter(user=user, application__scim__file=file).delete()
    _record(Kind.MEMBER, "added", origin, user=user, file=file)


def end_membership(user: User, file: File, *, origin: Origin) -> None:
    """Let *user* act in *file* no more; their keys to it open nothing from now on.

    :raises OutOfReach: if staff do it to themselves or a superior.
    """
    _refuse_beyond(Kind.MEMBER, origin, user, file)
    with transaction.atomic(durable=True):
        User.objects.locked(user.pk)
        put_out(user, file, origin=origin)


def put_out(user: User, file: File, *, origin: Origin) -> None:
    """``end_membership`` for a caller that has decided that it may, in its transaction."""
    Membership.objects.filter(user=user, file=file).update(active=False, manages=False)
    ScimEnd.objects.filter(user=user, application__scim__file=file).delete()
    _record(Kind.MEMBER, "ended", origin, user=user, file=file)


def let_manage(user: User, file: File, *, manages: bool, origin: Origin) -> StaffOutcome:
    """Let a member look after the webhook endpoints of *file*, or not any more.

    :raises NotAMember: if *user* may not act in *file*.
    :raises OutOfReach: if staff do it for themselves or a superior.
    """
    _refuse_beyond(Kind.MEMBER, origin, user, file)
    with transaction.atomic(durable=True):
        User.objects.locked(user.pk)
        members = Membership.objects.filter(user=user, file=file, active=True)
        if not members.exists():
            raise NotAMember
        changed = members.exclude(manages=manages).update(manages=manages)
        outcome = "manager" if manages else "manager_ended"
        _record(Kind.MEMBER, outcome, origin, user=user, file=file)
    return StaffOutcome.OK if changed else StaffOutcome.UNCHANGED


def make_access_key(user: User, file: File, *, name: str = "", origin: Origin) -> str:
    """Return a new ``WsAccessKey``; only its digest is kept. The person is told by email.

    By whomever it is made, by a command too: a key acts for them without their password, and
    whose doing it was is what they must be able to ask.

    :raises NotAMember: if *user* may not act in *file*, or may not sign in at all.
    :raises OutOfReach: if staff make it for themselves or a superior.
    """
    _refuse_beyond(Kind.ACCESS_KEY, origin, user, file)
    with transaction.atomic(durable=True):
        if not (user.is_active and File.objects.open_to(user).filter(pk=file.pk).exists()):
            raise NotAMember
        key, text = AccessKey.objects.make(user, file, timezone.now(), name)
        _tell(key, Notice.Kind.KEY_MADE)
        _record(Kind.ACCESS_KEY, "made", origin, user=user, file=file, key=key)
    return text


def revoke_access_key(key: AccessKey, *, origin: Origin) -> None:
    """End *key* for good, and tell the person by email.

    :raises OutOfReach: if it is one of the staff who ask, or of a superior.
    """
    _refuse_beyond(Kind.ACCESS_KEY, origin, key.user, key.file, key)
    with transaction.atomic(durable=True):
        end_access_key(key, origin=origin)


def end_access_key(key: AccessKey, *, origin: Origin) -> None:
    """``revoke_access_key`` for a caller that has decided that it may, in its transaction."""
    unused = AccessKey.objects.filter(pk=key.pk, revoked_at=None)
    if unused.update(revoked_at=timezone.now()):
        _tell(key, Notice.Kind.KEY_REVOKED)
    _record(Kind.ACCESS_KEY, "revoked", origin, user=key.user, file=key.file, key=key)


def make_application(
    name: str,
    redirect_uris: str,
    *,
    by_code: bool,
    post_logout_redirect_uris: str = "",
    origin: Origin,
) -> tuple[str, str]:
    """Return the id and the secret of a new OAuth application; only its digest is kept.

    :param by_code: whether people sign in at it, by authorization code, and not it alone,
        by its own credentials.
    """
    model = get_application_model()
    secret = generate_client_secret()
    grant = model.GRANT_AUTHORIZATION_CODE if by_code else model.GRANT_CLIENT_CREDENTIALS
    with transaction.atomic(durable=True):
        made = model.objects.create(
            name=name,
            client_type=model.CLIENT_CONFIDENTIAL,
            authorization_grant_type=grant,
            redirect_uris=redirect_uris,
            post_logout_redirect_uris=post_logout_redirect_uris,
            client_secret=secret,
        )
        record_application(made, origin=origin)
    return made.client_id, secret


def record_application(made: Any, *, origin: Origin) -> None:
    """Record that the OAuth application *made* was made, in the transaction of that."""
    _record(Kind.APPLICATION, "made", origin, application=made)


def trust_application(
    application: Any, *, trusted: bool, reason: str, origin: Origin
) -> StaffOutcome:
    """Let a client name the addresses of its users, for limits and the trail, or not any more.

    :raises NotConfidential: if anybody can come as this client.
    """
    reason = fit_reason(reason)
    if trusted and application.client_type != application.CLIENT_CONFIDENTIAL:
        raise NotConfidential
    with transaction.atomic(durable=True):
        if trusted:
            _row, changed = TrustedClient.objects.get_or_create(application=application)
        else:
            changed = bool(TrustedClient.objects.filter(application=application).delete()[0])
        now_so = "trusted" if trusted else "trust_ended"
        outcome = now_so if changed else StaffOutcome.UNCHANGED
        _record(Kind.APPLICATION, outcome, origin, application=application, reason=reason)
    return StaffOutcome.OK if changed else StaffOutcome.UNCHANGED


def let_provision(
    application: Any, file: File | None, *, reason: str, origin: Origin
) -> StaffOutcome:
    """Let a client keep people up to date by SCIM. Its tokens for other files end.

    :param file: whose people; None for all files.
    :raises NotConfidential: if anybody can come as this client.
    :raises Mixed: if *file* is a sandbox: it has test accounts only.
    """
    reason = fit_reason(reason)
    if application.client_type != application.CLIENT_CONFIDENTIAL:
        raise NotConfidential
    if file and file.is_sandbox:
        raise Mixed
    with transaction.atomic(durable=True):
        if not ScimClient.objects.filter(application=application, file=file).exists():
            _end_provisioning(application)
            ScimClient.objects.create(application=application, file=file)
        _record(
            Kind.APPLICATION,
            "scim_allowed",
            origin,
            application=application,
            file=file,
            reason=reason,
        )
    return StaffOutcome.OK


def end_provisioning(application: Any, *, reason: str, origin: Origin) -> StaffOutcome:
    """Let a client use SCIM no more, and end its tokens for that."""
    reason = fit_reason(reason)
    with transaction.atomic(durable=True):
        changed = _end_provisioning(application)
        outcome = "scim_ended" if changed else StaffOutcome.UNCHANGED
        _record(Kind.APPLICATION, outcome, origin, application=application, reason=reason)
    return StaffOutcome.OK if changed else StaffOutcome.UNCHANGED


def _end_provisioning(application: Any) -> bool:
    # What it ended there is not its to give back elsewhere.
    ScimEnd.objects.filter(application=application).delete()
    scim_tokens(application).delete()
    return bool(ScimClient.objects.filter(application=application).delete()[0])


def make_scim_token(application: Any, *, days: int, origin: Origin) -> str:
    """Return a token for SCIM that works for so many days; only its digest is kept.

    :raises NotProvisioning: if the application may not use SCIM.
    """
    token: str = generate_client_secret()
    with transaction.atomic(durable=True):
        if not ScimClient.objects.filter(application=application).exists():
            raise NotProvisioning
        row = get_access_token_model()(
            application=application,
            scope=SCIM_SCOPE,
            expires=timezone.now() + timedelta(days=days),
        )
        set_token_value(row, token)
        row.save()
        _record(
            Kind.APPLICATION, "scim_token", origin, application=application, data={"days": days}
        )
    return token


def end_scim_tokens(application: Any, *, origin: Origin) -> StaffOutcome:
    """End all tokens of a client for SCIM. It may get new ones."""
    with transaction.atomic(durable=True):
        ended = scim_tokens(application).delete()[0]
        outcome = "scim_tokens_ended" if ended else StaffOutcome.UNCHANGED
        _record(Kind.APPLICATION, outcome, origin, application=application)
    return StaffOutcome.OK if ended else StaffOutcome.UNCHANGED


SCIM_SCOPE = "scim"


def scim_tokens(application: Any) -> Any:
    """Return the tokens of a client for SCIM, of which some may have ended."""
    tokens = get_access_token_model().objects.filter(application=application, user=None)
    return tokens.filter(scope__contains=SCIM_SCOPE)


def remove_application(application: Any, *, origin: Origin) -> None:
    """Delete an OAuth application, and with it all tokens that it was given."""
    with transaction.atomic(durable=True):
        _record(Kind.APPLICATION, "removed", origin, application=application)
        application.delete()


def switch_password_clients(*, on: bool, origin: Origin) -> None:
    """Let clients without a client id sign in by password, or end that and its tokens."""
    with transaction.atomic(durable=True):
        if on:
            sign_in.enable_password_clients()
        else:
            sign_in.disable_password_clients()
        _record(Kind.PASSWORD_CLIENTS, "on" if on else "off", origin)


def _tell(key: AccessKey, kind: Notice.Kind) -> None:
    delivery.notify(key.user, kind, timezone.now(), about_id=key.pk)


def _record(
    kind: AuditEvent.Kind,
    outcome: str,
    origin: Origin,
    *,
    user: User | None = None,
    file: File | None = None,
    key: AccessKey | None = None,
    application: Any = None,
    data: dict[str, Any] | None = None,
    reason: str = "",
) -> None:
    about = {"access_key": key, "application": application}
    AuditEvent.objects.record(
        kind,
        outcome,
        origin=origin,
        user_id=user.pk if user else None,
        file_id=file.pk if file else None,
        data={name: row.pk for name, row in about.items() if row} | (data or {}),
        reason=reason,
    )


def refuse_access(user: User, file_id: int, code: str, *, origin: Origin) -> None:
    """Record that *user* was refused at the door of a file."""
    with transaction.atomic(durable=True):
        AuditEvent.objects.record(
            Kind.ACCESS,
            code,
            origin=origin,
            user_id=user.pk,
            file_id=file_id,
        )
