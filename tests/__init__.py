"""The tests. Those of one subject share a folder; what several folders use is in ``tests.kit``."""

import pytest

pytest.register_assert_rewrite("tests.kit")
