"""Codes: derived as documented, uniform, and read as people write them."""

import base64
import hmac
import string
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import pyotp
import pytest
from django.conf import LazySettings
from hypothesis import given
from hypothesis import strategies as st

from optin import codes
from optin.errors import MalformedCode
from optin.keys import UndecryptableError

KEY = bytes(range(32))
BINDING = codes.Binding(
    nonce="ab" * codes.NONCE_BYTES,
    provider_user_id=41,
    purpose="opt_in",
    file_id=777,
    number_digest="cd" * 32,
)


@pytest.fixture(autouse=True)
def ring(settings: LazySettings) -> None:
    settings.OPTIN_KEYS = {"k1": KEY, "k2": bytes(32)}


def rfc_4226(secret: bytes, counter: int, digits: int) -> str:
    """RFC 4226, section 5.3, written down once more."""
    mac = hmac.digest(secret, counter.to_bytes(8, "big"), "sha1")
    offset = mac[-1] & 0xF
    number = int.from_bytes(mac[offset : offset + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**digits:0{digits}d}"


@pytest.mark.parametrize("digits", codes.LENGTHS)
@pytest.mark.parametrize("file_id", [None, 777])
def test_a_code_is_hotp_under_hmac_of_the_fields(digits: int, file_id: int | None) -> None:
    """Each field with its length in front, under the key's own label."""
    fields = [
        b"optin code v1",
        bytes.fromhex(BINDING.nonce),
        b"41",
        b"opt_in",
        b"777" if file_id else b"",
        bytes.fromhex(BINDING.number_digest),
    ]
    message = b"".join(len(field).to_bytes(2, "big") + field for field in fields)
    secret = hmac.digest(hmac.digest(KEY, b"code", "sha256"), message, "sha256")

    code = codes.derive(replace(BINDING, file_id=file_id), kid="k1", digits=digits)

    assert code == rfc_4226(secret, 0, digits)


def test_a_key_that_left_the_ring_makes_none() -> None:
    with pytest.raises(UndecryptableError):
        codes.derive(BINDING, kid="k0", digits=7)


def test_nonces_are_160_random_bits() -> None:
    """S-01."""
    nonces = {codes.new_nonce() for _ in range(1000)}
    assert len(nonces) == 1000
    assert {len(bytes.fromhex(nonce)) for nonce in nonces} == {20}


# -- reading -----------------------------------------------------------------------

digits = st.text(string.digits, min_size=6, max_size=7)
separators = st.text(
    " \t\r\n\u00a0\u2003\u3000\u2028-\u2010\u2011\u2012\u2013\u2014\u2015", max_size=4
)


@given(code=digits, noise=st.data())
def test_separators_are_dropped(code: str, noise: st.DataObject) -> None:
    """S-10, for every code and every mixture of separators."""
    dressed = noise.draw(separators) + "".join(d + noise.draw(separators) for d in code)
    assert codes.parse(dressed) == code


@given(text=st.text(st.characters(), max_size=80))
def test_parse_returns_digits_or_raises_one_error(text: str) -> None:
    try:
        code = codes.parse(text)
    except MalformedCode:
        return
    assert set(code) <= set(string.digits)
    assert len(code) in codes.LENGTHS
    kept = [character for character in text if character in string.digits]
    assert "".join(kept) == code


@given(text=st.text(min_size=codes.MAX_LENGTH + 1))
def test_long_texts_are_not_looked_at(text: str) -> None:
    """S-20."""
    with pytest.raises(MalformedCode):
        codes.clean(text)


# -- codes of apps -----------------------------------------------------------------

RFC_6238 = [
    (59, "94287082"),
    (1111111109, "07081804"),
    (1111111111, "14050471"),
    (1234567890, "89005924"),
    (2000000000, "69279037"),
    (20000000000, "65353130"),
]
APP_SECRET = base64.b32encode(b"12345678901234567890").decode()


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


@pytest.mark.parametrize(("seconds", "code"), RFC_6238)
def test_vectors_of_rfc_6238_appendix_b(seconds: int, code: str) -> None:
    """Its last six digits: apps show no more."""
    step = codes.app_step(code[-6:], APP_SECRET, now=at(seconds), after=0)
    assert step == seconds // 30


@pytest.mark.parametrize(
    ("seconds", "right"),
    [
        (1_000_049.9, True),
        (1_000_020, True),
        (999_990, True),
        (999_989.9, False),
        (1_000_080, False),
    ],
)
def test_an_app_may_be_one_step_off(seconds: float, right: bool) -> None:
    """The code of the step from 1 000 020 on, at other times."""
    code = pyotp.HOTP(APP_SECRET).at(33_334)
    assert (codes.app_step(code, APP_SECRET, now=at(seconds), after=0) == 33_334) is right


def test_an_app_reads_the_secret_from_an_address() -> None:
    uri = codes.app_uri(APP_SECRET, name="ann", issuer="Two-Factor")
    read = pyotp.parse_uri(uri)
    assert isinstance(read, pyotp.TOTP)
    assert (read.secret, read.name, read.issuer) == (APP_SECRET, "ann", "Two-Factor")
    assert (read.digits, read.interval) == (codes.APP_DIGITS, codes.APP_STEP)


# -- recovery codes ----------------------------------------------------------------


def test_recovery_codes_are_80_random_bits() -> None:
    made = [codes.new_recovery_code() for _ in range(1000)]
    assert len(set(made)) == 1000
    assert {tuple(map(len, text.split("-"))) for text in made} == {(4, 4, 4, 4)}
    seen = Counter("".join(made).replace("-", ""))
    assert set(seen) == set("0123456789ABCDEFGHJKMNPQRSTVWXYZ")
    # 16 000 characters of 32 kinds: 500 each, give or take six sigma.
    assert all(abs(count - 500) < 6 * 22 for count in seen.values())


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("0123-4567-89AB-CDEF", "0123456789ABCDEF"),
        ("oill-OILL-zzzz-9999", "0111" * 2 + "ZZZZ9999"),
        ("0 1 2 3 4 5 6 7 8 9 a b c d e f", "0123456789ABCDEF"),
        ("0123\u20114567\u201389ab\u2015cdef\n", "0123456789ABCDEF"),
        ("1234567890123456", "1234567890123456"),
        ("123 456", "123456"),
        ("1234567", "1234567"),
    ],
)
def test_any_code_has_one_spelling(text: str, parsed: str) -> None:
    """S-10."""
    assert codes.parse_any(text) == parsed
    assert codes.is_recovery(parsed) is (len(parsed) == 16)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "12345678",
        "0123-4567-89AB-CDE",
        "0123-4567-89AB-CDEU",
        "0123_4567_89AB_CDEF",
        "0123456789ABCDE\u0130",
        "\uff10123456789ABCDEF",
        "0123456789ABCDE\u212a",
        "0123456789ABCDEF".rjust(65),
    ],
    ids=ascii,
)
def test_what_has_no_shape_of_a_code_is_none(text: str) -> None:
    with pytest.raises(MalformedCode):
        codes.parse_any(text)
