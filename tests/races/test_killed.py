"""kill -9 in the middle of it."""

import itertools
from collections import Counter
from functools import partial
from http.client import HTTPException
from pathlib import Path

import pytest
from django.db import transaction

from optin.models import AuditEvent, File, PendingOtp, User
from tests.kit.people import make_user, number
from tests.kit.races import at_once
from tests.kit.server import Server, serving
from tests.races.ways import ByHttp, pend, wrong_codes

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

KILLS = 10
CUT_OFF = "cut off"


def state(user: User, pending: PendingOtp) -> tuple[int, int, int]:
    """The tries of the code, the failures of the user, the guesses in the audit trail.

    Read under the lock of the user: after whatever a killed worker had under way.
    """
    with transaction.atomic():
        failures = User.objects.locked(user.pk).failures
        tries = PendingOtp.objects.get(pk=pending.pk).tries
        events = AuditEvent.objects.filter(user_id=user.pk, data__has_key="try").count()
    return tries, failures, events


@pytest.mark.slow
def test_the_count_is_never_lower_than_what_was_answered(tmp_path: Path, file: File) -> None:
    """S-04, S-63."""
    limits = {"OPTIN_OTP_TRIES": "10", "OPTIN_LOCK_AFTER": "100", "OPTIN_DISABLE_AFTER": "50"}
    cut_off = 0
    with serving(tmp_path, limits) as server:
        way = ByHttp(server)
        for n in range(KILLS):
            user = make_user(f"user{n}", file)
            way.let_in(user, file)
            pending = pend(user, file, number(n))

            answers = guesses_around_a_kill(server, way, pending, kill_after=n % 5 + 1)

            tries, failures, events = state(user, pending)
            assert answers["otp_incorrect"] <= tries <= 10
            assert tries == failures == events  # all or nothing
            assert set(answers) <= {"otp_incorrect", "otp_exhausted", CUT_OFF}
            assert tries == 10 or not answers["otp_exhausted"]
            cut_off += answers[CUT_OFF]
    assert cut_off >= KILLS, "the kills came too late to show anything"


def guesses_around_a_kill(
    server: Server, way: ByHttp, pending: PendingOtp, kill_after: int
) -> Counter[str]:
    """Send wrong codes from all sides; kill all workers after the n-th answer."""
    row = pending.provider_user
    answered = itertools.count(1)

    def guess(code: str) -> str:
        try:
            answer = way.verify(row.user, row.file, row.pk, code)
        except (OSError, HTTPException):
            return CUT_OFF
        if next(answered) == kill_after:
            server.kill_workers()
        return answer

    return Counter(at_once([partial(guess, code) for code in wrong_codes(pending, 32)]))
