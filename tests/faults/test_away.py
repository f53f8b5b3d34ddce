"""What happens while something that the service needs is not there (S-64)."""

import pytest
from django.conf import LazySettings

from optin.conf import KEY_BYTES
from optin.models import File, ProviderUser, User
from optin.operations import opt_ins, staff_actions
from optin.outcomes import SendOutcome
from tests.kit.people import NUMBER, ORIGIN
from tests.kit.phone import Phone

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_number_is_encrypted_anew_when_its_key_is_lost(
    user: User, file: File, active: ProviderUser, phone: Phone, settings: LazySettings
) -> None:
    """Staff release a number that no key opens any more; its owner opts in again."""
    staff_actions.revoke(user, reason="key lost", origin=ORIGIN)
    settings.OPTIN_KEYS = {"new": b"n" * KEY_BYTES}

    sending = opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)

    assert sending.outcome is SendOutcome.SENT
    assert len(phone.messages) == 2
    active.refresh_from_db()
    assert active.open_number() == NUMBER
