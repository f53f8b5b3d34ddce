"""The proxy in front: whether it answers, and what it passes on of a visitor's request.

The doctor asks the public address from this machine, as a visitor does.
"""

import ipaddress
import json
import ssl
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from optin.conf import conf
from optin.doctor import net, seen
from optin.doctor.findings import Finding, fault, ok, skipped
from optin.doctor.net import Answer, Place, Unreachable, ask, ends_soon
from optin.support.wording import section

PROXY = section("deploy", "The proxy in front")

MARKER = "192.0.2.77"
"""An address that nobody has (RFC 5737). A visitor who writes it must not be believed."""


def forget() -> None:
    """Ask anew."""
    alive.cache_clear()
    what_arrives.cache_clear()


def place() -> Place:
    base = urlsplit(conf.base_url)
    secure = base.scheme == "https"
    # Trust this machine's store of certificates, as browsers do.
    tls = ssl.create_default_context() if secure else None
    return Place(base.hostname or "", base.port or (443 if secure else 80), tls)


@cache
def alive() -> Answer:
    return ask(place(), "/livez")


@cache
def what_arrives() -> dict[str, Any]:
    """What the service sees of a request; nothing if it does not know us."""
    headers = {seen.HEADER: seen.token(), "X-Forwarded-For": MARKER}
    answer = ask(place(), seen.PATH, headers)
    if answer.status != 200:
        return {}
    found: dict[str, Any] = json.loads(answer.body)
    return found | {"ours": answer.ours}


# -- whether the service answers ---------------------------------------------------


def reach() -> Iterator[Finding]:
    """`BASE_URL` resolves, answers, and has a certificate that is valid for 14 days more."""
    where = conf.base_url
    try:
        with closing(place().connect()) as line:
            days = net.days_left(line)
            soon = list(ends_soon(line, where, do="Renew it, and reload the proxy."))
        answer = alive()
    except Unreachable as exc:
        yield fault(
            f"{where} cannot be reached. {exc}",
            do=f"Check the proxy, its certificate and DNS. {PROXY}",
        )
        return
    yield from soon
    if answer.status == 200 and answer.body == b"ok\n":
        until = "" if days is None else f"; its certificate is valid for {days} days"
        if not soon:
            yield ok(f"{where} answers{until}.")
    elif answer.status == 400:
        yield fault(
            "The proxy does not pass on Host: every request is refused.",
            seen=f"{where}/livez answers 400.",
            do=f"nginx: proxy_set_header Host $host;  {PROXY}",
        )
    elif answer.status in {502, 503, 504}:
        yield fault(
            "The proxy runs, but the service behind it does not answer.",
            seen=f"{where}/livez answers {answer.status}.",
            do="systemctl status optin; then journalctl -u optin. "
            + section("deploy", "Starting it"),
        )
    else:
        yield fault(
            "Something else than this service answers there.",
            seen=f"{where}/livez answers {answer.status}, not 200 and 'ok'.",
            do=f"Check BASE_URL and where the proxy passes requests on to. {PROXY}",
        )


# -- the visitor's address --------------------------------------------------------


def visitors() -> Iterator[Finding]:
    """The visitor's address arrives, and one that the visitor makes up is not believed."""
    found = what_arrives()
    if not found:
        yield fault(
            "The running service does not know the doctor.",
            seen=f"{seen.PATH} answers no 200 to a request signed with SECRET_KEY.",
            do="It runs with another SECRET_KEY or an older release, its clock is minutes away, or "
            "the proxy does not pass this address on. Restart the service, and look at the "
            "environment of its unit.",
        )
        return
    hops = [hop.strip() for hop in found["forwarded_for"].split(",") if hop.strip()]
    if wrong := _wrong(found["remote"], found["ip"], found["ours"], hops):
        text, do = wrong
        remote = found["remote"] or "a Unix socket"
        how = f"A request with a made-up X-Forwarded-For came from {remote}"
        yield fault(text, seen=f"{how} with {', '.join(hops) or 'none'}.", do=f"{do} {PROXY}")


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
    if ip == MARKER and not _is_ours(hops, ours):
        text = "Visitors can choose their address: the proxy passes on the X-Forwarded-For that "
        return f"{text}they write.", _TELL
    if ip not in {ours, MARKER} and _is_trusted(ip):
        text = f"The service takes the address {ip} of a proxy for the visitor's."
        return text, "The first proxy must write the visitor's address."
    return None


def _untrusted(remote: str, hops: list[str]) -> tuple[str, str] | None:
    if hops == [MARKER] and (conf.no_proxy or settings.DEBUG):
        return None  # there is no proxy in front, and nobody is believed
    if hops == [MARKER] and conf.trusted_proxies:
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
    return MARKER in hops[:-1] and hops[hops.index(MARKER) + 1] == ours


# -- TLS ---------------------------------------------------------------------------


def https() -> Iterator[Finding]:
    """The service knows that visitors use https, and browsers are told to stay with it."""
    there = place()
    if not there.tls:
        yield skipped("BASE_URL begins with http: nothing is encrypted.")
        return
    found = what_arrives()
    if not found["secure"]:
        yield fault(
            "The service does not learn that visitors use https, and sends no "
            "Strict-Transport-Security.",
            seen=f"A request over https arrived from {found['remote']} as http.",
            do="nginx: proxy_set_header X-Forwarded-Proto $scheme;  If the proxy is on another "
            f"machine, name it in --forwarded-allow-ips of gunicorn. {PROXY}",
        )
    elif "Strict-Transport-Security" not in alive().headers:
        yield fault("The proxy removes Strict-Transport-Security.", do=f"Let it pass. {PROXY}")
