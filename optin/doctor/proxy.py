"""The proxy in front: what it passes on of a visitor's request, and what it keeps away."""

import ipaddress
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

from django.conf import settings

from optin.conf import conf
from optin.doctor import site
from optin.doctor.findings import Finding, fault, skipped

_WAITS = 1.0
"""Seconds in which a proxy that passes on half a request would have done so."""


def visitors() -> Iterator[Finding]:
    """The visitor's address arrives, and one that the visitor makes up is not believed."""
    found = site.what_arrives()
    hops = [hop.strip() for hop in found["forwarded_for"].split(",") if hop.strip()]
    if wrong := _wrong(found["remote"], found["ip"], found["ours"], hops):
        text, do = wrong
        remote = found["remote"] or "a Unix socket"
        how = f"A request with a made-up X-Forwarded-For came from {remote}"
        yield fault(text, seen=f"{how} with {', '.join(hops) or 'none'}.", do=f"{do} {site.PROXY}")


_TELL = "nginx: proxy_set_header X-Forwarded-For $remote_addr; "


def _wrong(remote: str, ip: str, ours: str, hops: list[str]) -> tuple[str, str] | None:
    """Return what is wrong with a request that arrived so, and what helps.

    :param ip: what the service takes for the address of the visitor.
    :param ours: the address of this machine, which is that of the visitor.
    """
    if not remote:
        text = "The service listens on a Unix socket: limits by address do not work."
        return text, "Bind it to an address."
    if not _is_trusted(remote):
        return _untrusted(remote, hops)
    if not hops:
        return "The proxy does not tell the visitor's address: all share its limits.", _TELL
    if ip == site.MARKER and not _is_ours(hops, ours):
        text = "Visitors can choose their address: the proxy passes on the X-Forwarded-For that "
        return f"{text}they write.", _TELL
    if ip not in {ours, site.MARKER} and _is_trusted(ip):
        text = f"The service takes the address {ip} of a proxy for the visitor's."
        return text, "The first proxy must write the visitor's address."
    return None


def _untrusted(remote: str, hops: list[str]) -> tuple[str, str] | None:
    if hops == [site.MARKER] and (conf.no_proxy or settings.DEBUG):
        return None  # there is no proxy in front, and nobody is believed
    if hops == [site.MARKER] and conf.trusted_proxies:
        text = "Requests reach the service past the proxy, or the proxy is not in TRUSTED_PROXIES "
        text += "and passes on what visitors write."
        return text, f"If {remote} is the proxy, add it to TRUSTED_PROXIES and restart."
    return (
        f"The proxy {remote} is not in TRUSTED_PROXIES: all visitors share its limits.",
        f"Add {remote} to TRUSTED_PROXIES, and restart the service.",
    )


def _is_trusted(address: str) -> bool:
    known = ipaddress.ip_address(address)
    return any(known in network for network in conf.trusted_proxies)


def _is_ours(hops: list[str], ours: str) -> bool:
    """Whether a proxy added the address of this machine, which is one of the trusted, to ours."""
    return site.MARKER in hops[:-1] and hops[hops.index(site.MARKER) + 1] == ours


def listens() -> Iterator[Finding]:
    """At 127.0.0.1, unless `TRUSTED_PROXIES` names another machine."""
    found = site.what_arrives()
    if not found["bound"]:
        yield skipped("The service listens at a Unix socket: see 'proxy'.")
    elif not _is_loopback(found["bound"]) and all(
        _is_loopback(str(network.network_address)) for network in conf.trusted_proxies
    ):
        yield fault(
            f"The service listens at {found['bound']}: others reach it without the proxy, and 16 "
            "slow requests stop it.",
            do="Restart it with gunicorn's --bind 127.0.0.1:8000. If the proxy is on another "
            "machine, name it in TRUSTED_PROXIES, and let the firewall keep away all others. "
            f"{site.PROXY}",
        )


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


# -- TLS and requests --------------------------------------------------------------


def https() -> Iterator[Finding]:
    """The service knows that visitors use https, and browsers are told to stay with it."""
    there = site.place()
    if not there.tls:
        yield skipped("BASE_URL begins with http: nothing is encrypted.")
        return
    found = site.what_arrives()
    if not found["secure"]:
        yield fault(
            "The service does not learn that visitors use https, and sends no "
            "Strict-Transport-Security.",
            seen=f"A request over https arrived from {found['remote']} as http.",
            do="nginx: proxy_set_header X-Forwarded-Proto $scheme;  If the proxy is on another "
            f"machine, name it in --forwarded-allow-ips of gunicorn. {site.PROXY}",
        )
    elif "Strict-Transport-Security" not in site.alive().headers:
        yield fault("The proxy removes Strict-Transport-Security.", do=f"Let it pass. {site.PROXY}")


def requests() -> Iterator[Finding]:
    """The proxy passes on whole requests only."""
    if settings.DEBUG and not conf.trusted_proxies:
        yield skipped("There is no proxy in front.")
    elif status := _half_a_request():
        yield fault(
            "The proxy passes on requests before they are whole: 16 slow ones stop the service.",
            seen=f"A POST whose body did not arrive got the answer {status}.",
            do=f"nginx: proxy_request_buffering on;  {site.PROXY}",
        )


def _half_a_request() -> str:
    """Begin a POST, hold its body back, and return the status with which the service answers."""
    there = site.place()
    with closing(there.connect()) as line:
        head = f"POST /livez HTTP/1.1\r\nHost: {urlsplit(conf.base_url).netloc}\r\n"
        line.sendall(f"{head}Content-Type: text/plain\r\nContent-Length: 9\r\n\r\n.".encode())
        line.settimeout(_WAITS)
        try:
            answer = line.recv(8192).decode("ascii", "replace")
        except TimeoutError:
            return ""
    # The service sends this with each answer. Without it, the proxy itself refused.
    is_ours = "content-security-policy:" in answer.lower()
    return answer.partition(" ")[2][:3] if is_ours else ""
