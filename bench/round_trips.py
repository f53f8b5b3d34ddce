"""How often a thread waits for PostgreSQL."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import psycopg
from psycopg.abc import PQGen

from optin.database import pipeline


@contextmanager
def counted() -> Iterator[list[str]]:
    """Give a list that gets an entry for each time that this thread waits for the database."""
    made: list[str] = []
    here = threading.get_ident()
    run, wait = pipeline.Line.run, psycopg.Connection.wait

    def counted_run(*args: object) -> object:
        if threading.get_ident() == here:
            made.append("pipeline")
        return run(*args)  # type: ignore[arg-type]

    def counted_wait(self: object, talk: PQGen[object], *args: object) -> object:
        if threading.get_ident() == here:
            talk = _noted(talk, made)
        return wait(self, talk, *args)  # type: ignore[arg-type]

    with (
        mock.patch.object(pipeline.Line, "run", counted_run),
        mock.patch.object(psycopg.Connection, "wait", counted_wait),
    ):
        yield made


def _noted(talk: PQGen[object], made: list[str]) -> PQGen[object]:
    """Note *talk* if it waits for the server: some of it only sets something here."""
    try:
        wanted = next(talk)
        made.append("statement")
        while True:
            wanted = talk.send((yield wanted))
    except StopIteration as end:
        return end.value
