"""The worlds of the domain's tests."""

from tests.domain.conftest import world

__all__ = ["world"]
