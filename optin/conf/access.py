"""Requests, passwords, tokens and access keys."""

from optin.conf.faults import off_or_between
from optin.conf.kinds import flag, limit, number
from optin.conf.parse import integer
from optin.conf.setting import Rate, Setting


class Access:
    # It keeps the service fast for others; it is not a security limit.
    requests_per_user = limit(
        14, Rate(120, 60), doc="Calls of one user; also pages of one session, counted apart."
    )
    # As ``requests_per_user``; generous, because an office, or the server of an integrator, is
    # one address for many people.
    requests_per_network = limit(
        76,
        Rate(600, 60),
        doc="Requests from one address: token calls, calls of clients under `/o/`, and forms of "
        "people who are not signed in. Requests with a password are counted apart.",
    )
    failed_sign_ins_per_ip = limit(
        15,
        Rate(100, 300),
        doc="Wrong passwords from one address; also requests for a new password, counted apart. "
        "An account that signed in from its network before has a count of its own.",
    )
    # By network, so that a stranger elsewhere cannot shut the owner out.
    failed_sign_ins_per_name = limit(
        16,
        Rate(10, 300),
        doc="Wrong passwords for one name from one network (/24, IPv6: /64); also requests for a "
        "new password, counted apart.",
    )
    # NIST SP 800-63B-4 3.2.2 has its ceiling at 100.
    failed_sign_ins_per_name_total = limit(
        82,
        Rate(100, 3600),
        doc="Wrong passwords for one name, over all networks. Beyond it, a network (/24, IPv6: "
        "/48) from which this person never signed in has 3 in an hour.",
    )
    # A /48, because one customer may have a whole one.
    failed_sign_ins_per_new_network = (Rate(3, 3600),)
    """Wrong passwords for one name beyond that, from a network from which this person never signed
    in."""

    sign_ins_per_ip = limit(
        81,
        Rate(300, 300),
        doc="Passwords, right or wrong, from one address. An account that signed in from its "
        "network before has a count of its own.",
    )
    passkey_sign_in = flag(
        133,
        False,
        "Whether the sign-in page offers to sign in with a passkey alone, without the password.",
    )
    password_hashes = number(
        80,
        2,
        1,
        64,
        "Passwords that one web process checks at once. About 50 more wait, others get 503.",
    )
    legacy_access_keys = flag(
        22, True, "Whether WsAccessKey is accepted.", name="LEGACY_ACCESS_KEYS"
    )
    # RFC 6750 5.3: an hour or less.
    access_token_lifetime = number(
        71, 3600, 60, 86_400, "Seconds that an access token is valid. Some clients expect 10800."
    )
    refresh_token_lifetime = number(
        72,
        2_592_000,
        3600,
        31_622_400,
        "Seconds that a refresh token is valid. Some clients expect a year, 31536000.",
    )
    # RFC 9700 4.14.2.
    password_clients_rotate = flag(
        73,
        False,
        "Whether authorisation/refresh replaces the refresh token. It locks out clients that "
        "keep their first one.",
    )
    # Until then the owner of the old mailbox can stop a thief: mails with a new password go to
    # the new address.
    email_delay = number(
        93,
        86_400,
        0,
        604_800,
        "Seconds that a confirmed new email address waits, so that the owner of the old one "
        "can stop a thief.",
    )
    # At most two weeks: the mails about it, which are kept for 30 days, must outlive it.
    recovery_delay = Setting(
        94,
        0,
        parse=integer,
        fault=off_or_between(86_400, 1_209_600),
        doc="Seconds after which a request on the sign-in page removes all second factors. 0: no "
        "such requests. It costs safety: see 'A way back for people who lost everything' in "
        "docs/people.md.",
    )
