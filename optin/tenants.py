"""Files, who may act in them, and the legacy ways in: made and ended by operators.

On the terms of ``services``: one transaction each, and one audit event last, so that
"who made this key, and when?" has an answer.
"""

from django.db import IntegrityError, transaction
from django.utils import timezone

from optin import sign_in
from optin.errors import FileIdTaken, NotAMember
from optin.models import AccessKey, AuditEvent, File, Membership, User
from optin.origin import Origin

Kind = AuditEvent.Kind


def create_file(file_id: int, name: str, *, origin: Origin) -> File:
    """Make a file.

    :raises FileIdTaken: if there is one with this id.
    """
    with transaction.atomic(durable=True):
        try:
            with transaction.atomic():
                file = File.objects.create(id=file_id, name=name)
        except IntegrityError:
            raise FileIdTaken from None
        _record(Kind.FILE, "created", origin, file=file)
    return file


def add_member(user: User, file: File, *, origin: Origin) -> None:
    """Let *user* act in *file*; again, if they were put out of it."""
    with transaction.atomic(durable=True):
        Membership.objects.update_or_create(user=user, file=file, defaults={"active": True})
        _record(Kind.MEMBER, "added", origin, user=user, file=file)


def make_access_key(user: User, file: File, *, origin: Origin) -> str:
    """Return a new ``WsAccessKey``; only its digest is kept.

    :raises NotAMember: if *user* may not act in *file*, or may not sign in at all.
    """
    with transaction.atomic(durable=True):
        if not (user.is_active and File.objects.open_to(user).filter(pk=file.pk).exists()):
            raise NotAMember
        key, text = AccessKey.objects.make(user, file, timezone.now())
        _record(Kind.ACCESS_KEY, "made", origin, user=user, file=file, key=key)
    return text


def revoke_access_key(key: AccessKey, *, origin: Origin) -> None:
    """End *key* for good."""
    now = timezone.now()
    with transaction.atomic(durable=True):
        AccessKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=now)
        _record(Kind.ACCESS_KEY, "revoked", origin, user=key.user, file=key.file, key=key)


def switch_password_clients(*, on: bool, origin: Origin) -> None:
    """Let clients without a client id sign in by password, or end that and its tokens."""
    with transaction.atomic(durable=True):
        if on:
            sign_in.enable_password_clients()
        else:
            sign_in.disable_password_clients()
        _record(Kind.PASSWORD_CLIENTS, "on" if on else "off", origin)


def _record(
    kind: AuditEvent.Kind,
    outcome: str,
    origin: Origin,
    *,
    user: User | None = None,
    file: File | None = None,
    key: AccessKey | None = None,
) -> None:
    AuditEvent.objects.record(
        kind,
        outcome,
        now=timezone.now(),
        origin=origin,
        user_id=user.pk if user else None,
        file_id=file.pk if file else None,
        data={"access_key": key.pk} if key else None,
    )
