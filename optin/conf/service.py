"""The service itself: keys, addresses, names, proxies, logs, the audit trail."""

import re

from optin.conf.faults import (
    absolute,
    address,
    between,
    certificates,
    full_keys,
    level,
    narrow,
    notary,
    redis,
    secret,
    sink,
    zone,
)
from optin.conf.parse import boolean, integer, integers, key, networks, ring, several_keys, words
from optin.conf.setting import KEY_BYTES, Network, Setting

# ASCII that takes one septet each in the GSM 7-bit alphabet (3GPP TS 23.038, 6.2.1).
_GSM7 = re.compile(r"[A-Za-z0-9 @$_!\"#%&'()*+,\-./:;<=>?]+")


class Service:
    keys: Setting[dict[str, bytes]] = Setting(
        18,
        dict,
        parse=ring,
        fault=full_keys,
        doc="The key ring; the first key is current.",
    )
    digest_key: Setting[bytes] = Setting(
        19,
        bytes,
        parse=key,
        fault=lambda v: "" if len(v) == KEY_BYTES else "must be a key of 32 bytes",
        doc="The key of look-up digests and audit digests.",
    )
    old_digest_keys: Setting[tuple[bytes, ...]] = Setting(
        97,
        (),
        parse=several_keys,
        fault=lambda v: "" if all(len(k) == KEY_BYTES for k in v) else "must be keys of 32 bytes",
        doc="Former keys of OPTIN_DIGEST_KEY. They check older audit events, and do nothing else.",
    )
    trusted_proxies: Setting[tuple[Network, ...]] = Setting(
        23,
        (),
        parse=networks,
        fault=narrow,
        name="TRUSTED_PROXIES",
        doc="Networks whose X-Forwarded-For header is believed.",
    )
    no_proxy = Setting(
        85,
        False,
        parse=boolean,
        doc="True if there is no proxy in front.",
    )
    base_url = Setting(
        24,
        "",
        name="BASE_URL",
        parse=lambda text: text.rstrip("/"),
        fault=address,
        doc="Scheme, host and port of every link, mail and text.",
    )
    service_name = Setting(
        25,
        "Two-Factor",
        parse=str,
        fault=lambda v: (
            ""
            if len(v) <= 20 and _GSM7.fullmatch(v)
            else "must be 1 to 20 letters, digits or usual signs, so that a text fits one segment"
        ),
        doc="What texts and mails call the service.",
    )
    secret_key = Setting(
        26,
        "",
        parse=str,
        fault=secret,
        name="SECRET_KEY",
        doc="Signs sessions and links: 50 random characters or more.",
    )
    redis_url = Setting(
        27,
        "",
        parse=str.strip,
        fault=redis,
        name="REDIS_URL",
        doc="The Redis that counts requests for all processes. Without it, and while it is away, "
        "each process counts its own.",
    )
    time_zone = Setting(
        28,
        "Australia/Sydney",
        parse=str.strip,
        fault=zone,
        name="TIME_ZONE",
        doc="Zone of the times in mails and pages.",
    )
    log_level = Setting(
        29,
        "INFO",
        parse=lambda text: text.strip().upper(),
        fault=level,
        name="LOG_LEVEL",
        doc="What is logged: DEBUG, INFO, WARNING, ERROR or CRITICAL.",
    )
    webhook_ports = Setting(
        98,
        (443,),
        parse=integers,
        fault=lambda v: (
            "" if v and all(0 < port < 65_536 for port in v) else "must be ports from 1 to 65535"
        ),
        doc="Ports at which webhook endpoints may be, with commas between.",
    )
    support = Setting(
        60,
        "",
        parse=str.strip,
        fault=lambda v: (
            "" if len(v) <= 100 and v.isprintable() else "must be one line of 100 signs at most"
        ),
        doc="How people reach support: a link, an e-mail address or a phone number. Shown on each "
        "page and in each mail.",
    )
    audit_retention = Setting(
        36,
        730,
        parse=integer,
        fault=between(30, 36_500),
        doc="Days that audit events are kept.",
    )
    seal_every = Setting(
        75,
        300,
        parse=integer,
        fault=between(0, 1800),
        doc="Seconds between two seals of the audit trail by each web process; 0: none. Workers "
        "seal in their place.",
    )
    ledger = Setting(
        92,
        "",
        parse=str.strip,
        fault=absolute,
        doc="File outside the database that tells after a restore what was done since the backup. "
        "Each machine has its own.",
    )
    audit_stream = Setting(
        99,
        "",
        parse=str.strip,
        fault=sink,
        doc="Where to write each audit event as a line of JSON: stdout, file:/PATH or "
        "syslog://HOST:PORT. Empty: nowhere.",
    )
    # Plain http for an authority, as many offer it: its signature proves the answer.
    notary: Setting[tuple[str, ...]] = Setting(
        123,
        (),
        parse=words,
        fault=notary,
        doc="Where to give a note of the audit trail each day: mail:ADDRESS, file:/PATH or the "
        "https:// address of an RFC 3161 authority, separated by commas. Empty: nowhere.",
    )
    notary_ca = Setting(
        124,
        "",
        parse=str.strip,
        fault=certificates,
        doc="A file of certificates (PEM) that prove the time stamps of an authority in "
        "OPTIN_NOTARY.",
    )
