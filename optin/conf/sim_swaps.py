"""Ask a provider whether the SIM of a number was swapped, before a code is texted to it."""

from optin.conf.faults import one_of, some
from optin.conf.kinds import limit, number, text
from optin.conf.setting import Rate

OFF, OBSERVE, ENFORCE = "off", "observe", "enforce"
SEND, REFUSE = "send", "refuse"


class SimSwaps:
    sim_swap = text(
        140,
        "off: the provider is not asked. observe: it is asked, but every text leaves, and the "
        "audit trail says which texts enforce would stop. enforce: no code is texted to a swapped "
        "SIM.",
        one_of(OFF, OBSERVE, ENFORCE),
        default=OFF,
    )
    sim_swap_provider = text(
        141,
        "The provider: camara, stub (for development), or the dotted path of a class.",
        some,
        default="camara",
    )
    # CAMARA allows 1 to 2400. Some operators look back fewer hours, such as 720.
    sim_swap_hours = number(142, 72, 1, 2400, "For how many hours a SIM counts as swapped.")
    sim_swap_unknown = text(
        143,
        "What happens to a text if the provider gives no answer: send or refuse.",
        one_of(SEND, REFUSE),
        default=SEND,
    )
    sim_swap_budget = limit(
        144,
        Rate(10_000, 86400),
        doc="Questions to the provider in all. Beyond it, texts go as if it gave no answer.",
    )
