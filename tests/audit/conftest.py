"""A trail to seal, to tamper with, and to check."""

from collections.abc import Callable

import pytest


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The lines of ``optin.audit`` so far, without those of events."""

    def lines() -> list[str]:
        records = [*caplog.get_records("setup"), *caplog.get_records("call")]
        said = [record.getMessage() for record in records if record.name == "optin.audit"]
        return [line for line in said if line != "audit event"]

    return lines
