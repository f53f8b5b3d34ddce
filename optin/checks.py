"""System checks: a wrong setting stops the start, not a customer."""

from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import DatabaseError, connection

from optin.audit import restores
from optin.conf import CHECKS, Conf, conf
from optin.conf.sim_swaps import OFF
from optin.gateways import KNOWN, Http, Kannel, Simulator, every_setting, for_region, make, sim_swap
from optin.models import Canary, GatewayHealth
from optin.operations import key_rotation
from optin.operations.key_rotation import Misfit
from optin.runtime import outside

Look = Callable[[], Iterator[CheckMessage]]


def _listed(look: Look) -> Callable[..., list[CheckMessage]]:
    """As Django calls a check."""

    def listed(**kwargs: Any) -> list[CheckMessage]:
        return list(look())

    return listed


def _start(look: Look) -> Callable[..., list[CheckMessage]]:
    """Let *look* run at every start, and before every command."""
    return register(CHECKS)(_listed(look))


def _deployment(look: Look) -> Callable[..., list[CheckMessage]]:
    """Let *look* run with ``check --deploy``, and so with the doctor."""
    return register(Tags.security, deploy=True)(_listed(look))


def _if(is_wrong: object, name: str, words: str, hint: str) -> Iterator[CheckMessage]:
    """Yield the error (E...) or the warning (W...) of this name if something *is wrong*."""
    if is_wrong:
        yield (Error if name[0] == "E" else Warning)(words, hint=hint, id=f"optin.{name}")


# -- settings ----------------------------------------------------------------------


@_start
def check_settings() -> Iterator[CheckMessage]:
    """Each setting of ``optin.conf`` by its own rule."""
    for setting in every_setting():
        fault = setting.fault(setting.value)
        if fault:
            yield Error(f"{setting.name} {fault}.", hint=setting.__doc__, id=setting.check_id)


@_start
def check_together() -> Iterator[CheckMessage]:
    """What only shows when several settings are seen together."""
    base = urlsplit(conf.base_url)
    unknown = sorted(name for name in conf.gateways if not _is_known(name))
    yield from _if(
        settings.DEBUG and base.hostname not in outside.LOOPBACK,
        "E101",
        "DEBUG is for this machine only: BASE_URL names another.",
        "Set DEBUG=0, and give the settings of docs/production.env.",
    )
    yield from _if(
        not settings.DEBUG and base.scheme != "https",
        "E102",
        "BASE_URL must begin with https://.",
        "Codes, passwords and tokens travel over it.",
    )
    yield from _if(
        not settings.DEBUG and Simulator.name in conf.gateways,
        "E103",
        "The simulator is a gateway for development only.",
        "It writes codes to a file. Name a real gateway in OPTIN_GATEWAYS.",
    )
    yield from _if(
        settings.DATABASES["default"].get("ATOMIC_REQUESTS"),
        "E104",
        "ATOMIC_REQUESTS must be off.",
        "An exception would roll back what an operation counted.",
    )
    yield from _if(
        unknown,
        "E105",
        f"OPTIN_GATEWAYS names no known gateway: {', '.join(unknown)}.",
        f"Known are: {', '.join(sorted(KNOWN))}; and any class by its dotted path.",
    )
    yield from _if(
        conf.digest_key in conf.keys.values(),
        "E107",
        "OPTIN_DIGEST_KEY must not be one of OPTIN_KEYS.",
        "The ring is rotated, and this key never is.",
    )
    yield from _if(
        conf.delivery == "worker" and _runs_on_sqlite(),
        "E108",
        "OPTIN_DELIVERY=worker needs PostgreSQL.",
        "Give DATABASE_URL, or leave OPTIN_DELIVERY at inline.",
    )
    yield from _if(
        conf.fictional_numbers == "yes" and set(conf.gateways) != {Simulator.name},
        "W211",
        "OPTIN_FICTIONAL_NUMBERS=yes: numbers that nobody has may opt in.",
        "Texts to them cost money and reach nobody. Make a sandbox in their place: "
        "docs/sandbox.md.",
    )


@_start
def check_examples() -> Iterator[CheckMessage]:
    """Refuse the secrets of docs/production.env: everybody can read them."""
    secrets = {
        "SECRET_KEY": [settings.SECRET_KEY],
        "OPTIN_KEYS": [urlsafe_b64encode(key).decode() for key in conf.keys.values()],
        "OPTIN_DIGEST_KEY": [urlsafe_b64encode(conf.digest_key).decode()],
        "OPTIN_RECEIPT_SECRET": [conf.receipt_secret],
        "METRICS_TOKEN": [settings.METRICS_TOKEN],
    }
    for name, texts in secrets.items():
        is_example = any("exampleonly" in text.replace("-", "").lower() for text in texts)
        yield from _if(
            is_example and not settings.DEBUG,
            "E086",
            f"{name} is an example of docs/production.env, which everybody can read.",
            "Make one of your own: see Keys in docs/run.md.",
        )


def _runs_on_sqlite() -> bool:
    return bool(settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"))


def _is_known(gateway: str) -> bool:
    return gateway in KNOWN or "." in gateway


@_start
def check_gateways() -> Iterator[CheckMessage]:
    """Each gateway that is named has what it needs (a wrong name is optin.E105)."""
    named = list(dict.fromkeys(conf.gateways))
    is_right = all(map(_is_known, named))
    for name in filter(_is_known, named):
        try:
            make(name)
        except ValueError as exc:
            is_right = False
            known = f", OPTIN_GATEWAY_{name.upper()}_...," if name in KNOWN else ""
            yield Error(
                f"The gateway {name} cannot send: {exc}",
                hint=f"Give its settings{known} or leave it out.",
                id="optin.E106",
            )
    for region in conf.sms_regions if is_right else ():
        yield from _if(
            not for_region(region),
            "E114",
            f"No gateway of OPTIN_GATEWAYS serves {region}, which OPTIN_SMS_REGIONS allows.",
            "Leave the region out, or give a gateway that serves it.",
        )


@_start
def check_sim_swaps() -> Iterator[CheckMessage]:
    """The provider that knows of swapped SIMs has what it needs, if it is asked."""
    if conf.sim_swap == OFF:
        return
    fault = ""
    try:
        sim_swap.provider()
    except ValueError as exc:
        fault = str(exc)
    yield from _if(
        fault,
        "E150",
        f"Nobody can be asked whether a SIM was swapped: {fault}",
        "Give the settings OPTIN_SIM_SWAP_..., or set OPTIN_SIM_SWAP=off.",
    )
    yield from _if(
        not settings.DEBUG and conf.sim_swap_provider == sim_swap.Stub.name,
        "E151",
        "OPTIN_SIM_SWAP_PROVIDER=stub is for development only.",
        "It makes up its answers. Name a real provider, or set OPTIN_SIM_SWAP=off.",
    )


# -- the database: these say nothing if it is away (/readyz tells) or has no tables ---


@_start
def check_keys() -> Iterator[CheckMessage]:
    """The keys are those with which the database was written: see ``models.canary``."""
    if Conf.keys.fault(conf.keys) or Conf.digest_key.fault(conf.digest_key):
        return  # check_settings tells
    with _asked():
        canary = Canary.objects.look()
        yield from [_misfit(misfit, canary.key_id) for misfit in key_rotation.misfits(canary)]


@_start
def check_trial() -> Iterator[CheckMessage]:
    """No number of a trial gets codes from a real gateway. In development, nobody minds."""
    if settings.DEBUG or Simulator.name in conf.gateways:
        return
    with _asked():
        yield from _if(
            GatewayHealth.objects.filter(gateway=Simulator.name).exists(),
            "E305",
            "The numbers of the trial would get codes from a real gateway.",
            "Nobody verified them with a phone. Run manage person end-trial, which removes them "
            "and asks for others: see Try it without a gateway in docs/install.md.",
        )


@_start
def check_restored() -> Iterator[CheckMessage]:
    """The database is not older than the newest event that this machine has seen."""
    if not conf.newest_event or Conf.newest_event.fault(conf.newest_event):
        return  # check_settings tells
    is_seen = behind = False
    with _asked():
        try:
            behind = restores.is_behind()
            is_seen = restores.newest_seen() is not None or not restores.newest_here()
        except (OSError, ValueError):
            pass
        yield from _if(
            not is_seen,
            "W215",
            f"{conf.newest_event} is missing, or cannot be read: if the database was restored, "
            "nothing shows it here.",
            "If it was restored, run after_restore. The service writes the file by itself, if its "
            "account may write to that folder.",
        )
    yield from _if(
        behind,
        "E303",
        "The database was restored: it is older than the newest event that this machine has seen.",
        "Codes and tokens that were used would work again. Run manage after_restore: see Backup "
        "and restore in docs/upgrade-and-restore.md.",
    )


@contextmanager
def _asked() -> Iterator[None]:
    """Ask the database, at every start: it may be away."""
    try:
        with suppress(DatabaseError):
            yield
    finally:
        if not connection.in_atomic_block:
            connection.close()


def _misfit(misfit: Misfit, key_id: str) -> CheckMessage:
    if misfit is Misfit.DIGEST_KEY:
        return Error(
            "OPTIN_DIGEST_KEY is not the one that this database was written with.",
            hint="No number would be found, and one could become active for two people. Put the "
            "former key back: see Keys in docs/run.md.",
            id="optin.E302",
        )
    what = "is not in OPTIN_KEYS" if misfit is Misfit.KEY_MISSING else "has another value there"
    return Error(
        "OPTIN_KEYS is not the ring that this database was written with.",
        hint=f"It needs the key {key_id!r}, which {what}. Put the former one back, behind the "
        "current one; manage keys rotate tells when it may go. If it is lost for good, see Keys in "
        "docs/run.md. (At a development start keys are made from SECRET_KEY, which "
        "is kept in DATA_DIR.)",
        id="optin.E301",
    )


# -- what a deployment is warned of ------------------------------------------------


@_deployment
def check_delivery() -> Iterator[CheckMessage]:
    """What makes texts go astray, or leaves nobody knowing what became of them."""
    real = set(conf.gateways) - {Simulator.name}
    url = urlsplit(Kannel.url.value)
    yield from _if(
        real and not conf.receipt_secret,
        "W204",
        "OPTIN_RECEIPT_SECRET is not set: nobody learns whether texts arrive.",
        "See Receipts in docs/gateways.md.",
    )
    yield from _if(
        Kannel.name in real and url.scheme == "http" and url.hostname not in outside.LOOPBACK,
        "W205",
        "Texts go to Kannel on another machine in clear: OPTIN_GATEWAY_KANNEL_URL.",
        "Use https (its sendsms-port-ssl), or a smsbox on this machine.",
    )
    yield from _if(
        Http.name in real and not (Http.id.value or Http.taken.value),
        "W218",
        "The gateway http is believed to have sent each text to which it answers 2xx.",
        "Say in OPTIN_GATEWAY_HTTP_ID or OPTIN_GATEWAY_HTTP_TAKEN what its answer has if it did.",
    )


@_deployment
def check_deployment() -> Iterator[CheckMessage]:
    """What works, and yet protects or tells less than it should."""
    yield from _if(
        not settings.SENDS_MAIL,
        "W201",
        "No email is sent: EMAIL_URL is not set.",
        "Nobody would learn that a stolen key turned their second factor off.",
    )
    yield from _if(
        not settings.DEBUG and _runs_on_sqlite(),
        "W202",
        "DATABASE_URL names no PostgreSQL: SQLite is for trying.",
        "See PostgreSQL in docs/deploy.md.",
    )
    yield from _if(
        not (settings.DEBUG or conf.trusted_proxies or conf.no_proxy),
        "W206",
        "TRUSTED_PROXIES is empty: behind a proxy, all visitors share one address and its limits.",
        "Name the networks of the proxies in front. If there are none, set OPTIN_NO_PROXY=True.",
    )
    yield from _if(
        not conf.newest_event,
        "W208",
        "OPTIN_NEWEST_EVENT is not set.",
        "Nothing would show that the database was restored, and that after_restore must be run.",
    )
    yield from _if(
        not conf.support,
        "W209",
        "OPTIN_SUPPORT is not set.",
        "Pages and mails tell people to contact support, and would not say how.",
    )
    yield from _if(
        conf.otp_digits == 6,
        "W213",
        "OPTIN_OTP_DIGITS is 6: a year of guesses at one account succeeds with more than 2 %.",
        "Set it to 7: then it is less than 1 %.",
    )


@_start
def check_names() -> Iterator[CheckMessage]:
    """A name with a typing error leaves the default in force."""
    known = {setting.name for setting in every_setting()}
    # A gateway of one's own may have settings of its own.
    theirs = {"_".join(name.split("_")[:3]) for name in known}
    for name in settings.OPTIN_VARIABLES:
        is_known = known & {name, name.removesuffix("_FILE"), name.removesuffix("_COMMAND")}
        is_own = name.startswith("OPTIN_GATEWAY_") and "_".join(name.split("_")[:3]) not in theirs
        near = get_close_matches(name, known, 1)
        yield from _if(
            not is_known and not is_own,
            "W210",
            f"There is no setting {name}.",
            f"Did you mean {near[0]}?" if near else "Remove it.",
        )
