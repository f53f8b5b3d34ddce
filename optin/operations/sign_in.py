"""Sign somebody in: sessions and tokens.

A user with an active second factor gets no session and no token without a code,
whatever else is right. Tokens are rows of django-oauth-toolkit, made here because the vendor's
clients use a password grant without a client id, which the toolkit rightly refuses.
"""

import secrets
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from django.core.exceptions import ObjectDoesNotExist
from django.db import transaction
from django.db.models import F, Subquery
from django.utils import timezone
from oauth2_provider.models import (
    AbstractApplication,
    AccessToken,
    RefreshToken,
    get_application_model,
    set_token_value,
)

from optin import codes, keys, limits, passkeys
from optin.causes import Why
from optin.conf import conf
from optin.database import Insert, Param, Select, Update, run
from optin.errors import Deactivated
from optin.messaging import delivery
from optin.models import (
    AuditEvent,
    File,
    Notice,
    Passkey,
    Purpose,
    Renewal,
    User,
)
from optin.models.users import LOCK
from optin.operations import challenges, sim_swaps, verification
from optin.operations.factors import (
    Factors,
    Standing,
    asked_by_session,
    read_caller_locked,
)
from optin.operations.passwords import trying
from optin.operations.sending import Sending
from optin.operations.verification import Verification
from optin.origin import Origin
from optin.outcomes import CodeOutcome, SendOutcome, SignInOutcome, TokenOutcome
from optin.passkeys import PASSWORDLESS, PasskeyFault, PasskeyRefused, PasskeyResponse

PASSWORD_CLIENTS = "password-clients"  # noqa: S105  (a name, no secret)
"""Client id of the one first-party application that serves clients without one."""

Kind = AuditEvent.Kind


RIGHTS = ("full", "2fa", "modify", "view", "events")
"""The words of a scope that say what a token allows; ``fileid:N`` says for which file."""

GRACE = timedelta(seconds=10)
"""For so long after a refresh replaced a refresh token, its client may use it again."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens, which a client gets once; only digests are kept."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int  # seconds
    scope: str


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """The answer to a request for a token."""

    outcome: TokenOutcome
    tokens: Tokens | None = None
    retry_after: timedelta | None = None
    why: Why | None = None  # of what the outcome does not say


def application() -> AbstractApplication | None:
    """Return the application of clients without a client id, where it is enabled."""
    return _APPLICATION.row()


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
    ask = None if code else sim_swaps.ask  # with a code, no text leaves
    with trying(username, password, origin=origin, ask=ask) as tried:
        if tried.factors is None:
            limited = tried.outcome is SignInOutcome.NOT_NOW
            return TokenAnswer(
                TokenOutcome(tried.outcome),
                retry_after=tried.retry_after,
                why=Why.PASSWORD_LIMIT if limited else None,
            )
        return _grant_locked(tried.factors, scope, code, client, origin, tried.now)


@dataclass(frozen=True, slots=True)
class SignIn:
    """The result of a password on a page: signed in, a code first, or refused."""

    outcome: SignInOutcome
    user: User | None = None  # the one whose password was right
    sending: Sending | None = None  # the text for the code, if one was due
    retry_after: timedelta | None = None


def sign_in(username: str, password: str, *, origin: Origin) -> SignIn:
    """Check a password for a session. With 2FA active, text the code that comes next.

    People with an authenticator app or a passkey get no text, unless they chose it, or until they
    ask for it.
    """
    ask = partial(sim_swaps.ask, at_page=True)
    with trying(username, password, origin=origin, ask=ask) as tried:
        if tried.factors is None:
            return SignIn(tried.outcome, retry_after=tried.retry_after)
        factors, now = tried.factors, tried.now
        if factors.number and (factors.user.text_first or not factors.works_without_texts):
            sending = challenges.challenge_locked(factors, Purpose.SIGN_IN, origin=origin)
            return SignIn(SignInOutcome.CODE_REQUIRED, factors.user, sending)
        outcome = SignInOutcome.CODE_REQUIRED if factors.is_on else SignInOutcome.SIGNED_IN
        if outcome is SignInOutcome.SIGNED_IN:
            limits.remember_network(factors.user, origin, now)
        _record(outcome, factors.user, origin, now)
        return SignIn(outcome, factors.user)


def with_passkey(response: PasskeyResponse, *, origin: Origin) -> tuple[User | None, Verification]:
    """Sign somebody in with a passkey alone. It has verified the person, so it is both factors.

    :param origin: its session is that of the browser: nobody is signed in.
    :return: the user, if the passkey did.
    """
    now = timezone.now()
    try:
        shown = passkeys.read_assertion(response, PASSWORDLESS, session=origin.session, now=now)
        found = Passkey.objects.get(credential_id=shown.credential_id)
        with transaction.atomic(durable=True):
            factors = read_caller_locked(
                found.user, Purpose.SIGN_IN, every_factor=True, origin=None
            )
            result = challenges.check_locked(
                factors, Purpose.SIGN_IN, response, origin=origin, passwordless=True
            )
    except PasskeyRefused as refused:
        fault = refused.fault
    except (Deactivated, ObjectDoesNotExist):  # perhaps only since it was looked up
        fault = PasskeyFault.UNKNOWN
    else:
        return factors.user if result.outcome is CodeOutcome.OK else None, result
    result = verification.passkey_refused(fault)
    data = {**result.data, "purpose": Purpose.SIGN_IN, "aim": PASSWORDLESS}
    with transaction.atomic(durable=True):
        AuditEvent.objects.record(Kind.CHECK, result.outcome, now=now, origin=origin, data=data)
    return None, result


def consent(
    user: User,
    *,
    client_id: str,
    standing: Standing,
    origin: Origin,
    give: Callable[[], object] | None,
    acts: bool = True,
    file_ids: Collection[int] = (),
) -> None:
    """Let an application act for *user*, by *give*, or record that it may not.

    A factor that becomes active, or a new password, ends sessions and what was granted
    before it: so the session that asks must stand while *give* keeps the grant. What an
    application may do outlives the session, so it takes what a change of a factor takes, and the
    person is told by email: whoever stole the cookie must not let anything act.

    :param user: as the session has them.
    :param acts: whether it may do more than know who *user* is. If not, there is a mail for the
        first time only: some people sign in to it every day.
    :param file_ids: in which files it may act. If that of the active number is one of them, its
        endpoints are told.
    :raises PasswordNeeded: and
    :raises FactorNeeded: if it may act, and *standing* has not proved enough.
    :raises SignedOut: and
    :raises Deactivated: if that session was ended meanwhile; nothing happens.
    """
    with asked_by_session(user, standing if give else None) as factors:
        locked, now, number = factors.user, factors.now, factors.number
        if give:
            application = get_application_model().objects.filter(client_id=client_id).first()
            about_id = application.pk if application else None
            if acts:
                delivery.notify_again(locked, Notice.Kind.CONSENT, now, about_id=about_id)
            elif not _is_known(locked, application):
                delivery.notify(locked, Notice.Kind.SIGNED_IN_TO, now, about_id=about_id)
            give()
        outcome = ("ok" if acts else "signed_in") if give else "denied"
        AuditEvent.objects.record(
            Kind.CONSENT,
            outcome,
            now=now,
            origin=origin,
            user_id=locked.pk,
            data={"client_id": client_id},
            subject=f"{locked.pk} {client_id}",
            number=number if number and number.file_id in file_ids else None,
        )


def _is_known(user: User, application: AbstractApplication | None) -> bool:
    """Whether *user* was told of *application*, or it has a refresh token of theirs.

    It has none between the consent and its call for the tokens.
    """
    kinds = Notice.Kind.CONSENT, Notice.Kind.SIGNED_IN_TO
    told = Notice.objects.filter(user=user, kind__in=kinds, about_id=getattr(application, "pk", 0))
    tokens = RefreshToken.objects.filter(user=user, application=application, revoked=None)
    return told.exists() or tokens.exists()


def refresh_grant(
    refresh_token: str, *, scope: str, client: AbstractApplication, origin: Origin
) -> TokenAnswer:
    """Give a new access token for a refresh token, which does not change.

    With ``OPTIN_PASSWORD_CLIENTS_ROTATE`` a new refresh token replaces it: see ``to_refresh``.
    """
    digest = keys.sha256(refresh_token)
    found = _BY_TEXT.row(token_checksum=digest, application=client.pk)
    if found is None:
        return TokenAnswer(TokenOutcome.INVALID_REFRESH)
    with transaction.atomic(durable=True):
        locked = lock_refresh_token(found)
        if not locked:
            return TokenAnswer(TokenOutcome.INVALID_REFRESH)
        (user, token), now, rotates = locked, timezone.now(), conf.password_clients_rotate
        stands = to_refresh(token, user, now, client=client, rotates=rotates)
        given = None
        if stands is None:
            outcome = TokenOutcome.INVALID_REFRESH
        elif (granted := narrowed(scope, stands.granted)) is None:
            outcome = TokenOutcome.INVALID_SCOPE
        else:
            outcome = TokenOutcome.ISSUED
            if not rotates:
                given = _renew(user, client, token, refresh_token, granted, now)
            else:
                if stands is token:
                    end_family(token)
                given = _issue(user, client, granted, now, family=token.token_family)
        # A family ends once: its first refusal has an event of its own.
        family = str(token.token_family)
        AuditEvent.objects.record(
            Kind.REFRESH, outcome, now=now, origin=origin, user_id=user.pk, subject=family
        )
    return TokenAnswer(outcome, given)


def lock_refresh_token(found: RefreshToken) -> tuple[User, RefreshToken] | None:
    """Lock the user of *found*; return both as they are now, if none was purged or erased."""
    users, tokens = run([LOCK.bind(id=found.user_id), _BY_ID.bind(id=found.pk)])
    return (users[0], tokens[0]) if users and tokens else None


def to_refresh(
    token: RefreshToken,
    user: User,
    now: datetime,
    *,
    client: AbstractApplication,
    rotates: bool,
) -> RefreshToken | None:
    """Return the refresh token whose scope is given for *token*; nothing if *token* is refused.

    If *token* is valid, this is *token* itself. If it *rotates*, the caller ends its family, and
    gives new tokens of the same family.

    The answer may be lost, or two threads of a client may refresh at the same time. So for
    ``GRACE`` after *token* was replaced, this is the newest valid token of its family. The caller
    gives more tokens of the family, and ends none. If the sign-in was ended in another way, the
    family has no valid token left. A later use of *token* ends the family, because two parties may
    have it (RFC 9700 4.14.2).

    Call with *user* locked.
    """
    lifetime = timedelta(seconds=conf.refresh_token_lifetime)
    reused = token.revoked if rotates else None
    stands: RefreshToken | None = token
    if reused and now < reused + GRACE:
        stands = _NEWEST.row(family=token.token_family)
    if (
        stands
        and not stands.revoked
        and stands.access_token_id
        and user.is_active
        and token.application_id == client.pk
        and now < token.created + lifetime
    ):
        return stands
    if reused:
        end_family(token)
    return None


def end_family(token: RefreshToken) -> None:
    """End what came from the sign-in that *token* came from; call with its user locked."""
    AccessToken.objects.filter(renewal__refresh_token__token_family=token.token_family).delete()
    RefreshToken.revoke_family(token.token_family)


def _code(text: str) -> str:
    """Return the code in *text*, "" if there is none.

    :raises MalformedCode: if it can be no code.
    """
    return codes.parse_any(text) if codes.clean(text) else ""


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
        _record(TokenOutcome.INVALID_SCOPE, user, origin, now)
        return TokenAnswer(TokenOutcome.INVALID_SCOPE)
    if factors.is_on:
        refusal = _second_factor(factors, code, origin, now)
        if refusal:
            return refusal
    else:
        limits.remember_network(user, origin, now)
        _record(TokenOutcome.ISSUED, user, origin, now)
    return TokenAnswer(TokenOutcome.ISSUED, _issue(user, client, granted, now))


def _second_factor(
    factors: Factors, code: str, origin: Origin, now: datetime
) -> TokenAnswer | None:
    """Ask for a code, or check the one given. Nothing is returned for the right one."""
    if not code and not factors.number:
        left = factors.user.own.locked_for(now)
        outcome = TokenOutcome.NOT_NOW if left else TokenOutcome.CODE_REQUIRED
        why = Why.LOCKED if left else None if factors.app else Why.PASSKEY_ONLY
        _record(outcome, factors.user, origin, now)
        return TokenAnswer(outcome, retry_after=left, why=why)
    if not code:
        sending = challenges.challenge_locked(factors, Purpose.SIGN_IN, origin=origin)
        if sending.outcome in {SendOutcome.LOCKED, SendOutcome.SEND_LIMIT}:
            return TokenAnswer(
                TokenOutcome.NOT_NOW, retry_after=sending.retry_after, why=sending.why
            )
        return TokenAnswer(TokenOutcome.CODE_REQUIRED, why=sending.why)
    verified = challenges.check_locked(factors, Purpose.SIGN_IN, code, origin=origin)
    if verified.outcome is CodeOutcome.LOCKED:
        return TokenAnswer(TokenOutcome.NOT_NOW, retry_after=verified.retry_after, why=Why.LOCKED)
    if verified.outcome is not CodeOutcome.OK:
        return TokenAnswer(TokenOutcome.INVALID_CODE)
    return None


def grantable(scope: str, user: User) -> str | None:
    """Return the scope to grant for a *scope* asked for, or nothing if it is invalid.

    Every token names the files that it works for: the ones asked for, or all that are
    open to the user now.
    """
    own = {f"fileid:{pk}": pk for pk in File.objects.ids_open_to(user)}
    asked = dict.fromkeys(scope.split())
    words = [word for word in RIGHTS if word in asked] or ["full"]
    files = [word for word in asked if word not in RIGHTS]
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


def _issue(
    user: User,
    client: AbstractApplication,
    scope: str,
    now: datetime,
    *,
    family: uuid.UUID | None = None,
) -> Tokens:
    """Make an access token and its refresh token; call with the user locked."""
    access, access_token = _access_token(user, client, scope, now)
    refresh_token = secrets.token_urlsafe(32)
    refresh = RefreshToken(user=user, application=client, token_family=family or uuid.uuid4())
    set_token_value(refresh, refresh_token)
    _INSERT_REFRESH.run_later(refresh, access_checksum=access.token_checksum)
    return Tokens(access_token, refresh_token, conf.access_token_lifetime, scope)


def _renew(
    user: User,
    client: AbstractApplication,
    token: RefreshToken,
    text: str,
    scope: str,
    now: datetime,
) -> Tokens:
    """Make the next access token for the refresh token *text*; call with its user locked.

    The earlier ones end, as the vendor's own clients expect.
    """
    _END_EARLIER.run_later(refresh_id=token.pk, now=now)
    access, access_token = _access_token(user, client, scope, now)
    _INSERT_RENEWAL.run_later(Renewal(refresh_token=token), access_checksum=access.token_checksum)
    return Tokens(access_token, text, conf.access_token_lifetime, scope)


def _access_token(
    user: User, client: AbstractApplication, scope: str, now: datetime
) -> tuple[AccessToken, str]:
    """Return a new access token, as it is stored and as the client gets it."""
    access = AccessToken(
        user=user,
        application=client,
        scope=scope,
        expires=now + timedelta(seconds=conf.access_token_lifetime),
    )
    text = secrets.token_urlsafe(32)
    set_token_value(access, text)
    _INSERT_ACCESS.run_later(access)
    return access, text


def _record(
    outcome: str,
    user: User | None,
    origin: Origin,
    now: datetime,
) -> None:
    AuditEvent.objects.record(
        Kind.SIGN_IN, outcome, now=now, origin=origin, user_id=user.pk if user else None
    )


_APPLICATION: Select[AbstractApplication] = Select(
    lambda: get_application_model()._base_manager.filter(client_id=PASSWORD_CLIENTS)
)
_BY_TEXT = Select(
    lambda: RefreshToken.objects.filter(
        token_checksum=Param("token_checksum", RefreshToken),
        application=Param("application", RefreshToken),
    ).order_by(F("revoked").desc(nulls_first=True))
)
_BY_ID = Select(
    lambda: RefreshToken.objects.filter(pk=Param("id", RefreshToken)).annotate(
        granted=F("access_token__scope")
    )
)
_NEWEST = Select(
    lambda: (
        RefreshToken.objects.filter(
            token_family=Param("family", RefreshToken, "token_family"),
            revoked=None,
            access_token__isnull=False,
        )
        .annotate(granted=F("access_token__scope"))
        .order_by("-pk")
    )
)
_END_EARLIER = Update(
    lambda: AccessToken.objects.filter(
        # A union: PostgreSQL would read the whole table for an OR.
        pk__in=RefreshToken.objects.filter(pk=Param("refresh_id", RefreshToken, "id"))
        .values("access_token")
        .union(
            Renewal.objects.filter(
                refresh_token=Param("refresh_id", Renewal, "refresh_token")
            ).values("access_token")
        ),
        expires__gt=Param("now", AccessToken, "expires"),
    ),
    expires=Param("now", AccessToken, "expires"),
)
# A token that is inserted in the same round trip has no key yet.
_ACCESS = Subquery(
    AccessToken.objects.filter(
        token_checksum=Param("access_checksum", AccessToken, "token_checksum")
    ).values("pk")
)
_INSERT_ACCESS = Insert(AccessToken)
_INSERT_REFRESH = Insert(RefreshToken, computed={"access_token_id": _ACCESS})
_INSERT_RENEWAL = Insert(Renewal, computed={"access_token_id": _ACCESS})
