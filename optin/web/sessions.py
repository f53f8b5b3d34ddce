"""What a session holds, and how long it lasts.

A session begins when somebody is signed in, and before that once as a *half* one: after
the password, before the code. A half one holds who, when and the last end of sign-ins before it,
and opens nothing.

Each step gives a session a new id: the password, the code, each proof before a change, and
each change. The old id lives on for a moment, for the second half of a double click: it is
signed in, but has proved nothing, and leads to the new one only whoever repeats the same step.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, TypedDict, cast
from urllib.parse import quote, unquote

from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, login, logout
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django_otp import DEVICE_ID_SESSION_KEY

from optin import keys
from optin.errors import SignedOut
from optin.models import User
from optin.models.audit import MAX_USER_AGENT
from optin.models.second_factors import overview
from optin.operations.factors import FRESH, Standing
from optin.operations.verification import REPEATED_WITHIN, Verification
from optin.origin import Face, Origin
from optin.outcomes import By
from optin.web import session_store


class Step(StrEnum):
    """The reasons why a session gets a new id. Rows keep the values."""

    CONFIRM = "confirm"  # the password again
    CHOOSE = "choose"  # a new password
    PROVE = "prove"  # a second factor
    CHANGE = "change"


HALF_FOR = timedelta(minutes=10)
"""From the password to the code (S-36)."""

IDLE = timedelta(minutes=30)
STAFF_IDLE = timedelta(minutes=15)
LONGEST = timedelta(hours=12)
"""NIST SP 800-63B-4 2.2.3: sessions at AAL2."""

_SEEN_EVERY = timedelta(minutes=1)
"""A session is written at most so often for its idle time alone."""

_BACKEND = "django.contrib.auth.backends.ModelBackend"


class Ages:
    """End sessions that were idle too long, or are too old."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.session.session_key and request.user.is_authenticated:
            now = timezone.now()
            if _is_over(request.session, request.user, now):
                logout(request)
                said = _("You were signed out, to keep your account safe. Sign in again.")
                flash(request, said, refused=True)
            elif now - _time(request.session, "seen") >= _SEEN_EVERY:
                request.session["seen"] = now.timestamp()
                request.session["ip"] = origin_of(request).ip
            if request.method == "GET" and not request.path.startswith(reverse("number-code")):
                leave_number(request)
            began = _time(request.session, "began")
            request.META["SESSION_ENDS_AT"] = _ends_at(request.session, request.user)
            request.META["SESSION_ENDS_AT_LATEST"] = began + LONGEST
        return self.get_response(request)


class Asking(TypedDict):
    """What each operation asks of a session."""

    standing: Standing
    origin: Origin


def who_asks(request: HttpRequest) -> Asking:
    return {"standing": standing(request), "origin": origin_of(request)}


def user_of(request: HttpRequest) -> User:
    """Return who is signed in: of a view behind ``pages.signed_in``."""
    return cast(User, request.user)


def origin_of(request: HttpRequest) -> Origin:
    """Return who asks, and from where."""
    return Origin.of(
        Face.WEB,
        request.META,
        actor_id=request.user.pk if request.user.is_authenticated else None,
        session=request.session.get("line") or request.session.session_key or "",
    )


# -- signing in --------------------------------------------------------------------


def begin_half(request: HttpRequest, user: User) -> None:
    """Remember whose password was right, in a session with a new id.

    :param user: as read under the lock when the password was checked.
    """
    request.session.flush()
    request.session["half"] = {
        "user": user.pk,
        "at": timezone.now().timestamp(),
        "ended": _last_end(user),
    }


def is_half(request: HttpRequest) -> bool:
    """Whether the session is one of somebody whose password was right."""
    return "half" in request.session


def half_user(request: HttpRequest) -> User | None:
    """Return whose password was right a moment ago, in a session that is not signed in."""
    half = request.session.get("half")
    if not half or half_is_late(request):
        return None
    user: User | None = User.objects.filter(pk=half["user"], is_active=True).first()
    # A new password, a new factor and the mailed "this was not me" end a half session.
    return user if user and half["ended"] == _last_end(user) else None


def half_is_late(request: HttpRequest) -> bool:
    """Whether the time to enter the code is over."""
    return timezone.now() >= _from(request.session["half"]["at"]) + HALF_FOR


def _last_end(user: User) -> str:
    """When the sign-ins of *user* were last ended. It is only compared with itself."""
    return user.sign_ins_ended_at.isoformat() if user.sign_ins_ended_at else ""


def begin(
    request: HttpRequest,
    user: User,
    verification: Verification | None = None,
    *,
    by_password: bool = True,
) -> None:
    """Sign *user* in, in a session with a new id.

    A half session before it is left to die by itself: the second half of a double click
    still comes with it, and leads to the same place.

    :param by_password: whether the password was right, now or in the half session.
    """
    half = request.session.get("half") if by_password else None
    if not half:
        request.session.flush()  # perhaps somebody else's
    now = timezone.now().timestamp()
    request.session = type(request.session)()
    login(request, user, backend=_BACKEND)
    request.session["began"] = request.session["seen"] = now
    origin = origin_of(request)
    request.session["ip"], request.session["agent"] = origin.ip, origin.user_agent[:MAX_USER_AGENT]
    request.session["name"] = _kept_name(request, user)
    # It stays when the session gets a new id: a code sent under both ids is one attempt.
    request.session["line"] = secrets.token_hex(16)
    at = half["at"] if half else now
    request.session["password_at"] = at if by_password else 0
    _arrive(request, request.GET.get("next", ""), at)
    if verification and verification.by:
        prove(request, verification.by)
        # Not the moment of the code, so that another server's clock may be behind.
        request.session["signed_in_at"] = at


def renew_for_others(request: HttpRequest, **both: Any) -> Callable[[User], None]:
    """``renew`` for what ends the sessions elsewhere. It uses up the proof of a factor.

    So each press needs a proof of its own. Whoever stole the cookie has that of the sign-in at
    most, for one press (G-02).
    """
    carry_on = renew(request, **both)

    def carry_on_without(user: User) -> None:
        carry_on(user)
        forget_factor(request)

    return carry_on_without


def renew_for_not_me(request: HttpRequest) -> Callable[[User], None]:
    """``renew_for_others`` for "that was not me".

    It uses up the password too, as some people have no factor: there is a mail of each press.
    """
    return renew_for_others(request, password_at=0)


def renew_for_password(request: HttpRequest) -> Callable[[User], None]:
    """``renew`` for a new password, and remember it: see ``chose_password``."""
    return renew(request, Step.CHOOSE, chose_password_at=timezone.now().timestamp())


def chose_password(request: HttpRequest) -> bool:
    """Whether a new password was chosen in this session a moment ago."""
    return timezone.now() < _time(request.session, "chose_password_at") + REPEATED_WITHIN


def renew(request: HttpRequest, step: Step = Step.CHANGE, **both: Any) -> Callable[[User], None]:
    """Return what carries the session of *request* on, once all of its user were ended.

    To be called in the transaction that ends them.

    :param both: what the old id is to hold as well as the new one.
    """

    def carry_on(user: User) -> None:
        if has_ended(request):
            return
        auth_hash = user.get_session_auth_hash()
        # The old one too: else it would not be known who clicked twice.
        if not _go_on(request, step, both={HASH_SESSION_KEY: auth_hash, **both}):
            raise SignedOut  # it ended while this was on its way: nothing was done

    return carry_on


def read_again(request: HttpRequest) -> None:
    """Look at what other requests did to this session meanwhile.

    :raises SignedOut: if they ended it.
    """
    stored = session_store.stored(request.session)
    if stored is None:
        raise SignedOut
    request.session = stored


def follow(request: HttpRequest) -> None:
    """Go on from where the first half of a double click carried this session.

    What this half read at its start may be older than that, and must not be saved over it.
    """
    stored = session_store.stored(request.session)
    if stored is None:
        raise SignedOut
    if "ends" in stored:
        _join(request, stored)


def is_there(request: HttpRequest) -> bool:
    """Whether there is a session at all: no session is stored for a visitor without one."""
    return bool(request.session.keys())


def end(request: HttpRequest) -> None:
    """Sign out, under each id that the session has had and has now."""
    end_row(session_store.row_of(request.session.session_key))
    logout(request)


def end_row(row: str) -> bool:
    """End the session that is kept in *row*, under each id; return whether it was there."""
    others: list[str] = []
    found = stored = session_store.take(row)
    while stored:
        others += stored.get("before", {})
        successor = session_store.successor_of(stored)
        stored = session_store.take(session_store.row_of(successor))
    for other in others:
        session_store.take(other)
    return found is not None


@dataclass(frozen=True, slots=True)
class Place:
    """One browser in which somebody is signed in."""

    handle: str  # what a form names it by; opens nothing
    row: str
    is_here: bool
    began_at: datetime
    seen_at: datetime  # up to ``_SEEN_EVERY`` early
    ip: str  # from which it was seen then
    user_agent: str
    name: str  # as its user calls it; "" for no name


def places(request: HttpRequest) -> list[Place]:
    """Return where the person who asks is signed in, this browser first."""
    user = user_of(request)
    now, auth_hash = timezone.now(), user.get_session_auth_hash()
    here = _place(session_store.row_of(request.session.session_key), request.session, is_here=True)
    others = [
        _place(row, held)
        for row, held in session_store.all_of(user, now)
        if held.get(HASH_SESSION_KEY) == auth_hash
        and "ends" not in held
        and not _is_over(held, user, now)
    ]
    return [here, *(place for place in others if place.handle != here.handle)]


def _place(row: str, held: Any, *, is_here: bool = False) -> Place:
    return Place(
        # The same for all ids that the session has in time.
        keys.digest("session.handle", held.get("line") or row),
        row,
        is_here,
        _time(held, "began"),
        _time(held, "seen"),
        held.get("ip", ""),
        held.get("agent", ""),
        held.get("name", ""),
    )


def name_browser(request: HttpRequest, response: HttpResponse, name: str) -> None:
    """Call this browser *name*, in its next sessions of this user too: its cookie keeps the name.

    :param name: 40 printable characters at most; "" to remove the name.
    """
    request.session["name"] = name
    response.set_signed_cookie(
        settings.BROWSER_COOKIE_NAME,
        quote(name),
        salt=_salt(user_of(request)),
        max_age=settings.LANGUAGE_COOKIE_AGE if name else 0,
        secure=settings.LANGUAGE_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def _kept_name(request: HttpRequest, user: User) -> str:
    kept = request.get_signed_cookie(settings.BROWSER_COOKIE_NAME, "", salt=_salt(user))
    return unquote(kept or "")


def _salt(user: User) -> str:
    """Of the cookie's signature: another user of the browser does not read the name."""
    return f"browser of {user.pk}"


def arrived_at(request: HttpRequest) -> datetime:
    """Return when this browser came to the address of *request*, or signed in on the way there."""
    here, now = request.get_full_path(), timezone.now()
    arrived = request.session.get("arrived", {})
    if arrived.get("to") != here or now >= _time(arrived, "at") + FRESH:
        _arrive(request, here, now.timestamp())
    return _time(request.session["arrived"], "at")


def _arrive(request: HttpRequest, to: str, at: float) -> None:
    request.session["arrived"] = {"to": to, "at": at}


def has_ended(request: HttpRequest) -> bool:
    """Whether another session has taken the place of this one."""
    return "ends" in request.session


def _go_on(
    request: HttpRequest,
    step: Step,
    *,
    both: dict[str, Any] | None = None,
    new: dict[str, Any] | None = None,
    join: bool = False,
) -> bool:
    """Give the session of *request* a new id; the old one ends in a moment.

    :param both: what the old one is to hold as well.
    :param new: what the new one alone is to hold: what was proved.
    :param join: where another request was faster with the same step, go on with the session that
        it began. After another step, that session has proved what this request has not.
    :returns: whether the session is a new one.
    :raises SignedOut: if there is no such session any more.
    """
    ends = timezone.now() + REPEATED_WITHIN
    found = session_store.succeed(request.session, ends, step, both=both or {}, new=new or {})
    if found is None:
        raise SignedOut
    if "ends" not in found:
        request.session = found
        return True
    if join and found.get("step") == step:
        _join(request, found)
    return False


def _join(request: HttpRequest, ended: session_store.SessionStore) -> None:
    """Go on with the successor of a session, if there still is one."""
    new = type(ended)(session_store.successor_of(ended))
    request.session = new if SESSION_KEY in new else ended
    request.session.modified = True  # so that the answer tells the browser its id


def _verified(user: Any, by: By) -> dict[str, Any]:
    """Return what tells django-otp, whose ``user.is_verified()`` others ask, which factor it was.

    A recovery code is none of its devices: any factor stands for it.
    """
    factors = overview(user)
    passkey = next(iter(factors.passkeys), None)
    first: Any = {By.TEXT: factors.number, By.PASSKEY: passkey}.get(by)
    device: Any = first or factors.app or passkey or factors.number
    return {DEVICE_ID_SESSION_KEY: device.persistent_id} if device else {}


# -- what it has proved ------------------------------------------------------------


def prove_password(request: HttpRequest, step: Step = Step.CONFIRM) -> None:
    """Remember that the password was right.

    :param step: ``CHOOSE`` if the one that was just chosen was entered again.
    """
    _go_on(request, step, new={"password_at": timezone.now().timestamp()}, join=True)


def prove(request: HttpRequest, by: By) -> None:
    """Remember that a second factor was verified, at the sign-in or as it was added.

    One that was added with the proof of the sign-in proves no more than that.
    """
    if not has_ended(request):
        request.session.update(_proof(request, by))


def prove_again(request: HttpRequest, verification: Verification) -> None:
    """``prove`` by a factor from before the sign-in: a step of its own."""
    if verification.by:
        join = verification.repeated or not has_ended(request)
        proof = {**_proof(request, verification.by), "signed_in_at": None}
        _go_on(request, Step.PROVE, new=proof, join=join)


def _proof(request: HttpRequest, by: By) -> dict[str, Any]:
    proof = {"factor_at": timezone.now().timestamp(), "factor_by": by.value}
    return {**proof, **_verified(request.user, by)}


def forget_factor(request: HttpRequest) -> None:
    """Drop what was proved of a factor. How the person signed in stays."""
    for key in ("factor_at", "factor_by"):
        request.session.pop(key, None)


def forget_factors(request: HttpRequest) -> None:
    """Drop what was proved, also at the sign-in: two-factor sign-in was turned off."""
    forget_factor(request)
    request.session.pop("signed_in_at", None)


def standing(request: HttpRequest) -> Standing:
    """Return what the session has proved, and when: nothing once another took its place."""
    at_sign_in = request.session.get("signed_in_at")
    signed_in_at = _from(at_sign_in) if at_sign_in else None
    if has_ended(request):
        return Standing(signed_in_at=signed_in_at)
    by = request.session.get("factor_by")
    return Standing(
        _time(request.session, "password_at"),
        _time(request.session, "factor_at"),
        By(by) if by else None,
        signed_in_at,
    )


def demand_password(request: HttpRequest) -> None:
    """Let nobody try a code, or have one texted, without a fresh password.

    A stolen cookie alone could lock the owner's codes and use up their texts (G-02). A session
    whose place was taken only repeats what it sent before.

    :raises PasswordNeeded: if it was not entered lately.
    """
    if not has_ended(request):
        standing(request).demand(timezone.now())


# -- the numbers that were named -------------------------------------------------------


def name_number(request: HttpRequest, provider_user_id: int, *, typed: bool) -> None:
    """Remember that a code was texted to a number.

    :param typed: whether the number was typed here, and not one that was proposed.
    """
    others = [pk for pk in named_numbers(request) if pk != str(provider_user_id)]
    request.session["numbers"] = [*others, str(provider_user_id)]
    request.session["typed"] = provider_user_id if typed else None


def named_numbers(request: HttpRequest) -> list[str]:
    """Return each ``ProviderUserId`` that was named, the latest last."""
    numbers: list[str] = request.session.get("numbers", [])
    return numbers


def is_typed(request: HttpRequest, provider_user_id: int) -> bool:
    """Whether that number was typed in this session, which has not left the page of its code.

    That page alone shows it whole: so a typing error can be seen (S-51).
    """
    return request.session.get("typed") == provider_user_id and not has_ended(request)


def leave_number(request: HttpRequest) -> None:
    """Forget which number was typed: the person went to another page, or it was verified."""
    _take(request, "typed")


# -- from one page to the next -----------------------------------------------------


def flash(
    request: HttpRequest, text: str, *, refused: bool = False, to_password: bool = False
) -> None:
    """Show *text* on the next page.

    :param refused: whether it is a refusal or a warning, not something that was done.
    :param to_password: whether a link to a new password follows it.
    """
    request.session["flash"] = str(text)
    request.session["flash_refused"] = refused
    request.session["flash_to_password"] = to_password
    if refused:
        _refer(request)


def refuse(request: HttpRequest, field: str, text: str, *, mistyped: bool = False) -> None:
    """Show *text* as the error of *field* on the next page, whose form was refused.

    :param mistyped: whether nothing was decided: then support has nothing to look up.
    """
    request.session["refused"] = {field: str(text)}
    if not mistyped:
        _refer(request)


def _refer(request: HttpRequest) -> None:
    """Show the id of this request on the next page."""
    request.session["request_id"] = request.META["REQUEST_ID"]


def take_flash(request: HttpRequest) -> dict[str, Any]:
    """Return what ``flash`` and ``refuse`` left, once, under the names that templates use."""
    return {
        "flash": _take(request, "flash") or "",
        "flash_refused": bool(_take(request, "flash_refused")),
        "flash_to_password": bool(_take(request, "flash_to_password")),
        "refused_request_id": _take(request, "request_id") or "",
    }


def take_refused(request: HttpRequest) -> dict[str, str]:
    """Return what ``refuse`` left, by field, once."""
    refused: dict[str, str] = _take(request, "refused") or {}
    return refused


def _take(request: HttpRequest, key: str) -> Any:
    # Only what is there is taken: else every page would write its session.
    return request.session.pop(key) if key in request.session else None


# -- times -------------------------------------------------------------------------


def _is_over(session: Any, user: Any, now: datetime) -> bool:
    """Whether *session*, or what a row holds of one, was idle too long or is too old."""
    return now >= _ends_at(session, user)


def _ends_at(session: Any, user: Any) -> datetime:
    """Return when *session* ends if nobody asks for a page before."""
    idle = STAFF_IDLE if user.is_staff else IDLE
    ends = [_time(session, "seen") + idle, _time(session, "began") + LONGEST]
    return min([*ends, _from(session["ends"])] if session.get("ends") is not None else ends)


def _time(session: Any, key: str) -> datetime:
    return _from(session.get(key, 0))


def _from(stamp: Any) -> datetime:
    return datetime.fromtimestamp(stamp, tz=UTC)
