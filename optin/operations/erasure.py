"""Erasing a person: what is deleted of them, and what is left.

What is deleted of everybody in time is in ``retention``.
"""

import re
import secrets
from collections import Counter
from collections.abc import Iterable
from itertools import chain

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from oauth2_provider.models import get_application_model

from optin.errors import TellingReason
from optin.models import AuditEvent, EmailChange, Guard, ProviderUser, User, WebhookEvent
from optin.models.reasons import fit_reason
from optin.models.users import ERASED
from optin.origin import Origin
from optin.outcomes import StaffOutcome


def erase(user: User, *, reason: str, origin: Origin) -> StaffOutcome:
    """Delete all that is known of *user*, and leave a nameless row that holds the id.

    The audit trail stays: it holds ids, and its events must go on telling of somebody.
    The row stays so that the id is nobody else's, and what others made under it (OAuth
    applications) stays in use. Nobody is told by email: there is no address any more.

    :raises UnfitReason: without a reason, or with one of over 500 characters.
    :raises TellingReason: if it has the name or the email: it is kept in the trail.
    """
    reason = fit_reason(reason)
    with transaction.atomic(durable=True):
        locked, now = User.objects.locked(user.pk), timezone.now()
        again = is_erased(locked)
        if not again and _tells(reason, _names(locked)):
            raise TellingReason
        deleted = _drop_rows_of(locked)
        if not again:
            _make_nameless(locked)
        AuditEvent.objects.record(
            AuditEvent.Kind.ERASE,
            StaffOutcome.UNCHANGED if again else StaffOutcome.OK,
            now=now,
            origin=origin,
            user_id=locked.pk,
            reason=reason,
            data=deleted,
        )
    return StaffOutcome.UNCHANGED if again else StaffOutcome.OK


def _drop_rows_of(user: User) -> Counter[str]:
    """Delete every row that belongs to *user*, also of models that come later."""
    deleted: Counter[str] = Counter()
    _forget_digits_of(user)
    _forget_in_events(user)
    # They are their clients', who go on using them.
    get_application_model().objects.filter(user=user).update(user=None)
    for relation in User._meta.related_objects:
        rows = relation.related_model._base_manager.filter(**{relation.field.name: user})
        _, each = rows.delete()
        deleted.update({label.partition(".")[2]: n for label, n in each.items() if n})
    deleted["EmailChange"] += _drop_address_elsewhere(user)
    deleted["Session"] = _drop_sessions_of(user)
    user.groups.clear()
    user.user_permissions.clear()
    return +deleted


def _forget_digits_of(user: User) -> None:
    """Keep only the digest of a STOP from a number of *user*, unless another has the number.

    Open the numbers that *user* closed to strangers.
    """
    own = ProviderUser.objects.filter(user=user).values("number_digest")
    # Who only asked for a number did not close it.
    verified = own.filter(verified_at__isnull=False, taken_over_at=None)
    Guard.objects.filter(kind=Guard.Kind.NOT_ME, key__in=verified).delete()
    others = ProviderUser.objects.exclude(user=user).values("number_digest")
    stops = Guard.objects.filter(kind=Guard.Kind.OPTED_OUT, key__in=own)
    stops.exclude(key__in=others).update(last_three="")


def _forget_in_events(user: User) -> None:
    """Leave no ProviderUserId of *user* in the events of files, and no reference of a client.

    The events stay, so that the sequence of the file has no gap.
    """
    own = ProviderUser.objects.filter(user=user).values("pk")
    WebhookEvent.objects.filter(provider_user_id__in=own).update(
        provider_user_id=None, reference=""
    )


def _drop_address_elsewhere(user: User) -> int:
    """Delete changes of others that hold the address of *user*: who asked for it, or had it."""
    if not user.email:
        return 0
    same = Q(old_address__iexact=user.email) | Q(new_address__iexact=user.email)
    deleted, _ = EmailChange.objects.filter(same).delete()
    return deleted


def _drop_sessions_of(user: User) -> int:
    """Delete the sessions of *user*, and those that wait for a code of theirs."""
    own = [session.pk for session in Session.objects.iterator() if _is_of(user, session)]
    deleted, _ = Session.objects.filter(pk__in=own).delete()
    return deleted


def _is_of(user: User, session: Session) -> bool:
    held = session.get_decoded()
    half = held.get("half") or {}
    return held.get(SESSION_KEY) == str(user.pk) or half.get("user") == user.pk


def _make_nameless(user: User) -> None:
    name = f"{ERASED}{user.pk}"
    if User.objects.by_login(name):
        name += f"-{secrets.token_hex(4)}"  # somebody is called that
    user.username = name
    user.email = user.proved_email = user.first_name = user.last_name = user.language = ""
    user.set_unusable_password()
    user.last_login = None
    user.is_active = user.is_staff = user.is_superuser = False
    user.save()  # an inactive one: what was signed in ends
    user.last_attempt = user.last_attempt_as = ""
    user.last_attempt_at = None
    user.save_counts()


def is_erased(user: User) -> bool:
    """Whether ``erase`` has left only a nameless row of *user*."""
    return not user.is_active and not user.email and user.username.startswith(f"{ERASED}{user.pk}")


def _names(user: User) -> Iterable[str]:
    others = EmailChange.objects.filter(user=user).values_list("old_address", "new_address")
    own = (user.username, user.email, user.first_name, user.last_name)
    return filter(None, chain(own, *others))


def _tells(text: str, names: Iterable[str]) -> bool:
    return any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE) for name in names)
