"""The gateways: each is reached as for a text, and asked where asking costs nothing."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from optin import gateways
from optin.conf import conf
from optin.doctor.findings import Finding, fault, ok, skipped, warning
from optin.doctor.net import Place, Unreachable, days_left, ends_soon
from optin.gateways import Gateway, Simulator, SmsError
from optin.gateways.call import trust
from optin.support.wording import section

_DO = section("gateways", "Gateways for texts")


def reach() -> Iterator[Finding]:
    """Each resolves, answers, and has a certificate that is valid for 14 days more. `twilio` and
    `kannel` accept the credentials: they are sent a text to nobody, which they refuse."""
    for name in dict.fromkeys(conf.gateways):
        try:
            gateway = gateways.make(name)
        except ValueError:
            yield skipped(f"{name}: its settings do not fit; see the settings.")
            continue
        yield from _reach(gateway)


def _reach(gateway: Gateway) -> Iterator[Finding]:
    if isinstance(gateway, Simulator):
        yield warning(
            "The simulator is in use: no phone gets a text.",
            do=f"Nothing, if you are only trying the service. {_DO}",
        )
        return
    address = urlsplit(getattr(gateway, "url", ""))
    if not address.hostname:
        yield skipped(f"{gateway.name}: it has no url, so its address is unknown here.")
        return
    place = _place(address.scheme, address.hostname, address.port)
    what = f"The gateway {gateway.name}"
    try:
        with place.connect() as line:
            days = days_left(line)
            soon = list(ends_soon(line, gateway.name, do="Ask the gateway to renew it."))
    except Unreachable as exc:
        do = f"Check its address in the settings, and its status. {_DO}"
        yield fault(f"{what} cannot be reached. {exc}", do=do)
        return
    yield from soon
    yield from _credentials(gateway, days, bool(soon))


def _place(scheme: str, host: str, port: int | None) -> Place:
    if scheme != "https":
        return Place(host, port or 80)
    return Place(host, port or 443, trust())


def _credentials(gateway: Gateway, days: int | None, is_told: bool) -> Iterator[Finding]:
    """Ask whether the gateway knows us, if it has a call that sends nothing."""
    asked = getattr(gateway, "knows_us", None)
    valid = "" if days is None else f", its certificate is valid for {days} days"
    if asked is None:
        if not is_told:
            yield ok(
                f"{gateway.name} is reached{valid}. It has no free call: only --send-test shows "
                "whether it accepts the credentials."
            )
        return
    try:
        known = asked()
    except SmsError as exc:
        yield fault(
            f"The gateway {gateway.name} does not work: {exc}.", do=f"Look at its status. {_DO}"
        )
        return
    if not known:
        yield fault(
            f"The gateway {gateway.name} refuses our credentials: no text leaves through it.",
            do=f"Correct OPTIN_GATEWAY_{gateway.name.upper()}_..., and restart. {_DO}",
        )
    elif not is_told:
        yield ok(f"{gateway.name} is reached{valid}, and accepts the credentials.")
