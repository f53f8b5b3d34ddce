"""The SMS gateways: which are used, and the account at each."""

from decimal import Decimal

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
    some_regions,
)
from optin.conf.parse import field, headers, price, words
from optin.conf.setting import Setting


class Gateways:
    gateways = Setting(
        20,
        ("simulator",),
        parse=words,
        fault=some,
        doc="SMS gateways by name, tried in this order.",
    )
    gateway_ca = Setting(
        96,
        "",
        parse=str.strip,
        fault=certificates,
        doc="A file of CA certificates (PEM) from which gateways may have theirs, besides public "
        "ones.",
    )
    gateway_http_url = Setting(
        30,
        "",
        parse=str.strip,
        fault=remote,
        doc="Where it posts a text to.",
    )
    gateway_http_headers: Setting[tuple[tuple[str, str], ...]] = Setting(
        31,
        (),
        parse=headers,
        fault=sendable,
        doc="Its headers, as Name: value, separated by two pipe characters.",
    )
    gateway_http_body = Setting(
        32,
        "",
        parse=str.strip,
        doc="What it posts: JSON or a form, with {to}, {body}, {reference} and {sender} in its "
        "values.",
    )
    gateway_http_sender = Setting(
        33,
        "",
        parse=str.strip,
        doc="What {sender} stands for: the name or number that texts come from.",
    )
    gateway_http_id = Setting(
        34,
        "",
        parse=str.strip,
        doc="Where its answer, in JSON, has its id of the text. It must be there.",
    )
    gateway_http_taken: Setting[tuple[str, ...]] = Setting(
        127,
        (),
        parse=field,
        doc="What its answer, in JSON, has if it took the text: path=value. Without a value, "
        "nothing may be there.",
    )
    gateway_http_idempotency_header = Setting(
        35,
        "Idempotency-Key",
        parse=str.strip,
        fault=header_name,
        doc="The header that is the same for each attempt at one text. Empty: none.",
    )
    gateway_http_receipt_id = Setting(
        37,
        "id",
        parse=str.strip,
        doc="The field of a receipt with the gateway's id of the text.",
    )
    gateway_http_receipt_state = Setting(
        38,
        "status",
        parse=str.strip,
        doc="The field of a receipt that says delivered, failed, ...",
    )
    gateway_http_receipt_from = Setting(
        56,
        "",
        parse=str.strip,
        doc="The field of a receipt with the number from which STOP or START came.",
    )
    gateway_http_regions = Setting(
        39,
        (),
        parse=words,
        fault=some_regions,
        doc="Regions that it serves.",
    )
    gateway_http_price = Setting(
        40,
        Decimal(0),
        parse=price,
        doc="What one segment costs.",
    )
    gateway_kannel_url = Setting(
        41,
        "",
        parse=str.strip,
        fault=remote,
        doc="Kannel's sendsms, as in http://127.0.0.1:13013/cgi-bin/sendsms.",
    )
    gateway_kannel_user = Setting(
        42,
        "",
        parse=str.strip,
        fault=header_word,
        doc="The name of a sendsms-user group of Kannel.",
    )
    gateway_kannel_password = Setting(
        43, "", parse=str.strip, fault=header_word, doc="Its password."
    )
    gateway_kannel_sender = Setting(
        44, "", parse=str.strip, fault=header_word, doc="The number or name that texts come from."
    )
    gateway_kannel_regions = Setting(
        45, (), parse=words, fault=some_regions, doc="Regions that it serves."
    )
    gateway_kannel_price = Setting(46, Decimal(0), parse=price, doc="What one segment costs.")
    gateway_twilio_account = Setting(
        61,
        "",
        parse=str.strip,
        fault=sid("AC"),
        doc="The account SID: AC and 32 hexadecimal digits.",
    )
    gateway_twilio_token = Setting(
        62,
        "",
        parse=str.strip,
        fault=header_word,
        doc="The primary auth token, with which receipts are signed. Without it there are none.",
    )
    gateway_twilio_key = Setting(
        63,
        "",
        parse=str.strip,
        fault=sid("SK"),
        doc="The SID of an API key that sends in its place: SK and 32 digits.",
    )
    gateway_twilio_key_secret = Setting(
        64, "", parse=str.strip, fault=header_word, doc="The secret of that key."
    )
    gateway_twilio_sender = Setting(
        65,
        "",
        parse=str.strip,
        fault=sender,
        doc="The number or name that texts come from.",
    )
    gateway_twilio_service = Setting(
        66,
        "",
        parse=str.strip,
        fault=sid("MG"),
        doc="The SID of a Messaging Service, which chooses the sender: MG and 32 digits.",
    )
    gateway_twilio_url = Setting(
        67,
        "https://api.twilio.com",
        parse=str.strip,
        fault=address,
        doc="Where Twilio is called.",
    )
    gateway_twilio_regions = Setting(
        68, (), parse=words, fault=some_regions, doc="Regions that it serves."
    )
    gateway_twilio_price = Setting(69, Decimal(0), parse=price, doc="What one segment costs.")
    receipt_secret = Setting(
        47,
        "",
        parse=str.strip,
        fault=path_secret,
        doc="Part of the address for receipts: 32 random letters and digits or more. Without it "
        "there are none.",
    )
