"""Every event that the audit trail may hold, and all that is said of it: one row for each.

A row stands under its kind and its outcome. The row ``OTHERS`` stands for all other outcomes of the
kind, and each row of the kind has from it what it lacks itself. So a new outcome is one row.

Rules have their words in ``support.wording``, causes in ``support.diagnosis``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, StrEnum
from typing import Any, Final

from django.db.models import TextChoices
from django.utils.translation import gettext_noop as _

from optin.outcomes import MALFORMED, SECURED, WITHHELD


class Kind(TextChoices):
    """What an event of the trail is about."""

    # A released value is never renamed or used for something else.
    OPT_IN = "opt_in", "Opt-in: text asked for"
    VERIFY_OPT_IN = "verify_opt_in", "Opt-in: code entered"
    CHALLENGE = "challenge", "Text asked for"
    CHECK = "check", "Code entered"
    OPT_OUT = "opt_out", "Opt-out: code entered"
    SIGN_IN = "sign_in", "Signed in with a password"
    REFRESH = "refresh", "Token refreshed"
    TOKEN = "token", "Token given at /o/token/"
    ACCESS = "access", "Access refused"
    SUSPEND = "suspend", "Suspended by staff"
    RESUME = "resume", "Suspension ended by staff"
    UNLOCK = "unlock", "Unlocked by staff"
    REVOKE = "revoke", "All second factors removed by staff, or as asked at sign-in"
    FILE = "file", "File"
    MEMBER = "member", "Member of a file"
    ACCESS_KEY = "access_key", "Access key"
    PASSWORD_CLIENTS = "password_clients", "Sign-in by password for clients without an id"
    KEYS = "keys", "Keys"
    PURGE = "purge", "Old rows deleted"
    ERASE = "erase", "Person erased"
    PASSWORD = "password", "Password"
    APP = "app", "Authenticator app"
    RECOVERY_CODES = "recovery_codes", "Recovery codes"
    DISOWN = "disown", "This was not me"
    CONSENT = "consent", "Access of an application"
    STOP = "stop", "All texts stopped, or allowed again, by staff"
    BREAKER = "breaker", "Closed prefix opened by staff"
    DENY = "deny", "Deny list"
    SAFE = "safe", "Safe list"
    NO_TEXTS = "no_texts", "Texts to a number stopped by its owner, or allowed again"
    RESEND = "resend", "Text sent again by staff"
    REVEAL = "reveal", "Number seen in full by staff"
    ROLE = "role", "Role of staff"
    EXPORT = "export", "Audit events handed out as a file"
    APPLICATION = "application", "OAuth application"
    SEARCH = "search", "Full number searched by staff"
    REVOCATION = "revocation", "Removal after a while: asked for, or called off"
    RESTORE = "restore", "Database restored from a backup"
    SESSION = "session", "Signed out somewhere else"
    EMAIL = "email", "Email address"
    PERSON = "person", "Account made, changed, deactivated or activated"
    TEST_TEXT = "test_text", "Test text sent by an operator"
    INVITATION = "invitation", "Invitation by email"
    WEBHOOK = "webhook", "Webhook endpoint"


class News(StrEnum):
    """The kinds of events that the endpoints of a file are told (``models.webhooks``)."""

    # A released value is never renamed or used for something else.
    NUMBER_ACTIVATED = "number.activated"
    NUMBER_CHANGED = "number.changed"
    NUMBER_REMOVED = "number.removed"
    FACTOR_LOCKED = "factor.locked"
    FACTOR_UNLOCKED = "factor.unlocked"
    FACTOR_DISABLED = "factor.disabled"
    REVOCATION_PLANNED = "revocation.planned"
    REVOCATION_CANCELLED = "revocation.cancelled"
    REVOCATION_DONE = "revocation.done"
    TEXT_REFUSED = "text.refused"
    TEXT_FAILED = "text.failed"
    CONSENT_GIVEN = "consent.given"
    TEST = "endpoint.test"


_Data = Mapping[str, Any]


class Ledger(Enum):
    """Whether a decision has a line of its own in the ledger (``audit.ledger``)."""

    NO = 0
    TOLD = 1
    GIVES_BACK = 2
    """It has one, and gave something back or ended a stop."""


TOLD, GIVES_BACK = Ledger.TOLD, Ledger.GIVES_BACK

Ocsf = tuple[int, int]
"""The class of an event in OCSF, and what was done (``support.ocsf``)."""

OTHER: Final = 99
"""The name of an activity for which OCSF has no number."""

BASE, ACCOUNT, AUTHENTICATION, ENTITY, API = 0, 3001, 3002, 3004, 6003
LOGON, LOGOFF, AUTHENTICATED = ((AUTHENTICATION, act) for act in (1, 2, OTHER))
CREATED, READ, UPDATED, DELETED, SENT = ((ENTITY, act) for act in (1, 2, 3, 4, OTHER))
MADE, ENABLED, PASSWORD_CHANGED, PASSWORD_RESET, DISABLED, ERASED = (
    (ACCOUNT, act) for act in (1, 2, 3, 4, 5, 6)
)
GIVEN, TAKEN, FACTOR_ON, FACTOR_OFF, CHANGED = ((ACCOUNT, act) for act in (7, 8, 10, 11, OTHER))
CALLED = (API, OTHER)


@dataclass(frozen=True, slots=True)
class Row:
    """All that is said of the events of one kind and outcome."""

    is_done: bool
    """Whether what was asked for was done, or was so already; otherwise it is a refusal."""

    owner: str = ""
    """For the person whom it is about, to translate. "" if pages show it to nobody."""

    staff: str = ""
    """"" if the label of the kind and the outcome say it."""

    counted: bool = False
    """Whether it changes nothing and no limit counts it: it can repeat without end, and so repeats
    are only counted (``models.refusal_counts``)."""

    ledger: Ledger = Ledger.NO
    ocsf: Ocsf = (BASE, OTHER)
    news: Sequence[tuple[News, str]] = ()
    """What endpoints are told, and the reason."""

    security: bool = False
    """Whether people must not overlook it, though neither ``ledger`` nor ``ocsf`` says so."""

    @property
    def is_security(self) -> bool:
        """Whether it changed who can sign in or act: pages for people show it in bold."""
        is_change = self.ocsf[0] in {ACCOUNT, ENTITY} and self.ocsf[1] != OTHER
        told = self.ledger is not Ledger.NO or bool(self.news)
        return self.is_done and (self.security or told or is_change)

    def completed(self, others: "Row") -> "Row":
        """Return this row with what it has from the one for all other outcomes."""
        return replace(
            self,
            owner=self.owner or others.owner,
            staff=self.staff or others.staff,
            ocsf=self.ocsf if self.ocsf[0] else others.ocsf,
        )


def done(owner: str = "", staff: str = "", **facts: Any) -> Row:
    """Return the row of something that happened; staff read the same by default."""
    return Row(True, owner, staff or owner, **facts)


def refused(owner: str = "", staff: str = "", **facts: Any) -> Row:
    """Return the row of something that did not happen."""
    return Row(False, owner, staff or owner, **facts)


OTHERS: Final = ""

_SO_ALREADY: dict[str, Row] = {"unchanged": done()}
"""Every kind has this row, unless it has one of its own."""

_REPEATED: dict[str, Row] = {
    **dict.fromkeys(
        (
            *("otp_incorrect", "otp_expired", "otp_exhausted", "factor_disabled", "locked"),
            *("not_opted_in", "already_opted_in", "region_not_allowed", "send_limit", "waiting"),
            *("unreadable", "nothing_waiting", MALFORMED),
        ),
        refused(counted=True),
    ),
    **dict.fromkeys(("already_verified", "unchanged"), done(counted=True)),
}
"""Codes that were not compared, and requests for a code that were refused."""

_TEXT_REFUSED: dict[str, Row] = {
    # As whoever asked is told. A withheld text has another outcome, and is told to nobody (S-38).
    code: refused(counted=True, news=[(News.TEXT_REFUSED, code)])
    for code in ("send_limit", "region_not_allowed")
}
_NOT_DONE = _("The removal of your second factors was cancelled")
_ASKED_IN_VAIN = _(
    "The removal of your second factors was asked for on the sign-in page; nothing changed"
)

# The formatter would give each argument a line.
# fmt: off
_CODE_REFUSED: dict[str, Row] = {
    "otp_expired": refused(_("Expired code entered"), counted=True),
    "otp_exhausted": refused(_("Code rejected: it was entered wrongly too often before"),
        counted=True),
    "locked": refused(_("Code rejected after too many wrong ones"), counted=True),
    "factor_disabled": refused(_("Code rejected: codes by text message are switched off"),
        counted=True),
    "not_opted_in": refused(_("Code rejected: two-factor sign-in was off"), counted=True),
    MALFORMED: refused(_("Code with too few or too many digits entered"), counted=True),
}
_ROWS: dict[Kind, dict[str, Row]] = {
    Kind.OPT_IN: {
        **_REPEATED,
        **_TEXT_REFUSED,
        "sent": done(_("Code sent to verify a number"), "Code sent to turn two-factor sign-in on"),
        "resent": done(_("Code sent again to verify a number"),
            "Code sent again to turn two-factor sign-in on"),
        WITHHELD: refused(
            staff="A code to turn two-factor sign-in on was withheld; the person was told that "
            "it was sent"),
        MALFORMED: refused(_("Something that isn't a mobile number was entered"),
            "Opt-in refused: what was entered isn't a mobile number", counted=True),
        OTHERS: refused(_("A code to verify a number was asked for and not sent"),
            "A code to turn two-factor sign-in on was asked for and not sent", ocsf=CHANGED),
    },
    Kind.VERIFY_OPT_IN: {
        **_REPEATED,
        **_CODE_REFUSED,
        "ok": done(_("Two-factor sign-in turned on"), ocsf=FACTOR_ON, ledger=TOLD,
            news=[(News.NUMBER_ACTIVATED, "verified")]),
        "already_verified": done(_("Code entered for an active number"), counted=True),
        "mobile_number_in_use": refused(
            _("Right code entered for a number that another account uses")),
        OTHERS: refused(_("Code to verify a number entered wrongly"),
            "Code to turn two-factor sign-in on entered wrongly", ocsf=CHANGED),
    },
    Kind.CHALLENGE: {
        **_REPEATED,
        **_TEXT_REFUSED,
        "sent": done(_("Code sent")),
        "resent": done(_("Code sent again")),
        OTHERS: refused(_("A code was asked for and not sent"), ocsf=AUTHENTICATED),
    },
    Kind.CHECK: {
        **_REPEATED,
        **_CODE_REFUSED,
        "ok": done(_("Right code entered")),
        OTHERS: refused(_("Code entered wrongly"), ocsf=LOGON),
    },
    Kind.OPT_OUT: {
        **_REPEATED,
        **_CODE_REFUSED,
        "ok": done(_("Second factor removed"), ocsf=FACTOR_OFF, ledger=TOLD,
            news=[(News.NUMBER_REMOVED, "opted_out")]),
        OTHERS: refused(_("Code to remove a second factor entered wrongly"), ocsf=CHANGED),
    },
    Kind.SIGN_IN: {
        "issued": done(_("Signed in with the password")),
        "signed_in": done(_("Signed in with the password")),
        "2fa_code_required": done(_("Right password entered; a code is needed too"),
            ocsf=AUTHENTICATED, counted=True),
        "temporarily_unavailable": refused(_("Sign-in refused: too many tries"), counted=True),
        "invalid_scope": refused(_("An application asked for more access than allowed"),
            counted=True),
        "invalid_grant": refused(counted=True),
        OTHERS: refused(_("Wrong password entered"), ocsf=LOGON),
    },
    Kind.REFRESH: {
        "issued": done(_("An application renewed its sign-in")),
        "invalid_refresh": refused(counted=True),
        "invalid_scope": refused(counted=True),
        "temporarily_unavailable": refused(counted=True),
        OTHERS: refused(_("An application couldn't renew its sign-in"), ocsf=AUTHENTICATED),
    },
    Kind.TOKEN: {
        "refresh_token": done(_("An application renewed its sign-in")),
        "invalid_refresh": refused(_("An application couldn't renew its sign-in"), counted=True),
        "code_reused": refused(_("An application was signed out, to be safe"),
            "An application used its code twice: it was signed out"),
        "client_credentials": done(staff="An application fetched a token for itself",
            ocsf=AUTHENTICATED),
        OTHERS: done(_("An application signed in for you"),
            "An application signed in for this person", ocsf=AUTHENTICATED),
    },
    Kind.ACCESS: {
        "file_access_denied": refused(counted=True),
        "insufficient_scope": refused(counted=True),
        OTHERS: refused(_("Access to an organisation refused"), ocsf=CALLED),
    },
    Kind.SUSPEND: {
        "ok": done(_("Your number was suspended by staff"), "Staff suspended the number",
            ocsf=FACTOR_OFF, ledger=TOLD),
        OTHERS: refused(_("Staff tried to suspend your number; nothing changed"),
            "Staff tried to suspend the number; nothing changed", ocsf=CHANGED),
    },
    Kind.RESUME: {
        "ok": done(_("The suspension of your number was ended by staff"),
            "Staff ended the suspension of the number", ocsf=FACTOR_ON, ledger=GIVES_BACK),
        OTHERS: refused(_("Staff tried to end a suspension; nothing changed"), ocsf=CHANGED),
    },
    Kind.UNLOCK: {
        "ok": done(_("Your account was unlocked by staff"), "Staff unlocked the account",
            ledger=GIVES_BACK, news=[(News.FACTOR_UNLOCKED, "staff")]),
        OTHERS: refused(_("Staff tried to unlock your account; nothing changed"),
            "Staff tried to unlock the account; nothing changed", ocsf=CHANGED),
    },
    Kind.REVOKE: {
        "ok": done(_("Your second factor was removed by staff"), "Staff removed the second factor",
            ocsf=FACTOR_OFF, ledger=TOLD,
            news=[(News.NUMBER_REMOVED, "revoked"),
                  (News.REVOCATION_DONE, "revoked")]),
        "set_up_since": refused(
            staff="The second factor wasn't removed: the person has set one up since"),
        "untold": refused(
            staff="The second factor wasn't removed: the person wasn't told of it in time"),
        "deactivated": refused(
            staff="The second factor wasn't removed: the account is deactivated"),
        OTHERS: refused(_("Staff tried to remove your second factor; nothing changed"),
            "Staff tried to remove the second factor; nothing changed", ocsf=CHANGED),
    },
    Kind.FILE: {
        "changed": done(ocsf=UPDATED),
        "removed": done(ocsf=DELETED),
        OTHERS: done(ocsf=CREATED),
    },
    Kind.MEMBER: {
        "added": done(_("You were added to an organisation"), "Added to a file", ocsf=GIVEN,
            ledger=GIVES_BACK),
        "ended": done(_("You were removed from an organisation"), "Removed from a file", ocsf=TAKEN,
            ledger=TOLD),
        "manager": done(_("You may manage the integrations of an organisation"),
            "May manage the integrations of a file"),
        "manager_ended": done(_("You may not manage the integrations of an organisation any more"),
            "May not manage the integrations of a file any more", ledger=TOLD),
        OTHERS: refused(_("Staff tried to change your organisations; nothing changed"),
            "Staff tried to change the files; nothing changed", ocsf=CHANGED),
    },
    Kind.ACCESS_KEY: {
        "made": done(_("An access key was made"), ocsf=CREATED),
        "revoked": done(_("An access key was revoked"), ocsf=DELETED, ledger=TOLD),
        OTHERS: refused(_("Staff tried to change your access keys; nothing changed"),
            "Staff tried to change the access keys; nothing changed", ocsf=UPDATED),
    },
    Kind.PASSWORD_CLIENTS: {
        "off": done(ledger=TOLD),
        "on": done(ledger=GIVES_BACK),
        OTHERS: done(ocsf=UPDATED),
    },
    Kind.KEYS: {"incomplete": refused(), OTHERS: done(ocsf=UPDATED)},
    Kind.PURGE: {OTHERS: done(ocsf=DELETED)},
    Kind.ERASE: {
        "ok": done(ledger=TOLD),
        "unchanged": done(ledger=TOLD),
        OTHERS: done(staff="Person erased", ocsf=ERASED),
    },
    Kind.PASSWORD: {
        "changed": done(_("Password changed"), ocsf=PASSWORD_CHANGED, ledger=TOLD),
        "set": done(_("You were given a new password"), "Password given by an operator",
            ocsf=PASSWORD_RESET, ledger=TOLD),
        "reset_asked": done(_("A link to choose a new password was sent by email"),
            ocsf=PASSWORD_RESET),
        "refused": refused(_("A link to choose a new password was asked for and not sent"),
            ocsf=PASSWORD_RESET, counted=True),
        "temporarily_unavailable": refused(
            _("A link to choose a new password was asked for and not sent"),
            "A link to choose a new password was asked for too often", counted=True),
        "signed_in": done(_("Password entered again")),
        "invalid_grant": refused(counted=True),
        OTHERS: refused(_("Wrong password entered"), ocsf=AUTHENTICATED),
    },
    Kind.APP: {
        **_REPEATED,
        "ok": done(_("Authenticator app added"), ocsf=FACTOR_ON, ledger=TOLD),
        "started": done(_("Set-up of an authenticator app started")),
        "text_first": done(_("You chose to be texted a code first when you sign in"),
            "Chose to be texted a code first at sign-in"),
        "app_first": done(_("You chose to be asked for the app first when you sign in"),
            "Chose to be asked for the app first at sign-in"),
        OTHERS: refused(_("Wrong code entered while adding an app"), ocsf=CHANGED),
    },
    Kind.RECOVERY_CODES: {
        **_REPEATED,
        "ok": done(_("New recovery codes made"), ocsf=FACTOR_ON, ledger=TOLD),
        "unchanged": done(_("Recovery codes downloaded or shown again"),
            "The same recovery codes shown again", counted=True),
        OTHERS: refused(_("New recovery codes refused"), ocsf=CHANGED),
    },
    Kind.DISOWN: {
        "ok": done(_("You said “this wasn't me”: everybody was signed out"),
            "A change taken back: this wasn't the person", ledger=TOLD,
            news=[(News.NUMBER_REMOVED, "not_me")]),
        SECURED: done(_("You said “that wasn't me”: everybody else was signed out"),
            "“That wasn't me” pressed on the account page: everybody else was signed out",
            ledger=TOLD),
        "unchanged": done(_("You said “this wasn't me” again: nothing changed"),
            "A change that was already taken back", counted=True),
        "invalid_grant": refused(counted=True),
        OTHERS: refused(_("“This wasn't me”: wrong password entered"),
            "A change wasn't taken back: wrong password", ocsf=CHANGED),
    },
    Kind.CONSENT: {
        "ok": done(_("An application was allowed to act for you"),
            "An application was allowed to act for this person",
            news=[(News.CONSENT_GIVEN, "person")]),
        "signed_in": done(_("You signed in to an application with your account"),
            "This person signed in to an application with their account", ocsf=LOGON),
        "revoked": done(_("The access of an application was ended"),
            "The person ended the access of an application"),
        "denied": refused(counted=True),
        OTHERS: refused(_("An application wasn't allowed to act for you"),
            "An application wasn't allowed to act for this person", ocsf=CHANGED),
    },
    Kind.STOP: {"ok": done(ledger=TOLD), OTHERS: done(ocsf=UPDATED)},
    Kind.BREAKER: {OTHERS: done(ocsf=UPDATED)},
    Kind.DENY: {
        "ok": done(ledger=TOLD),
        OTHERS: done(staff="Staff changed the deny list for this number", ocsf=UPDATED),
    },
    Kind.SAFE: {
        "ok": done(ledger=GIVES_BACK),
        OTHERS: done(staff="Staff changed the safe list for this number", ocsf=UPDATED),
    },
    Kind.NO_TEXTS: {
        **_REPEATED,
        "stopped": done(_("STOP came from your number: no text is sent to it"),
            "STOP came from the number: no text is sent to it", ledger=TOLD),
        "ok": done(_("You turned texts to your number on again"),
            "Texts are sent to the number again", ledger=GIVES_BACK),
        "allowed": done(_("Texts are sent to your number again"),
            "START came from the number: texts are sent to it again", ledger=GIVES_BACK),
        "unchanged": done(_("Texts are sent to your number again"),
            "The person turned texts to the number on again; they weren't stopped", counted=True),
        OTHERS: refused(_("You tried to turn texts to your number on again; they stay off"),
            "The person tried to turn texts to the number on again; they stay stopped",
            ocsf=CHANGED),
    },
    Kind.RESEND: {
        "sent": done(_("Code sent by staff"), "Staff sent a code"),
        "resent": done(_("Code sent again by staff"), "Staff sent the code again"),
        OTHERS: refused(_("Staff tried to send your code again; nothing was sent"),
            "Staff tried to send the code again; no text was sent", ocsf=AUTHENTICATED),
    },
    Kind.REVEAL: {
        "ok": done(_("Staff looked at your number in full"), "Staff saw the number in full"),
        OTHERS: refused(_("Staff tried to look at your number; it wasn't shown"),
            "Staff tried to see the number in full", ocsf=READ),
    },
    Kind.ROLE: {
        "ok": done(_("Your role as staff was changed"), "The role as a member of staff was changed",
            ledger=TOLD),
        OTHERS: refused(_("Somebody tried to change your role as staff; nothing changed"),
            "Staff tried to change the role; nothing changed", ocsf=CHANGED),
    },
    Kind.EXPORT: {OTHERS: done(ocsf=READ)},
    Kind.APPLICATION: {
        "removed": done(staff="An application was removed", ocsf=DELETED, ledger=TOLD),
        "trusted": done(staff="An application may name its users' addresses", ocsf=UPDATED),
        "trust_ended": done(staff="An application may not name its users' addresses any more",
            ledger=TOLD),
        "scim_allowed": done(staff="An application may keep people up to date by SCIM",
            ocsf=UPDATED),
        "scim_token": done(staff="A token for SCIM was made for an application", ocsf=UPDATED),
        "scim_tokens_ended": done(staff="The tokens for SCIM of an application were ended",
            ocsf=UPDATED),
        "scim_ended": done(staff="An application may not use SCIM any more", ledger=TOLD),
        "made": done(staff="An application was made", ocsf=CREATED),
        OTHERS: done(ocsf=UPDATED),
    },
    Kind.SEARCH: {"search_limit": refused(counted=True), OTHERS: done(ocsf=READ)},
    Kind.REVOCATION: {
        "planned": done(_("Staff were asked to remove your second factors"),
            "Staff asked for the removal of all second factors",
            news=[(News.REVOCATION_PLANNED, "support")]),
        "cancelled": done(_NOT_DONE,
            "The removal of all second factors was cancelled by the person",
            news=[(News.REVOCATION_CANCELLED, "person")]),
        "withdrawn": done(_("Staff cancelled the removal of your second factors"),
            "Staff withdrew the removal of all second factors",
            news=[(News.REVOCATION_CANCELLED, "staff")]),
        "asked": done(_("The removal of your second factors was asked for on the sign-in page"),
            "Asked on the sign-in page, after the password, for the removal of all second factors",
            news=[(News.REVOCATION_PLANNED, "person")]),
        "waits": refused(_ASKED_IN_VAIN,
            "Asked again on the sign-in page to remove all second factors: a removal waits already",
            counted=True),
        "too_soon": refused(_ASKED_IN_VAIN,
            "Asked on the sign-in page to remove all second factors, too soon after a cancelled "
            "request", counted=True),
        "not_offered": refused(_ASKED_IN_VAIN,
            "Asked on the sign-in page to remove all second factors: this person can't ask",
            counted=True),
        "reminded": done(_("You were told again that your second factors will be removed"),
            "The person was told once more that all second factors will be removed"),
        "signed_in": done(
            _("The removal of your second factors was cancelled, because you signed in"),
            "The removal of all second factors was cancelled: the person signed in",
            news=[(News.REVOCATION_CANCELLED, "signed_in")]),
        "unchanged": done(counted=True),
        OTHERS: refused(
            _("Staff tried to plan or cancel the removal of your second factors; nothing changed"),
            "Staff tried to plan or withdraw the removal of all second factors; nothing changed",
            ocsf=CHANGED),
    },
    Kind.RESTORE: {
        "gone": refused(
            _("The service was restored, and a change to your account couldn't be made again"),
            "After a restore, a change wasn't made again: what it was about isn't there"),
        OTHERS: done(_("The service was restored, and a change to your account made again"),
            "After a restore, a change made again that the backup didn't have", ocsf=UPDATED),
    },
    Kind.SESSION: {
        "ended": done(_("Signed out of another browser")),
        "others_ended": done(_("Signed out of all other browsers")),
        OTHERS: done(ocsf=LOGOFF),
    },
    Kind.EMAIL: {
        "asked": done(_("A new email address was asked for"),
            "The person asked for another email address", security=True),
        "unchanged": done(staff="The person asked for the email address that they have",
            counted=True),
        "email_limit": refused(staff="Another email address was asked for too often",
            counted=True),
        "no_mail": refused(
            staff="Another email address was asked for and refused: this service sends no mails",
            counted=True),
        "proved": done(_("The new email address was confirmed"),
            "The new email address was confirmed by the mailed link"),
        "nothing_waiting": refused(
            staff="A change of the email address was confirmed or cancelled too late; nothing "
            "changed", counted=True),
        "ok": done(_("The email address was changed"), security=True),
        "cancelled": done(_("The change of the email address was cancelled"),
            "The change of the email address was cancelled by the person"),
        "restored": done(staff="The change of the email address was called off after a restore"),
        "taken": refused(
            staff="The email address wasn't changed: another account has the new one"),
        "deactivated": refused(
            staff="The email address wasn't changed: the account is deactivated"),
        "otherwise": refused(staff="The email address wasn't changed: it is another one by now"),
        "untold": refused(
            staff="The email address wasn't changed: the mail to the old one wasn't sent in "
            "time"),
        "factor_disabled": refused(
            staff="The email address wasn't changed: the number is suspended, or codes are "
            "disabled"),
        "locked": refused(staff="The email address wasn't changed: the account is locked"),
        OTHERS: refused(_("The email address wasn't changed"), ocsf=CHANGED),
    },
    Kind.PERSON: {
        "created": done(_("Your account was made"), "Account made", ocsf=MADE),
        "deactivated": done(_("Your account was deactivated"), "Account deactivated", ocsf=DISABLED,
            ledger=TOLD),
        "activated": done(_("Your account was activated again"), "Account activated again",
            ocsf=ENABLED, ledger=GIVES_BACK),
        "imported": done(_("Your account was brought over from another system"),
            "Account brought over from another system", ocsf=MADE),
        "import_changed": done(_("Your account was changed by an import from another system"),
            "Account changed by an import from another system", ocsf=CHANGED),
        "import_ended": done(staff="An import of people ended", ocsf=MADE, ledger=TOLD),
        "provisioned": done(_("Your account was changed by your identity provider"),
            "Account changed by an identity provider", ocsf=CHANGED),
        "in_use": refused(
            staff="An identity provider sent a name, an address or an id that is in use",
            counted=True),
        "exported": done(staff="All people written to a file", ocsf=READ),
        "out_of_reach": refused(
            _("Staff tried to activate or deactivate your account; nothing changed"),
            "Staff tried to activate or deactivate this account; nothing changed", ocsf=CHANGED),
        OTHERS: refused(ocsf=CHANGED),
    },
    Kind.INVITATION: {
        "ok": done(_("You were invited by email"), "Invited by email"),
        "used": done(_("You chose a password by the link of an invitation"),
            "Chose a password by the link of an invitation", ocsf=PASSWORD_CHANGED, ledger=TOLD),
        OTHERS: refused(_("Staff tried to invite you by email; no mail was sent"),
            "Staff tried to invite this person by email; no mail was sent", ocsf=CHANGED),
    },
    Kind.TEST_TEXT: {"failed": refused(), "undelivered": refused(), OTHERS: done(ocsf=SENT)},
    Kind.WEBHOOK: {
        "made": done(_("You added a webhook endpoint"), "A webhook endpoint was made"),
        "secret_replaced": done(_("You replaced the secret of a webhook endpoint"),
            "The secret of a webhook endpoint was replaced", ledger=TOLD),
        "switched_on": done(_("You switched a webhook endpoint on"),
            "A webhook endpoint was switched on"),
        "switched_off": done(_("You switched a webhook endpoint off"),
            "A webhook endpoint was switched off", ledger=TOLD),
        "failing": refused(_("Your webhook endpoint was switched off: all attempts failed"),
            "A webhook endpoint was switched off: all attempts failed"),
        "tested": done(_("You had a test sent to a webhook endpoint"),
            "A test was sent to a webhook endpoint"),
        "unchanged": done(_("You switched a webhook endpoint on or off, as it was already"),
            "A webhook endpoint was switched on or off, as it was already"),
        "removed": done(_("You removed a webhook endpoint"), "A webhook endpoint was removed",
            ledger=TOLD),
        "changed": done(_("You changed a webhook endpoint"), "A webhook endpoint was changed",
            ledger=TOLD),
        "sent_again": done(_("You had events sent to a webhook endpoint again"),
            "Events were to be sent to a webhook endpoint again"),
        OTHERS: done(ocsf=UPDATED),
    },
}
# fmt: on

_UNKNOWN = {OTHERS: done(ocsf=(BASE, OTHER))}  # a kind of a later release

EVENTS: Mapping[str, Mapping[str, Row]] = {
    kind: {outcome: row.completed(rows[OTHERS]) for outcome, row in (_SO_ALREADY | rows).items()}
    for kind, rows in _ROWS.items()
}
"""Every row, by kind and outcome."""

_NOT_REMOVED = "The removal that was asked for at sign-in was not carried out: "
_OWN_REMOVALS: dict[str, Row] = {
    "ok": done(
        _("Your second factors were removed, as asked on the sign-in page"),
        "All second factors were removed, as the person asked on the sign-in page",
    ),
    "signed_in": refused(staff=f"{_NOT_REMOVED}the person has verified one since"),
    "switched_off": refused(staff=f"{_NOT_REMOVED}the operators don't allow it any more"),
    "out_of_reach": refused(
        staff=f"{_NOT_REMOVED}the number was suspended, or the person became staff, since"
    ),
    "not_opted_in": refused(staff=f"{_NOT_REMOVED}there were none any more"),
}
"""The words for ``Kind.REVOKE``, if the person asked for it at sign-in."""

_REMOVED = "A change taken back: this was not the person"
_TAKEN_BACK: dict[str, Row] = {
    "number": done(
        _("You said “this wasn't me”: mobile number removed, everybody signed out"), _REMOVED
    ),
    "app": done(_("You said “this wasn't me”: app removed, everybody signed out"), _REMOVED),
    "email": done(
        _("You said “this wasn't me”: email address changed back, everybody signed out"), _REMOVED
    ),
    "": done(
        _("You said “this wasn't me”: everybody was signed out"),
        "This wasn't the person: nothing could be taken back, everybody was signed out",
    ),
}
"""The words for ``Kind.DISOWN``, by what was taken back."""


def row_of(kind: str, outcome: str) -> Row:
    """Return what is said of an event."""
    rows = EVENTS.get(kind, _UNKNOWN)
    return rows.get(outcome) or rows[OTHERS]


def words_of(kind: str, outcome: str, data: _Data) -> Row:
    """Return ``row_of``, with other words if *data* ask for them."""
    row = row_of(kind, outcome)
    if data.get("own"):
        own = _OWN_REMOVALS.get(outcome, row)
        return replace(row, owner=own.owner if outcome == "ok" else _NOT_DONE, staff=own.staff)
    if "taken_over" in data:
        return replace(row, owner=_("Your mobile number was taken over from another system"))
    if kind == Kind.DISOWN and outcome == "ok":
        return _TAKEN_BACK.get((data.get("removed") or [""])[0], row)
    return row


def news_of(kind: str, outcome: str, data: _Data) -> Iterator[tuple[News, str]]:
    """Say what the endpoints of a file are told of a decision, and the reason."""
    reason = "wrong_codes_of_programs" if data.get("programs") else "wrong_codes"
    if "locked_until" in data:
        yield News.FACTOR_LOCKED, reason
    if "disabled" in data:
        yield News.FACTOR_DISABLED, reason
    for news, why in row_of(kind, outcome).news:
        if news is News.NUMBER_ACTIVATED and "replaced" in data:
            yield News.NUMBER_CHANGED, why
        # A client's opt-out can remove nothing else, and so does not say what it removed.
        elif news is not News.NUMBER_REMOVED or "number" in data.get("removed", ["number"]):
            yield news, why
    # One that was due and was not carried out, for example because the factors are others by now.
    if kind == Kind.REVOKE and outcome != "ok" and "revocation" in data:
        yield News.REVOCATION_CANCELLED, outcome
