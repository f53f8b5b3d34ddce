"""A worker's own connections to the database, which wait where it is away (S-64).

Procrastinate ends a worker whose connection breaks. Here each of its statements is made
again until the database answers. What the worker was told in between is lost: it asks
each second for jobs anyway, and ``tasks.sweep`` finds what got lost on its way to it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, TypeVar

import psycopg
from procrastinate import PsycopgConnector, exceptions
from procrastinate.connector import BaseConnector, Notify
from procrastinate.contrib.django.django_connector import DjangoConnector
from procrastinate.contrib.django.utils import connector_params
from psycopg_pool import AsyncConnectionPool

logger = logging.getLogger(__name__)

T = TypeVar("T")

PAUSE = 1.0
"""Seconds between two tries."""

# It is away, or it is the wrong one of two servers at the moment.
_AWAY = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.ReadOnlySqlTransaction)


def connector(name: str) -> PsycopgConnector:
    """Return the connector of a worker, for the database of the service.

    :param name: of its connections, as ``pg_stat_activity`` shows it.
    """
    return Waiting(
        kwargs=connector_params() | {"application_name": name},
        min_size=1,
        max_size=4,
        timeout=5,
        reconnect_timeout=PAUSE,  # or the pool doubles its pause after each failure
        configure=_each_statement_by_itself,
        pool_factory=_unchecked,
    )


# A job costs two statements here. These two take three round trips off each.


async def _each_statement_by_itself(line: psycopg.AsyncConnection) -> None:
    await line.set_autocommit(True)


def _unchecked(**options: Any) -> AsyncConnectionPool:
    """Make the pool without a check of each connection before each use: we try again anyway."""
    return AsyncConnectionPool(**{**options, "check": None})


class Waiting(PsycopgConnector):
    """A connector whose statements wait for the database."""

    def get_sync_connector(self) -> BaseConnector:
        """Return the connector with which tasks save jobs: in their own transaction.

        With a connection of the worker, another one would see the job before the row.
        """
        return DjangoConnector()

    async def execute_query_async(self, query: Any, **arguments: Any) -> None:
        await _until_there(partial(super().execute_query_async, query, **arguments))

    async def execute_query_one_async(self, query: Any, **arguments: Any) -> dict[str, Any]:
        return await _until_there(partial(super().execute_query_one_async, query, **arguments))

    async def execute_query_all_async(self, query: Any, **arguments: Any) -> list[dict[str, Any]]:
        return await _until_there(partial(super().execute_query_all_async, query, **arguments))

    async def listen_notify(self, on_notification: Notify, channels: Iterable[str]) -> None:
        names = list(channels)
        await _until_there(partial(super().listen_notify, on_notification, names))


async def _until_there(ask: Callable[[], Awaitable[T]]) -> T:
    told = False
    while True:
        try:
            answer = await ask()
        except exceptions.ConnectorException as exc:
            if not isinstance(exc.__cause__, _AWAY):
                raise
            if not told:
                logger.warning("The database is away: this worker waits for it.")
            told = True
            await asyncio.sleep(PAUSE)
        else:
            if told:
                logger.info("The database is there again.")
            return answer
