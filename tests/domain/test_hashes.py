"""Passwords that come along: every format lets its person in, once with the old hash."""

import hashlib

import bcrypt
import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher, check_password

from optin import hashes
from optin.hashes import Fast, UnfitHash
from optin.models import User
from optin.operations import passwords
from tests.kit.people import ORIGIN, make_user

MINE = "my password"
ARGON2 = (
    "$argon2id$v=19$m=64,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$XTYNLN+WG9M9EI2bsGjI5HsOZSiNzHbVnSTMUhOnVbE"
)
BCRYPT = "$2b$04$abcdefghijklmnopqrstuuR/sMB5BEXmOMYfypgggoVc1NiqGSQrS"
IDENTITY_2 = "AAABAgMEBQYHCAkKCwwNDg+ukCEMDf0yyQ29NYubggHIVY0sdEUfdyeM+E1LtH1uJg=="
SCRYPT = "$scrypt$ln=4,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZg$oMzFPE0T33U9yOc4LIJV2dsTOnDufJk+sXJj/5aXixE"

SLOW = {
    # The tests of ASP.NET Core Identity have both, and the one of version 2 below.
    "Identity 3, SHA-256": (
        "AQAAAAEAACcQAAAAEAABAgMEBQYHCAkKCwwNDg+yWU7rLgUwPZb1Itsmra7cbxw2EFpwpVFIEtP+JIuUEw=="
    ),
    "Identity 3, SHA-512": (
        "AQAAAAIAAYagAAAAEAABAgMEBQYHCAkKCwwNDg/Q8A0WMKbtHQJQ2DHCdoEeeFBrgNlldq6vH4qX/CGqGQ=="
    ),
    "bcrypt": BCRYPT,
    "bcrypt of PHP": BCRYPT.replace("$2b$", "$2y$"),
    "bcrypt of Django": f"bcrypt${BCRYPT}",
    "bcrypt of Django, of a SHA-256": (
        "bcrypt_sha256$$2b$04$4gAiDtu97bhUrhKe9p3houMpibPTIXnFZz6f6vXC2V/4bwz0lvkwq"
    ),
    "argon2id": ARGON2,
    "argon2id of Django": f"argon2{ARGON2}",
    "argon2id, spelt otherwise": ARGON2.replace("m=64,t=1", "m=064,t=01") + "==",
    "scrypt": SCRYPT,
    "scrypt of Django": (
        "scrypt$16$0123456789abcdef$8$5$tt+jPNGXfbXe9ZSo2TNDPiOgQ4gBTuSdcdMr+DhO56FjIcOebRmI8a6W6chO"
        "/Wfjp27M2RAq6gJNv6P2Wm6oPw=="
    ),
    "PBKDF2": (
        "$pbkdf2-sha512$12000$MDEyMzQ1Njc4OWFiY2RlZg$/Ncq6EHMMbXtroZ0v9Ce0BkQI.WOzp/fjiW2gKeBcsoaT31T"
        "Qjy22JT84rtCvoamjlLgfcsBErRhMxAhfy9Hbw"
    ),
    "PBKDF2 of Django": (
        "pbkdf2_sha256$10000$0123456789abcdef$Iim1Bm40PSE3Amh6Lm//2cjscVOJ1ife02ors8lKhSc="
    ),
}
FAST = {
    "Identity 2": IDENTITY_2,
    "PBKDF2 with few iterations": "$pbkdf2$1200$MDEyMzQ1Njc4OWFiY2RlZg$9n1u40ZCW5TWQXu3SWpactJizNI",
    "PBKDF2-SHA1 of Django": "pbkdf2_sha1$9999$0123456789abcdef$vXfCN/8cWv22w76GhaWOE7DiZOc=",
    "SSHA": "{SSHA}OhJ+r73Rc9Fzjbo263MfFIHkhu8wMTIzNDU2Nw==",
    "SSHA512": (
        "{SSHA512}GMFPaogEdDZRJCLcyLpiFBWnLxTtZggkpY3bGcMulb398NkXTl4/ZjyrQpogo9P5FfdnWjMQwBEhsBeACnt"
        "H2zAxMjM0NTY3"
    ),
    "SMD5": "{SMD5}9mJelUS800Djn8SsNA6zPDAxMjM0NTY3",
    "SHA without a salt": "{SHA}ovj3+hlaCAoipokEHaqPIET58zY=",
    "MD5 of Django": "md5$0123456789abcdef$e5afed7de5d6843f3d3bf36a4b2c42ca",
    "SHA-256, salt first": "sha256$abc$" + hashlib.sha256(b"abc" + MINE.encode()).hexdigest(),
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash of the service's own takes a moment only."""
    monkeypatch.setattr(PBKDF2PasswordHasher, "iterations", 5_000)


def stored(text: str) -> str:
    taken = hashes.read(text)
    return taken.wrapped() if isinstance(taken, Fast) else taken


@pytest.mark.django_db
@pytest.mark.parametrize("text", [pytest.param(h, id=name) for name, h in (SLOW | FAST).items()])
def test_an_imported_hash_lets_in_once_and_is_replaced(text: str) -> None:
    user = make_user("dora")
    User.objects.filter(pk=user.pk).update(password=stored(text))

    def enter(password: str) -> bool:
        with passwords.trying("dora", password, origin=ORIGIN) as tried:
            return tried.factors is not None

    assert not enter("my passwort")
    assert enter(MINE)
    user.refresh_from_db()
    assert user.password.startswith("md5$")  # the first hasher of the tests
    assert enter(MINE)


@pytest.mark.parametrize("text", [pytest.param(h, id=name) for name, h in FAST.items()])
def test_a_fast_hash_is_stored_only_inside_a_slow_one(text: str) -> None:
    inner = hashes.read(text)
    assert isinstance(inner, Fast)
    kept = inner.wrapped()
    assert f"${PBKDF2PasswordHasher.iterations}$" in kept
    assert hashes._text(inner.digest) not in kept
    assert check_password(MINE, kept)


@pytest.mark.parametrize("text", [pytest.param(h, id=name) for name, h in SLOW.items()])
def test_a_slow_hash_is_stored_as_it_is(text: str) -> None:
    assert isinstance(hashes.read(text), str)


def test_only_the_first_72_bytes_count_for_bcrypt() -> None:
    begin = "x" * 72
    kept = stored(bcrypt.hashpw(begin.encode(), BCRYPT[:29].encode()).decode())
    assert check_password(begin, kept)
    assert check_password(f"{begin}y", kept)
    assert not check_password(begin[:-1], kept)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "format"),
        ("correct horse", "format"),
        ("A" * 70, "format"),
        ("$6$salt$" + "x" * 86, "format"),
        (BCRYPT[:-1], "format"),
        (BCRYPT.replace("stuu", "stuv"), "format"),  # bcrypt knows no such salt
        (ARGON2.replace("argon2id", "argon2i"), "format"),
        (ARGON2.replace("MDEyMzQ1Njc4OWFiY2RlZg", "MDEyM"), "format"),
        (BCRYPT.replace("$04$", "$14$"), "costs too much"),
        (ARGON2.replace("m=64,", "m=262145,"), "costs too much"),
        (ARGON2.replace("m=64,t=1", "m=262144,t=4"), "costs too much"),
        (ARGON2.replace("p=1", "p=17"), "costs too much"),
        (SCRYPT.replace("ln=4", "ln=19"), "costs too much"),
        (SCRYPT.replace("ln=4,r=8,p=1", "ln=14,r=8,p=99"), "costs too much"),
        (SCRYPT.replace("ln=4", "ln=99"), "costs too much"),
        ("$pbkdf2-sha256$5000001$MDEyMzQ1$MDEyMzQ1Njc4OWFiY2RlZg", "costs too much"),
        ("pbkdf2_sha256$99999999$salt$MDEyMzQ1Njc4OWFiY2RlZg==", "costs too much"),
        (SCRYPT.replace("ln=4", "ln=0"), "parameters"),
        (SCRYPT.replace("ln=4,r=8", "ln=16,r=1"), "parameters"),  # OpenSSL takes none
        (BCRYPT[:-1] + "T", "format"),  # no hash ends like that
        (f"{SCRYPT}{'!' * 500}", "format"),
        (ARGON2.replace("m=64", "m=7"), "parameters"),
        ("scrypt$15$salt$8$1$MDEyMzQ1Njc4OWFiY2RlZg==", "parameters"),
        ("$pbkdf2-sha256$12000$MDEyMzQ1$MDEy", "too short"),
        ("$pbkdf2-sha256$0$MDEyMzQ1$MDEyMzQ1Njc4OWFiY2RlZg", "too short"),
        ("md5$salt$abcd", "shorter or longer"),
        ("{SSHA}MDEy", "shorter or longer"),
        ("sha1$" + "s" * 64 + "$" + "0" * 40, "too long"),
        (f"$pbkdf2-sha256$12000${'A' * 80}$MDEyMzQ1Njc4OWFiY2RlZg", "too long"),
    ],
)
def test_what_is_no_hash_or_costs_too_much_is_refused(text: str, why: str) -> None:
    with pytest.raises(UnfitHash, match=why) as refused:
        hashes.read(text)
    assert text == "" or text not in str(refused.value)


@pytest.mark.parametrize("text", [BCRYPT, ARGON2, SCRYPT])
def test_a_wrong_password_costs_what_it_costs_others(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.undo()
    spent = 0
    hashed = hashlib.pbkdf2_hmac

    def count(*arguments: object) -> bytes:
        nonlocal spent
        spent += int(str(arguments[3]))
        return hashed("sha256", b"", b"", 1)

    hashes.own_seconds.cache_clear()
    hashes.own_seconds()  # measured once
    monkeypatch.setattr(hashlib, "pbkdf2_hmac", count)
    assert check_password(MINE, stored(text))
    assert not spent
    assert not check_password("another", stored(text))
    # On a busy machine the old hash takes its share of the time.
    assert 0.3 < spent / PBKDF2PasswordHasher.iterations <= 1
