"""G-10: what the page of a code says of the time that texts usually take, and of which gateway."""

import re
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from optin.gateways import Fate, SmsError
from optin.models import Guard, ProviderUser, SmsMessage, User
from optin.models.messages import State
from tests.kit.browser import Browser, name_number, sign_in
from tests.kit.people import OTHER_NUMBER
from tests.kit.phone import Gateways, Stub
from tests.kit.waits import receipts

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


def sentence(browser: Browser) -> str:
    """What the page of a code says after the state of the text."""
    after = re.split(r"Sent at \d\d:\d\d \w+\.", browser.page.text)[1]
    return re.split("You can send it again|Send it again", after)[0].strip()


def asked(browser: Browser) -> str:
    name_number(browser, OTHER_NUMBER)
    return sentence(browser)


@pytest.mark.parametrize(
    ("took", "says"),
    [
        ([6.2] * 10, "A text takes about 6 seconds."),
        ([0] * 10, "A text takes about 1 second."),
        ([], ""),
    ],
    ids=["usual", "at once", "nobody knows"],
)
def test_the_page_of_a_code_says_it(
    took: list[float],
    says: str,
    active: ProviderUser,
    browser: Browser,
    clock: time_machine.Traveller,
) -> None:
    """G-10."""
    clock.shift(60)
    receipts(active, "phone", took)

    sign_in(browser)

    assert sentence(browser) == says
    browser.click("/sign-in/code/not-received/")
    assert says in browser.page.text
    SmsMessage.objects.filter(state=State.SENT).update(
        state=State.DELIVERED, delivered_at=timezone.now()
    )
    browser.reload()
    assert "A text takes" not in browser.page.text


def ben_in(browser: Browser) -> Browser:
    """The stranger, signed in."""
    sign_in(browser, "ben")
    return browser


@pytest.mark.parametrize("fails", [None, SmsError("not here", Fate.NOT_HERE)], ids=["", "second"])
def test_a_withheld_text_cannot_be_told_by_it(
    pending: ProviderUser,
    stranger: User,
    ann: Browser,
    use: Gateways,
    settings: Any,
    fails: SmsError | None,
) -> None:
    """S-38, G-10. Not even where another gateway than the first took the one that was sent."""
    settings.OPTIN_SENDS_PER_USER = ()  # all of these texts are ann's
    receipts(pending, "first", [6] * 10)
    receipts(pending, "second", [20] * 10)
    use(Stub("first", fails=fails), Stub("second"))

    sent = asked(ann)
    Guard.objects.opt_out(ProviderUser.digest_of(OTHER_NUMBER), "000", timezone.now())
    withheld = asked(ben_in(Browser()))

    assert SmsMessage.objects.filter(state=State.WITHHELD).count() == 1
    assert sent == withheld
    assert "about 6 seconds" in sent
