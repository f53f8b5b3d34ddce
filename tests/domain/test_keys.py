"""The key ring: what is sealed opens with its key and its context, and nothing else."""

import pytest
from django.conf import LazySettings
from hypothesis import given
from hypothesis import strategies as st

from optin import keys
from optin.keys import UndecryptableError

OLD, NEW = b"o" * 32, b"n" * 32


@pytest.fixture(autouse=True)
def ring(settings: LazySettings) -> LazySettings:
    settings.OPTIN_KEYS = {"old": OLD}
    settings.OPTIN_DIGEST_KEY = bytes(32)
    return settings


@given(text=st.text(st.characters(exclude_categories=["Cs"])), context=st.text("ab1 "))
def test_what_is_sealed_opens(text: str, context: str) -> None:
    sealed = keys.encrypt(text, context=context)
    assert sealed.startswith("old:")
    assert keys.decrypt(sealed, context=context) == text
    assert keys.encrypt(text, context=context) != sealed  # a fresh nonce each time


@pytest.mark.parametrize("at", [5, 20, 30, -5])
def test_one_changed_character_shows(at: int) -> None:
    sealed = list(keys.encrypt("some longer text", context="c"))
    sealed[at] = "A" if sealed[at] != "A" else "B"
    with pytest.raises(UndecryptableError):
        keys.decrypt("".join(sealed), context="c")


def test_each_use_has_a_key_of_its_own(ring: LazySettings) -> None:
    """The same text under two labels gives two digests; codes have a third key."""
    assert keys.digest("number", "x") != keys.digest("counter", "x")
    assert keys.code_key("old") != OLD
    before = keys.digest("number", "x")
    ring.OPTIN_DIGEST_KEY = b"d" * 32
    assert keys.digest("number", "x") != before
