"""Numbers that another system knows of a person: proposed, never a factor."""

import pytest
from django.utils import timezone

from optin.models import File, ProposedNumber, ProviderUser, User
from optin.models.second_factors import overview
from optin.operations import opt_ins, proposals
from tests.kit.apps import add_app
from tests.kit.people import NUMBER, ORIGIN, OTHER_NUMBER, make_user
from tests.kit.phone import Phone

pytestmark = pytest.mark.django_db


def propose(user: User, e164: str = NUMBER) -> bool:
    source = proposals.Source.PROVIDER
    return proposals.propose(user, e164, source=source, now=timezone.now())


def test_it_is_no_factor_and_goes_with_an_opt_in(user: User, file: File, phone: Phone) -> None:
    assert [propose(user), propose(user), propose(user, OTHER_NUMBER)] == [True, False, True]
    assert not phone.messages
    assert not overview(user).is_on
    assert ProposedNumber.objects.get().is_of(OTHER_NUMBER)

    sending = opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)
    assert sending.provider_user_id
    assert ProposedNumber.objects.exists()
    opt_ins.verify_opt_in(user, file, sending.provider_user_id, phone.code(), origin=ORIGIN)
    assert not ProposedNumber.objects.exists()
    assert not propose(user)


def test_it_can_be_withdrawn(user: User) -> None:
    propose(user)
    assert [proposals.withdraw(user), proposals.withdraw(user)] == [True, False]


def test_nothing_is_proposed_to_whoever_has_or_had_a_factor(
    user: User, active: ProviderUser
) -> None:
    ProviderUser.objects.update(confirmed=False, released_at=timezone.now())
    assert not propose(user)
    eve = make_user("eve")
    propose(eve)
    add_app(eve)
    assert not ProposedNumber.objects.exists()
    assert not propose(eve)


def test_another_row_does_not_open_it(user: User) -> None:
    propose(user)
    ProposedNumber.objects.update(user=make_user("eve"))
    assert not ProposedNumber.objects.get().is_of(NUMBER)
