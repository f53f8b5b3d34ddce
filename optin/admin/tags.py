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
    """Write each time in *text* as "16:01, 6 hours ago", with the whole time on hover."""
    now = timezone.now()
    return format_html_join(
        "",
        "{}",
        (
            (part if isinstance(part, str) else _time(*part, now),)
            for part in wording.moments_of(text)
        ),
    )


def _time(whole: str, at: datetime, now: datetime) -> SafeString:
    said = f"{wording.brief(at, now)}, {wording.ago(at, now)}"
    return format_html('<time datetime="{}" title="{}">{}</time>', at.isoformat(), whole, said)
