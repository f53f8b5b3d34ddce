"""A database that fails at some statements."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import connection


@contextmanager
def failing(error: Exception, part: str = "") -> Iterator[None]:
    """Let each statement fail that has *part* in it; "" is in every one."""

    def fail(execute: Callable[..., object], sql: str, *args: object) -> object:
        if part in sql:
            raise error
        return execute(sql, *args)

    with connection.execute_wrapper(fail):
        yield
