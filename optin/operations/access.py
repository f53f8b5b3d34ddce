"""What a person does about whatever acts for them: browsers, applications, access keys.

Each needs the password, entered lately, in a session that stands. To end a session takes a
factor too, if two-factor sign-in is on. Otherwise a thief with her cookie could keep signing the
owner out (G-02).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, Min, QuerySet, Value
from oauth2_provider.models import AccessToken, RefreshToken, get_application_model, get_grant_model

from optin.conf import conf
from optin.models import AccessKey, AuditEvent, User
from optin.operations import tenants
from optin.operations.factors import Standing, asked_by_session, record
from optin.operations.opt_ins import KeepSession
from optin.origin import Origin

Kind = AuditEvent.Kind


def sign_out(user: User, *, standing: Standing, origin: Origin, end: Callable[[], bool]) -> bool:
    """End one session of *user* by *end*; return whether it was still there.

    :param user: as the session that asks has them.
    :param end: called within the transaction; returns whether it ended anything.
    :raises PasswordNeeded: and
    :raises FactorNeeded: if *standing* has not proved enough lately.
    :raises SignedOut: and
    :raises Deactivated: if the session that asks was ended meanwhile.
    """
    with asked_by_session(user, standing) as factors:
        ended = end()
        if ended:
            record(Kind.SESSION, "ended", factors, None, origin)
    return ended


def sign_out_others(
    user: User, *, standing: Standing, origin: Origin, keep_session: KeepSession
) -> None:
    """End every session of *user*; applications stay, and sign-ins that wait for a code.

    :param keep_session: as for ``opt_ins.verify_opt_in``.
    :raises PasswordNeeded, FactorNeeded, SignedOut, Deactivated: as ``sign_out``.
    """
    with asked_by_session(user, standing) as factors:
        factors.user.end_sessions(factors.now, waiting=False)
        keep_session(factors.user)
        record(Kind.SESSION, "others_ended", factors, None, origin)


@dataclass(frozen=True, slots=True)
class Allowed:
    """An application that can act for somebody."""

    application: Any
    scope: str  # of all its tokens together
    since: datetime  # the first token of those that led to the ones of now


def applications_of(user: User, now: datetime) -> list[Allowed]:
    """Return the applications with a token or code of *user* that works, by name."""
    lifetime = timedelta(seconds=conf.refresh_token_lifetime)
    refresh = RefreshToken.objects.filter(
        user=user, revoked=None, created__gt=now - lifetime, access_token__isnull=False
    )
    live = [
        _by_scope(AccessToken.objects.filter(user=user, expires__gt=now), "scope"),
        _by_scope(refresh, "access_token__scope"),
        _by_scope(get_grant_model().objects.filter(user=user, expires__gt=now), "scope"),
    ]
    found = [row for rows in live for row in rows]
    models = get_application_model().objects.in_bulk({pk for pk, _scope, _since in found})
    family = RefreshToken.objects.filter(user=user, token_family__in=refresh.values("token_family"))
    found += _by_scope(family, Value(""))
    allowed = [
        Allowed(
            application,
            " ".join(dict.fromkeys(" ".join(s for key, s, _at in found if key == pk).split())),
            min(at for key, _scope, at in found if key == pk),
        )
        for pk, application in models.items()
    ]
    return sorted(allowed, key=lambda each: (each.application.name, each.application.pk))


def _by_scope(tokens: QuerySet[Any], scope: Any) -> list[tuple[int, str, datetime]]:
    """Return each application with a scope of *tokens*, and when the first of these was made."""
    of_some = tokens.filter(application__isnull=False).order_by()
    rows = of_some.annotate(words=F(scope) if isinstance(scope, str) else scope)
    return list(rows.values_list("application", "words").annotate(since=Min("created")))


def revoke_application(user: User, application: Any, *, standing: Standing, origin: Origin) -> bool:
    """End all that *application* was granted by *user*; return whether there was anything.

    :raises PasswordNeeded, SignedOut, Deactivated: as ``sign_out``.
    """
    with asked_by_session(user, standing, factor=False) as factors:
        own = {"user": factors.user, "application": application}
        ended = [
            AccessToken.objects.filter(**own).delete()[0],
            get_grant_model().objects.filter(**own).delete()[0],
            RefreshToken.objects.filter(**own, revoked=None).update(revoked=factors.now),
        ]
        if any(ended):
            data = {"client_id": application.client_id}
            record(Kind.CONSENT, "revoked", factors, None, origin, data=data)
    return any(ended)


def keys_of(user: User) -> QuerySet[AccessKey]:
    """Return the access keys of *user* that are not revoked, the newest first."""
    keys = AccessKey.objects.filter(user=user, revoked_at=None).select_related("user", "file")
    return keys.order_by("-created_at", "-pk")


def revoke_key(user: User, key_id: int, *, standing: Standing, origin: Origin) -> bool:
    """End a key of *user* for good; return whether it still was one.

    The person is told by email, as if staff had done it.

    :raises PasswordNeeded, SignedOut, Deactivated: as ``sign_out``.
    """
    with asked_by_session(user, standing, factor=False):
        key = keys_of(user).filter(pk=key_id).first()
        if key:
            tenants.end_access_key(key, origin=origin)
    return key is not None
