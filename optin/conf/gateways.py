"""Which SMS gateways are used, and what they share."""

from optin.conf.faults import certificates, path_secret, some
from optin.conf.kinds import names, text


class Gateways:
    gateways = names(20, "SMS gateways by name, tried in this order.", some, "simulator")
    gateway_ca = text(
        96,
        "A file of CA certificates (PEM) that gateways may use, besides public ones.",
        certificates,
    )
    receipt_secret = text(
        47,
        "Part of the address for receipts: 32 random letters and digits or more. Without it "
        "there are none.",
        path_secret,
    )
