"""How many texts are sent, where to, from whom, and when to raise an alarm."""

import re

from optin.conf.faults import (
    fit_senders,
    mailboxes,
    one_of,
    regions,
    some_regions,
    waits,
)
from optin.conf.kinds import limit, names, number, text
from optin.conf.parse import integers, senders
from optin.conf.setting import Rate, Setting


class Texts:
    resend_wait = Setting(
        7,
        (30, 60, 120),
        parse=integers,
        fault=waits,
        doc="Seconds before the second, third, fourth ... text to a number for one purpose. Starts "
        "again after 10 minutes. 0: no wait.",
    )
    # Twilio Verify: 5 in 10 minutes.
    sends_per_number = limit(
        8,
        Rate(5, 600),
        Rate(10, 86400),
        doc="Texts to one number in any so many seconds, for each user and over all users. Opt-in, "
        "opt-out and the rest count apart.",
    )
    sends_per_user = limit(
        9,
        Rate(5, 600),
        Rate(10, 86400),
        doc="Texts for one user in any so many seconds, over all numbers.",
    )
    # login.gov uses 25 in 5 minutes.
    sends_per_ip = limit(
        10, Rate(25, 300), doc="Texts asked for from one address by pages and password calls."
    )
    # One integrator's server is one address for all its users.
    sends_per_client = limit(
        11, Rate(100, 300), doc="Texts asked for by one access key or OAuth client under one file."
    )
    # This one and the next guard the SMS bill.
    sends_per_file = limit(
        12, Rate(1000, 86400), doc="Texts for opt-in and opt-out under one file."
    )
    sends_total = limit(13, Rate(10_000, 86400), doc="Texts for opt-in and opt-out in all.")
    # Ten times ``sends_total``: people sign in more often than they opt in.
    own_sends_total = limit(
        90,
        Rate(100_000, 86400),
        doc="Texts for signing in and changes in all. Beyond it, each user still gets 3.",
    )
    # With it, other accounts cannot shut a user out.
    own_sends_reserve = 3
    """Texts that each user gets in each window of ``own_sends_total``, even beyond it."""
    currency = text(
        132,
        "Currency (ISO 4217) of the prices of texts.",
        lambda v: "" if re.fullmatch(r"[A-Z]{3}", v) else "must be three letters, as in AUD",
        default="AUD",
    )
    sms_regions = names(
        17,
        "Regions (ISO 3166-1) whose mobile numbers may opt in. Numbers without a country code "
        "belong to the first.",
        regions,
        "AU",
    )
    fictional_numbers = Setting(
        117,
        "auto",
        parse=lambda text: text.strip().lower(),
        fault=one_of("auto", "yes", "no"),
        doc="Whether mobile numbers that are reserved for films and books may opt in outside "
        "sandboxes: yes, no, or auto (only if the simulator is the only gateway).",
    )

    delivery = Setting(
        21,
        "inline",
        parse=str,
        fault=one_of("inline", "worker"),
        doc="inline: web processes send texts and mails. worker: workers do, with PostgreSQL.",
    )
    # 11 characters: 3GPP TS 23.040, 9.1.2.5.
    senders: Setting[tuple[tuple[str, str], ...]] = Setting(
        48,
        (),
        parse=senders,
        fault=fit_senders,
        doc="Names (11 characters at most) or numbers that texts come from, by region, as in "
        "AU:HarbourBks. Other regions get the gateway's own.",
    )
    senders_registered = names(
        55, "Regions where the names of OPTIN_SENDERS are registered.", some_regions
    )
    breaker_unproved = number(
        49,
        20,
        0,
        1_000_000,
        "This many unverified opt-ins in an hour under one prefix (a number without its last 4 "
        "digits) close it for an hour, if fewer than 20 percent are verified. 0: no breakers.",
    )
    # More than honest people ask for, also if an employer's telephones share a prefix.
    breaker_texts = number(
        128,
        100,
        0,
        1_000_000,
        "This many texts of opt-ins in an hour under one prefix close it in any case. 0: never. "
        "OPTIN_BREAKER_UNPROVED=0 switches this off too.",
    )
    breaker_share = 20
    """Percent of the opt-ins under a prefix that are verified: with fewer it is closed."""

    breaker_seconds = 3600
    """Seconds in which opt-ins are counted for breakers and regions, and for which a prefix is
    closed."""

    alarm_unproved = 100
    """Unverified opt-ins in an hour in one region that cause an alarm, if fewer than
    ``breaker_share`` percent are verified. A region is never closed."""

    alarm_email = names(54, "Who gets alarms by mail.", mailboxes)
