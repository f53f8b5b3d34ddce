"""However many processes count, a breaker closes after exactly the allowed texts (S-41, S-42)."""

import json
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from optin.models import File, Guard, ProviderUser, SendCounter
from tests.kit.people import make_user, number
from tests.kit.races import at_once
from tests.kit.server import serving
from tests.races.ways import ByHttp

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["OPTIN_BREAKER_UNPROVED", "OPTIN_BREAKER_TEXTS"])
def test_a_breaker_closes_after_exactly_the_allowed_texts(tmp_path: Path, setting: str) -> None:
    """Four processes, all at once; proofs are counted as exactly, and other prefixes stay open."""
    file = File.objects.create(id=1, name="file")
    off = ("OPTIN_SENDS_PER_CLIENT", "OPTIN_SENDS_PER_FILE", "OPTIN_SENDS_TOTAL")
    env = {**dict.fromkeys(off, "0"), "OPTIN_BREAKER_UNPROVED": "1000", setting: "7"}
    with serving(tmp_path, env, workers=4) as server:
        way = ByHttp(server)
        users = {number(n): make_user(f"user{n}", file) for n in [*range(60), 20_000, 30_000]}
        for user in users.values():
            way.let_in(user, file)
        *asking, first, second = (
            partial(way.opt_in, user, file, mobile) for mobile, user in users.items()
        )
        assert Counter(at_once(asking)) == {"ok": 7, "send_limit": 53}
        # Many found that it must be closed; one told.
        assert (tmp_path / "server.log").read_text().count("A prefix was closed") == 1
        assert Guard.objects.filter(kind=Guard.Kind.BREAKER).count() == 1

        texts = map(json.loads, (tmp_path / "sms.jsonl").read_text().splitlines())
        codes = {users[text["to"]]: text["body"].split()[0] for text in texts}
        proving = [
            partial(way.verify, user, file, ProviderUser.objects.get(user=user).pk, code)
            for user, code in codes.items()
        ]
        assert Counter(at_once(proving)) == {"ok": 7}
        rows = SendCounter.objects.filter(scope__regex="^(prefix|region)/")
        assert {(row.count, row.verified) for row in rows} == {(7, 7)}
        assert [first(), second()] == ["ok", "ok"]
        assert way.texts() == 9
