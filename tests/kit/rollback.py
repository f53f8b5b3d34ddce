"""Tests whose changes are rolled back: the end of each operation counts as its commit.

Django keeps what runs after a commit until the end of the outermost block. In such a test that is
the block of the test itself, which never commits.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import translation


@contextmanager
def hooks_after_each_operation() -> Iterator[None]:
    """Run what waits for a commit as soon as no block is open but those of the test."""
    leave, on_commit = transaction.Atomic.__exit__, BaseDatabaseWrapper.on_commit
    close = BaseDatabaseWrapper.close

    def leave_and_run(atomic: transaction.Atomic, *error: Any) -> None:
        leave(atomic, *error)
        connection = connections[atomic.using or DEFAULT_DB_ALIAS]
        if is_between_operations(connection) and not connection.needs_rollback:
            run_hooks(connection)

    def keep_or_run(
        connection: BaseDatabaseWrapper, hook: Callable[[], object], robust: bool = False
    ) -> None:
        on_commit(connection, hook, robust)
        if is_between_operations(connection):
            run_hooks(connection)

    def close_or_keep(connection: BaseDatabaseWrapper) -> None:
        # To close it would roll the test back.
        if not is_between_operations(connection):
            close(connection)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseDatabaseWrapper, "close", close_or_keep)
        patch.setattr(transaction.Atomic, "__exit__", leave_and_run)
        patch.setattr(BaseDatabaseWrapper, "on_commit", keep_or_run)
        yield


def is_between_operations(connection: BaseDatabaseWrapper) -> bool:
    """Return whether the innermost block that is open is one of the test's own."""
    blocks: list[Any] = connection.atomic_blocks
    return bool(blocks) and blocks[-1]._from_testcase


def run_hooks(connection: BaseDatabaseWrapper) -> None:
    hooks, connection.run_on_commit = connection.run_on_commit, []
    for _, hook, *_ in hooks:
        hook()


def do_here(work: Callable[[], object]) -> None:
    """Do what is for another thread, which would not see what the test will roll back."""
    with translation.override(settings.LANGUAGE_CODE):
        work()
