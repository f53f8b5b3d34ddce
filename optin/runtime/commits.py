"""What is to be done after the commit of the open transaction."""

import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from django.db import connection, transaction

logger = logging.getLogger(__name__)


def after_commit(hook: Callable[[], object]) -> None:
    """Run *hook* after the commit, and outside a transaction now. An error changes no answer.

    Django's ``robust`` hooks are not enough. If a ``partial`` fails, Django fails too, and the
    request keeps a broken connection.
    """
    transaction.on_commit(partial(_run_hook, hook))


def waiting_hooks() -> Iterator[Callable[[], object]]:
    """The hooks of the open transaction, the last one first."""
    for entry in reversed(connection.run_on_commit):
        run_it: Any = entry[1]  # the stubs know two of its three parts
        if isinstance(run_it, partial) and run_it.func is _run_hook:
            yield run_it.args[0]


def _run_hook(hook: Callable[[], object]) -> None:
    try:
        hook()
    except Exception:
        logger.exception("something to do after a commit failed")
        connection.close_if_unusable_or_obsolete()
