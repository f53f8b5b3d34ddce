"""Passwords, sessions and refresh tokens, on the terms of ``services``.

A user with an active second factor gets no session and no token without a code,
whatever else is right. Tokens are rows of django-oauth-toolkit, made here because the vendor's
clients use a password grant without a client id, which the toolkit rightly refuses.
"""

import secrets
import unicodedata
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.contrib.auth.hashers import make_password
from django.contrib.auth.tokens import default_token_generator
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from oauth2_provider.models import (
    AbstractApplication,
    AccessToken,
    RefreshToken,
    get_application_model,
    set_token_value,
)
from oauth2_provider.settings import oauth2_settings

from optin import authenticators, codes, delivery, guesses, keys, limits, services
from optin.authenticators import Removal
from optin.errors import SignedOut
from optin.guesses import Factors, Outcome, Standing
from optin.models import (
    AccessKey,
    AuditEvent,
    AuthenticatorApp,
    File,
    Notice,
    PendingOtp,
    ProviderUser,
    Purpose,
    RecoveryCode,
    User,
)
from optin.origin import Origin

RESET_WAIT = timedelta(minutes=1)
"""Between two mails with a link to a new password."""

PASSWORD_CLIENTS = "password-clients"  # noqa: S105  (a name, no secret)
"""Client id of the one first-party application that serves clients without one."""

Kind = AuditEvent.Kind


class Grant(StrEnum):
    """What a sign-in came to. The refusals are RFC 6749's, and ours."""

    ISSUED = "issued"
    SIGNED_IN = "signed_in"
    INVALID_GRANT = "invalid_grant"  # the password
    INVALID_REFRESH = "invalid_refresh"
    INVALID_CODE = "invalid_code"
    INVALID_SCOPE = "invalid_scope"
    CODE_REQUIRED = "2fa_code_required"
    NOT_NOW = "temporarily_unavailable"


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a client gets once; only digests are kept."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int  # seconds
    scope: str


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """The answer to a request for a token."""

    grant: Grant
    tokens: Tokens | None = None
    retry_after: timedelta | None = None


def application() -> AbstractApplication | None:
    """Return the application of clients without a client id, where it is enabled."""
    found: AbstractApplication | None = (
        get_application_model().objects.filter(client_id=PASSWORD_CLIENTS).first()
    )
    return found


def enable_password_clients() -> None:
    """Make the application of clients without a client id, unless it exists."""
    model = get_application_model()
    model.objects.get_or_create(
        client_id=PASSWORD_CLIENTS,
        defaults={
            "name": "Clients without a client id",
            "client_type": model.CLIENT_PUBLIC,
            "authorization_grant_type": model.GRANT_PASSWORD,
        },
    )


def disable_password_clients() -> None:
    """Delete that application; its tokens go with it."""
    get_application_model().objects.filter(client_id=PASSWORD_CLIENTS).delete()


def password_grant(
    username: str,
    password: str,
    *,
    scope: str,
    verification_code: str,
    client: AbstractApplication,
    origin: Origin,
) -> TokenAnswer:
    """Give tokens for a password and, where 2FA is active, a code.

    The failed sign-in is charged before the password is looked at, and given back
    when it was right: so the limit holds however many try at once.

    :raises MalformedCode: if *verification_code* is neither empty nor a code.
    """
    code = _code(verification_code)
    now = timezone.now()
    tried = _Tried(username, password, origin, now)
    if refused := _charge(tried):
        return TokenAnswer(Grant.NOT_NOW, retry_after=refused.retry_after)
    right = _is_right(tried)
    with transaction.atomic(durable=True):
        factors = _admit(tried) if right else None
        if factors is None:
            _record(Grant.INVALID_GRANT, tried.user, origin, now)
            return TokenAnswer(Grant.INVALID_GRANT)
        return _grant_locked(factors, scope, code, client, origin, now)


@dataclass(frozen=True, slots=True)
class SignIn:
    """What a password on a page came to: in, a code first, or not."""

    grant: Grant
    user: User | None = None  # the one whose password was right
    sending: services.Sending | None = None  # the text for the code, if one was due
    retry_after: timedelta | None = None


def sign_in(username: str, password: str, *, origin: Origin) -> SignIn:
    """Check a password for a session. With 2FA active, text the code that comes next.

    Nothing is texted to who has an authenticator app: they may ask for it.
    """
    now = timezone.now()
    tried = _Tried(username, password, origin, now)
    if refused := _charge(tried):
        return SignIn(Grant.NOT_NOW, retry_after=refused.retry_after)
    right = _is_right(tried)
    with transaction.atomic(durable=True):
        factors = _admit(tried) if right else None
        if factors is None:
            _record(Grant.INVALID_GRANT, tried.user, origin, now)
            return SignIn(Grant.INVALID_GRANT)
        if factors.active and not factors.app:
            sending = services.challenge_locked(factors, Purpose.SIGN_IN, origin=origin, now=now)
            return SignIn(Grant.CODE_REQUIRED, factors.user, sending)
        grant = Grant.CODE_REQUIRED if factors.is_on else Grant.SIGNED_IN
        _record(grant, factors.user, origin, now)
        return SignIn(grant, factors.user)


def confirm_password(user: User, password: str, *, origin: Origin) -> SignIn:
    """Check the password of somebody who is signed in, before a change."""
    now = timezone.now()
    tried = _Tried(user.get_username(), password, origin, now)
    if refused := _charge(tried):
        return SignIn(Grant.NOT_NOW, retry_after=refused.retry_after)
    right = _is_right(tried)
    with transaction.atomic(durable=True):
        factors = _admit(tried) if right else None
        grant = Grant.SIGNED_IN if factors else Grant.INVALID_GRANT
        _record(grant, user, origin, now, kind=Kind.PASSWORD)
    return SignIn(grant, factors.user if factors else None)


def set_password(
    user: User,
    password: str,
    *,
    origin: Origin,
    standing: Standing | None = None,
    link: str = "",
    keep_session: services.KeepSession = services.end_session,
) -> None:
    """Give *user* a new password; it ends their sessions and what was granted or begun before.

    Validated by the caller (Django's validators).

    :param standing: what the session has proved; or
    :param link: the token of the mailed link, which works once.
    :param keep_session: as for ``services.verify_opt_in``.
    :raises PasswordNeeded: if *standing* has not proved the password lately.
    :raises SignedOut: if the session was ended meanwhile, or the link was used.
    """
    now = timezone.now()
    hashed = make_password(password)  # slow by design: before the lock
    with transaction.atomic(durable=True):
        factors = guesses.read_caller_locked(user, Purpose.SIGN_IN)
        locked = factors.user
        if standing:
            guesses.refuse_ended(factors, user)
            standing.demand(now)
        elif not default_token_generator.check_token(locked, link):
            raise SignedOut
        locked.password = hashed
        locked.password_mailed_at = now if link else locked.password_mailed_at
        locked.save(update_fields=["password", "password_mailed_at"])
        _close_begun(locked, now)
        locked.end_sign_ins(now)
        keep_session(locked)
        delivery.notify(locked, Notice.Kind.PASSWORD, now)
        _record("changed", locked, origin, now, kind=Kind.PASSWORD)


def ask_reset(email: str, *, origin: Origin) -> bool:
    """Mail a link to a new password, if *email* is somebody's; return whether it is.

    Nobody who asks may learn that (S-38). One link a minute, and as many tries as for
    passwords.
    """
    now = timezone.now()
    tried = _Tried(email, "", origin, now)
    if _charge(tried):
        return False
    with transaction.atomic(durable=True):
        # The same statements whoever it is, somebody or nobody: their time would tell, too.
        pk = tried.user.pk if tried.user and "@" in email else 0
        user = User.objects.select_for_update(no_key=True).filter(pk=pk).first()
        links = Notice.objects.filter(user=pk, kind=Notice.Kind.PASSWORD_RESET)
        lately = links.filter(created_at__gt=now - RESET_WAIT).exists()
        due = user is not None and user.is_active and user.has_usable_password() and not lately
        if user and due:
            delivery.notify_apart(user, Notice.Kind.PASSWORD_RESET, now)
        _record("reset_asked" if due else "refused", user, origin, now, kind=Kind.PASSWORD)
    return due


def _close_begun(user: User, now: datetime) -> None:
    """Close the opt-ins that somebody has begun: it may have been somebody else."""
    begun = PendingOtp.objects.filter(provider_user__user=user, purpose=Purpose.OPT_IN)
    begun.close(now, PendingOtp.Closed.SUPERSEDED)


def disown(notice: Notice, password: str, *, origin: Origin) -> SignIn:
    """Take back, with the password, what *notice* told: "this was not me" (S-39).

    The very factor that it told of goes (after a removal: what was added since), and with
    it every access key, token and session. A number that staff suspended stays: it is
    theirs to judge. And no factor goes on the word of the mailbox alone: if the password
    came by a mailed link since, they all stay. The link works once.
    """
    now = timezone.now()
    tried = _Tried(notice.user.get_username(), password, origin, now)
    if refused := _charge(tried):
        return SignIn(Grant.NOT_NOW, retry_after=refused.retry_after)
    right = _is_right(tried)
    with transaction.atomic(durable=True):
        factors = _admit(tried) if right else None
        if factors is None:
            _record(Grant.INVALID_GRANT, notice.user, origin, now, kind=Kind.DISOWN)
            return SignIn(Grant.INVALID_GRANT)
        user = factors.user
        outcome, removed = Outcome.UNCHANGED, []
        if Notice.objects.filter(pk=notice.pk, disowned_at=None).update(disowned_at=now):
            outcome, removed = Outcome.OK, _take_back(factors, notice, now)
            delivery.notify(user, Notice.Kind.DISOWNED, now)
        data = {"notice": notice.kind, "removed": removed}
        _record(outcome, user, origin, now, data, kind=Kind.DISOWN)
    return SignIn(Grant.SIGNED_IN, user)


def consent(
    user: User, *, client_id: str, origin: Origin, give: Callable[[], object] | None
) -> None:
    """Let an application act for *user*, by *give*, or record that it may not.

    A factor that becomes active, or a new password, ends sessions and what was granted
    before it: so the session that asks must stand while *give* keeps the grant.

    :param user: as the session has them.
    :raises SignedOut: and
    :raises Deactivated: if that session was ended meanwhile; nothing happens.
    """
    now = timezone.now()
    with transaction.atomic(durable=True):
        locked = guesses.read_caller_locked(user, Purpose.SIGN_IN).user
        if locked.get_session_auth_hash() != user.get_session_auth_hash():
            raise SignedOut
        if give:
            give()
        outcome = Outcome.OK if give else "denied"
        _record(outcome, locked, origin, now, {"client_id": client_id}, kind=Kind.CONSENT)


def _take_back(factors: Factors, notice: Notice, now: datetime) -> list[str]:
    user, number = factors.user, factors.active
    of_app = notice.kind in {Notice.Kind.APP_ADDED, Notice.Kind.APP_REMOVED}
    mailed = user.password_mailed_at and user.password_mailed_at >= notice.created_at
    removed = []
    if mailed:
        pass
    elif of_app and factors.app and _is_meant(notice, factors.app):
        removed = authenticators.remove(factors, Removal.APP, now)
    elif not of_app and number and not number.suspended_at and _is_meant(notice, number):
        removed = authenticators.remove(factors, Removal.NUMBER, now)
    _close_begun(user, now)
    # A list that was made since may be the thief's.
    RecoveryCode.objects.filter(user=user, created_at__gte=notice.created_at).delete()
    AccessKey.objects.filter(user=user, revoked_at=None).update(revoked_at=now)
    AccessToken.objects.filter(user=user).delete()
    user.end_sign_ins(now)
    return removed


def _is_meant(notice: Notice, factor: ProviderUser | AuthenticatorApp) -> bool:
    """Whether *notice* told of this very factor; that of a removal, what was added since."""
    if notice.about_id:
        return bool(notice.about_id == factor.pk)
    proved_at: datetime | None = factor.verified_at
    return proved_at is not None and proved_at >= notice.created_at


def refresh_grant(
    refresh_token: str, *, scope: str, client: AbstractApplication, origin: Origin
) -> TokenAnswer:
    """Swap a refresh token for new tokens; used twice, its whole family ends."""
    now = timezone.now()
    found = (
        RefreshToken.objects.filter(token_checksum=keys.sha256(refresh_token), application=client)
        .order_by(F("revoked").desc(nulls_first=True))
        .first()
    )
    if found is None:
        return TokenAnswer(Grant.INVALID_REFRESH)
    with transaction.atomic(durable=True):
        user = User.objects.locked(found.user_id)
        token = RefreshToken.objects.select_related("access_token").filter(pk=found.pk).first()
        if token is None:
            return TokenAnswer(Grant.INVALID_REFRESH)  # purged or erased just now
        grant = _judge_refresh(token, user, now)
        tokens = None
        if grant is Grant.ISSUED:
            granted = narrowed(scope, token.access_token.scope)
            if granted is None:
                grant = Grant.INVALID_SCOPE
            else:
                token.revoke()
                tokens = _issue(user, client, granted, now, replaces=token)
        elif token.revoked:
            RefreshToken.revoke_family(token.token_family)
        AuditEvent.objects.record(Kind.REFRESH, grant, now=now, origin=origin, user_id=user.pk)
    return TokenAnswer(grant, tokens)


def _spelling(username: str) -> str:
    """Return what all spellings of a user name have in common; they count together."""
    return unicodedata.normalize("NFKC", username).casefold()


def _by_login(username: str) -> User | None:
    """Return who signs in as *username*, in any spelling of it.

    PostgreSQL also finds ``ian`` for a dotless ``ıan``: a spelling of another name, with
    a count of its own.
    """  # noqa: RUF002
    user: User | None = User.objects.by_login(unicodedata.normalize("NFKC", username))
    if user and _spelling(username) in {_spelling(user.username), _spelling(user.email)}:
        return user
    return None


def _code(text: str) -> str:
    """Return the code in *text*, "" if there is none.

    :raises MalformedCode: if it can be no code.
    """
    return codes.parse_any(text) if codes.clean(text) else ""


@dataclass(frozen=True, slots=True)
class _Tried:
    """One try of a password."""

    username: str
    password: str = field(repr=False)
    origin: Origin
    now: datetime
    user: User | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "user", _by_login(self.username))

    @property
    def name(self) -> str:
        return _spelling(self.username)


def _charge(tried: _Tried) -> limits.Refused | None:
    """Charge one failed sign-in before the password is looked at, or say why not."""
    with transaction.atomic(durable=True):
        refused = limits.reserve_sign_in(tried.name, tried.origin, tried.now)
        if refused:
            _record(Grant.NOT_NOW, tried.user, tried.origin, tried.now, refused.data)
    return refused


def _is_right(tried: _Tried) -> bool:
    """Whether the password is right: slow by design, so outside any transaction.

    As slow for a name that nobody has.
    """
    if tried.user is None:
        make_password(tried.password)
        return False
    return tried.user.check_password(tried.password) and tried.user.is_active


def _admit(tried: _Tried) -> Factors | None:
    """Lock the user whose password was right, and give the charge back.

    Nothing, if it is not right any more: it may have been changed while it was checked.
    """
    if tried.user is None:
        return None
    factors = guesses.read_locked(tried.user, Purpose.SIGN_IN, every_factor=True)
    user = factors.user
    # Or it was only hashed anew.
    right = user.password == tried.user.password or user.check_password(tried.password)
    if not (right and user.is_active):
        return None
    limits.refund_sign_in(tried.name, tried.origin, tried.now)
    return factors


def _grant_locked(
    factors: Factors,
    scope: str,
    code: str,
    client: AbstractApplication,
    origin: Origin,
    now: datetime,
) -> TokenAnswer:
    """Decide about a right password. Exactly one event: of the code, or of the sign-in."""
    user = factors.user
    granted = grantable(scope, user)
    if granted is None:
        _record(Grant.INVALID_SCOPE, user, origin, now)
        return TokenAnswer(Grant.INVALID_SCOPE)
    if factors.is_on:
        refusal = _second_factor(factors, code, origin, now)
        if refusal:
            return refusal
    else:
        _record(Grant.ISSUED, user, origin, now)
    return TokenAnswer(Grant.ISSUED, _issue(user, client, granted, now))


def _second_factor(
    factors: Factors, code: str, origin: Origin, now: datetime
) -> TokenAnswer | None:
    """Ask for a code, or check the one given. Nothing is returned for the right one."""
    if not code and not factors.active:
        left = factors.user.locked_for(now)
        grant = Grant.NOT_NOW if left else Grant.CODE_REQUIRED
        _record(grant, factors.user, origin, now)
        return TokenAnswer(grant, retry_after=left)
    if not code:
        sending = services.challenge_locked(factors, Purpose.SIGN_IN, origin=origin, now=now)
        if sending.outcome in {Outcome.LOCKED, Outcome.SEND_LIMIT}:
            return TokenAnswer(Grant.NOT_NOW, retry_after=sending.retry_after)
        return TokenAnswer(Grant.CODE_REQUIRED)
    verified = services.check_locked(factors, Purpose.SIGN_IN, code, origin=origin, now=now)
    if verified.outcome is Outcome.LOCKED:
        return TokenAnswer(Grant.NOT_NOW, retry_after=verified.retry_after)
    if verified.outcome is not Outcome.OK:
        return TokenAnswer(Grant.INVALID_CODE)
    return None


def grantable(scope: str, user: User) -> str | None:
    """Return the scope to grant for a *scope* asked for, or nothing if it is invalid.

    Every token names the files that it works for: the ones asked for, or all that are
    open to the user now.
    """
    own = {f"fileid:{pk}": pk for pk in File.objects.open_to(user).values_list("pk", flat=True)}
    asked = dict.fromkeys(scope.split())
    words = [word for word in ("full", "2fa") if word in asked] or ["full"]
    files = [word for word in asked if word not in {"full", "2fa"}]
    if not own.keys() >= set(files):
        return None
    return " ".join([*words, *sorted(files or own, key=own.__getitem__)])


def narrowed(scope: str, granted: str) -> str | None:
    """Return what is left of *granted* for a *scope* asked for, or nothing if it is more.

    Words and files narrow apart: a token that named no file would work for all.
    """
    asked, words = scope.split(), granted.split()
    if not set(asked) <= set(words):
        return None
    files = [word for word in words if word.startswith("fileid:")]
    rights = [word for word in words if word not in files]
    kept = [[word for word in part if word in asked] or part for part in (rights, files)]
    return " ".join([*kept[0], *kept[1]])


def _judge_refresh(token: RefreshToken, user: User, now: datetime) -> Grant:
    lifetime = timedelta(seconds=oauth2_settings.REFRESH_TOKEN_EXPIRE_SECONDS)
    if token.revoked or token.access_token is None or not user.is_active:
        return Grant.INVALID_REFRESH
    if now >= token.created + lifetime:
        return Grant.INVALID_REFRESH
    return Grant.ISSUED


def _issue(
    user: User,
    client: AbstractApplication,
    scope: str,
    now: datetime,
    *,
    replaces: RefreshToken | None = None,
) -> Tokens:
    """Make an access token and its refresh token; call with the user locked."""
    seconds = oauth2_settings.ACCESS_TOKEN_EXPIRE_SECONDS
    tokens = Tokens(secrets.token_urlsafe(32), secrets.token_urlsafe(32), seconds, scope)
    access = AccessToken(
        user=user,
        application=client,
        scope=scope,
        expires=now + timedelta(seconds=seconds),
        source_refresh_token=replaces,
    )
    set_token_value(access, tokens.access_token)
    access.save()
    refresh = RefreshToken(
        user=user,
        application=client,
        access_token=access,
        token_family=replaces.token_family if replaces else uuid.uuid4(),
    )
    set_token_value(refresh, tokens.refresh_token)
    refresh.save()
    return tokens


def _record(
    outcome: str,
    user: User | None,
    origin: Origin,
    now: datetime,
    data: Mapping[str, Any] | None = None,
    *,
    kind: AuditEvent.Kind = Kind.SIGN_IN,
) -> None:
    AuditEvent.objects.record(
        kind,
        outcome,
        now=now,
        origin=origin,
        user_id=user.pk if user else None,
        data=data,
    )
