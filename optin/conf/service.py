"""The service itself: keys, addresses, names, proxies, logs, the audit trail."""

import re

from optin.conf.faults import (
    absolute,
    address,
    full_keys,
    narrow,
    one_of,
    secret,
    zone,
)
from optin.conf.kinds import flag, number, text
from optin.conf.parse import integers, key, networks, ring, rsa_keys, several_keys
from optin.conf.setting import KEY_BYTES, Network, Setting

# ASCII that takes one septet each in the GSM 7-bit alphabet (3GPP TS 23.038, 6.2.1).
_GSM7 = re.compile(r"[A-Za-z0-9 @$_!\"#%&'()*+,\-./:;<=>?]+")


class Service:
    keys: Setting[dict[str, bytes]] = Setting(
        18,
        dict,
        parse=ring,
        fault=full_keys,
        doc="The key ring, as id:key. The first key is current.",
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
        doc="Digest keys that a release before 0.29 replaced. They only check older audit events.",
    )
    openid_keys: Setting[tuple[str, ...]] = Setting(
        131,
        (),
        parse=rsa_keys,
        doc="RSA private keys in PEM form, for OpenID Connect. The first one signs, and all are "
        "published. None: it is off.",
    )
    trusted_proxies: Setting[tuple[Network, ...]] = Setting(
        23,
        (),
        parse=networks,
        fault=narrow,
        name="TRUSTED_PROXIES",
        doc="Networks whose X-Forwarded-For header is believed.",
    )
    no_proxy = flag(85, False, "True if there is no proxy in front.")
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
    time_zone = text(
        28,
        "Zone of the times in mails and pages.",
        zone,
        default="Australia/Sydney",
        name="TIME_ZONE",
    )
    log_level = Setting(
        29,
        "INFO",
        parse=lambda text: text.strip().upper(),
        fault=one_of("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
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
        doc="Ports at which webhook endpoints may be.",
    )
    support = text(
        60,
        "How people reach support: a link, an email address or a phone number. Shown on each "
        "page and in each mail.",
        lambda v: (
            "" if len(v) <= 100 and v.isprintable() else "must be one line of 100 signs at most"
        ),
    )
    audit_retention = number(36, 730, 30, 36_500, "Days that audit events are kept.")
    newest_event = text(
        92,
        "File with the id of the newest audit event that this machine has seen. It shows that the "
        "database was restored. Each machine has its own.",
        absolute,
    )
