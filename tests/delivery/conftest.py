"""The worlds of the domain's tests."""

from tests.domain.conftest import any_world, world

__all__ = ["any_world", "world"]
