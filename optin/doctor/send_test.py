"""Send a test text through each gateway, and wait for the receipts."""

import time
from collections.abc import Iterator

from optin import gateways, phones
from optin.conf import conf
from optin.doctor.findings import Finding, fault, ok, warning
from optin.errors import InvalidMobileNumber
from optin.messaging import trials
from optin.messaging.trials import Trial
from optin.origin import Origin
from optin.support.wording import section

_PAUSE = 1.0  # seconds between two looks for receipts


def send(number: str, *, wait: int, origin: Origin) -> Iterator[Finding]:
    """Send a text to *number* through each gateway for its region, one after the other.

    :param wait: seconds to wait for all receipts together.
    """
    try:
        to = phones.parse(number, home_region=conf.sms_regions[0])
    except InvalidMobileNumber:
        yield _refused("This is no mobile number.", "Write it as +61491570156.")
        return
    if refusal := trials.why_not(to):
        yield _refused(
            refusal, "Use another phone, or end that: manage number allow, or manage texts allow."
        )
        return
    serving = gateways.for_region(to.region)
    if not serving:
        yield _refused(
            f"no gateway of OPTIN_GATEWAYS serves {to.region}.",
            f"Add {to.region} to the ..._REGIONS of a gateway. "
            + section("gateways", "Gateways for texts"),
        )
    made = [(gateway.name, trials.send(to, gateway, origin=origin)) for gateway in serving]
    reports = _wait_for(made, wait)
    for name, trial in made:
        yield _result(name, trial, reports.get(trial.event_id, ""), wait)


def _refused(why: str, do: str) -> Finding:
    return fault(f"No text was sent: {why}", do=do)


def _wait_for(made: list[tuple[str, Trial]], wait: int) -> dict[int, str]:
    """Return what receipts say, by the id of each text that was sent."""
    waiting = {trial.event_id for _, trial in made if trial.is_sent and conf.receipt_secret}
    reports: dict[int, str] = {}
    until = time.monotonic() + wait
    while waiting and time.monotonic() < until:
        for event_id in [*waiting]:
            if said := trials.outcome_of(event_id):
                reports[event_id] = said
                waiting.remove(event_id)
        if waiting:
            time.sleep(_PAUSE)
    return reports


def _result(name: str, trial: Trial, report: str, wait: int) -> Finding:
    if not trial.is_sent:
        return fault(
            f"{name} did not take the text: {trial.reason}.",
            seen=f"Its answer. Audit event {trial.event_id}.",
            do=section("gateways", "Gateways for texts"),
        )
    if report == "delivered":
        return ok(f"{name} took the text, and reports that it was delivered.")
    if report:
        return fault(
            f"{name} took the text, and reports that it was not delivered.",
            seen=f"Its receipt. Audit event {trial.event_id}.",
            do="Ask the gateway, and look whether the sender is registered. "
            + section("gateways", "Senders"),
        )
    if not conf.receipt_secret:
        return warning(
            f"{name} took the text. Receipts are off: look at the phone.",
            do=section("gateways", "Receipts"),
        )
    return warning(
        f"{name} took the text, but sent no receipt within {wait} seconds. Look at the phone.",
        seen=f"Audit event {trial.event_id}.",
        do="If it arrived, look whether the gateway reaches BASE_URL/receipts/. "
        + section("gateways", "Receipts"),
    )
