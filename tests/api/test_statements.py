"""How many statements a guess takes: few, and the same however many rows there are."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from optin import codes, keys
from optin.models import AccessKey, AuditEvent, File, Membership, PendingOtp, ProviderUser, User
from tests.kit.clients import statements
from tests.kit.phone import Phone, wrong

pytestmark = pytest.mark.django_db(transaction=True)

MANY = 100_000


@pytest.fixture(
    params=[
        pytest.param(0, id="one row"),
        pytest.param(MANY, id="100 000 rows", marks=pytest.mark.slow),
    ]
)
def crowd(request: pytest.FixtureRequest, file: File) -> int:
    """As many other people as the parameter says, each with a code and an event."""
    count: int = request.param
    now = timezone.now()
    users = User.objects.bulk_create(
        (User(username=f"p{i}", email=f"p{i}@example.com", password="!") for i in range(count)),
        batch_size=2000,
    )
    Membership.objects.bulk_create(
        (Membership(user=user, file=file) for user in users), batch_size=2000
    )
    rows = ProviderUser.objects.bulk_create(
        (
            ProviderUser(
                user=user,
                file=file,
                number_encrypted="-",
                number_digest=keys.sha256(user.username),
                last_three="000",
                created_at=now,
            )
            for user in users
        ),
        batch_size=2000,
    )
    PendingOtp.objects.bulk_create(
        (
            PendingOtp(
                provider_user=row,
                purpose="opt_in",
                file=file,
                nonce=codes.new_nonce(),
                key_id="-",
                digits=7,
                issued_at=now,
                expires_at=now + timedelta(minutes=10),
            )
            for row in rows
        ),
        batch_size=2000,
    )
    AuditEvent.objects.bulk_create(
        (AuditEvent(at=now, kind="opt_in", face="api", user_id=user.pk) for user in users),
        batch_size=2000,
    )
    return count


def test_a_guess_takes_few_statements(
    crowd: int,
    access_key: str,
    pending: ProviderUser,
    client: Client,
    phone: Phone,
) -> None:
    url = f"/User/verify-2fa-opt-in?FileId=777&WsAccessKey={access_key}"
    code = phone.code()
    # The first request writes the time at which the key was last used.
    statements(client, url, wrong(code), pending)

    wrong_code = statements(client, url, wrong(code), pending)
    right_code = statements(client, url, code, pending)

    assert len(wrong_code) <= 6, wrong_code
    assert len(right_code) <= 12, right_code
    # The very same, whatever the size: nothing is read row by row.
    assert (len(wrong_code), len(right_code)) == (5, 11)


def test_unknown_and_foreign_ids_take_the_same_statements(
    access_key: str, pending: ProviderUser, stranger: User, file: File, client: Client
) -> None:
    """S-09: which one it was does not show in what the database is asked."""
    url = f"/User/verify-2fa-opt-in?FileId=777&WsAccessKey={access_key}"
    foreign = ProviderUser.objects.create(
        user=stranger,
        file=file,
        number_encrypted="-",
        number_digest=keys.sha256("foreign"),
        last_three="000",
        created_at=timezone.now(),
    )
    unknown = ProviderUser(pk=foreign.pk + 1000)
    statements(client, url, "0000000", unknown)

    asked = [
        [re.sub("[0-9]+", "N", sql) for sql in statements(client, url, "0000000", row)]
        for row in (foreign, unknown)
    ]

    assert len(asked[0]) == len(asked[1])
    # All but the event, which names the id.
    assert asked[0][:-1] == asked[1][:-1]


def test_a_key_and_its_file_are_found_by_one_statement(
    access_key: str, client: Client, pending: ProviderUser, user: User
) -> None:
    """Authentication: one statement, by the digest, reads the file too."""
    url = f"/User/verify-2fa-opt-in?FileId=777&WsAccessKey={access_key}"
    client.post(url, "{}", content_type="application/json")
    assert AccessKey.objects.get(user=user).last_used_at is not None

    with CaptureQueriesContext(connection) as captured:
        client.post(url, "{}", content_type="application/json")

    assert len(captured.captured_queries) == 1
