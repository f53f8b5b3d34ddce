"""Whose address a request came from: the socket's, unless a trusted proxy says more."""

import ipaddress

import pytest
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from optin.origin import client_ip

PROXIES = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))
addresses = st.ip_addresses().map(str).filter(lambda ip: not ip.startswith("::ffff:"))
hops = st.lists(st.one_of(addresses, st.text(max_size=12)), max_size=5).map(",".join)


@pytest.mark.parametrize(
    ("remote", "header", "expected"),
    [
        pytest.param("192.0.2.1", "", "192.0.2.1", id="no-header"),
        pytest.param("192.0.2.1", "198.51.100.7", "192.0.2.1", id="header-of-a-client"),
        pytest.param("10.1.1.1", "198.51.100.7", "198.51.100.7", id="header-of-a-proxy"),
        pytest.param("10.1.1.1", "", "10.1.1.1", id="proxy-itself"),
        pytest.param("10.1.1.1", "6.6.6.6, 198.51.100.7", "198.51.100.7", id="forged-first-hop"),
        pytest.param("10.1.1.1", "198.51.100.7, 10.2.2.2", "198.51.100.7", id="two-proxies"),
        pytest.param("10.1.1.1", "198.51.100.7 , fd00::1", "198.51.100.7", id="proxy-by-ipv6"),
        pytest.param("10.1.1.1", "198.51.100.7, rubbish", "10.1.1.1", id="rubbish-last"),
        pytest.param("10.1.1.1", "rubbish, 198.51.100.7", "198.51.100.7", id="rubbish-first"),
        pytest.param("10.1.1.1", "10.9.9.9, 10.2.2.2", "10.9.9.9", id="all-ours"),
        pytest.param("2001:DB8::0:1", "", "2001:db8::1", id="ipv6-in-one-spelling"),
        pytest.param("", "198.51.100.7", "", id="unix-socket"),
    ],
)
@override_settings(TRUSTED_PROXIES=PROXIES)
def test_client_ip(remote: str, header: str, expected: str) -> None:
    """S-26."""
    assert client_ip(remote, header) == expected


@given(remote=addresses, header=hops)
def test_nobody_is_believed_by_default(remote: str, header: str) -> None:
    assert client_ip(remote, header) == client_ip(remote, "")


@given(client=addresses, forged=hops)
@override_settings(TRUSTED_PROXIES=PROXIES)
def test_what_a_client_writes_changes_nothing(client: str, forged: str) -> None:
    """Behind a proxy that appends the peer it saw, only that one counts."""
    trusted = any(ipaddress.ip_address(client) in network for network in PROXIES)
    if not trusted:
        assert client_ip("10.1.1.1", f"{forged},{client}") == client_ip(client, "")


@given(remote=st.one_of(addresses, st.text(max_size=12)), header=st.text(max_size=60))
@override_settings(TRUSTED_PROXIES=PROXIES)
def test_the_answer_is_an_address_or_nothing(remote: str, header: str) -> None:
    found = client_ip(remote, header)
    assert found == "" or str(ipaddress.ip_address(found)) == found


@pytest.mark.parametrize(
    ("remote", "ip"),
    [("::ffff:192.0.2.1", "192.0.2.1"), ("fe80::1%eth0", "fe80::1")],
    ids=["IPv4 on a socket for both", "link-local"],
)
def test_an_address_is_only_the_address(remote: str, ip: str) -> None:
    """All IPv4 clients would count as one /64, and no proxy be recognised."""
    assert client_ip(remote, "") == ip


@override_settings(TRUSTED_PROXIES=PROXIES)
def test_a_mapped_proxy_is_trusted() -> None:
    assert client_ip("::ffff:10.0.0.1", "192.0.2.7") == "192.0.2.7"
