"""Filters for the templates of staff."""

from datetime import datetime

from django import template
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from optin.support import wording

register = template.Library()


@register.filter
def timed(text: str) -> SafeString:
    """Write each time in *text* as "16:01, 6 hours ago", with the whole time on hover.

    Of a span, as in "between 16:01 and 17:15", no time says how long ago it was.
    """
    now, before, found = timezone.now(), "", []
    for part in wording.moments_of(text):
        if isinstance(part, str):
            before = part
            found.append((part,))
        else:
            is_of_span = before == " and " or before.endswith("between ")
            found.append((_time(*part, "" if is_of_span else wording.ago(part[1], now)),))
    return format_html_join("", "{}", found)


def _time(whole: str, at: datetime, ago: str) -> SafeString:
    said = ", ".join(filter(None, [wording.brief(at, timezone.now()), ago]))
    return format_html('<time datetime="{}" title="{}">{}</time>', at.isoformat(), whole, said)
