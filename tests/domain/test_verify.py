"""One table is the truth about ``verify_opt_in``."""

import pytest

from optin import services
from optin.models import File, ProviderUser, User
from optin.services import Outcome
from tests.conftest import ORIGIN, Phone, wrong

pytestmark = pytest.mark.django_db(transaction=True)


def test_right_code_activates(user: User, file: File, pending: ProviderUser, phone: Phone) -> None:
    result = services.verify_opt_in(user, file, pending.pk, phone.code(), origin=ORIGIN)

    assert result.outcome is Outcome.OK
    pending.refresh_from_db()
    assert pending.confirmed


def test_wrong_code_counts(user: User, file: File, pending: ProviderUser, phone: Phone) -> None:
    result = services.verify_opt_in(user, file, pending.pk, wrong(phone.code()), origin=ORIGIN)

    assert result.outcome is Outcome.OTP_INCORRECT
    user.refresh_from_db()
    assert user.otp_failures == 1
