"""The words that reach a person: one segment, the code first, the purpose plain (S-43)."""

import pytest
from django.conf import LazySettings
from django.core import mail

from optin.conf import MAX_HOST
from optin.messaging import wording
from optin.models import Notice, Purpose, User
from tests.kit.people import NUMBER
from tests.kit.phone import GSM_7
from tests.kit.world import World

pytestmark = pytest.mark.django_db(transaction=True)

WORDS = {
    Purpose.OPT_IN: "to turn ON two-factor sign-in",
    Purpose.SIGN_IN: "to sign in",
    Purpose.OPT_OUT: "to turn OFF two-factor sign-in",
    Purpose.CHANGE: "to CHANGE how you sign in",
}


def test_the_whole_text(any_world: World) -> None:
    """S-43."""
    code = any_world.code()
    words = WORDS[any_world.purpose]
    assert any_world.phone.messages[-1] == (
        NUMBER,
        f"{code} is your Two-Factor code {words}. Do not share it.\n\n@2fa.example.com #{code}",
    )


@pytest.mark.parametrize("name", ["n" * 20, "Anne's (Books) & Co."])
@pytest.mark.parametrize("host", ["h" * (MAX_HOST - 12) + ".example.com", "127.0.0.1"])
def test_the_longest_text_is_one_segment(
    any_world: World, settings: LazySettings, name: str, host: str
) -> None:
    """S-43."""
    settings.OPTIN_SERVICE_NAME = name
    settings.BASE_URL = f"https://{host}:8443"
    any_world.clock.shift(30)
    any_world.ask()

    body = any_world.phone.body

    assert len(body) <= 160
    assert set(body) <= GSM_7
    code = any_world.pending.code()
    assert body.startswith(f"{code} is your {name} code {WORDS[any_world.purpose]}.")
    assert "Do not share" in body
    assert body.splitlines()[-1] == f"@{host} #{code}"
    assert "://" not in body


# -- mails (S-54) ------------------------------------------------------------------

OF_ADDRESSES = {
    Notice.Kind.PASSWORD_RESET,
    Notice.Kind.INVITATION,
    Notice.Kind.EMAIL_PROVE,
    Notice.Kind.EMAIL_ASKED,
    Notice.Kind.EMAIL_CHANGED,
    Notice.Kind.EMAIL_OFF,
    Notice.Kind.ENDPOINT_OFF,
}
"""Mails to a mailbox, not about the account, or without advice: they have tests of their own."""
NAME_A_NUMBER = {
    Notice.Kind.ACTIVATED,
    Notice.Kind.CHANGED,
    Notice.Kind.RELEASED,
    Notice.Kind.REVOKED,
    Notice.Kind.SECURED,
    Notice.Kind.OWN_REMOVED,
    Notice.Kind.SUSPENDED,
    Notice.Kind.RESUMED,
    Notice.Kind.SIM_SWAPPED,
    Notice.Kind.SIM_LET_THROUGH,
    Notice.Kind.NUMBER_CLAIMED,
    Notice.Kind.NO_TEXTS,
}


@pytest.mark.parametrize("kind", [kind for kind in Notice.Kind if kind not in OF_ADDRESSES])
@pytest.mark.parametrize("last_three", ["156", ""])
def test_each_mail(user: User, kind: Notice.Kind, last_three: str) -> None:
    """S-54. What happened, to which account, what to do if it was not them; in plain text."""
    user.username = "o'brien & <co>"
    notice = Notice(user=user, kind=kind, last_three=last_three, created_at=user.date_joined)

    message = wording.mail_for(notice)

    assert message.subject
    assert "\n" not in message.subject
    assert message.to == [user.email]
    body = " ".join(str(message.body).split())
    assert "Account: o'brien & <co>" in body
    link = "/not-me/" in body
    advice = "secure your account with this link, before" if link else "change your password now"
    assert f"If this wasn't you, {advice}" in body
    assert "https://2fa.example.com" in body
    assert ("ending in 156" in body) is (kind in NAME_A_NUMBER and last_three == "156")
    assert "ending in  " not in body


def test_the_mail_of_a_lock(world: World) -> None:
    world.set_count(failures=9)
    world.guess_wrong()
    (message,) = mail.outbox
    assert "locked for a while" in message.subject
    assert world.code() not in str(message.body)


def test_times_are_shown_with_their_zone(user: User, world: World) -> None:
    """Noon UTC is 23:00 in a Sydney summer."""
    world.guess(world.code())
    assert "2 November 2026, 23:00 AEDT" in str(mail.outbox[0].body)
