"""Where texts go and what they come from, by the settings alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from optin import gateways
from optin.conf import conf
from optin.gateways import Http, Kannel, Simulator, Twilio

WithSettings = type[Http] | type[Kannel] | type[Twilio]

_WITH_SETTINGS: dict[str, WithSettings] = {each.name: each for each in (Http, Kannel, Twilio)}


@dataclass(frozen=True, slots=True)
class Route:
    """A gateway for one region, and what texts through it come from."""

    region: str
    sender: str = ""  # "": the gateway chooses
    setting: str = ""  # that names the sender


@dataclass(frozen=True, slots=True)
class Plan:
    """The settings that concern texts."""

    service: str
    host: str
    routes: tuple[Route, ...] = ()
    registered: tuple[str, ...] = ()


def read_plan() -> Plan:
    """Read the settings that concern texts."""
    return Plan(
        service=conf.service_name,
        host=_host(),
        routes=tuple(_routes()),
        registered=conf.senders_registered,
    )


def _host() -> str:
    try:
        return urlsplit(conf.base_url).hostname or ""
    except ValueError:  # optin.E024 tells
        return ""


def _routes() -> Iterator[Route]:
    """Each gateway for each region; not those that cannot be made, of which optin.E106 tells."""
    named = dict(conf.senders)
    for name in dict.fromkeys(conf.gateways):
        regions = _regions(name)
        if regions is None:
            continue
        setting, own = _own_sender(name)
        for region in conf.sms_regions:
            if regions and region not in regions:
                continue
            if name == Simulator.name or (name == Http.name and not _tells_sender()):
                yield Route(region)
            elif region in named:
                yield Route(region, named[region], "OPTIN_SENDERS")
            else:
                yield Route(region, own, setting)


def _regions(name: str) -> tuple[str, ...] | None:
    """Return the regions of a gateway, none for all; None if it cannot be made."""
    if name == Simulator.name:
        return ()
    if known := _WITH_SETTINGS.get(name):
        return known.regions.value
    try:
        return gateways.make(name).regions
    except ValueError:
        return None


def _own_sender(name: str) -> tuple[str, str]:
    """Return the setting of a gateway's own sender, and the sender."""
    known = _WITH_SETTINGS.get(name)
    return (known.sender.name, known.sender.value) if known else ("", "")


def _tells_sender() -> bool:
    return "{sender}" in Http.body.value
