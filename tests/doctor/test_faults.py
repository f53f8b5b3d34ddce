"""The doctor finds each fault of a running installation, and gives no false alarm."""

from collections.abc import Iterator

import pytest

from tests.doctor.faults import SEEDS, Seed
from tests.doctor.installation import Installation, installed

pytestmark = pytest.mark.long

PATIENCE = 40
"""Seconds that the doctor may take, whatever hangs."""


@pytest.fixture(autouse=True)
def clock() -> None:
    """Time goes on here, as in the processes of the installation."""


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installed(tmp_path_factory.mktemp("installation")) as made:
        yield made


def complaints(said: dict[str, object]) -> list[dict[str, str]]:
    findings = said["findings"]
    assert isinstance(findings, list)
    return [one for one in findings if one["level"] in {"fault", "warning"}]


def test_all_is_well_if_nothing_is_wrong(installation: Installation) -> None:
    said, _ = installation.doctor()
    assert complaints(said) == []
    assert said["faults"] == 0


@pytest.mark.parametrize("seed", SEEDS, ids=str)
def test_a_fault_is_named_and_no_other(installation: Installation, seed: Seed) -> None:
    with seed.breaks(installation) as env:
        said, took = installation.doctor(**(env if isinstance(env, dict) else {}))
    found = complaints(said)
    first = [one for one in found if one["check"] == seed.check and one["level"] == seed.level]
    assert first, found
    assert all(seed.says in one["text"] for one in first), found
    assert [one for one in found if one not in first] == []
    assert first[0]["do"]
    assert took < PATIENCE
