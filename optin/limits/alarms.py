"""Tell the operators at once: in the log, in a count, and by mail where that is set.

The transaction that finds the cause calls ``sound``. The alarm goes out when that transaction
commits. No request waits for the mail or fails because of it: a thread sends it, and the log says
if it did not leave.
"""

import logging
from functools import partial
from threading import Thread

from django.core.mail import EmailMessage

from optin.conf import conf
from optin.limits.rules import Rule
from optin.runtime import metrics
from optin.runtime.commits import after_commit

logger = logging.getLogger("optin.alarm")

STAFF = "staff"
WEBHOOK = "webhook"

_WORDS: dict[str, str] = {
    Rule.PREFIX: "A prefix was closed to opt-ins: too few are verified, or there are too many",
    Rule.REGION: "Too few opt-ins in a region are verified",
    Rule.FILE: "The budget of a file is nearly used up",
    Rule.TOTAL: "The budget for all texts is nearly used up",
    Rule.OWN_TOTAL: "The ceiling of all texts for signing in is nearly reached",
    Rule.SIM_SWAP: "The budget of questions about SIM swaps is nearly used up",
    STAFF: "A member of staff searched numbers, or had factors removed, as often as they may",
    WEBHOOK: "A webhook endpoint was switched off: all attempts failed, or it answered 410 Gone",
}
"""Each alarm, by the name that it has in the log and in the metrics."""

_PAGES: dict[str, str] = {
    WEBHOOK: "docs/events.md",
    Rule.SIM_SWAP: 'docs/gateways.md, "SIM swaps"',
}

for _name in _WORDS:
    metrics.ALARMS.labels(_name)  # from 0 on: Prometheus does not see a count that begins with 1


def sound(alarm: str, **facts: str | int) -> None:
    """Sound *alarm* once the transaction commits. *facts*: no number, no prefix, no name."""
    after_commit(partial(_sound, alarm, facts))


def _sound(alarm: str, facts: dict[str, str | int]) -> None:
    logger.warning(_WORDS[alarm], extra={"facts": {"alarm": alarm, **facts}})
    metrics.ALARMS.labels(alarm).inc()
    if conf.alarm_email:
        Thread(target=_mail, args=(alarm, facts), name="optin-alarm", daemon=True).start()


def _mail(alarm: str, facts: dict[str, str | int]) -> None:
    lines = [f"{_WORDS[alarm]}.", "", *(f"{name}: {value}" for name, value in facts.items())]
    page = _PAGES.get(alarm, 'docs/run.md, "Limits against pumping"')
    lines += ["", f"What to do: {page}.", conf.base_url]
    subject = f"{conf.service_name}: {_WORDS[alarm].lower()}"
    try:
        EmailMessage(subject, "\n".join(lines), to=list(conf.alarm_email)).send()
    except Exception as exc:  # not its words: they may quote anything
        why = {"alarm": alarm, "why": type(exc).__name__}
        logger.error("The mail of an alarm did not leave", extra={"facts": why})
