"""Accounts, and the page on which support finds out what is wrong with one (P-21, P-23)."""

import re
from collections.abc import Container, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from optin.actions.accounts import ACTIONS
from optin.actions.base import Action
from optin.admin import pointers
from optin.admin.actions import OFFERED, links, origin_of
from optin.admin.rows import Choice, ReadOnlyAdmin, at, flag, note_factors, text, when
from optin.admin.site import site
from optin.models import AccessKey, Notice, Passkey, ProposedNumber, User
from optin.operations import email_changes, staff
from optin.origin import Origin
from optin.outcomes import whole_seconds
from optin.passkeys import rp_id
from optin.runtime.redirects import SeeOther
from optin.support import requests
from optin.support.diagnosis import Cause, Known, Question, Why, causes_of
from optin.support.diagnosis.barriers import span_of
from optin.support.entries import Position
from optin.support.timeline import GROUPS, timeline
from optin.support.wording import masked, moment, moment_by, plain, taken_over_from


class IsStaff(Choice):
    title, parameter_name = "staff", "is_staff"
    choices_of = [("1", "staff")]


@admin.register(User, site=site)
class AccountAdmin(ReadOnlyAdmin):
    """Accounts; the page of one says why no text came, and what happened (P-21)."""

    change_list_template = "admin/accounts.html"
    change_form_template = "admin/account.html"
    of_one = ACTIONS
    leads_to = "change"
    list_display = (
        text("username", "user name"),
        text("email", "email"),
        flag("is_on", "two-factor sign-in", yes="on", no="off"),
        "state",
        "staff_role",
    )
    list_display_links = (list_display[0],)
    list_filter = (IsStaff,)
    shown = (
        text("failures", "wrong codes in a row", says=lambda count: str(count or "")),
        when("date_joined", "account since"),
        when("sign_ins_ended_at", "sign-ins ended"),
    )

    def look_up(self, rows: Sequence[Any]) -> None:
        note_factors(rows)
        roles = staff.roles_of(user for user in rows if user.is_staff)
        for user in rows:
            user.role = roles.get(user.pk, "-") or "without a role"

    @admin.display(description="staff")
    def staff_role(self, user: Any) -> str:
        return str(user.role)

    @admin.display(description="state")
    def state(self, user: User) -> str:
        barred = _barred(user)
        return barred[0][0].lower() if barred else "active"

    def offered(self, row: User) -> Sequence[Action]:
        return []  # see ``_head``

    def beside(self, row: User, request: HttpRequest) -> dict[str, Any]:
        before = Position.parse(request.GET.get("before", ""))
        name = plain(row.get_username())
        story = self._story(request, row, before)
        request_id = requests.spelled(request.GET.get("request_id", ""))
        is_led = request_id and story["led"] is not None
        return {
            "title": f"Request {request_id}" if is_led else f"Account {name}",
            "name": name,
            **({} if before else self._head(row, request)),
            **story,
        }

    def _head(self, user: User, request: HttpRequest) -> dict[str, Any]:
        """The top of the page: who it is, what can be done, what may be wrong."""
        actor: Any = request.user
        known = Known(user, timezone.now())
        offered, is_out_of_reach = _offered(known, actor, origin_of(request))
        causes, names = _causes(known, offered, actor)
        left = [each for each in offered if each.name not in names]
        buttons = [each for each in left if each.helps(known)][:BUTTONS]
        menu = [each for each in left if each not in buttons]
        return {
            **self.head(user, known),
            "causes": causes,
            "buttons": links(self, buttons, request, user.pk),
            "menu": links(self, menu, request, user.pk),
            "out_of_reach": is_out_of_reach,
            "lists": [
                (f"{reverse(f'admin:optin_{name}_changelist')}?user_id={user.pk}", words)
                for name, words in _LISTS.items()
                if actor.has_perm(f"optin.view_{name}")
            ],
        }

    def head(self, row: User, known: Known | None = None) -> dict[str, Any]:
        known = known or Known(row, timezone.now())
        return {"about_lines": _about(known), "states": _states(known)}

    def _story(self, request: HttpRequest, user: User, before: Position | None) -> dict[str, Any]:
        """What happened to *user*, page by page, of one group or of all."""
        group = request.GET.get("show", "")
        only = GROUPS[group].what if group in GROUPS else None
        story = timeline(user, before=before, limit=self.list_per_page, only=only)
        show = {"show": group} if only else {}
        groups = [("", "Everything"), *((name, each.words) for name, each in GROUPS.items())]
        return {
            "groups": [
                (f"?{urlencode({'show': name})}#happened" if name else "?#happened", words, is_on)
                for name, words in groups
                for is_on in [name == (group if only else "")]
            ],
            "entries": story.entries,
            "newest": f"?{urlencode(show)}",
            "older": f"?{urlencode({**show, 'before': story.older})}" if story.older else "",
            "is_older": before is not None,
            "led": pointers.why(request, user) if before else None,
            "only": only,
        }


_LISTS = {
    "provideruser": "Numbers",
    "membership": "Memberships",
    "accesskey": "Access keys",
    "auditevent": "Audit events",
}


BUTTONS = 2
"""How many actions are shown at once; the others are in a menu."""


def _offered(known: Known, actor: User, origin: Origin) -> tuple[list[Action], bool]:
    """Return the actions of *actor* that would change something, the most helpful first.

    Also return whether this person is out of their reach.
    """
    may = [each for each in ACTIONS if actor.has_perm(each.permission)]
    is_out_of_reach = bool(may) and staff.is_out_of_reach(origin, known.user)
    if is_out_of_reach:
        # Whoever asked for a removal may withdraw it.
        own = known.revocation is not None and known.revocation.actor_id == actor.pk
        may = [each for each in may if own and each.name == "withdraw"]
    useful = [each for each in may if each.changes(known)]
    return sorted(useful, key=lambda each: not each.helps(known)), is_out_of_reach


def _unverified(known: Known) -> list[tuple[str, str]]:
    """The number of the last text, if nobody has entered a code from it: calls are about that."""
    row = known.text and known.text.provider_user
    return [("Number not verified", row.masked_number)] if row and not row.verified_at else []


def _new_email(user: User) -> list[tuple[str, str]]:
    change = email_changes.waiting_for(user)
    if change is None:
        return []
    then = f"from {at(change.due_at)} on" if change.due_at else "not confirmed yet"
    return [("New email", f"{plain(change.new_address)}, {then}")]


def _invitation(user: User, invited_at: datetime) -> str:
    """Say when the newest invitation left, and whether its link was used."""
    mails = Notice.objects.filter(user=user, kind=Notice.Kind.INVITATION)
    mail = mails.filter(created_at=invited_at).first()  # deleted after some weeks
    said = f"asked for {at(invited_at)}"
    if mail:
        said = f"left {at(mail.sent_at)}" if mail.sent_at else f"{said}; {mail.state}"
    if user.invitation_used_at:
        return f"{said}; its link was used {at(user.invitation_used_at)}"
    return said if user.has_usable_password() else f"{said}; its link was not used"


def _factors(known: Known) -> str:
    factors = known.factors
    number, keys, left = factors.number, len(factors.passkeys), factors.recovery_codes
    suspended = ", suspended" if known.is_suspended else ""
    found = [f"number {number.masked_number}{suspended}"] if number else []
    if number and number.taken_over_at:
        found.append(taken_over_from(number.taken_over_at, number.taken_over_by))
    found += ["authenticator app"] if factors.app else []
    found += [f"{keys} passkey{'' if keys == 1 else 's'}"] if keys else []
    found += [f"{left} recovery code{'' if left == 1 else 's'} left"] if found or left else []
    return "; ".join(found) or "none"


def _passkey(one: Passkey) -> str:
    """Describe a passkey: its name may be a number, and is masked."""
    where = "on one device only"
    if one.can_be_backed_up:
        where = "synced to other devices" if one.is_backed_up else "not synced yet"
    used = f"last used {at(one.last_used_at)}" if one.last_used_at else "never used"
    said = f"{masked(one.name)}: id {one.pk}; {where}; added {at(one.created_at)}; {used}"
    return said if one.rp_id == rp_id() else f"{said}; does not work here: made at {one.rp_id}"


def _states(known: Known) -> list[tuple[str, str, bool]]:
    """How the account stands: a word, a sentence, and whether something is wrong.

    For a deactivated account, that is all.
    """
    user, number = known.user, known.factors.number
    found = _barred(user)
    if not user.is_active:
        return found
    if number and number.suspended_at:
        since = f"since {moment(number.suspended_at)}."
        found.append(("Suspended", f"Staff stopped codes by text message {since}", True))
    if sim := known.factors.sim:
        until = f"No code is texted until {moment_by(sim.swapped_until)} at the latest."
        found.append(("New SIM", until, True))
    if known.revocation and known.revocation_holds:
        due = f"All second factors will be removed at {moment_by(known.revocation.due_at)}."
        found.append(("Removal planned", due, True))
    if known.factors.is_on:
        return [*found, ("Two-factor on", "Sign-in needs a second factor.", False)]
    said = "This person signs in with the password only."
    if not user.has_usable_password():
        said = "This person cannot sign in: the account has no password."
    waits = " They have not entered the code that we texted." if known.code_waits else ""
    return [*found, ("Two-factor off", f"{said}{waits}", False)]


def _barred(user: User) -> list[tuple[str, str, bool]]:
    """What keeps the person or their applications out, as ``_states`` returns it."""
    if not user.is_active:
        return [("Deactivated", "The password is refused, and no text is sent.", True)]
    found = []
    now, wrong = timezone.now(), f"after {user.otp_failures} wrong codes"
    if user.otp_disabled_at:
        since = f"since {moment(user.otp_disabled_at)}, {wrong}."
        stopped = f"No code has been texted, and no texted code accepted, {since}"
        found.append(("Texted codes locked", stopped, True))
    if user.own.locked_for(now) and user.otp_locked_until:
        until = moment_by(user.otp_locked_until)
        found.append(("Locked", f"No code works until {until}, {wrong}.", True))
    if span := span_of(user.programs, now):
        stopped = f"Codes are locked for applications {span}. The person can still sign in."
        found.append(("Locked for applications", stopped, True))
    return found


def _about(known: Known) -> list[tuple[str, str]]:
    """Who it is, and what they have: the words of the head of the page."""
    user = known.user
    found = [
        ("Email", plain(user.email) or "none: no mail can be sent"),
        *_new_email(user),
        ("Second factors", _factors(known)),
        *(("Passkey", _passkey(one)) for one in known.factors.passkeys),
        *_unverified(known),
        ("Last sign-in on a page", at(user.last_login) if user.last_login else "never"),
    ]
    if user.invited_at:
        found.append(("Invitation", _invitation(user, user.invited_at)))
    if hasattr(user, "external"):
        found.append(("Id in the old system", plain(user.external.text)))
    if hasattr(user, "proposed"):
        proposed: ProposedNumber = user.proposed
        source, since = proposed.get_source_display(), at(proposed.proposed_at)
        number = f"{proposed.masked_number}, by {source} at {since}; no second factor"
        found.append(("Proposed number", number))
    if user.is_test:
        found.append(("Test account", "its codes are shown on the page of its sandbox"))
    if user.is_staff:
        found.append(("Staff", staff.role_of(user) or "without a role"))
    return found


_OF_ACCOUNT = "optin_user_"
_HELP = {
    Why.LOCKED: f"{_OF_ACCOUNT}unlock",
    Why.DISABLED: f"{_OF_ACCOUNT}unlock",
    Why.SUSPENDED: f"{_OF_ACCOUNT}resume",
    Why.SIM_SWAPPED: f"{_OF_ACCOUNT}let-through",
    Why.REVOCATION_WAITS: f"{_OF_ACCOUNT}withdraw",
    Why.NO_PASSWORD: f"{_OF_ACCOUNT}invite",
    Why.DEACTIVATED: f"{_OF_ACCOUNT}activate",
    **dict.fromkeys(
        (Why.CARRIER_REFUSED, Why.NOT_CONFIRMED, Why.ARRIVED, Why.EXPIRED_UNSENT),
        f"{_OF_ACCOUNT}resend",
    ),
    Why.ALL_STOPPED: "optin_guard_allow",
    Why.PREFIX_CLOSED: "optin_guard_lift",
    Why.DENIED: "optin_guard_unlist",
    Why.ANSWERED_STOP: "optin_guard_texts-again",
    Why.NOT_A_MEMBER: "optin_membership_make",
}
"""The operation that helps against a cause, by its name in ``OFFERED``."""


def _causes(
    known: Known, offered: Sequence[Action], actor: User
) -> tuple[list[tuple[str, Question, list[Any]]], set[str]]:
    """What may be wrong, by question: each with the one action that would help, if there is one.

    An action that helps against several stands under the first.

    :returns: the causes, and the names of their actions.
    """
    found: dict[Question, list[Any]] = {question: [] for question in Question}
    helping = {each.name for each in offered if each.helps(known)}
    names, told = set[str](), set[tuple[Why, str]]()
    for cause in causes_of(known):
        name, advice = _help(cause, helping, actor), (cause.why, cause.advice)
        shown: dict[str, Any] = {"cause": cause, "is_told": advice in told}
        told.add(advice)
        if name:
            action = OFFERED[name]
            args = [known.user.pk] if name.startswith(_OF_ACCOUNT) else []
            link = (reverse(f"admin:{name}", args=args), action.title)
            shown |= {"above": action.title} if action.name in names else {"action": link}
            names.add(action.name)
        found[cause.question].append(shown)
    return [(_QUESTIONS[each], each, causes) for each, causes in found.items() if causes], names


def _help(cause: Cause, helping: Container[str], actor: User) -> str:
    """Return by what name ``OFFERED`` has the action against *cause*; "" without one."""
    name = _HELP.get(cause.why, "")
    if name.startswith(_OF_ACCOUNT):
        return name if OFFERED[name].name in helping else ""
    return name if name and actor.has_perm(OFFERED[name].permission) else ""


_QUESTIONS = {
    Question.REMOVAL: "What is planned?",
    Question.NO_TEXT: "Why no text message?",
    Question.NO_OPT_IN: "Why no opt-in?",
    Question.NO_ACCESS: "Why is an application refused?",
    Question.NO_ENTRY: "Why no sign-in?",
}


@sensitive_post_parameters("who")
def find_page(request: HttpRequest) -> HttpResponse:
    """Lead to the account that was asked for, by a POST: no number in any address (S-51)."""
    if not request.user.has_perm("optin.view_user"):
        raise PermissionDenied
    asked = request.POST.get("who", "")[:254]
    result = staff.find(asked, origin=origin_of(request))
    beginning = _beginning_of_key(asked) if request.user.has_perm("optin.view_accesskey") else ""
    found_keys = staff.find_keys(beginning) if beginning else []
    request_id = requests.spelled(asked)
    led = requests.find(asked)
    if len(led) == 1 and not result.users and not found_keys and led[0].user_id:
        return SeeOther(pointers.place(led[0], asked))
    if len(result.users) == 1 and not found_keys and not led:
        return SeeOther(reverse("admin:optin_user_change", args=[result.users[0].pk]))
    is_found = bool(result.users or found_keys)
    shown = _shown(asked)
    context = {
        **site.each_context(request),
        "title": _title(request_id if led else "", shown, is_found=is_found),
        "asked": shown,
        "request_id": "" if is_found else request_id,
        "found": [_account(user, result) for user in result.users],
        "beginning": beginning,
        "keys": [_key(key) for key in found_keys],
        "led": [pointers.told(each, asked, request) for each in led],
        "wait": result.retry_after is not None,
    }
    response = TemplateResponse(request, "admin/found.html", context)
    if result.retry_after is not None:
        response.status_code = 429
        response["Retry-After"] = str(whole_seconds(result.retry_after))
    return response


def _shown(asked: str) -> str:
    """Return *asked*, unless it has a number, or more of a key than leads to it."""
    fits = masked(asked) == plain(asked) and not _SECRET.search(asked)
    return plain(asked) if fits else ""


def _title(request_id: str, shown: str, *, is_found: bool) -> str:
    if request_id:
        return f"Request {request_id}"
    if is_found:
        return "Accounts found"
    return f"Nothing found for “{shown}”" if shown else "Nothing found"


def _account(user: User, result: staff.Found) -> dict[str, Any]:
    return {
        "pk": user.pk,
        "name": plain(user.get_username()),
        "email": plain(user.email or "no email address"),
        "why": _why_found(user, result),
    }


def _why_found(user: User, result: staff.Found) -> str:
    """Say what *user* has to do with the number; "" if they were found by their name."""
    if user.pk not in result.links:
        return ""
    link, since = result.links[user.pk]
    holder = plain(result.holder.get_username()) if result.holder else "another account"
    return {
        staff.Link.USES: "uses this number now",
        staff.Link.HAD: f"had this number until {moment(since)}",
        staff.Link.ENTERED: f"entered the right code at {moment(since)}, but "
        f"{holder} {'uses' if result.holder else 'used'} this number",
        staff.Link.ASKED: f"asked for a text to this number at {moment(since)}",
    }[link]


_KEY = re.compile(r"[^\s@+.-]{6}[^\s@.-]*")
"""Matches what may be an access key, and is no number, or address."""

_SECRET = re.compile("[0-9a-f]{12}")


def _beginning_of_key(asked: str) -> str:
    """Return the 6 characters that are kept of a key, where *asked* may be one; else ""."""
    asked = asked.strip()
    return asked[:6] if _KEY.fullmatch(asked) and asked.isprintable() else ""


def _key(key: AccessKey) -> dict[str, Any]:
    """An access key, whose it is, and whether it still works."""
    if key.revoked_at:
        said = f"It was revoked at {at(key.revoked_at)}: a call with it gets 401."
    elif not key.user.is_active:
        said = "Its owner is deactivated: a call with it gets 401."
    elif key.last_used_at:
        said = f"It was last used at {at(key.last_used_at)}."
    else:
        said = "It was never used."
    return {
        "pk": key.pk,
        "owner_id": key.user_id,
        "owner": plain(key.user.get_username()),
        "file": plain(key.file),
        "said": said,
    }


site.pages.append(path("find/", site.admin_view(require_POST(find_page)), name="find"))
