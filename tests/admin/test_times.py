"""Times on pages of staff: short, and whole on hover."""

import pytest
import time_machine

from optin.admin.times import times

NOW = "2026-12-01T18:00:00+11:00"


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("since 2026-12-01 12:00 AEDT, from here", "1 Dec 12:00</time> (6 hours ago), from here"),
        ("until 2026-12-01 18:20:30 AEDT.", "1 Dec 18:20</time> (in 20 minutes)."),
        ("2025-07-01 09:05 AEST", "1 Jul 2025 09:05</time> (518 days ago)"),
        ("between 2026-12-01 12:00 AEDT and 2026-12-01 13:00 AEDT", "1 Dec 13:00</time>"),
        ("the clocks went back: 2026-04-05 02:30 AEST", "5 Apr 02:30</time> (240 days ago)"),
    ],
)
def test_a_time_is_short_and_says_how_long_ago(words: str, shown: str) -> None:
    with time_machine.travel(NOW, tick=False):
        html = times(words)
    assert html.endswith(shown)
    assert 'title="20' in html


@pytest.mark.parametrize("words", ["2026-99-99 12:00 AEDT", "2026-12-01 12:00", "12:00 AEDT"])
def test_what_is_no_time_of_ours_stays(words: str) -> None:
    assert times(words) == words


def test_what_others_wrote_is_escaped() -> None:
    assert times("<b>2026-12-01 12:00 AEDT</b>").startswith("&lt;b&gt;<time ")
