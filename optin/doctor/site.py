"""The public address: asked from here, as a visitor does, through the proxy."""

import json
import ssl
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.utils import timezone

from optin import passkeys
from optin.conf import conf
from optin.doctor import net, seen
from optin.doctor.findings import Finding, fault, ok, warning
from optin.doctor.net import Answer, Place, Unreachable, ask, ends_soon
from optin.models import Passkey
from optin.support.health import clock_of
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
    asked = timezone.now()
    answer = ask(place(), seen.PATH, headers)
    if answer.status != 200:
        return {}
    found: dict[str, Any] = json.loads(answer.body)
    return found | {"ours": answer.ours, "asked": asked}


# -- whether anybody is there ------------------------------------------------------


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


def passkeys_() -> Iterator[Finding]:
    """Passkeys work at the host of `BASE_URL` only, and at no IP address."""
    others = Passkey.objects.exclude(rp_id=passkeys.rp_id()).count()
    if others:
        yield warning(
            f"Passkeys of another host than {passkeys.rp_id()}, which do not work: {others}.",
            do=f"Set BASE_URL back, or help these people. {section('people', 'Passkeys')}",
        )
    if not passkeys.are_offered():
        yield warning(
            "BASE_URL has an IP address: browsers have no passkeys there, so none are offered.",
            do=f"Give it a host name. {section('people', 'Passkeys')}",
        )


def running() -> Iterator[Finding]:
    """The running service has this release, these settings, and the right time."""
    found = what_arrives()
    if not found:
        yield fault(
            "The running service does not know the doctor.",
            seen=f"{seen.PATH} answers no 200 to a request signed with SECRET_KEY.",
            do="It runs with another SECRET_KEY or an older release, its clock is minutes away, or "
            "the proxy keeps this address to itself. Restart the service, and look at the "
            "environment of its unit.",
        )
        return
    there = datetime.fromisoformat(found["now"])
    late = list(clock_of("the running service", (there - found["asked"]).total_seconds()))
    for need in late:
        yield fault(need.words, do=need.do)
    here = settings.SPECTACULAR_SETTINGS["VERSION"]
    if found["release"] != here:
        yield warning(
            f"The running service is release {found['release']}, the doctor is {here}.",
            do="Restart the service. " + section("upgrade-and-restore", "Upgrade"),
        )
    differing = seen.differing(found["settings"])
    if differing:
        yield warning(
            f"The running service has other settings than this command: {', '.join(differing)}.",
            do="If the file changed: systemctl restart optin 'optin-worker@*'. Otherwise run the "
            "doctor with the environment of the service.",
        )
