"""Look at every text before any leaves: its words and its sender (G-06).

``lint`` is a pure function over the texts and the settings that concern them. The system checks
tell what it finds.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from optin.conf import Conf
from optin.messaging import wording
from optin.messaging.segments import outside, size
from optin.messaging.wording import Sample
from tools import senders
from tools.routes import Plan, read_plan

_IN_BODY = " Write an id in its place into OPTIN_GATEWAY_HTTP_BODY itself."


class Fault(StrEnum):
    """The faults. A released value is never renamed."""

    UNWRITABLE = "unwritable"
    NOT_GSM_7 = "not_gsm_7"
    TOO_LONG = "too_long"
    CODE_NOT_FIRST = "code_not_first"
    ORIGIN_NOT_LAST = "origin_not_last"
    HOST = "host"
    NO_SERVICE = "no_service"
    NO_PURPOSE = "no_purpose"
    SENDER = "sender"
    SENDER_IN_REGION = "sender_in_region"
    SENDER_UNREGISTERED = "sender_unregistered"
    NO_CEILING = "no_ceiling"


CHECK_OF = {
    Fault.NOT_GSM_7: "E109",
    Fault.TOO_LONG: "E109",
    Fault.SENDER: "E122",
    Fault.SENDER_IN_REGION: "E122",
    Fault.SENDER_UNREGISTERED: "W203",
    Fault.NO_CEILING: "W215",
}
"""The system check that tells of a fault, where it is not ``OF_WORDS``."""

OF_WORDS = "E121"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong, and what to do."""

    fault: Fault
    text: str
    do: str
    kind: str = ""  # of the text
    language: str = ""

    @property
    def check_id(self) -> str:
        return CHECK_OF.get(self.fault, OF_WORDS)

    @property
    def is_error(self) -> bool:
        return self.check_id.startswith("E")


# -- the rules ---------------------------------------------------------------------


def lint(samples: Iterable[Sample], plan: Plan) -> list[Finding]:
    """Return what is wrong with the texts under these settings, errors first."""
    found = list(_of_names(plan))
    found += [finding for sample in samples for finding in _of_text(sample, plan)]
    found += [*_of_senders(plan), *_of_ceilings()]
    return sorted(found, key=lambda finding: not finding.is_error)


def _of_names(plan: Plan) -> Iterator[Finding]:
    """What every text has in it."""
    if strange := outside(plan.service):
        yield Finding(
            Fault.NOT_GSM_7,
            f"OPTIN_SERVICE_NAME has {_named(strange)}, which is not in GSM-7.",
            "Write the name without it: each text would be two segments or more.",
        )
    if not plan.host or not plan.host.isascii():
        yield Finding(
            Fault.HOST,
            "BASE_URL has no host in ASCII signs, so no browser would fill in a code.",
            "Write the host as browsers send it: one with other letters begins with xn--.",
        )


def _of_text(sample: Sample, plan: Plan) -> Iterator[Finding]:
    def finding(fault: Fault, text: str, do: str) -> Finding:
        where = f"The text {sample.kind} in {sample.language}"
        return Finding(fault, f"{where} {text}", do, sample.kind, sample.language)

    if not sample.body:
        if plan.host:
            yield finding(
                Fault.UNWRITABLE,
                "cannot be written: its translation has other placeholders.",
                "Give it the placeholders of the English one, as in %(code)s.",
            )
        return
    long = size(sample.body)
    if strange := outside(sample.body.replace(plan.service, "").replace(plan.host, "")):
        yield finding(
            Fault.NOT_GSM_7,
            f"has {_named(strange)}, which is not in GSM-7: {long.segments} segments.",
            "Change the translation.",
        )
    elif long.is_gsm_7 and long.segments > 1:
        yield finding(
            Fault.TOO_LONG,
            f"takes {long.places} characters, and one segment has {long.room}.",
            f"Shorten OPTIN_SERVICE_NAME ({len(plan.service)}), the host of BASE_URL "
            f"({len(plan.host)}) or the translation.",
        )
    if plan.service not in sample.body:
        yield finding(
            Fault.NO_SERVICE,
            "does not say whom it is from.",
            "Put %(service)s into the translation.",
        )
    if sample.code:
        yield from (finding(*wrong) for wrong in _of_code(sample, plan))


def _of_code(sample: Sample, plan: Plan) -> Iterator[tuple[Fault, str, str]]:
    if not sample.body.startswith(sample.code):
        yield (
            Fault.CODE_NOT_FIRST,
            "does not begin with the code: a preview may not show it.",
            "Begin the translation with %(code)s.",
        )
    if not (sample.purpose and sample.purpose in sample.body):
        yield (
            Fault.NO_PURPOSE,
            "does not say what the code is for, so a thief can ask for it.",
            "Put %(purpose)s into the translation.",
        )
    origin = f"@{plan.host} #{sample.code}"
    if plan.host and sample.body.rpartition("\n")[2] != origin:
        yield (
            Fault.ORIGIN_NOT_LAST,
            f"does not end with the line {origin}, by which browsers fill in the code.",
            "See WICG, Origin-bound one-time codes delivered via SMS.",
        )


def _of_senders(plan: Plan) -> Iterator[Finding]:
    named = {(route.setting, route.sender): route for route in plan.routes if route.sender}
    for (setting, sender), route in named.items():
        if fault := senders.fault(sender):
            of_region = f" for {route.region}" if setting == "OPTIN_SENDERS" else ""
            yield Finding(
                Fault.SENDER,
                f"The sender{of_region} in {setting} {fault}.",
                "Give a name, a number or a short code that your gateway has for you."
                + (_IN_BODY if setting == "OPTIN_GATEWAY_HTTP_SENDER" else ""),
            )
    by_name = [route for route in plan.routes if senders.is_name(route.sender)]
    for region in dict.fromkeys(route.region for route in by_name):
        if region in senders.NO_NAMES:
            yield Finding(
                Fault.SENDER_IN_REGION,
                f"Texts to {region} come from a name, and carriers there take none.",
                f"Give a number of yours or a short code: OPTIN_SENDERS={region}:...",
            )
        elif region in senders.REGISTERED and region not in plan.registered:
            yield Finding(
                Fault.SENDER_UNREGISTERED,
                f"Texts to {region} come from a name, which must be registered there.",
                f"Once it is, add {region} to OPTIN_SENDERS_REGISTERED.",
            )


def _of_ceilings() -> Iterator[Finding]:
    for setting in (Conf.sends_total, Conf.own_sends_total):
        if not any(rate.seconds > 0 for rate in setting.value):
            yield Finding(
                Fault.NO_CEILING,
                f"{setting.name} is 0: nothing limits what a day of texts may cost.",
                "Set a ceiling, as in 10000/86400.",
            )


def _named(signs: str) -> str:
    """Return *signs* as an operator can find them, also those that cannot be seen."""
    named = [f"{sign if sign.isprintable() else ''} (U+{ord(sign):04X})" for sign in signs[:3]]
    return ", ".join(named).strip() + (" and more" if len(signs) > 3 else "")


def report() -> list[Finding]:
    """Look at the texts of this service under its settings."""
    return lint(wording.samples(), read_plan())
