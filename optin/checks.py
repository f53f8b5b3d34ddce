"""System checks: a wrong setting stops the start, not a customer."""

import os
from base64 import urlsafe_b64encode
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import DatabaseError, connection

from optin.audit import against, restores
from optin.conf import CHECKS, Conf, conf, every_setting
from optin.gateways import KNOWN, Kannel, Simulator, for_region, make
from optin.models import Canary, GatewayHealth
from optin.operations import key_rotation
from optin.operations.key_rotation import Misfit
from optin.runtime import hashing

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@register(CHECKS)
def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """Each setting of ``optin.conf`` by its own rule."""
    errors: list[CheckMessage] = []
    for setting in every_setting():
        fault = setting.fault(setting.__get__(conf, type(conf)))
        if fault:
            errors.append(
                Error(f"{setting.name} {fault}.", hint=setting.__doc__, id=setting.check_id)
            )
    return errors


@register(CHECKS)
def check_together(**kwargs: Any) -> list[CheckMessage]:
    """What only shows when several settings are seen together."""
    base = urlsplit(conf.base_url)
    problems: list[CheckMessage] = []
    if settings.DEBUG and base.hostname not in _LOOPBACK:
        problems.append(
            Error(
                "DEBUG is for this machine only: BASE_URL names another.",
                hint="Set DEBUG=0, and give the settings of docs/production.env.",
                id="optin.E101",
            )
        )
    if not settings.DEBUG and base.scheme != "https":
        problems.append(
            Error(
                "BASE_URL must begin with https://.",
                hint="Codes, passwords and tokens travel over it.",
                id="optin.E102",
            )
        )
    if not settings.DEBUG and Simulator.name in conf.gateways:
        problems.append(
            Error(
                "The simulator is a gateway for development only.",
                hint="It writes codes to a file. Name a real gateway in OPTIN_GATEWAYS.",
                id="optin.E103",
            )
        )
    if unknown := sorted(name for name in conf.gateways if name not in KNOWN and "." not in name):
        problems.append(
            Error(
                f"OPTIN_GATEWAYS names no known gateway: {', '.join(unknown)}.",
                hint=f"Known are: {', '.join(sorted(KNOWN))}; and any class by its dotted path.",
                id="optin.E105",
            )
        )
    if conf.fictional_numbers == "yes" and set(conf.gateways) != {Simulator.name}:
        problems.append(
            Warning(
                "OPTIN_FICTIONAL_NUMBERS=yes: numbers that nobody has may opt in.",
                hint="Texts to them cost money and reach nobody. Make a sandbox in their place: "
                "docs/sandbox.md.",
                id="optin.W211",
            )
        )
    if conf.digest_key in conf.keys.values():
        problems.append(
            Error(
                "OPTIN_DIGEST_KEY must not be one of OPTIN_KEYS.",
                hint="The ring is rotated, and this key never is.",
                id="optin.E107",
            )
        )
    if conf.delivery == "worker" and not _is_postgresql():
        problems.append(
            Error(
                "OPTIN_DELIVERY=worker needs PostgreSQL.",
                hint="Give DATABASE_URL, or leave OPTIN_DELIVERY at inline.",
                id="optin.E108",
            )
        )
    if settings.DATABASES["default"].get("ATOMIC_REQUESTS"):
        problems.append(
            Error(
                "ATOMIC_REQUESTS must be off.",
                hint="An exception would roll back what an operation counted.",
                id="optin.E104",
            )
        )
    return problems


@register(CHECKS)
def check_examples(**kwargs: Any) -> list[CheckMessage]:
    """Refuse the secrets of docs/production.env: everybody can read them."""
    if settings.DEBUG:
        return []
    secrets = {
        "SECRET_KEY": [settings.SECRET_KEY],
        "OPTIN_KEYS": [urlsafe_b64encode(key).decode() for key in conf.keys.values()],
        "OPTIN_DIGEST_KEY": [urlsafe_b64encode(conf.digest_key).decode()],
        "OPTIN_RECEIPT_SECRET": [conf.receipt_secret],
        "METRICS_TOKEN": [settings.METRICS_TOKEN],
    }
    return [
        Error(
            f"{name} is an example of docs/production.env, which everybody can read.",
            hint="Make one of your own: see Keys in docs/run.md.",
            id="optin.E086",
        )
        for name, texts in secrets.items()
        if any("exampleonly" in text.replace("-", "").lower() for text in texts)
    ]


def _is_postgresql() -> bool:
    return bool(settings.DATABASES["default"]["ENGINE"].endswith("postgresql"))


@register(CHECKS)
def check_gateways(**kwargs: Any) -> list[CheckMessage]:
    """Each gateway that is named has what it needs (a wrong name is optin.E105)."""
    problems: list[CheckMessage] = []
    for name in dict.fromkeys(conf.gateways):
        try:
            if name in KNOWN or "." in name:
                make(name)
        except ValueError as exc:
            known = f", OPTIN_GATEWAY_{name.upper()}_...," if name in KNOWN else ""
            problems.append(
                Error(
                    f"The gateway {name} cannot send: {exc}",
                    hint=f"Give its settings{known} or leave it out.",
                    id="optin.E106",
                )
            )
    named = all(name in KNOWN or "." in name for name in conf.gateways)
    problems += [
        Error(
            f"No gateway of OPTIN_GATEWAYS serves {region}, which OPTIN_SMS_REGIONS allows.",
            hint="Leave the region out, or give a gateway that serves it.",
            id="optin.E114",
        )
        for region in (conf.sms_regions if named and not problems else ())
        if not for_region(region)
    ]
    return problems


THREADS = 96
"""Of each process: see ``gunicorn.conf.py``."""


@register(Tags.security, deploy=True)
def check_delivery(**kwargs: Any) -> list[CheckMessage]:
    """What makes texts go astray, or leaves nobody knowing what became of them."""
    real = set(conf.gateways) - {Simulator.name}
    problems: list[CheckMessage] = []
    if real and not conf.receipt_secret:
        problems.append(
            Warning(
                "OPTIN_RECEIPT_SECRET is not set: nobody learns whether texts arrive.",
                hint="See Receipts in docs/gateways.md.",
                id="optin.W204",
            )
        )
    url = urlsplit(conf.gateway_kannel_url)
    if Kannel.name in real and url.scheme == "http" and url.hostname not in _LOOPBACK:
        problems.append(
            Warning(
                "Texts go to Kannel on another machine in clear: OPTIN_GATEWAY_KANNEL_URL.",
                hint="Use https (its sendsms-port-ssl), or a smsbox on this machine.",
                id="optin.W205",
            )
        )
    return problems


@register(Tags.security, deploy=True)
def check_database(**kwargs: Any) -> list[CheckMessage]:
    """SQLite serialises all writers, and has no second role to guard the audit trail from."""
    if not settings.DEBUG and settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        return [
            Warning(
                "DATABASE_URL names no PostgreSQL: SQLite is for trying.",
                hint="See PostgreSQL in docs/deploy.md.",
                id="optin.W202",
            )
        ]
    return []


@register(CHECKS)
def check_keys(**kwargs: Any) -> list[CheckMessage]:
    """The keys are those with which the database was written: see ``models.canary``.

    Unlike checks that Django tags ``database`` it runs at every start and before every
    command. It says nothing of a database that is away (the service waits for it, and
    ``/readyz`` tells) or that has no tables yet.
    """
    if Conf.keys.fault(conf.keys) or Conf.digest_key.fault(conf.digest_key):
        return []  # check_settings tells
    try:
        canary = Canary.objects.look()
    except DatabaseError:
        return []
    finally:
        if not connection.in_atomic_block:
            connection.close()
    return [_misfit(misfit, canary.key_id) for misfit in key_rotation.misfits(canary)]


@register(CHECKS)
def check_trial(**kwargs: Any) -> list[CheckMessage]:
    """No number of a trial gets codes from a real gateway: as ``check_keys``, at every start.

    In development, nobody relies on the numbers.
    """
    if settings.DEBUG or Simulator.name in conf.gateways:
        return []
    try:
        was_trial = GatewayHealth.objects.filter(gateway=Simulator.name).exists()
    except DatabaseError:
        return []
    finally:
        if not connection.in_atomic_block:
            connection.close()
    if not was_trial:
        return []
    return [
        Error(
            "The numbers of the trial would get codes from a real gateway.",
            hint="Nobody verified them with a phone. Run manage end_trial, which removes them and "
            "asks for others: see Try it without a gateway in docs/install.md.",
            id="optin.E305",
        )
    ]


_OF_LEDGER = 1024 * 1024
"""Bytes at the end of the ledger that a start compares with the database, in about 0.2 s."""


@register(CHECKS)
def check_restored(**kwargs: Any) -> list[CheckMessage]:
    """The database has the newest events of the ledger: as ``check_keys``, at every start."""
    if Conf.digest_key.fault(conf.digest_key) or Conf.ledger.fault(conf.ledger):
        return []  # check_settings tells
    folder, used = os.path.dirname(conf.ledger), os.path.exists(conf.ledger)
    if conf.ledger and not os.access(conf.ledger if used else folder, os.R_OK | os.W_OK):
        return [_unreadable()]
    try:
        behind = restores.is_behind(_OF_LEDGER)
    except DatabaseError:
        return []
    except OSError:  # the ledger before this one
        return [_unreadable()]
    finally:
        if not connection.in_atomic_block:
            connection.close()
    if not behind:
        return []
    return [
        Error(
            "The database was restored: it lacks events that a ledger tells of, or it is on "
            "another server or timeline than before.",
            hint="Codes that were used and keys that were revoked would work again. Run "
            "after_restore with the ledgers of all machines: see Backup and restore in "
            "docs/upgrade-and-restore.md.",
            id="optin.E303",
        )
    ]


def _unreadable() -> CheckMessage:
    return Error(
        "OPTIN_LEDGER cannot be read and written.",
        hint=f"Give {conf.ledger} to the account of the service. Run commands as it, too.",
        id="optin.E304",
    )


@register(Tags.security, deploy=True)
def check_ledger(**kwargs: Any) -> list[CheckMessage]:
    """Without a ledger, nobody notices that the database was restored, and what it has lost."""
    if conf.ledger:
        return []
    return [
        Warning(
            "OPTIN_LEDGER is not set.",
            hint="After a restore, nothing would tell which keys were revoked and which people "
            "erased since the backup.",
            id="optin.W208",
        )
    ]


@register(CHECKS)
def check_notary(**kwargs: Any) -> list[CheckMessage]:
    """An authority of ``OPTIN_NOTARY`` can be asked, and its answers can be checked."""
    if Conf.notary.fault(conf.notary) or Conf.notary_ca.fault(conf.notary_ca):
        return []  # check_settings tells
    if not any(urlsplit(target).scheme in {"http", "https"} for target in conf.notary):
        return []
    missing = ""
    if not conf.notary_ca:
        missing = "OPTIN_NOTARY_CA is not set"
    try:
        against.stamps()
    except ValueError as exc:
        missing = str(exc)
    if not missing:
        return []
    return [
        Error(
            f"OPTIN_NOTARY names an authority for time stamps, but {missing}.",
            hint="See A notary in docs/audit-trail.md.",
            id="optin.E125",
        )
    ]


@register(Tags.security, deploy=True)
def check_notary_mail(**kwargs: Any) -> list[CheckMessage]:
    """Notes that go by mail need a mail server."""
    by_mail = any(target.startswith("mail:") for target in conf.notary)
    if settings.SENDS_MAIL or not by_mail:
        return []
    return [
        Warning(
            "OPTIN_NOTARY has mail:, but EMAIL_URL is not set: no note leaves by mail.",
            hint="Set EMAIL_URL, or name a file or an authority.",
            id="optin.W216",
        )
    ]


def _misfit(misfit: Misfit, key_id: str) -> CheckMessage:
    if misfit is Misfit.DIGEST_KEY:
        return Error(
            "OPTIN_DIGEST_KEY is not the one that this database was written with.",
            hint="No number would be found, and one could become active for two people. Put the "
            "former key back. To change it on purpose, see A new digest key in docs/run.md.",
            id="optin.E302",
        )
    what = "is not in OPTIN_KEYS" if misfit is Misfit.KEY_MISSING else "has another value there"
    return Error(
        "OPTIN_KEYS is not the ring that this database was written with.",
        hint=f"It needs the key {key_id!r}, which {what}. Put the former one back, behind the "
        "current one; rotate_keys tells when it may go. If it is lost for good, see Keys in "
        "docs/run.md. (At a development start keys are made from SECRET_KEY, which "
        "is kept in DATA_DIR.)",
        id="optin.E301",
    )


@register(Tags.security, deploy=True)
def check_proxies(**kwargs: Any) -> list[CheckMessage]:
    """Warn of a missing proxy setting: all visitors would have the address of the proxy."""
    if not settings.DEBUG and not conf.trusted_proxies and not conf.no_proxy:
        return [
            Warning(
                "TRUSTED_PROXIES is empty: behind a proxy, all visitors share one address and its "
                "limits.",
                hint="Name the networks of the proxies in front. If there are none, set "
                "OPTIN_NO_PROXY=True.",
                id="optin.W206",
            )
        ]
    return []


@register(Tags.security, deploy=True)
def check_mail(**kwargs: Any) -> list[CheckMessage]:
    """People are told by e-mail what happens to their account (S-54)."""
    if not settings.SENDS_MAIL:
        return [
            Warning(
                "No e-mail is sent: EMAIL_URL is not set.",
                hint="Nobody would learn that a stolen key turned their second factor off.",
                id="optin.W201",
            )
        ]
    return []


@register(Tags.security, deploy=True)
def check_support(**kwargs: Any) -> list[CheckMessage]:
    """Where nothing else helps, pages tell people to contact support."""
    if conf.support:
        return []
    return [
        Warning(
            "OPTIN_SUPPORT is not set.",
            hint="Pages and mails tell people to contact support, and would not say how.",
            id="optin.W209",
        )
    ]


@register(Tags.security, deploy=True)
def check_names(**kwargs: Any) -> list[CheckMessage]:
    """A name with a typing error leaves the default in force."""
    known = {setting.name for setting in every_setting()}
    # A gateway of one's own may have settings of its own.
    theirs = {"_".join(name.split("_")[:3]) for name in known}
    unknown = [
        name
        for name in settings.OPTIN_VARIABLES
        if not known & {name, name.removesuffix("_FILE"), name.removesuffix("_COMMAND")}
        and (not name.startswith("OPTIN_GATEWAY_") or "_".join(name.split("_")[:3]) in theirs)
    ]
    return [
        Warning(
            f"There is no setting {name}.",
            hint=" ".join(f"Did you mean {near}?" for near in get_close_matches(name, known, 1))
            or "Remove it.",
            id="optin.W210",
        )
        for name in unknown
    ]


@register(Tags.security, deploy=True)
def check_hashes(**kwargs: Any) -> list[CheckMessage]:
    """Passwords leave enough threads of each process to other requests (``hashing``)."""
    most = THREADS - hashing.WAITING - hashing.AT_WORK
    if conf.password_hashes > most:
        return [
            Warning(
                "So many passwords at once can take every thread: OPTIN_PASSWORD_HASHES.",
                hint=f"Set it to {most} or less, and start more processes (gunicorn's --workers).",
                id="optin.W207",
            )
        ]
    return []


@register(Tags.security, deploy=True)
def check_observed(**kwargs: Any) -> list[CheckMessage]:
    """A limit that only observes protects nothing (G-04)."""
    if not conf.observe or Conf.observe.fault(conf.observe):
        return []  # check_settings tells
    return [
        Warning(
            f"OPTIN_OBSERVE: these limits refuse nothing: {', '.join(conf.observe)}.",
            hint="Remove them from it once you know what they would refuse.",
            id="optin.W217",
        )
    ]
