"""Where texts go, what they come from and what they cost, by the settings alone."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import urlsplit

from django.conf import settings

from optin import gateways
from optin.conf import Conf, Rate, conf
from optin.gateways import Http, Kannel, Simulator, Twilio

DAY = 86_400  # seconds

WithSettings = type[Http] | type[Kannel] | type[Twilio]

_WITH_SETTINGS: dict[str, WithSettings] = {each.name: each for each in (Http, Kannel, Twilio)}


@dataclass(frozen=True, slots=True)
class Route:
    """A gateway for one region, and what texts through it come from and cost."""

    region: str
    gateway: str
    price: Decimal | None  # of one segment; None: nobody said
    sender: str = ""  # "": the gateway chooses
    setting: str = ""  # that names the sender


@dataclass(frozen=True, slots=True)
class Budget:
    """How many texts may leave in a day under one setting, and what they may cost."""

    setting: str
    texts: int | None  # None: as many as are asked for
    price: Decimal | None = None  # of all of them, by the dearest gateway; None: nobody can say


@dataclass(frozen=True, slots=True)
class Plan:
    """The settings that concern texts."""

    service: str
    host: str
    routes: tuple[Route, ...] = ()
    ceilings: tuple[tuple[str, int | None], ...] = ()  # texts in a day, by the setting
    registered: tuple[str, ...] = ()

    @property
    def dearest(self) -> Decimal | None:
        """The highest price of one segment; None: of some gateway nobody said it."""
        known = [route.price for route in self.routes if route.price is not None]
        return max(known) if known and len(known) == len(self.routes) else None

    def budgets(self, segments: int) -> list[Budget]:
        """What a day may cost if each text has so many segments."""
        return [
            Budget(
                setting,
                texts,
                None if texts is None or self.dearest is None else texts * segments * self.dearest,
            )
            for setting, texts in self.ceilings
        ]


def read_plan() -> Plan:
    """Read the settings that concern texts."""
    return Plan(
        service=conf.service_name,
        host=_host(),
        routes=tuple(_routes()),
        ceilings=tuple(
            (setting.name, most_in_a_day(setting.value))
            for setting in (Conf.sends_total, Conf.own_sends_total)
        ),
        registered=conf.senders_registered,
    )


def most_in_a_day(rates: Iterable[Rate]) -> int | None:
    """Return how many texts *rates* let leave in a day of UTC; None: any number.

    Windows are counted from 1970, as ``limits.counters`` does: those that divide a day fit into
    it, others may begin before it.
    """
    most = []
    for rate in rates:
        if rate.seconds < 1:
            continue  # optin.E013 and optin.E090 tell
        windows, rest = divmod(DAY, rate.seconds)
        if rate.seconds % DAY == 0:
            windows, rest = 1, 0
        most.append(rate.count * (windows + 2 if rest else windows))
    return min(most, default=None)


def _host() -> str:
    try:
        return urlsplit(conf.base_url).hostname or ""
    except ValueError:  # optin.E024 tells
        return ""


def _routes() -> Iterator[Route]:
    """Each gateway for each region; not those that cannot be made, of which optin.E106 tells."""
    named = dict(conf.senders)
    for name in dict.fromkeys(conf.gateways):
        served = _served(name)
        if served is None:
            continue
        called, regions, price = served
        setting, own = _own_sender(name)
        for region in conf.sms_regions:
            if regions and region not in regions:
                continue
            if name == Simulator.name or (name == Http.name and not _tells_sender()):
                yield Route(region, called, price)
            elif region in named:
                yield Route(region, called, price, named[region], "OPTIN_SENDERS")
            else:
                yield Route(region, called, price, own, setting)


def _served(name: str) -> tuple[str, tuple[str, ...], Decimal | None] | None:
    """Return what a gateway is called, its regions and its price."""
    if name == Simulator.name:
        return name, (), Decimal(0)
    if known := _WITH_SETTINGS.get(name):
        return name, known.regions.value, known.price.value if _is_priced(known) else None
    try:
        gateway = gateways.make(name)
    except ValueError:
        return None
    return gateway.name, gateway.regions, gateway.price


def _is_priced(gateway: WithSettings) -> bool:
    """Whether the operator gave a price: 0 may be one."""
    setting = gateway.price.name
    known = {setting, f"{setting}_FILE", f"{setting}_COMMAND"} & set(settings.OPTIN_VARIABLES)
    return bool(known) or bool(gateway.price.value)


def _own_sender(name: str) -> tuple[str, str]:
    """Return the setting of a gateway's own sender, and the sender."""
    known = _WITH_SETTINGS.get(name)
    return (known.sender.name, known.sender.value) if known else ("", "")


def _tells_sender() -> bool:
    return "{sender}" in Http.body.value
