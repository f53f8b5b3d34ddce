"""Refresh tokens: kept or rotated, narrowed but never widened, ended by what must end them."""

import json
from collections.abc import Callable

import pytest
import time_machine
from django.conf import LazySettings
from django.http import HttpResponse
from oauth2_provider.models import RefreshToken

from optin.models import AuditEvent, File, Membership, User
from optin.operations import sign_in
from tests.kit.clients import Answer, Api, Tokens, bearer, error
from tests.kit.oauth import ENDINGS, change_password, make_client, post
from tests.kit.phone import Phone

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("password_clients")]

REFUSED = (400, "invalid_grant")
DAY = 86400


@pytest.fixture
def old(user: User) -> Answer:
    """Tokens of ``user``, who has no second factor."""
    return Tokens().sign_in()


def works(answer: Answer) -> bool:
    status = Api(token=answer.data["access_token"]).ping().status
    assert status in {200, 401}
    return status == 200


def refresh(answer: Answer, scope: str | None = None) -> Answer:
    return Tokens().refresh(answer.data["refresh_token"], scope=scope)


@pytest.fixture
def rotating(settings: LazySettings) -> None:
    settings.OPTIN_PASSWORD_CLIENTS_ROTATE = True


# -- kept, by default --------------------------------------------------------------


def test_the_access_token_of_before_ends_with_the_refresh(old: Answer) -> None:
    """The tests of the vendor's .NET client expect it, and that the refresh token stays."""
    other, second = Tokens().sign_in(), refresh(old)
    assert second.data["refresh_token"] == old.data["refresh_token"]
    third = refresh(old)
    assert [works(one) for one in (old, second, third, other)] == [False, False, True, True]


def test_lifetimes_are_settings(
    user: User, clock: time_machine.Traveller, settings: LazySettings
) -> None:
    settings.OPTIN_ACCESS_TOKEN_LIFETIME = 10_800
    settings.OPTIN_REFRESH_TOKEN_LIFETIME = 365 * DAY
    old = Tokens().sign_in()
    assert old.data["expires_in"] == 10_800
    clock.shift(10_799.9)
    assert works(old)
    clock.shift(0.1)
    assert not works(old)
    assert refresh(old).status == 200  # its age counts from its issue
    clock.shift(365 * DAY - 10_800.1)
    new = refresh(old)
    assert new.data["expires_in"] == 10_800
    clock.shift(0.1)
    assert error(refresh(old)) == REFUSED


def revoke(answer: Answer, kind: str) -> HttpResponse:
    return post("revoke_token", {"token": answer.data[kind]}, "password-clients", secret="")


@pytest.mark.parametrize("which", ["refresh", "first", "last"])
def test_revocation_ends_all_that_came_from_it(old: Answer, which: str) -> None:
    """RFC 7009 2.1: by any of its tokens; another sign-in is another matter."""
    other = Tokens().sign_in()
    later = [refresh(old), refresh(old)]
    answer = later[-1] if which == "last" else old

    kind = "refresh_token" if which == "refresh" else "access_token"
    assert revoke(answer, kind).status_code == 200

    assert [works(one) for one in (old, *later)] == [False] * 3
    assert error(refresh(old)) == REFUSED
    assert works(other)
    assert refresh(other).status == 200


def test_access_tokens_can_be_revoked_after_a_new_password(
    user: User, file: File, phone: Phone, old: Answer
) -> None:
    """It ends the refresh token; the access tokens live on for their hour."""
    later = refresh(old)
    change_password(user, file, phone)
    assert works(later)

    revoke(old, "refresh_token")

    assert not works(later)


def test_it_is_refreshed_here_alone(old: Answer) -> None:
    """Under /o/ whoever took it would have a new one for ever, and its own client none."""
    body = {"grant_type": "refresh_token", "refresh_token": old.data["refresh_token"]}
    response = post("token", body, "password-clients", secret="")
    assert (response.status_code, json.loads(response.content)["error"]) == (
        400,
        "unauthorized_client",
    )
    assert works(old)
    assert refresh(old).status == 200


def test_rotation_turned_off_and_on(
    old: Answer, settings: LazySettings, clock: time_machine.Traveller
) -> None:
    """What was used up stays so; that its family ends by it depends on the setting."""
    settings.OPTIN_PASSWORD_CLIENTS_ROTATE = True
    new = refresh(old)
    settings.OPTIN_PASSWORD_CLIENTS_ROTATE = False
    assert error(refresh(old)) == REFUSED
    later = refresh(new)
    assert works(later)

    settings.OPTIN_PASSWORD_CLIENTS_ROTATE = True
    clock.shift(10)
    assert error(refresh(old)) == REFUSED
    assert not works(later)
    assert error(refresh(new)) == REFUSED


def test_narrowed_once_is_not_narrowed_for_ever(user: User, two_files: None) -> None:
    old = Tokens().sign_in()
    assert refresh(old, "full fileid:888").data["scope"] == "full fileid:888"
    assert refresh(old).data["scope"] == "full fileid:777 fileid:888"
    assert error(refresh(old, "2fa")) == (400, "invalid_scope")


# -- rotated, where an operator wants that -----------------------------------------


@pytest.mark.usefixtures("rotating")
def test_one_body_for_all_that_is_wrong_with_a_token(
    user: User, old: Answer, clock: time_machine.Traveller
) -> None:
    refresh(old)
    clock.shift(10)
    unknown = ("unknown", "x" * 512, bearer(user))
    answers = [refresh(old), *(Tokens().refresh(token) for token in unknown)]

    assert {error(answer) for answer in answers} == {REFUSED}
    assert len({answer.content for answer in answers}) == 1
    assert error(Tokens().refresh("x" * 513)) == (400, "invalid_request")


@pytest.mark.usefixtures("rotating")
def test_a_refresh_is_repeated_within_ten_seconds(
    old: Answer, clock: time_machine.Traveller
) -> None:
    """S-34. Its answer was lost, or another thread has it: both serve, until one goes on."""
    apart = Tokens().sign_in()  # of another family
    other = refresh(old)
    assert list(other.data) == list(old.data)
    clock.shift(9.9)
    again = refresh(old)
    assert again.data["scope"] == other.data["scope"] == old.data["scope"]
    assert again.data["refresh_token"] != other.data["refresh_token"]
    assert [works(tokens) for tokens in (old, other, again)] == [False, True, True]

    newest = refresh(again)
    assert [works(tokens) for tokens in (other, again, newest)] == [False, False, True]
    clock.shift(3600)
    newest = refresh(newest)
    assert works(newest)
    # Whoever has the other answer is not the one who went on.
    assert error(refresh(other)) == REFUSED
    assert not works(newest)
    assert error(refresh(newest)) == REFUSED
    assert refresh(apart).status == 200
    events = AuditEvent.objects.filter(kind="refresh").order_by("id")
    outcomes = [event.outcome for event in events]
    assert outcomes == ["issued"] * 4 + ["invalid_refresh", "issued"]


@pytest.mark.usefixtures("rotating", "two_files")
def test_a_repeated_refresh_gets_no_more_than_the_first(user: User) -> None:
    old = Tokens().sign_in(scope="full 2fa")
    refresh(old, "2fa fileid:777")
    assert refresh(old).data["scope"] == "2fa fileid:777"
    assert error(refresh(old, "full")) == (400, "invalid_scope")


@pytest.mark.usefixtures("rotating")
def test_thirty_days_begin_with_each_rotation(old: Answer, clock: time_machine.Traveller) -> None:
    for _ in range(3):
        clock.shift(29 * DAY)
        old = refresh(old)
        assert old.status == 200


# -- scope -------------------------------------------------------------------------


@pytest.fixture
def two_files(user: User, other_file: File) -> None:
    Membership.objects.create(user=user, file=other_file)


@pytest.mark.usefixtures("two_files", "rotating")
@pytest.mark.parametrize(
    ("had", "asked", "granted"),
    [
        ("", None, "full fileid:777 fileid:888"),
        ("2fa fileid:777", "fileid:777 2fa", "2fa fileid:777"),
        # Without its files a token would work for all of them.
        ("full fileid:777", "full", "full fileid:777"),
        ("full 2fa fileid:777", "2fa", "2fa fileid:777"),
        ("full modify fileid:777", "MODIFY FileId:777", "modify fileid:777"),
        # Without its words it would work for nothing.
        ("2fa", "fileid:888", "2fa fileid:888"),
    ],
)
def test_scope_is_narrowed(user: User, had: str, asked: str | None, granted: str) -> None:
    new = refresh(Tokens().sign_in(scope=had), asked)

    assert new.data["scope"] == granted
    for file_id in (777, 888):
        answer = Api(token=new.data["access_token"], file_id=file_id).opt_out()
        assert (answer.status == 403) == (f"fileid:{file_id}" not in granted)
    # What was given up is gone.
    assert refresh(new).data["scope"] == granted


@pytest.mark.usefixtures("two_files")
@pytest.mark.parametrize(
    ("had", "asked"),
    [
        ("full fileid:777", "full fileid:777 fileid:888"),
        ("2fa", "full"),
        ("full", "2fa"),
        ("full", "fileid:0777"),
    ],
)
def test_scope_is_never_widened(user: User, had: str, asked: str) -> None:
    """... and the token that asked stays good."""
    old = Tokens().sign_in(scope=had)

    assert error(refresh(old, asked)) == (400, "invalid_scope")
    assert works(old)
    assert refresh(old).status == 200


# -- what ends them ----------------------------------------------------------------


def disable_password_clients(user: User, file: File, phone: Phone) -> None:
    sign_in.disable_password_clients()
    sign_in.enable_password_clients()


@pytest.mark.parametrize("end", [*ENDINGS, disable_password_clients])
def test_ended(
    user: User, file: File, phone: Phone, old: Answer, end: Callable[[User, File, Phone], None]
) -> None:
    """S-34."""
    end(user, file, phone)

    assert error(refresh(old)) == REFUSED


@pytest.mark.usefixtures("rotating")
@pytest.mark.parametrize(
    ("which", "kind"),
    [(0, "refresh_token"), (1, "refresh_token"), (1, "access_token"), (2, "refresh_token")],
)
def test_revoked_before_it_was_repeated(old: Answer, which: int, kind: str) -> None:
    """Also by the token that was replaced, if its client has no other."""
    given = [old, refresh(old), refresh(old)]

    assert revoke(given[which], kind).status_code == 200

    assert [works(tokens) for tokens in given] == [False] * 3
    assert [error(refresh(tokens)) for tokens in given] == [REFUSED] * 3


@pytest.mark.usefixtures("rotating")
def test_too_old_before_it_was_repeated(old: Answer, clock: time_machine.Traveller) -> None:
    clock.shift(30 * DAY - 1)
    assert refresh(old).status == 200
    clock.shift(1)
    assert error(refresh(old)) == REFUSED


def test_tokens_of_other_applications(user: User) -> None:
    """A client with an id of its own refreshes at /o/token/, where it must prove it."""
    tokens = Tokens().sign_in()
    RefreshToken.objects.update(application=make_client("authorization-code"))

    assert error(refresh(tokens)) == REFUSED
    assert not RefreshToken.objects.exclude(revoked=None).exists()
