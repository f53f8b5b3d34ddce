"""What workers write into the log: ids, and nothing that is done each minute."""

import pytest
from procrastinate.contrib.django import app

from optin.gateways import Fate, SmsError
from optin.messaging import delivery
from optin.models import File
from tests.kit.logs import Lines, lines
from tests.kit.people import number
from tests.kit.phone import Phone
from tests.workers.jobs import texts, work

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]


written = pytest.fixture(lambda: (yield from lines("json")), name="written")


def of_jobs(written: Lines) -> list[str]:
    """The lines of Procrastinate's that an operator sees, but for those at a stop."""
    return [
        line["event"]
        for line in written.all
        if line["logger"].startswith("procrastinate")
        and line["level"] != "debug"
        and not line["event"].startswith("Waiting")
    ]


def test_a_job_leaves_two_lines_with_ids(file: File, phone: Phone, written: Lines) -> None:
    """S-50."""
    (message,) = texts(1, file)
    work()
    lines = [line for line in of_jobs(written) if "send_text" in line]
    assert len(lines) == 2
    assert all(f"(pk={message.pk})" in line for line in lines)
    for secret in (number(0), number(0)[3:], phone.code()):
        assert secret not in written.text


def test_a_job_that_is_to_be_tried_again_has_no_frames(
    file: File, phone: Phone, written: Lines
) -> None:
    phone.fail_with = SmsError("the gateway could not be reached", Fate.TRY_ANOTHER)
    texts(1, file)
    work()
    assert any("Error, to retry" in line for line in of_jobs(written))
    assert "NotYet" not in written.text


def test_a_job_that_fails_has_frames(
    file: File, written: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> bool:
        raise ValueError("of a bug, with a secret")

    texts(1, file)
    monkeypatch.setattr(delivery, "send_one", fail)
    work()
    assert "builtins.ValueError" in written.text
    assert "with a secret" not in written.text


def test_what_is_done_each_minute_is_not_told(db: None, written: Lines) -> None:
    app.configure_task("sweep").defer(timestamp=0)
    work("upkeep")
    assert not [line for line in of_jobs(written) if "sweep" in line]
