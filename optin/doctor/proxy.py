"""The proxy in front: what it passes on of a visitor's request, and what it keeps away."""

import ipaddress
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

from django.conf import settings

from optin.conf import conf
from optin.doctor import site
from optin.doctor.findings import Finding, fault, skipped, warning
from optin.doctor.net import Place, Unreachable, ask

TOO_LONG = 64 * 1024
"""Bytes of a body that a proxy which is set up as in the document refuses."""

_WAITS = 1.0
"""Seconds in which a proxy that passes on half a request would have done so."""


def visitors() -> Iterator[Finding]:
    """The visitor's address arrives, and one that the visitor makes up is not believed."""
    found = site.what_arrives()
    if found is None:
        yield skipped("The service does not tell what it sees: see 'running'.")
        return
    hops = [hop.strip() for hop in found["forwarded_for"].split(",") if hop.strip()]
    remote, ip, ours = found["remote"], found["ip"], found["ours"]
    how = (
        f"A request with a made-up X-Forwarded-For came from {remote or 'a Unix socket'} "
        f"with {', '.join(hops) or 'none'}."
    )
    if not remote:
        yield fault(
            "The service listens on a Unix socket: limits by address do not work.",
            seen=how,
            do=f"Bind it to an address. {site.PROXY}",
        )
    elif not _is_trusted(remote):
        yield from _untrusted(remote, hops, how)
    elif not hops:
        yield fault(
            "The proxy does not tell the visitor's address: all share its limits.",
            seen=how,
            do=f"nginx: proxy_set_header X-Forwarded-For $remote_addr;  {site.PROXY}",
        )
    elif ip == site.MARKER and not _is_ours(hops, ours):
        yield fault(
            "Visitors can choose their address: the proxy passes on the X-Forwarded-For that "
            "they write.",
            seen=how,
            do=f"nginx: proxy_set_header X-Forwarded-For $remote_addr;  {site.PROXY}",
        )
    elif ip not in {ours, site.MARKER} and _is_trusted(ip):
        yield fault(
            f"The service takes the address {ip} of a proxy for the visitor's.",
            seen=how,
            do=f"The first proxy must write the visitor's address. {site.PROXY}",
        )


def listens() -> Iterator[Finding]:
    """At 127.0.0.1, unless `TRUSTED_PROXIES` names another machine."""
    found = site.what_arrives()
    if found is None or not found["bound"]:
        yield skipped("The service does not tell where it listens: see 'running' and 'proxy'.")
    elif not _is_loopback(found["bound"]) and all(
        _is_loopback(str(network.network_address)) for network in conf.trusted_proxies
    ):
        yield fault(
            f"The service listens at {found['bound']}: others reach it without the proxy, and 16 "
            "slow requests stop it.",
            seen="Its own word; TRUSTED_PROXIES names no proxy on another machine.",
            do="Restart it with gunicorn's --bind 127.0.0.1:8000. If the proxy is on another "
            "machine, name it in TRUSTED_PROXIES, and let the firewall keep away all others. "
            f"{site.PROXY}",
        )


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


def _untrusted(remote: str, hops: list[str], how: str) -> Iterator[Finding]:
    if hops == [site.MARKER] and (conf.no_proxy or settings.DEBUG):
        return  # there is none in front, and nobody is believed
    if hops == [site.MARKER] and conf.trusted_proxies:
        yield fault(
            "Requests reach the service past the proxy, or the proxy is not in TRUSTED_PROXIES and "
            "passes on what visitors write.",
            seen=how,
            do=f"If {remote} is the proxy, add it to TRUSTED_PROXIES and restart. {site.PROXY}",
        )
    else:
        yield fault(
            f"The proxy {remote} is not in TRUSTED_PROXIES: all visitors share its limits.",
            seen=how,
            do=f"Add {remote} to TRUSTED_PROXIES, and restart the service. {site.PROXY}",
        )


def _is_trusted(address: str) -> bool:
    known = ipaddress.ip_address(address)
    return any(known in network for network in conf.trusted_proxies)


def _is_ours(hops: list[str], ours: str) -> bool:
    """Whether a proxy added the address of this machine, which is one of the trusted, to ours."""
    return site.MARKER in hops[:-1] and hops[hops.index(site.MARKER) + 1] == ours


# -- TLS and bodies ----------------------------------------------------------------


def https() -> Iterator[Finding]:
    """The service knows that visitors use https, and browsers are told to stay with it."""
    there = site.place()
    if not there.tls:
        yield skipped("BASE_URL begins with http: nothing is encrypted.")
        return
    found = site.what_arrives()
    if found is None:
        yield skipped("The service does not tell what it sees: see 'running'.")
    elif not found["secure"]:
        yield fault(
            "The service does not learn that visitors use https, and sends no "
            "Strict-Transport-Security.",
            seen=f"A request over https arrived from {found['remote']} as http.",
            do="nginx: proxy_set_header X-Forwarded-Proto $scheme;  If the proxy is on another "
            f"machine, name it in --forwarded-allow-ips of gunicorn. {site.PROXY}",
        )
    elif "Strict-Transport-Security" not in site.alive().headers:
        yield fault(
            "The proxy removes Strict-Transport-Security.",
            seen="The answer of /livez has none.",
            do=f"Let it pass. {site.PROXY}",
        )
    elif there.port == 443 and (status := _in_clear(there.host)):
        yield warning(
            "Port 80 serves something else than a redirect to https.",
            seen=f"http://{there.host}/ answers {status}.",
            do="Redirect port 80.",
        )


def _in_clear(host: str) -> int:
    """Return the status of port 80, unless nobody is there or it redirects to https."""
    try:
        answer = ask(Place(host, 80), "GET", "/")
    except Unreachable:
        return 0
    redirects = answer.headers.get("Location", "").startswith("https://")
    return 0 if 300 <= answer.status < 400 and redirects else answer.status


def requests() -> Iterator[Finding]:
    """The proxy passes on whole requests only, and refuses long bodies."""
    if settings.DEBUG and not conf.trusted_proxies:
        yield skipped("There is no proxy in front.")
        return
    status = _half_a_request()
    if status:
        yield fault(
            "The proxy passes on requests before they are whole: 16 slow ones stop the service.",
            seen=f"A POST whose body did not arrive got the answer {status}.",
            do=f"nginx: proxy_request_buffering on;  {site.PROXY}",
        )
    answer = ask(site.place(), "POST", "/livez", {"Content-Type": "text/plain"}, b"." * TOO_LONG)
    if answer.status != 413:
        yield warning(
            "The proxy takes bodies that are too long for every call.",
            seen=f"A POST of {TOO_LONG // 1024} KB to /livez got {answer.status}, not 413.",
            do=f"nginx: client_max_body_size 32k;  {site.PROXY}",
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
