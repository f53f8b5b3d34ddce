"""However many attempts come at once, they are judged one after the other."""

import random
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest
from pytest_django.fixtures import Settings

from optin.models import AuditEvent, File, PendingOtp, ProviderUser, Purpose, SmsMessage, User
from optin.operations import challenges, opt_ins, staff_actions
from optin.outcomes import SendOutcome
from tests.kit.people import NUMBER, ORIGIN, make_user, number
from tests.kit.races import at_once
from tests.kit.trail import decisions
from tests.races.ways import ALL_ROUNDS, ROUNDS, ByHttp, member, pend, wrong_codes

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]


def audited(user: User) -> Counter[str]:
    """How often each outcome of an attempt of *user* stands in the audit trail."""
    asked = {AuditEvent.Kind.OPT_IN, AuditEvent.Kind.CHALLENGE}
    found: Counter[str] = Counter()
    for (kind, outcome, _), count in decisions(user_id=user.pk).items():
        found[outcome] += count * (kind not in asked)
    return +found


@pytest.mark.parametrize("rounds", ROUNDS)
def test_of_200_wrong_codes_at_once_exactly_five_are_compared(
    way: ByHttp, rounds: int, file: File
) -> None:
    """S-03."""
    for n in range(rounds):
        user = member(way, f"user{n}", file)
        pending = pend(user, file, number(n))
        verify = partial(way.verify, user, file, pending.provider_user_id)

        answers = Counter(at_once([partial(verify, code) for code in wrong_codes(pending, 200)]))

        assert answers == {"otp_incorrect": 5, "otp_exhausted": 195}
        assert audited(user) == answers
        user.refresh_from_db()
        pending.refresh_from_db()
        assert (user.failures, pending.tries) == (5, 5)


@pytest.mark.parametrize("rounds", ROUNDS)
def test_of_20_opt_ins_at_once_exactly_one_sends_a_text(
    way: ByHttp, rounds: int, file: File
) -> None:
    """S-40."""
    for n in range(rounds):
        user = member(way, f"user{n}", file)
        before = way.texts()

        answers = Counter(at_once([partial(way.opt_in, user, file, number(n))] * 20))

        assert answers == {"ok": 1, "send_limit": 19}
        assert way.texts() - before == 1
        assert SmsMessage.objects.filter(pending_otp__provider_user__user=user).count() == 1
        assert decisions(user_id=user.pk).total() == 20


@pytest.mark.parametrize("rounds", ALL_ROUNDS)
def test_a_number_that_two_users_prove_at_once_goes_to_exactly_one(
    way: ByHttp, rounds: int, file: File, settings: Settings
) -> None:
    """S-02: they lock different rows, so the database decides."""
    settings.OPTIN_RESEND_WAIT = (0,)
    for n in range(rounds):
        users = [member(way, f"user{n}{side}", file) for side in "ab"]
        codes = [pend(user, file, number(n)) for user in users]
        proofs = [
            partial(way.verify, user, file, pending.provider_user_id, pending.code())
            for user, pending in zip(users, codes, strict=True)
        ]

        answers = Counter(at_once(proofs))

        assert answers == {"ok": 1, "mobile_number_in_use": 1}
        assert Counter(audited(users[0]) + audited(users[1])) == answers
        rows = ProviderUser.objects.filter(user__in=users)
        assert sorted(rows.values_list("confirmed", flat=True)) == [False, True]
        # Both codes are used up, and nobody has failed.
        closed = PendingOtp.objects.filter(provider_user__in=rows).values_list("closed_as")
        assert set(closed) == {(PendingOtp.Closed.VERIFIED,)}
        assert set(User.objects.values_list("otp_failures")) == {(0,)}
        loser, owner = rows.order_by("confirmed")
        refusal = AuditEvent.objects.get(user_id=loser.user_id, outcome="mobile_number_in_use")
        assert refusal.other_user_id == owner.user_id


def three_numbers(user: User, file: File) -> list[PendingOtp]:
    return [pend(user, file, number(n)) for n in range(3)]


def three_purposes(user: User, file: File) -> list[PendingOtp]:
    first = pend(user, file, NUMBER)
    opt_ins.verify_opt_in(user, file, first.provider_user_id, first.code(), origin=ORIGIN)
    for purpose in (Purpose.SIGN_IN, Purpose.OPT_OUT, Purpose.CHANGE):
        assert challenges.challenge(user, purpose, origin=ORIGIN).outcome is SendOutcome.SENT
    return list(PendingOtp.objects.open().select_related("provider_user"))


def guess(user: User, file: File, pending: PendingOtp, code: str) -> str:
    if pending.purpose == Purpose.OPT_IN:
        row_id = pending.provider_user_id
        return opt_ins.verify_opt_in(user, file, row_id, code, origin=ORIGIN).outcome
    return challenges.check(user, Purpose(pending.purpose), code, origin=ORIGIN).outcome


@pytest.mark.parametrize("pending_codes", [three_numbers, three_purposes])
@pytest.mark.parametrize("rounds", ROUNDS)
def test_guesses_at_several_codes_at_once_lock_at_the_tenth(
    pending_codes: Callable[[User, File], list[PendingOtp]],
    rounds: int,
    file: File,
    settings: Settings,
) -> None:
    """S-05: one count over all numbers, by a program, and over all purposes, by the person."""
    settings.OPTIN_RESEND_WAIT = (0,)
    settings.OPTIN_SENDS_PER_NUMBER = settings.OPTIN_SENDS_PER_CLIENT = ()
    for n in range(rounds):
        user = make_user(f"user{n}", file)
        pending = pending_codes(user, file)
        guesses = [(otp, code) for otp in pending for code in wrong_codes(otp, 20)]
        # Seeded: it mixes the codes, and a failure can be repeated.
        random.Random(n).shuffle(guesses)

        answers = Counter(at_once([partial(guess, user, file, *each) for each in guesses]))

        assert answers["otp_incorrect"] == 10
        assert set(answers) <= {"otp_incorrect", "otp_exhausted", "locked"}
        user.refresh_from_db()
        assert user.failures == 10
        assert user.otp_locked_until or user.program_locked_until
        tries = [PendingOtp.objects.get(pk=otp.pk).tries for otp in pending]
        assert sum(tries) == 10
        assert max(tries) <= 5
        # Releases the number for the next round.
        staff_actions.revoke(user, reason="the round is over", origin=ORIGIN)


@pytest.mark.parametrize("rounds", ROUNDS)
def test_new_texts_amid_the_guesses_do_not_start_the_count_again(
    rounds: int, file: File, settings: Settings
) -> None:
    """S-05: a used-up code makes way for a new one, and the tenth failure locks all the same."""
    settings.OPTIN_RESEND_WAIT = (0,)
    settings.OPTIN_SENDS_PER_NUMBER = settings.OPTIN_SENDS_PER_CLIENT = ()
    settings.OPTIN_SENDS_PER_USER = settings.OPTIN_SENDS_PER_FILE = ()

    def send_again(user: User, mobile: str) -> str:
        return opt_ins.opt_in(user, file, mobile, origin=ORIGIN).outcome

    for n in range(rounds):
        user = make_user(f"user{n}", file)
        pending = pend(user, file, number(n))
        calls = [partial(guess, user, file, pending, code) for code in wrong_codes(pending, 60)]
        calls += [partial(send_again, user, number(n))] * 20
        random.Random(n).shuffle(calls)

        answers = Counter(at_once(calls))

        user.refresh_from_db()
        assert user.failures == answers["otp_incorrect"] == 10
        codes = PendingOtp.objects.filter(provider_user__user=user)
        assert sorted(codes.values_list("tries", flat=True)) == [5, 5]
