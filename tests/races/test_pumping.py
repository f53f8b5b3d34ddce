"""A pumping attack and a day of honest people, replayed against the service as it runs (S-42)."""

from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from optin.models import AuditEvent, File, SendCounter
from tests.kit.people import make_user, number
from tests.kit.races import at_once
from tests.kit.server import serving
from tests.races.traces import Handsets, attack, honest_day
from tests.races.ways import ByHttp

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize(
    ("requests", "accounts"),
    [
        pytest.param(300, 100, id="300 requests"),
        pytest.param(2_000, 1_000, id="2000 requests", marks=pytest.mark.slow),
    ],
)
def test_a_pumping_attack_gets_few_texts(requests: int, accounts: int, tmp_path: Path) -> None:
    """S-42. As many addresses, many accounts, one prefix: the breaker lets 20 texts out."""
    print(attack(tmp_path, requests, accounts))


@pytest.mark.parametrize(
    ("people", "wait"),
    [
        pytest.param(105, 1, id="230 requests"),
        pytest.param(600, 5, id="1300 requests", marks=pytest.mark.slow),
    ],
)
def test_no_honest_person_is_refused(people: int, wait: int, tmp_path: Path) -> None:
    """S-42. Many users behind one server, many prefixes, four of five prove: while others pump."""
    print(honest_day(tmp_path, people, wait))


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["OPTIN_BREAKER_UNPROVED", "OPTIN_BREAKER_TEXTS"])
def test_a_breaker_closes_after_exactly_the_allowed_texts(tmp_path: Path, setting: str) -> None:
    """Four processes, all at once (S-41); proofs are counted as exactly."""
    file = File.objects.create(id=1, name="file")
    env = {
        **dict.fromkeys(
            ("OPTIN_SENDS_PER_CLIENT", "OPTIN_SENDS_PER_FILE", "OPTIN_SENDS_TOTAL"), "0"
        ),
        "OPTIN_BREAKER_UNPROVED": "1000",
        setting: "7",
    }
    with serving(tmp_path, env, workers=4) as server:
        way = ByHttp(server)
        users = [make_user(f"user{n}", file) for n in range(60)]
        for user in users:
            way.let_in(user, file)
        asking = [partial(way.opt_in, user, file, number(n)) for n, user in enumerate(users)]
        assert Counter(at_once(asking)) == {"ok": 7, "send_limit": 53}

        phones = Handsets(tmp_path / "sms.jsonl")
        sent = AuditEvent.objects.filter(kind=AuditEvent.Kind.OPT_IN, outcome="sent")
        by_pk = {user.pk: (n, user) for n, user in enumerate(users)}
        proving = [
            partial(
                way.verify,
                by_pk[event.user_id][1],  # type: ignore[index]
                file,
                event.provider_user_id or 0,
                phones.code(number(by_pk[event.user_id][0])),  # type: ignore[index]
            )
            for event in sent
        ]
        assert Counter(at_once(proving)) == {"ok": 7}
        assert way.texts() == 7
    rows = SendCounter.objects.filter(scope__regex="^(prefix|region)/")
    assert {(row.count, row.verified) for row in rows} == {(7, 7)}
