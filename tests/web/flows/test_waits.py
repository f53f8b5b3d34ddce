"""G-10: what the page of a code says of the time that texts take, and of which gateway."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from optin.gateways import Fate, SmsError
from optin.messaging import waits
from optin.models import Guard, ProviderUser, SmsMessage, User
from optin.models.messages import State
from tests.kit.browser import Browser, name_number, sign_in
from tests.kit.people import OTHER_NUMBER
from tests.kit.phone import Gateways, Stub
from tests.kit.waits import each_second, texts

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
        (
            each_second(6),
            "A text takes about 6 seconds, and nine in ten take less than 7 seconds.",
        ),
        (
            [*each_second(None, 50), *each_second(6, 120, since=50)],
            "Texts are slow at the moment. Most take longer than 4",
        ),
        ([(age, 4.5 + age % 12) for age in range(20, 50)], "A text takes 7 to 14 seconds."),
        ([], ""),
    ],
    ids=["usual", "slow", "a range, of few texts", "nobody knows"],
)
def test_the_page_of_a_code_says_it(
    took: list[tuple[float, float | None]],
    says: str,
    active: ProviderUser,
    browser: Browser,
    clock: time_machine.Traveller,
) -> None:
    """G-10."""
    clock.shift(60)
    texts(active, "phone", took)

    sign_in(browser)

    assert sentence(browser).startswith(says)
    assert bool(sentence(browser)) == bool(says)
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
    texts(pending, "first", each_second(6))
    texts(pending, "second", each_second(20))
    use(Stub("first", fails=fails), Stub("second"))

    sent = asked(ann)
    Guard.objects.opt_out(ProviderUser.digest_of(OTHER_NUMBER), "000", timezone.now())
    withheld = asked(ben_in(Browser()))

    assert SmsMessage.objects.filter(state=State.WITHHELD).count() == 1
    assert sent == withheld
    assert "about 6 seconds" in sent


def sign_in_page(browser: Browser) -> None:
    sign_in(browser)


def opt_in_page(browser: Browser) -> None:
    asked(ben_in(browser))


@pytest.mark.parametrize(("way", "statements"), [(sign_in_page, 1), (opt_in_page, 2)])
def test_it_takes_few_statements(
    active: ProviderUser,
    stranger: User,
    browser: Browser,
    way: Callable[[Browser], None],
    statements: int,
    clock: time_machine.Traveller,
) -> None:
    clock.shift(60)
    way(browser)
    waits.forget()
    with CaptureQueriesContext(connection) as captured:
        browser.reload()

    its_own = [
        each["sql"]
        for each in captured
        if "gatewayhealth" in each["sql"] or 'sent_at" IS NOT NULL' in each["sql"]
    ]
    assert len(its_own) == statements
