"""Django's backend for PostgreSQL, whose pool survives a restart of the server.

After a restart or a failover all idle connections of the pool are dead, and each would fail one
request. Django can ask every connection before every use (``CONN_HEALTH_CHECKS``), which
is one round trip more for each request: docs/measurements.md. A server that ends a connection
says so, and the kernel knows. Looking there costs next to nothing.
"""

import select
from typing import Any

import psycopg
from django.db.backends.postgresql import base
from psycopg_pool import ConnectionPool


class DatabaseWrapper(base.DatabaseWrapper):
    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Take a connection from the pool, and leave out those that the server has ended."""
        while True:
            line = super().get_new_connection(conn_params)
            if not self.pool or not _is_gone(line):
                return line
            line.close()
            self.pool.putconn(line)  # which makes another one in its place

    def _close(self) -> None:
        """Give the connection back; if it broke in use, renew all others too.

        Where the address of the database moved to another machine, nobody ended them.
        """
        broke = self.pool and self.connection is not None and self.connection.broken
        super()._close()  # type: ignore[misc]  # the stubs do not know it
        if broke:
            self.pool.drain()


def _is_gone(line: psycopg.Connection[Any]) -> bool:
    """Whether an idle connection is closed, or the server has ended it."""
    idle = select.poll()
    try:
        idle.register(line.fileno(), select.POLLIN)  # fails for a closed one
        # It said something: its end as a rule. It may be the new value of a setting, though.
        if idle.poll(0):
            ConnectionPool.check_connection(line)
    except psycopg.Error:
        return True
    return False
