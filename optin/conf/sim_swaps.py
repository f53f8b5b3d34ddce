"""Whether a provider is asked if the SIM of a number was swapped, before a code is texted to it."""

from optin.conf.faults import between, one_of, some
from optin.conf.kinds import limit
from optin.conf.parse import integer
from optin.conf.setting import Rate, Setting

OFF, OBSERVE, ENFORCE = "off", "observe", "enforce"
SEND, REFUSE = "send", "refuse"


class SimSwaps:
    sim_swap = Setting(
        140,
        OFF,
        parse=str.strip,
        fault=one_of(OFF, OBSERVE, ENFORCE),
        doc="off: nobody is asked. observe: the provider is asked, each text leaves, and the audit "
        "trail says which would not. enforce: no text leaves to a swapped SIM.",
    )
    sim_swap_provider = Setting(
        141,
        "camara",
        parse=str.strip,
        fault=some,
        doc="Who is asked: camara, stub (for development), or the dotted path of a class.",
    )
    # CAMARA allows 1 to 2400. Some operators know of less, such as 720.
    sim_swap_hours = Setting(
        142,
        72,
        parse=integer,
        fault=between(1, 2400),
        doc="A SIM counts as swapped for so many hours.",
    )
    sim_swap_unknown = Setting(
        143,
        SEND,
        parse=str.strip,
        fault=one_of(SEND, REFUSE),
        doc="Whether a text leaves if the provider gives no answer: send or refuse.",
    )
    sim_swap_budget = limit(
        144,
        Rate(10_000, 86400),
        doc="Questions to the provider in all. Beyond it, nobody is asked.",
    )
