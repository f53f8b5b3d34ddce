"""Redirects: to a page of this host only."""

from urllib.parse import urlencode

from django.http import HttpResponseRedirect
from django.shortcuts import resolve_url
from django.utils.http import url_has_allowed_host_and_scheme


class SeeOther(HttpResponseRedirect):
    """The answer to an accepted POST (S-60): a reload asks for that page, and sends nothing."""

    status_code = 303

    def __init__(self, to: str, *, then: str = "", **query: object) -> None:
        if then:
            query["next"] = then
        address = resolve_url(to)
        super().__init__(f"{address}?{urlencode(query)}" if query else address)


def local(asked: str) -> str:
    """Return *asked* if it is a page of this host, else ""."""
    fits = url_has_allowed_host_and_scheme(asked, allowed_hosts=None) and asked.startswith("/")
    return asked if fits else ""
