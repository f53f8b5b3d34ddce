"""A trail to seal, to tamper with, to check, and to stream to a file."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from tests.audit.streamed import write


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The lines of ``optin.audit`` so far."""

    def lines() -> list[str]:
        records = [*caplog.get_records("setup"), *caplog.get_records("call")]
        return [record.getMessage() for record in records if record.name == "optin.audit"]

    return lines


@pytest.fixture
def target(tmp_path: Path, settings: Settings) -> Path:
    """The file to which the stream is written, if somebody begins it."""
    path = tmp_path / "audit.jsonl"
    settings.OPTIN_AUDIT_STREAM = f"file:{path}"
    return path


@pytest.fixture
def stream(target: Path, db: None) -> Path:
    """The same, begun."""
    assert write() == 0
    return target
