"""For what watches the processes: is this one alive, and can it serve?"""

import logging
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TypeVar

from django.db import DatabaseError, InterfaceError, connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.http import require_safe
from prometheus_client import Metric

from optin.audit import restores
from optin.doctor import seen, writing
from optin.models import Canary
from optin.operations import key_rotation
from optin.runtime import metrics, stopping
from optin.support import health

logger = logging.getLogger(__name__)

T = TypeVar("T")

_RETRY_AFTER = "5"
_TRUSTED = 2.0
"""Seconds for which a process trusts what came of its last try to write: anybody may ask."""

_REASONS = ("database", "migrations", "keys", "restored", "writes")


@require_safe
def livez(request: HttpRequest) -> HttpResponse:
    """Answer while the process runs, whatever the database does."""
    return _plain("ok")


@require_safe
def what_is_seen(request: HttpRequest) -> HttpResponse:
    """Tell the doctor, and nobody else, what arrives of a request (``doctor.seen``)."""
    if not seen.is_the_doctor(request.headers.get(seen.HEADER, "")):
        raise Http404
    found = seen.describe(request.META, is_secure=request.is_secure())
    return JsonResponse(found, headers={"Cache-Control": "no-store"})


@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """Answer 200 if this process can serve; else 503, with one word for what is wrong.

    ``database``: it does not answer. ``migrations``: some are not applied. ``keys``:
    they are not those with which the database was written. ``restored``: the database was
    restored, and ``after_restore`` has not been run. ``writes``: the database answers,
    but takes no writes. ``stopping``: the server stops soon.
    """
    if stopping.announced():
        return _not_ready(["stopping"])
    if failing := _failing():
        return _not_ready(failing)
    return _plain("ok")


def measured() -> Iterator[Metric]:
    """Yield for ``/metrics`` what is measured at this moment: why this server is not ready, if it
    is not, and what is in the tables, if they can be read."""
    failing = _failing()
    yield metrics.UNREADY.of({reason: float(reason in failing) for reason in _REASONS})
    if "database" in failing:
        return
    try:
        yield from _soon(lambda: list(health.gauges(timezone.now())))
    except (DatabaseError, InterfaceError) as exc:
        logger.warning("the tables could not be measured: %s", type(exc).__name__)


def _not_ready(failing: list[str]) -> HttpResponse:
    response = _plain("\n".join(failing), status=503)
    response["Retry-After"] = _RETRY_AFTER
    return response


def _plain(text: str, status: int = 200) -> HttpResponse:
    return HttpResponse(
        f"{text}\n",
        status=status,
        content_type="text/plain; charset=utf-8",
        headers={"Cache-Control": "no-store"},
    )


def _failing() -> list[str]:
    try:
        return _soon(_look) or _refused()
    except (DatabaseError, InterfaceError) as exc:
        logger.warning("not ready: %s", type(exc).__name__)
        return ["database"]


def _soon(read: Callable[[], list[T]]) -> list[T]:
    """Return what *read* does, each of whose statements must end within ``writing.PATIENCE``."""
    if connection.vendor != "postgresql":
        return read()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = {writing.PATIENCE}")
        return read()


def _look() -> list[str]:
    applied = set(MigrationRecorder(connection).applied_migrations())
    if not _newest_migrations() <= applied:
        return ["migrations"]  # the table of the canary may be among what is missing
    canary = Canary.objects.first()
    if canary is None or key_rotation.misfits(canary):
        return ["keys"]
    try:
        return ["restored"] if restores.is_behind() else []
    except (OSError, ValueError):
        return []  # a check tells at the start


# When this process last tried to write, by time.monotonic(), and what was wrong.
_tried: tuple[float, list[str]] = (float("-inf"), [])


def _refused() -> list[str]:
    global _tried
    if time.monotonic() - _tried[0] >= _TRUSTED:
        failing = _try_to_write()
        _tried = time.monotonic(), failing
    return _tried[1]


def _try_to_write() -> list[str]:
    try:
        taken = writing.attempt()
    except DatabaseError as exc:
        logger.warning("nothing can be written: %s", type(exc.__cause__ or exc).__name__)
        return ["writes"]
    if taken:
        logger.warning("the sequence gives ids that are taken: %s", ", ".join(taken))
        return ["writes"]
    return []


@lru_cache(maxsize=1)
def _newest_migrations() -> frozenset[tuple[str, str]]:
    """The last migration of each app, as they lie beside the code."""
    return frozenset(MigrationLoader(None).graph.leaf_nodes())
