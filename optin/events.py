"""Every event that the audit trail may hold, and all that is said of it: one row for each.

A row stands under its kind and its outcome. The row ``OTHERS`` stands for all other outcomes of the
kind, and each row of the kind has from it what it lacks itself. So a new outcome is one row.

Rules have their words in ``support.wording``, causes in ``support.diagnosis``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
    REVOKE = "revoke", "Two-factor sign-in turned off by staff, or as asked at sign-in"
    FILE = "file", "File"
    MEMBER = "member", "Member of a file"
    ACCESS_KEY = "access_key", "Access key"
    PASSWORD_CLIENTS = "password_clients", "Sign-in by password for clients without an id"
    KEYS = "keys", "Keys"
    PURGE = "purge", "Old rows deleted"
    ERASE = "erase", "Person erased"
    PASSWORD = "password", "Password"
    APP = "app", "Authenticator app"
    PASSKEY = "passkey", "Passkey"
    RECOVERY_CODES = "recovery_codes", "Recovery codes"
    DISOWN = "disown", "This was not me"
    CONSENT = "consent", "Access of an app"
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
    SIM = "sim", "SIM of a number"


class News(TextChoices):
    """The kinds of events that the endpoints of a file are told (``models.webhooks``).

    Their words are in the docs, in ``/Help``, in the schema and on the pages of endpoints.
    """

    # A released value is never renamed or used for something else.
    NUMBER_ACTIVATED = "number.activated", _("A person verified a number and had none.")
    NUMBER_CHANGED = "number.changed", _("A person verified this number in place of another.")
    NUMBER_REMOVED = "number.removed", _("The number is not active any more.")
    FACTOR_LOCKED = (
        "factor.locked",
        _(
            "After too many wrong codes, no code is accepted for a while. If apps sent them, "
            "the lock is for apps only."
        ),
    )
    FACTOR_UNLOCKED = (
        "factor.unlocked",
        _("Staff ended a lock."),
    )
    FACTOR_DISABLED = (
        "factor.disabled",
        _(
            "After too many wrong codes, texted codes were locked until further notice. If apps "
            "sent them, the lock is for apps only."
        ),
    )
    REVOCATION_PLANNED = (
        "revocation.planned",
        _("The removal of two-factor sign-in was planned."),
    )
    REVOCATION_CANCELLED = "revocation.cancelled", _("The planned removal was cancelled.")
    REVOCATION_DONE = "revocation.done", _("Two-factor sign-in was turned off.")
    TEXT_REFUSED = (
        "text.refused",
        _("A text was asked for, but it was refused and will not be sent."),
    )
    TEXT_FAILED = (
        "text.failed",
        _("A carrier reported that a text was not delivered, or all attempts to send it failed."),
    )
    CONSENT_GIVEN = "consent.given", _("A person let an app act for them.")
    TEST = "endpoint.test", _("Somebody sent a test.")


_Data = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """All that is said of the events of one kind and outcome."""

    is_done: bool
    """Whether what was asked for was done, or was so already; otherwise it is a refusal."""

    owner: str = ""
    """The label for everybody, to translate. "" if pages for people do not show it."""

    staff: str = ""
    """The label for staff: another one only where people must not read why, or say "file"."""

    counted: bool = False
    """Whether it changes nothing and no limit counts it: it can repeat without end, and so repeats
    are only counted (``models.refusal_counts``)."""

    news: Sequence[tuple[News, str]] = ()
    """What endpoints are told, and the reason."""

    when: Mapping[str, "Row"] = field(default_factory=dict)
    """Rows of events with certain data, by what ``_facts`` calls it: their words and ``news``."""

    security: bool = False
    """Whether people must not overlook it, though it is no news."""

    @property
    def is_security(self) -> bool:
        """Whether it changed who can sign in or act: pages for people show it in bold."""
        return self.is_done and (self.security or bool(self.news))

    def completed(self, others: "Row") -> "Row":
        """Return this row with what it has from the one for all other outcomes."""
        return replace(
            self,
            owner=self.owner or others.owner,
            staff=self.staff or others.staff,
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
_TAKEN_OVER: dict[str, Row] = {
    "taken over": done(_("Mobile number taken over from another system")),
}
_NOT_DONE = _("Removal of two-factor sign-in cancelled")
_ASKED_IN_VAIN = _("Removal of two-factor sign-in asked for on the sign-in page; nothing changed")

# The formatter would give each argument a line.
# fmt: off
_CODE_REFUSED: dict[str, Row] = {
    "otp_expired": refused(_("Expired code entered"), counted=True),
    "otp_exhausted": refused(_("Code rejected: it was entered wrongly too often before"),
        counted=True),
    "locked": refused(_("Code rejected after too many wrong ones"), counted=True),
    "factor_disabled": refused(_("Code rejected: codes by text message were not accepted"),
        counted=True),
    "not_opted_in": refused(_("Code rejected: two-factor sign-in was off"), counted=True),
    "passkey_refused": refused(_("Passkey not accepted"), counted=True),
    MALFORMED: refused(_("Code with too few or too many digits entered"), counted=True),
}
_ROWS: dict[Kind, dict[str, Row]] = {
    Kind.OPT_IN: {
        **_REPEATED,
        **_TEXT_REFUSED,
        "sent": done(_("Code sent to verify a number")),
        "resent": done(_("Code sent again to verify a number")),
        WITHHELD: refused(
            staff="A code to verify a number was withheld; the person was told that it was sent"),
        MALFORMED: refused(_("Invalid mobile number entered"), counted=True),
        OTHERS: refused(_("A code to verify a number was asked for and not sent")),
    },
    Kind.VERIFY_OPT_IN: {
        **_REPEATED,
        **_CODE_REFUSED,
        "ok": done(_("Two-factor sign-in turned on"), security=True,
            news=[(News.NUMBER_ACTIVATED, "verified")],
            when={"replaced": done(_("Mobile number changed"),
                news=[(News.NUMBER_CHANGED, "verified")])}),
        "already_verified": done(_("Code entered for an active number"), counted=True),
        "mobile_number_in_use": refused(
            _("Right code entered for a number that another account uses")),
        OTHERS: refused(_("Wrong code entered to verify a number")),
    },
    Kind.CHALLENGE: {
        **_REPEATED,
        **_TEXT_REFUSED,
        "sent": done(_("Code sent")),
        "resent": done(_("Code sent again")),
        OTHERS: refused(_("A code was asked for and not sent")),
    },
    Kind.CHECK: {
        **_REPEATED,
        **_CODE_REFUSED,
        "ok": done(_("Right code entered"), when={
            "sign_in text": done(_("Signed in with a text code")),
            "sign_in app": done(_("Signed in with an app code")),
            "sign_in passkey": done(_("Signed in with a passkey")),
            "sign_in recovery": done(_("Signed in with a recovery code"))}),
        OTHERS: refused(_("Wrong code entered")),
    },
    Kind.OPT_OUT: {
        **_REPEATED,
        **_CODE_REFUSED,
        "ok": done(_("Mobile number removed"), security=True,
            news=[(News.NUMBER_REMOVED, "opted_out")],
            when={**dict.fromkeys(
                      ("number and app removed", "number and passkey removed",
                       "number and app and passkey removed"),
                      done(_("Two-factor sign-in turned off"),
                          news=[(News.NUMBER_REMOVED, "opted_out")])),
                  "app and passkey removed": done(_("Two-factor sign-in turned off")),
                  "app removed": done(_("Authenticator app removed")),
                  "passkey removed": done(_("Passkey removed"))}),
        OTHERS: refused(_("Wrong code entered to turn two-factor sign-in off")),
    },
    Kind.SIGN_IN: {
        "issued": done(_("Signed in with the password")),
        "signed_in": done(_("Signed in with the password")),
        "2fa_code_required": done(_("Right password entered; a code is needed too"), counted=True),
        "temporarily_unavailable": refused(_("Sign-in refused: too many tries"), counted=True),
        "invalid_scope": refused(_("An app asked for more access than allowed"),
            counted=True),
        "invalid_grant": refused(counted=True),
        OTHERS: refused(_("Wrong password entered")),
    },
    Kind.REFRESH: {
        "issued": done(_("An app renewed its sign-in")),
        "invalid_refresh": refused(counted=True),
        "invalid_scope": refused(counted=True),
        "temporarily_unavailable": refused(counted=True),
        OTHERS: refused(_("An app couldn't renew its sign-in")),
    },
    Kind.TOKEN: {
        "refresh_token": done(_("An app renewed its sign-in")),
        "invalid_refresh": refused(_("An app couldn't renew its sign-in"), counted=True),
        "code_reused": refused(_("An app used its code twice: it was signed out")),
        "client_credentials": done(staff="An app fetched a token for itself"),
        OTHERS: done(_("An app signed in")),
    },
    Kind.ACCESS: {
        "file_access_denied": refused(counted=True),
        "insufficient_scope": refused(counted=True),
        OTHERS: refused(_("Access to an organisation refused")),
    },
    Kind.SUSPEND: {
        "ok": done(_("Number suspended by staff"),
            security=True),
        OTHERS: refused(_("Staff tried to suspend the number; nothing changed")),
    },
    Kind.RESUME: {
        "ok": done(_("Suspension of the number ended by staff"), security=True),
        OTHERS: refused(_("Staff tried to end a suspension; nothing changed")),
    },
    Kind.UNLOCK: {
        "ok": done(_("Account unlocked by staff"),
            news=[(News.FACTOR_UNLOCKED, "staff")]),
        OTHERS: refused(_("Staff tried to unlock the account; nothing changed")),
    },
    Kind.REVOKE: {
        "ok": done(_("Two-factor sign-in turned off by staff"),
            security=True,
            news=[(News.NUMBER_REMOVED, "revoked"),
                  (News.REVOCATION_DONE, "revoked")],
            when={"passkey removed": done(_("Passkey removed by staff"))}),
        "set_up_since": refused(
            staff="Two-factor sign-in wasn't turned off: the person has set it up again since"),
        "untold": refused(
            staff="Two-factor sign-in wasn't turned off: the person wasn't told of it in time"),
        "deactivated": refused(
            staff="Two-factor sign-in wasn't turned off: the account is deactivated"),
        OTHERS: refused(_("Staff tried to turn two-factor sign-in off; nothing changed")),
    },
    Kind.FILE: {
        "changed": done(staff="File changed"),
        "removed": done(staff="File removed"),
        "texts_end": done(staff="End of texts in a file: day set"),
        "texts_stay": done(staff="End of texts in a file: day taken back"),
        OTHERS: done(staff="File made"),
    },
    Kind.MEMBER: {
        "added": done(_("You were added to an organisation"), "Added to a file", security=True),
        "ended": done(_("You were removed from an organisation"), "Removed from a file",
            security=True),
        "manager": done(_("You can manage the integrations of an organisation"),
            "May manage the integrations of a file"),
        "manager_ended": done(_("You can't manage the integrations of an organisation any more"),
            "May not manage the integrations of a file any more", security=True),
        OTHERS: refused(_("Staff tried to change your organisations; nothing changed"),
            "Staff tried to change the files; nothing changed"),
    },
    Kind.ACCESS_KEY: {
        "made": done(_("An access key was made"), security=True),
        "revoked": done(_("An access key was revoked"), security=True),
        OTHERS: refused(_("Staff tried to change the access keys; nothing changed")),
    },
    Kind.PASSWORD_CLIENTS: {
        "off": done(staff="Sign-in by password for clients without an id switched off"),
        "on": done(staff="Sign-in by password for clients without an id switched on"),
        OTHERS: done(),
    },
    Kind.KEYS: {"incomplete": refused(), OTHERS: done()},
    Kind.PURGE: {OTHERS: done()},
    Kind.ERASE: {
        "ok": done(),
        "unchanged": done(),
        OTHERS: done(staff="Person erased"),
    },
    Kind.PASSWORD: {
        "changed": done(_("Password changed"), security=True),
        "set": done(_("New password given by an operator"),
            security=True),
        "reset_asked": done(_("A link to choose a new password was sent by email"),
            security=True),
        "refused": refused(_("A link to choose a new password was asked for and not sent"),
            security=True, counted=True),
        "temporarily_unavailable": refused(
            _("A link to choose a new password was asked for and not sent"), counted=True),
        "signed_in": done(_("Password entered again")),
        "invalid_grant": refused(counted=True),
        OTHERS: refused(_("Wrong password entered")),
    },
    Kind.APP: {
        **_REPEATED,
        "ok": done(_("Authenticator app added"), security=True),
        "started": done(_("Set-up of an authenticator app started")),
        "text_first": done(_("Text message chosen as the first way to sign in")),
        "app_first": done(_("App or passkey chosen as the first way to sign in")),
        OTHERS: refused(_("Wrong code entered while adding an app")),
    },
    Kind.PASSKEY: {
        **_REPEATED,
        "ok": done(_("Passkey added"), security=True),
        "renamed": done(_("Passkey renamed"), counted=True),
        "passkey_limit": refused(counted=True),
        "passkey_refused": refused(counted=True),
        OTHERS: refused(_("Passkey not added")),
    },
    Kind.RECOVERY_CODES: {
        **_REPEATED,
        "ok": done(_("New recovery codes made"), security=True),
        "unchanged": done(_("Recovery codes downloaded or shown again"), counted=True),
        OTHERS: refused(_("New recovery codes refused")),
    },
    Kind.DISOWN: {
        "ok": done(_("“This wasn't me”: everybody signed out"),
            news=[(News.NUMBER_REMOVED, "not_me")], when={
            "number removed": done(_("“This wasn't me”: number removed, everybody signed out"),
                news=[(News.NUMBER_REMOVED, "not_me")]),
            "app removed": done(_("“This wasn't me”: app removed, everybody signed out")),
            "passkey removed": done(
                _("“This wasn't me”: passkey removed, everybody signed out")),
            "email removed": done(
                _("“This wasn't me”: email address changed back, everybody signed out"))}),
        SECURED: done(_("“That wasn't me”: everybody else signed out"), security=True),
        "unchanged": done(_("“This wasn't me” again: nothing changed"), counted=True),
        "invalid_grant": refused(counted=True),
        OTHERS: refused(_("“This wasn't me”: wrong password entered")),
    },
    Kind.CONSENT: {
        "ok": done(_("An app was allowed to act for the account"),
            news=[(News.CONSENT_GIVEN, "person")]),
        "signed_in": done(_("Signed in to an app with the account")),
        "revoked": done(_("Access of an app ended")),
        "denied": refused(counted=True),
        OTHERS: refused(_("An app wasn't allowed to act for the account")),
    },
    Kind.STOP: {
        "ok": done(staff="All texts stopped by staff",
            when={"allowed": done(staff="All texts allowed again by staff")}),
        "unchanged": done(staff="All texts stopped by staff; they were stopped already",
            when={"allowed": done(staff="All texts allowed again by staff; they weren't stopped")}),
        OTHERS: done(),
    },
    Kind.BREAKER: {OTHERS: done(staff="Closed prefix opened by staff")},
    Kind.DENY: {
        "ok": done(staff="Put on the deny list by staff",
            when={"unlisted": done(staff="Taken off the deny list by staff")}),
        OTHERS: done(staff="Taken off the lists by staff; it was on none"),
    },
    Kind.SAFE: {
        "ok": done(staff="Put on the safe list by staff",
            when={"unlisted": done(staff="Taken off the safe list by staff")}),
        OTHERS: done(),
    },
    Kind.NO_TEXTS: {
        **_REPEATED,
        "stopped": done(_("STOP came from the number: no text is sent to it"),
            security=True),
        "ok": done(_("Texts to the number turned on again"), security=True),
        "allowed": done(_("START came from the number: texts are sent to it again"),
            security=True),
        "unchanged": done(_("Texts to the number turned on again; they weren't off"),
            counted=True),
        OTHERS: refused(_("Texts to the number weren't turned on again")),
    },
    Kind.RESEND: {
        "sent": done(_("Code sent by staff")),
        "resent": done(_("Code sent again by staff")),
        OTHERS: refused(_("Staff tried to send the code again; no text was sent")),
    },
    Kind.REVEAL: {
        "ok": done(_("Number seen in full by staff"), security=True),
        OTHERS: refused(_("Staff tried to see the number in full; it wasn't shown")),
    },
    Kind.ROLE: {
        "ok": done(_("Role as staff changed"), security=True),
        OTHERS: refused(_("Staff tried to change the role; nothing changed")),
    },
    Kind.EXPORT: {OTHERS: done(staff="Audit events handed out as a file")},
    Kind.APPLICATION: {
        "removed": done(staff="An application was removed"),
        "trusted": done(staff="An application may name its users' addresses"),
        "trust_ended": done(staff="An application may not name its users' addresses any more"),
        "scim_allowed": done(staff="An application may keep people up to date by SCIM",
            security=True),
        "scim_token": done(staff="A token for SCIM was made for an application"),
        "scim_tokens_ended": done(staff="The tokens for SCIM of an application were ended",
            security=True),
        "scim_ended": done(staff="An application may not use SCIM any more"),
        "made": done(staff="An application was made"),
        OTHERS: done(),
    },
    Kind.SEARCH: {
        "search_limit": refused(staff="Staff searched for too many full numbers", counted=True),
        OTHERS: done(staff="Full number searched by staff"),
    },
    Kind.REVOCATION: {
        "planned": done(_("Removal of two-factor sign-in asked for by staff"),
            news=[(News.REVOCATION_PLANNED, "support")]),
        "cancelled": done(_NOT_DONE, news=[(News.REVOCATION_CANCELLED, "person")]),
        "withdrawn": done(_("Removal of two-factor sign-in cancelled by staff"),
            news=[(News.REVOCATION_CANCELLED, "staff")]),
        "asked": done(_("Removal of two-factor sign-in asked for on the sign-in page"),
            news=[(News.REVOCATION_PLANNED, "person")]),
        "waits": refused(_ASKED_IN_VAIN, f"{_ASKED_IN_VAIN}: a removal waits already",
            counted=True),
        "too_soon": refused(_ASKED_IN_VAIN,
            f"{_ASKED_IN_VAIN}: it was too soon after a cancelled request", counted=True),
        "not_offered": refused(_ASKED_IN_VAIN, f"{_ASKED_IN_VAIN}: this person can't ask",
            counted=True),
        "reminded": done(_("Told once more that two-factor sign-in will be turned off")),
        "signed_in": done(_("Removal of two-factor sign-in cancelled by a sign-in"),
            news=[(News.REVOCATION_CANCELLED, "signed_in")]),
        "unchanged": done(counted=True),
        OTHERS: refused(
            _("Staff tried to plan or cancel the removal of two-factor sign-in; nothing changed")),
    },
    Kind.RESTORE: {
        "done": done(staff="All that is short-lived was ended after a restore"),
        OTHERS: done(staff="Recorded after a restore by a release before 0.29"),
    },
    Kind.SESSION: {
        "ended": done(_("Signed out another device")),
        "others_ended": done(_("Signed out all other devices")),
        OTHERS: done(),
    },
    Kind.EMAIL: {
        "asked": done(_("A new email address was asked for"), security=True),
        "unchanged": done(staff="The person asked for the email address that they have",
            counted=True),
        "email_limit": refused(staff="Another email address was asked for too often",
            counted=True),
        "no_mail": refused(
            staff="Another email address was asked for and refused: this service sends no mails",
            counted=True),
        "proved": done(_("The new email address was confirmed")),
        "nothing_waiting": refused(
            staff="A change of the email address was confirmed or cancelled too late; nothing "
            "changed", counted=True),
        "ok": done(_("The email address was changed"), security=True),
        "cancelled": done(_("The change of the email address was cancelled")),
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
            staff="The email address wasn't changed: codes are locked, or the number is "
            "suspended"),
        "locked": refused(staff="The email address wasn't changed: the account is locked"),
        OTHERS: refused(_("The email address wasn't changed")),
    },
    Kind.PERSON: {
        "created": done(_("Account made"), security=True),
        "deactivated": done(_("Account deactivated"), security=True),
        "activated": done(_("Account activated again"), security=True),
        "imported": done(_("Account brought over from another system"), security=True,
            when=_TAKEN_OVER),
        "import_changed": done(_("Account changed by an import from another system"),
            when=_TAKEN_OVER),
        "import_ended": done(staff="An import of people ended"),
        "provisioned": done(_("Account changed by an identity provider")),
        "in_use": refused(
            staff="An identity provider sent a name, an address or an id that is in use",
            counted=True),
        "exported": done(staff="All people written to a file"),
        "out_of_reach": refused(
            _("Staff tried to activate or deactivate the account; nothing changed")),
        OTHERS: refused(),
    },
    Kind.INVITATION: {
        "ok": done(_("Invited by email")),
        "used": done(_("Password chosen by the link of an invitation"), security=True),
        OTHERS: refused(_("Staff tried to send an invitation; no email was sent")),
    },
    Kind.SIM: {
        "swapped": done(_("The number seems to have a new SIM"), security=True),
        "ok": done(_("One sign-in by text message allowed by staff"), security=True),
        OTHERS: refused(_("Staff tried to allow a sign-in by text message; nothing changed")),
    },
    Kind.TEST_TEXT: {"failed": refused(), "undelivered": refused(), OTHERS: done()},
    Kind.WEBHOOK: {
        "made": done(_("Webhook endpoint added"), security=True),
        "secret_replaced": done(_("Secret of a webhook endpoint replaced"),
            security=True),
        "switched_on": done(_("Webhook endpoint switched on"), security=True),
        "switched_off": done(_("Webhook endpoint switched off"), security=True),
        "failing": refused(_("Webhook endpoint switched off: all attempts failed")),
        "gone": refused(_("Webhook endpoint switched off: it answered 410 Gone")),
        "skipped": done(_("Event for a webhook endpoint skipped")),
        "given_up": refused(_("Event for a webhook endpoint skipped: ten attempts failed")),
        "tested": done(_("Test sent to a webhook endpoint")),
        "unchanged": done(_("Change to a webhook endpoint asked for; nothing changed")),
        "removed": done(_("Webhook endpoint removed"), security=True),
        "changed": done(_("Webhook endpoint changed"), security=True),
        "sent_again": done(_("Events sent to a webhook endpoint again")),
        OTHERS: done(),
    },
}
# fmt: on

_UNKNOWN = {OTHERS: done()}  # a kind of a later release

EVENTS: Mapping[str, Mapping[str, Row]] = {
    kind: {outcome: row.completed(rows[OTHERS]) for outcome, row in (_SO_ALREADY | rows).items()}
    for kind, rows in _ROWS.items()
}
"""Every row, by kind and outcome."""

_NOT_REMOVED = "The removal that was asked for at sign-in wasn't carried out: "
_OWN_REMOVALS: dict[str, Row] = {
    "ok": done(
        _("Two-factor sign-in turned off, as asked for on the sign-in page"),
    ),
    "signed_in": refused(staff=f"{_NOT_REMOVED}the person has verified one since"),
    "switched_off": refused(staff=f"{_NOT_REMOVED}the operators don't allow it any more"),
    "out_of_reach": refused(
        staff=f"{_NOT_REMOVED}the number was suspended, or the person became staff, since"
    ),
    "not_opted_in": refused(staff=f"{_NOT_REMOVED}there were none any more"),
}
"""The words for ``Kind.REVOKE``, if the person asked for it at sign-in."""


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
    for facts in _facts(data) if row.when else ():
        if said := row.when.get(facts):
            return replace(row, owner=said.owner, staff=said.staff, news=said.news)
    return row


def labels(kind: Kind) -> dict[str, list[str]]:
    """Return the outcomes of *kind* by their label for staff; ``OTHERS`` is every further one.

    Where the data of an event decide between labels, these are one: "Code entered / Signed in".
    """
    own = _OWN_REMOVALS if kind is Kind.REVOKE else {}
    found: dict[str, list[str]] = {}
    for outcome in {**EVENTS[kind], **own}:
        row = row_of(kind, outcome)
        said = [row, *row.when.values(), *filter(None, [own.get(outcome)])]
        label = " / ".join(dict.fromkeys(each.staff for each in said if each.staff))
        found.setdefault(label, []).append(outcome)
    return found


def _facts(data: _Data) -> Iterator[str]:
    """Yield the names under which ``Row.when`` may have a row for an event with *data*."""
    if data.get("replaced"):
        yield "replaced"
    if "taken_over" in data:
        yield "taken over"
    if data.get("stopped") is False:
        yield "allowed"
    if data.get("listed") is False:
        yield "unlisted"
    if isinstance(removed := data.get("removed"), list):
        yield f"{' and '.join(map(str, removed))} removed"
    yield f"{data.get('purpose', '')} {data.get('by', '')}"


_WRONG_CODES, _OF_PROGRAMS = "wrong_codes", "wrong_codes_of_programs"

_MORE_REASONS: Mapping[News, Sequence[str]] = {
    News.FACTOR_LOCKED: (_WRONG_CODES, _OF_PROGRAMS),
    News.FACTOR_DISABLED: (_WRONG_CODES, _OF_PROGRAMS),
    News.REVOCATION_CANCELLED: (
        SECURED,
        # Why one that was due was not carried out.
        *(
            outcome
            for rows in (_ROWS[Kind.REVOKE], _OWN_REMOVALS)
            for outcome, row in rows.items()
            if outcome != OTHERS and not row.is_done
        ),
    ),
    News.TEXT_REFUSED: ("opted_out", "gateway"),
    News.TEXT_FAILED: ("not_delivered", "not_sent", "opted_out"),
}
"""The reasons that no row has."""


def reasons_of(news: News) -> list[str]:
    """Return every reason that an event of this kind can have."""
    rows = [row for rows in EVENTS.values() for row in rows.values()]
    given = [pair for row in rows for one in (row, *row.when.values()) for pair in one.news]
    found = [reason for kind, reason in given if kind is news]
    return list(dict.fromkeys([*found, *_MORE_REASONS.get(news, ())]))


def news_of(kind: str, outcome: str, data: _Data) -> Iterator[tuple[News, str]]:
    """Say what the endpoints of a file are told of a decision, and the reason."""
    reason = _OF_PROGRAMS if data.get("programs") else _WRONG_CODES
    if "locked_until" in data:
        yield News.FACTOR_LOCKED, reason
    if "disabled" in data:
        yield News.FACTOR_DISABLED, reason
    for news, why in words_of(kind, outcome, data).news:
        # A client's opt-out can remove nothing else, and so does not say what it removed.
        if news is not News.NUMBER_REMOVED or "number" in data.get("removed", ["number"]):
            yield news, why
    # One that was due and was not carried out, for example because the factors are others by now.
    if kind == Kind.REVOKE and outcome != "ok" and "revocation" in data:
        yield News.REVOCATION_CANCELLED, outcome
