"""Play rehearsals. Only for a process with the settings of ``tools.rehearsals.settings``."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connection, connections

from optin.conf import conf
from optin.models.audit import committed, forget_thread
from tools.rehearsals.attacks import ATTACKS, FULL, SHORT, cast
from tools.rehearsals.phones import Phones
from tools.rehearsals.report import Report, report_on
from tools.rehearsals.stage import Stage


def play(attacks: Sequence[str], *, seed: int, is_short: bool, region: str) -> Iterator[Report]:
    """Play each attack in an empty database of its own.

    :raises ImproperlyConfigured: in a process with other settings: it would touch what is live.
    """
    database = Path(str(connection.settings_dict["NAME"]))
    own = str(database.parent) == getattr(settings, "FOLDER", "")
    live = conf.ledger or conf.audit_stream or conf.notary
    if not own or live or [*conf.gateways] != [f"{Phones.__module__}.{Phones.__name__}"]:
        raise ImproperlyConfigured("A rehearsal has settings of its own.")
    committed.disconnect(dispatch_uid="keep_sealing")
    call_command("migrate", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connections.close_all()
    empty = database.with_suffix(".empty")
    shutil.copy(database, empty)
    for attack in attacks:
        connections.close_all()
        shutil.copy(empty, database)
        forget_thread()
        size = SHORT if is_short else FULL
        stage = Stage(seed, size.hours, region)
        ATTACKS[attack].enter(stage, cast(stage, size, conf.sms_regions[0]))
        stage.play()
        yield report_on(stage, attack, is_short=is_short)
