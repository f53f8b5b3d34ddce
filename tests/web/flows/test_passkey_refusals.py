"""What people do with passkeys, and what is refused: told in plain words, and in the trail."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
import time_machine
from cryptography.hazmat.primitives.asymmetric import ec
from django.core import mail

from optin.models import Passkey, User
from optin.passkeys import PasskeyFault
from tests.kit.authenticator import Authenticator, HasKey
from tests.kit.browser import (
    ADD_PASSKEY,
    CONFIRM,
    OFF,
    PROVE,
    SUCCESS,
    Browser,
    failures,
    sign_in,
)
from tests.kit.people import PASSWORD, make_user
from tests.kit.trail import newest_event

pytestmark = pytest.mark.django_db(transaction=True)

Answer = Callable[[str], str]

OUT_OF_DATE = "This page was out of date"
UNREADABLE = "couldn't be read"
NOT_YOURS = "doesn't belong to this account"


@dataclass
class At:
    """Somebody at the page that asks for their passkey, which is all they have."""

    browser: Browser
    user: User
    key: Authenticator
    clock: time_machine.Traveller

    def comes_in_elsewhere(self) -> None:
        elsewhere = Browser()
        sign_in(elsewhere)
        elsewhere.use_passkey(self.key.get)
        assert elsewhere.path == "/account/"
        self.clock.shift(1)


@pytest.fixture
def key() -> Authenticator:
    return Authenticator()


@pytest.fixture
def ann_keyed(ann: Browser, key: Authenticator, clock: time_machine.Traveller) -> Browser:
    """``ann``, who added a passkey a while ago."""
    ann.add_passkey(key.create, "Laptop")
    assert ann.path == SUCCESS
    clock.shift(timedelta(minutes=11))
    return ann


@pytest.fixture
def at(ann_keyed: Browser, user: User, key: Authenticator, clock: time_machine.Traveller) -> At:
    browser = Browser()
    sign_in(browser)
    assert browser.path == "/sign-in/code/"
    clock.shift(1)
    return At(browser, user, key, clock)


def assert_refused(
    browser: Browser, user: User, why: PasskeyFault, words: str, failed_before: int = 0
) -> None:
    assert words in browser.page.errors
    event = newest_event()
    assert (event.outcome, event.data["why"]) == ("passkey_refused", why)
    assert failures(user) == failed_before


# -- signing in --------------------------------------------------------------------


def a_clone(at: At) -> Answer:
    """Whoever has a copy is behind its owner, whose authenticator counts on."""
    clone = at.key.clone()
    at.comes_in_elsewhere()
    at.browser.reload()
    return clone.get


def on_another_website(at: At) -> Answer:
    at.key.origin = "https://2fa.example.com.evil.example"
    return at.key.get


def in_a_frame_of_another_website(at: At) -> Answer:
    at.key.is_framed = True
    return at.key.get


def on_an_older_page(at: At) -> Answer:
    at.comes_in_elsewhere()
    return at.key.get


def too_late(at: At) -> Answer:
    at.clock.shift(timedelta(minutes=5))
    return at.key.get


def an_answer_from_another_session(at: At) -> Answer:
    """With its challenge: somebody heard both."""
    thief = Browser()
    sign_in(thief)
    heard, challenge = at.key.get(at.browser.page.options), at.browser.page.passkey_form.fields
    thief.page.passkey_form.fields["challenge"] = challenge["challenge"]
    at.browser = thief
    return always(heard)


def an_answer_to_an_older_challenge(at: At) -> Answer:
    """Sent beside the challenge of a new page."""
    heard = at.key.get(at.browser.page.options)
    at.browser.reload()
    return always(heard)


def a_challenge_that_was_changed(at: At) -> Answer:
    fields = at.browser.page.passkey_form.fields
    fields["challenge"] = ("B" if fields["challenge"][0] == "A" else "A") + fields["challenge"][1:]
    return at.key.get


def of_somebody_else(at: At) -> Answer:
    ben = Browser()
    make_user("ben")
    sign_in(ben, "ben")
    ben.go(ADD_PASSKEY)
    theirs = Authenticator()
    ben.use_passkey(theirs.create, name="Phone")
    return lambda options: theirs.get({**json.loads(options), "allowCredentials": []})


def of_another_account_by_its_own_words(at: At) -> Answer:
    at.key.keys[0].user_handle = b"somebody else"
    return at.key.get


def removed(at: At) -> Answer:
    """Another one is left."""
    Passkey.objects.update(credential_id="another")
    return at.key.get


def with_another_key(at: At) -> Answer:
    at.key.keys[0].private = ec.generate_private_key(ec.SECP256R1())
    return at.key.get


def that_is_copied_now_though_it_never_was(at: At) -> Answer:
    """WebAuthn 7.2: whether a key can be backed up never changes."""
    at.key.can_be_backed_up = True
    return at.key.get


REFUSED: list[tuple[Callable[[At], Answer], PasskeyFault, str]] = [
    (a_clone, PasskeyFault.CLONED, "There may be a copy of that passkey"),
    (on_another_website, PasskeyFault.WRONG_ORIGIN, "was used on another website"),
    (in_a_frame_of_another_website, PasskeyFault.WRONG_ORIGIN, "was used on another website"),
    (on_an_older_page, PasskeyFault.USED, OUT_OF_DATE),
    (too_late, PasskeyFault.EXPIRED, "longer than 5 minutes"),
    (an_answer_from_another_session, PasskeyFault.OTHER_SESSION, OUT_OF_DATE),
    (an_answer_to_an_older_challenge, PasskeyFault.OTHER_SESSION, OUT_OF_DATE),
    (a_challenge_that_was_changed, PasskeyFault.OTHER_SESSION, OUT_OF_DATE),
    (of_somebody_else, PasskeyFault.UNKNOWN, NOT_YOURS),
    (of_another_account_by_its_own_words, PasskeyFault.UNKNOWN, NOT_YOURS),
    (removed, PasskeyFault.UNKNOWN, NOT_YOURS),
    (with_another_key, PasskeyFault.INVALID, UNREADABLE),
    (that_is_copied_now_though_it_never_was, PasskeyFault.INVALID, UNREADABLE),
]


@pytest.mark.parametrize(("how", "why", "words"), REFUSED, ids=lambda x: getattr(x, "__name__", ""))
def test_refused_at_sign_in(
    how: Callable[[At], Answer], why: PasskeyFault, words: str, at: At
) -> None:
    """And it is no guess: the tenth wrong code would lock."""
    answer = how(at)
    User.objects.filter(pk=at.user.pk).update(otp_failures=9)
    at.browser.use_passkey(answer)
    assert_refused(at.browser, at.user, why, words, failed_before=9)
    at.browser.go("/account/")
    assert at.browser.path == "/sign-in/"


def test_a_copy_is_told_to_its_owner_who_gets_in_all_the_same(at: At) -> None:
    answer = a_clone(at)
    at.browser.use_passkey(answer)
    assert "copy" in mail.outbox[-1].subject
    at.browser.use_passkey(at.key.get)
    assert at.browser.path == "/account/"


GARBAGE = [
    *("", "null", "[]", '"text"', "{}", "{", "\0", "[" * 16_000, "x" * 20_000),
    json.dumps({"id": "", "rawId": "", "type": "public-key", "response": {}}),
]
INSIDE = ["", "e30", "AAAA", "!", "n" * 15_000]  # base64url: nothing, {}, three bytes, none, many


def test_garbage_is_no_guess_and_keeps_nobody_out(at: At) -> None:
    """As an answer, as a part of one, and as its challenge; more than ten wrong codes would be."""
    for garbage in GARBAGE:
        at.browser.use_passkey(always(garbage))
        assert_refused(at.browser, at.user, PasskeyFault.INVALID, UNREADABLE)
        assert "csrfmiddlewaretoken" in at.browser.page.passkey_form.fields
    for part in ("clientDataJSON", "authenticatorData", "signature", "userHandle"):
        for inside in INSIDE:
            assert at.browser.use_passkey(altered(at.key.get, part, inside)).errors
            assert at.browser.path == "/sign-in/code/"
    for garbage in ("", ":", "x" * 20_000):
        at.browser.page.passkey_form.fields["challenge"] = garbage
        at.browser.use_passkey(at.key.get)
        assert_refused(at.browser, at.user, PasskeyFault.OTHER_SESSION, OUT_OF_DATE)
    at.browser.use_passkey(always("x" * 1_000_000))
    assert at.browser.page.status == 400
    at.browser.go("/sign-in/code/")
    at.browser.use_passkey(at.key.get)
    assert at.browser.path == "/account/"


def always(text: str) -> Answer:
    return lambda options: text


def altered(answer: Answer, part: str, value: str) -> Answer:
    """Return what answers as *answer* does, but for one part of the response."""

    def altered_answer(options: str) -> str:
        given = json.loads(answer(options))
        return json.dumps({**given, "response": {**given["response"], part: value}})

    return altered_answer


# -- in a session ------------------------------------------------------------------


def test_an_answer_does_for_one_purpose(ann_keyed: Browser, user: User, key: Authenticator) -> None:
    """What proves a factor before a change does not turn it off."""
    ann_keyed.go(CONFIRM)
    ann_keyed.send(password=PASSWORD)
    ann_keyed.go(PROVE)
    options, challenge = ann_keyed.page.options, ann_keyed.page.passkey_form.fields["challenge"]
    ann_keyed.go(OFF)
    ann_keyed.page.passkey_form.fields["challenge"] = challenge
    ann_keyed.use_passkey(lambda _: key.get(options))
    assert_refused(ann_keyed, user, PasskeyFault.OTHER_SESSION, OUT_OF_DATE)
    assert Passkey.objects.exists()


def test_an_answer_does_once(
    ann_keyed: Browser, user: User, key: Authenticator, clock: time_machine.Traveller
) -> None:
    """Sent again in the same session, later than a double click."""
    ann_keyed.go(CONFIRM)
    ann_keyed.send(password=PASSWORD)
    ann_keyed.go(PROVE)
    sent = ann_keyed.passkey_submission(key.get)
    sent(ann_keyed)
    clock.shift(timedelta(minutes=1))
    sent(ann_keyed)
    assert_refused(ann_keyed, user, PasskeyFault.USED, OUT_OF_DATE)


def test_adding_is_refused(ann: Browser, user: User, key: Authenticator) -> None:
    ann.add_passkey(replace(key, origin="https://evil.example").create, "Laptop")
    assert_refused(ann, user, PasskeyFault.WRONG_ORIGIN, "was used on another website")
    for garbage in GARBAGE:
        ann.use_passkey(always(garbage), name="Laptop")
        assert_refused(ann, user, PasskeyFault.INVALID, UNREADABLE)
    for inside in INSIDE:
        ann.use_passkey(altered(key.create, "attestationObject", inside), name="L")
        assert_refused(ann, user, PasskeyFault.INVALID, UNREADABLE)
    assert not Passkey.objects.exists()
    ann.use_passkey(key.create, name="Laptop")
    assert ann.path == SUCCESS


def test_one_authenticator_keeps_one_passkey_of_an_account(
    ann_keyed: Browser, key: Authenticator, clock: time_machine.Traveller
) -> None:
    """A second one would take the place of the first, which the service would still list."""
    ann_keyed.go(CONFIRM)
    ann_keyed.send(password=PASSWORD)
    ann_keyed.go(PROVE)
    ann_keyed.use_passkey(key.get)
    clock.shift(1)
    ann_keyed.go(ADD_PASSKEY)
    with pytest.raises(HasKey):
        key.create(ann_keyed.page.options)
    ann_keyed.use_passkey(Authenticator().create, name="Phone")
    assert ann_keyed.path == SUCCESS
