"""A number that was taken over from another system: what it counts for before its first code."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from optin.models import Guard, ProviderUser, Purpose, SendCounter
from optin.operations import authenticators, challenges, erasure, not_me
from optin.outcomes import By, FactorOutcome
from optin.support import timeline
from optin.support.diagnosis import diagnose
from tests.kit.people import NUMBER
from tests.kit.phone import Phone
from tests.kit.trail import newest_event
from tests.kit.world import PAGE, Person, World, proved

pytestmark = pytest.mark.django_db


def take_over() -> None:
    """As an import does it."""
    at = timezone.now() - timedelta(days=400)
    ProviderUser.objects.update(taken_over_at=at, taken_over_by="a letter")


def is_proved() -> bool:
    return ProviderUser.objects.get().is_proved


def stop() -> None:
    assert Guard.objects.opt_out(ProviderUser.digest_of(NUMBER), NUMBER[-3:], timezone.now())


def close() -> None:
    """As its owner does it, by "that was not me"."""
    digest, now = ProviderUser.digest_of(NUMBER), timezone.now()
    Guard.objects.close_to_strangers(digest, NUMBER[-3:], now, now + timedelta(days=1))


def verified() -> set[int]:
    """How many opt-ins were verified, by prefix and region."""
    return set(
        SendCounter.objects.filter(scope__contains="/3600").values_list("verified", flat=True)
    )


def test_the_first_texted_code_proves_it(challenged: World) -> None:
    """S-56. For whatever purpose; the event of the code says so."""
    take_over()
    challenged.guess_wrong()
    assert not is_proved()
    challenged.guess(challenged.code())
    assert is_proved()
    assert newest_event().data["first_code"] is True
    said = timeline.timeline(challenged.user).entries
    assert "the first code from the number that was taken over" in str([e.details for e in said])


def test_turning_off_by_its_code_proves_it(person: Person) -> None:
    """S-56."""
    person.set_up(By.TEXT)
    take_over()
    person.turn_off(person.text(Purpose.OPT_OUT))
    assert is_proved()


@pytest.mark.parametrize("by", [By.APP, By.RECOVERY])
def test_another_factor_does_not_prove_it(full: Person, by: By) -> None:
    """S-56."""
    take_over()
    assert full.check(full.right(by)).outcome == "ok"
    assert not is_proved()
    assert "first_code" not in newest_event().data


def test_a_number_that_is_proved_leaves_nothing_in_later_events(challenged: World) -> None:
    challenged.guess(challenged.code())
    assert "first_code" not in newest_event().data


def test_not_me_closes_no_number_to_others_before_its_first_code(full: Person) -> None:
    """S-56, G-08. It may be somebody else's."""
    take_over()
    asking: dict[str, Any] = {
        "standing": proved(),
        "origin": PAGE,
        "keep_session": lambda user: None,
    }
    assert not_me.shut_out(full.user, **asking) is None
    assert not Guard.objects.exists()
    ProviderUser.objects.update(taken_over_at=None)
    assert not_me.shut_out(full.user, **asking)
    assert Guard.objects.exists()


def test_closed_by_its_owner_it_gets_no_code(person: Person, phone: Phone) -> None:
    """S-56, G-08. Staff read why."""
    person.set_up(By.TEXT)
    take_over()
    texts = len(phone.messages)
    close()
    refused = challenges.challenge(person.user, Purpose.SIGN_IN, origin=PAGE)
    assert (refused.outcome, refused.data["rule"]) == ("send_limit", "deny-number")
    assert len(phone.messages) == texts
    said = [cause.words for cause in diagnose(person.user, timezone.now())]
    assert "its owner said “that was not me”" in str(said)
    ProviderUser.objects.update(taken_over_at=None)
    assert person.text()


def test_erased_it_opens_no_number_that_its_owner_closed(person: Person) -> None:
    """S-55, S-56."""
    person.set_up(By.TEXT)
    take_over()
    close()
    erasure.erase(person.user, reason="Ticket 1. Jo", origin=PAGE)
    assert Guard.objects.exists()


def test_staff_read_that_it_may_be_wrong(person: Person) -> None:
    """P-21, S-56."""
    person.set_up(By.TEXT)
    take_over()
    person.text()
    said = [f"{cause.words} {cause.advice}" for cause in diagnose(person.user, timezone.now())]
    assert "nobody has verified here" in said[0]
    assert "it came wrong from the old system: remove their second factors" in said[0]


def test_a_stop_from_it_stays_before_its_first_code(full: Person) -> None:
    """S-56. She reads why no text comes, but may not undo it."""
    take_over()
    stop()
    assert authenticators.is_stopped(full.user)
    result = authenticators.allow_texts(full.user, standing=proved(), origin=PAGE)
    assert result.outcome is FactorOutcome.MOBILE_NUMBER_IN_USE
    assert Guard.objects.exists()


def test_turned_off_unproved_it_is_as_if_it_was_never_here(
    full: Person, phone: Phone, clock: time_machine.Traveller
) -> None:
    """S-38, S-56: of a STOP she learns nothing. With its code it is verified for the first time."""
    clock.shift(timedelta(hours=2))
    full.turn_off(full.app_code(), authenticators.Removal.NUMBER)
    take_over()
    stop()
    texts = len(phone.messages)
    assert full.name_number(NUMBER)
    assert newest_event().outcome == "withheld"
    assert not authenticators.is_stopped(full.user, pk=ProviderUser.objects.get().pk)
    assert len(phone.messages) == texts
    Guard.objects.all().delete()
    SendCounter.objects.all().delete()
    clock.shift(timedelta(hours=1))
    full.add_number()
    assert is_proved()
    assert verified() == {1}
