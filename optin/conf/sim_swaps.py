"""Whether a provider is asked if the SIM of a number was swapped, before a code is texted to it."""

from optin.conf.faults import one_of, some
from optin.conf.kinds import limit, number, text
from optin.conf.setting import Rate

OFF, OBSERVE, ENFORCE = "off", "observe", "enforce"
SEND, REFUSE = "send", "refuse"


class SimSwaps:
    sim_swap = text(
        140,
        "off: nobody is asked. observe: the provider is asked, each text leaves, and the audit "
        "trail says which would not. enforce: no text leaves to a swapped SIM.",
        one_of(OFF, OBSERVE, ENFORCE),
        default=OFF,
    )
    sim_swap_provider = text(
        141,
        "Who is asked: camara, stub (for development), or the dotted path of a class.",
        some,
        default="camara",
    )
    # CAMARA allows 1 to 2400. Some operators know of less, such as 720.
    sim_swap_hours = number(142, 72, 1, 2400, "A SIM counts as swapped for so many hours.")
    sim_swap_unknown = text(
        143,
        "Whether a text leaves if the provider gives no answer: send or refuse.",
        one_of(SEND, REFUSE),
        default=SEND,
    )
    sim_swap_budget = limit(
        144,
        Rate(10_000, 86400),
        doc="Questions to the provider in all. Beyond it, nobody is asked.",
    )
