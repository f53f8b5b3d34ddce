"""The SMS gateways: which are used, and the account at each."""

from optin.conf.faults import (
    address,
    certificates,
    header_name,
    header_word,
    path_secret,
    remote,
    sendable,
    sender,
    sid,
    some,
)
from optin.conf.kinds import names, price, regions, text
from optin.conf.parse import field, headers
from optin.conf.setting import Setting


class Gateways:
    gateways = names(20, "SMS gateways by name, tried in this order.", some, "simulator")
    gateway_ca = text(
        96,
        "A file of CA certificates (PEM) from which gateways may have theirs, besides public ones.",
        certificates,
    )
    gateway_http_url = text(30, "Where it posts a text to.", remote)
    gateway_http_headers: Setting[tuple[tuple[str, str], ...]] = Setting(
        31,
        (),
        parse=headers,
        fault=sendable,
        doc="Its headers, as Name: value, separated by two pipe characters.",
    )
    gateway_http_body = text(
        32,
        "What it posts: JSON or a form, with {to}, {body}, {reference} and {sender} in its values.",
    )
    gateway_http_sender = text(
        33, "What {sender} stands for: the name or number that texts come from."
    )
    gateway_http_id = text(
        34, "Where its answer, in JSON, has its id of the text. It must be there."
    )
    gateway_http_taken: Setting[tuple[str, ...]] = Setting(
        127,
        (),
        parse=field,
        doc="What its answer, in JSON, has if it took the text: path=value. Without a value, "
        "nothing may be there.",
    )
    gateway_http_idempotency_header = text(
        35,
        "The header that is the same for each attempt at one text. Empty: none.",
        header_name,
        default="Idempotency-Key",
    )
    gateway_http_receipt_id = text(
        37, "The field of a receipt with the gateway's id of the text.", default="id"
    )
    gateway_http_receipt_state = text(
        38, "The field of a receipt that says delivered, failed, ...", default="status"
    )
    gateway_http_receipt_from = text(
        56, "The field of a receipt with the number from which STOP or START came."
    )
    gateway_http_regions = regions(39)
    gateway_http_price = price(40)
    gateway_kannel_url = text(
        41, "Kannel's sendsms, as in http://127.0.0.1:13013/cgi-bin/sendsms.", remote
    )
    gateway_kannel_user = text(42, "The name of a sendsms-user group of Kannel.", header_word)
    gateway_kannel_password = text(43, "Its password.", header_word)
    gateway_kannel_sender = text(44, "The number or name that texts come from.", header_word)
    gateway_kannel_regions = regions(45)
    gateway_kannel_price = price(46)
    gateway_twilio_account = text(61, "The account SID: AC and 32 hexadecimal digits.", sid("AC"))
    gateway_twilio_token = text(
        62,
        "The primary auth token, with which receipts are signed. Without it there are none.",
        header_word,
    )
    gateway_twilio_key = text(
        63, "The SID of an API key that sends in its place: SK and 32 digits.", sid("SK")
    )
    gateway_twilio_key_secret = text(64, "The secret of that key.", header_word)
    gateway_twilio_sender = text(65, "The number or name that texts come from.", sender)
    gateway_twilio_service = text(
        66, "The SID of a Messaging Service, which chooses the sender: MG and 32 digits.", sid("MG")
    )
    gateway_twilio_url = text(
        67, "Where Twilio is called.", address, default="https://api.twilio.com"
    )
    gateway_twilio_regions = regions(68)
    gateway_twilio_price = price(69)
    receipt_secret = text(
        47,
        "Part of the address for receipts: 32 random letters and digits or more. Without it "
        "there are none.",
        path_secret,
    )
