"""Addresses of the pages for people."""

from collections.abc import Callable
from typing import Any

from django.urls import URLPattern, path
from django.views.decorators.http import require_safe
from django.views.generic import TemplateView

from optin.web import (
    access,
    account,
    email_change,
    entry,
    factors,
    health,
    integrations,
    not_me,
    passkeys,
    revocation,
    sandbox,
    views,
)
from optin.web.code_pages import CodePage
from optin.web.pages import form_page, open_to_all, signed_in

Guard = Callable[[Any], Any]


def code_page(address: str, page: type[CodePage], guard: Guard) -> list[URLPattern]:
    """The addresses of a page that asks for a code: itself, "send again", "not received"."""
    steps = {"": "", "send/": "send", "not-received/": "help"}
    return [
        path(
            address + end,
            form_page(guard(page.as_view(step=step))),
            name=f"{page.name}-{step}".rstrip("-"),
        )
        for end, step in steps.items()
    ]


urlpatterns = [
    path("", views.home, name="home"),
    path("language/", views.choose_language, name="language"),
    # -- signing in ----------------------------------------------------------------
    path("sign-in/", entry.sign_in_page, name="sign-in"),
    *code_page("sign-in/code/", entry.SignInCode, open_to_all),
    path(
        "sign-in/recovery/",
        form_page(open_to_all(entry.SignInRecovery.as_view())),
        name="sign-in-recovery",
    ),
    path(
        "sign-in/lost/",
        form_page(open_to_all(entry.SignInLost.as_view())),
        name="sign-in-lost",
    ),
    path("sign-out/", entry.sign_out, name="sign-out"),
    path("password-reset/", entry.reset_password, name="password-reset"),
    path(
        "password-reset/sent/",
        require_safe(TemplateView.as_view(template_name="password_reset_sent.html")),
        name="password-reset-sent",
    ),
    path("password-reset/<uidb64>/<token>/", entry.choose_new_password, name="password-new"),
    path("not-me/done/", not_me.not_me_done, name="not-me-done"),
    path("not-me/<token>/", not_me.not_me, name="not-me"),
    path("revocation/<token>/", revocation.revocation, name="revocation"),
    path("email-stop/<token>/", email_change.stop, name="email-stop"),
    path("r/<token>", revocation.texted, name="revocation-texted"),
    # -- the account ---------------------------------------------------------------
    path("account/", account.account, name="account"),
    path("account/activity/", account.activity, name="activity"),
    path("account/access/", access.access_page, name="access"),
    path("account/access/key/<int:pk>/", access.revoke_key, name="revoke-key"),
    path("account/access/app/<int:pk>/", access.revoke_application, name="revoke-application"),
    path("account/integrations/", integrations.integrations, name="integrations"),
    path("account/integrations/add/<int:file_id>/", integrations.add, name="integration-add"),
    path("account/integrations/<int:pk>/", integrations.integration, name="integration"),
    path("account/cancel-revocation/", revocation.cancel, name="cancel-revocation"),
    path("account/email/", email_change.email, name="email"),
    path("account/email/<token>/", email_change.confirm, name="email-confirm"),
    path("account/cancel-email/", email_change.cancel, name="cancel-email"),
    path("account/sandbox/<int:file_id>/", sandbox.texts, name="sandbox"),
    path("account/confirm/", entry.confirm, name="confirm"),
    path("account/password/", entry.change_password, name="password"),
    path("account/two-factor/", factors.two_factor, name="two-factor"),
    path("account/two-factor/on/", factors.success, name="success"),
    path("account/two-factor/number/", factors.number, name="number"),
    *code_page("account/two-factor/number/code/", factors.NumberCode, signed_in),
    *code_page("account/two-factor/prove/", factors.ProveCode, signed_in),
    *code_page("account/two-factor/off/", factors.OffCode, signed_in),
    path("account/two-factor/first/", factors.first, name="first"),
    path("account/two-factor/texts/", factors.texts, name="texts"),
    path("account/two-factor/texts-end/", factors.texts_are_ending, name="texts-end"),
    path("account/two-factor/app/", factors.app, name="app"),
    path("account/two-factor/passkeys/add/", passkeys.add, name="passkey-add"),
    path("account/two-factor/passkeys/<int:pk>/", passkeys.rename, name="passkey-rename"),
    path("account/two-factor/recovery-codes/", factors.recovery_codes, name="recovery-codes"),
    # -- for development and for those who watch ------------------------------------
    path("metrics", views.metrics_page, name="metrics"),
    path("simulator", views.simulator),
    path("simulator/", views.simulator, name="simulator"),
    path("livez", health.livez, name="livez"),
    path("seen", health.what_is_seen, name="seen"),
    path("readyz", health.readyz, name="readyz"),
]
