"""Times on pages of staff: short, and whole on hover."""

import re
from datetime import datetime

from django import template
from django.utils import timezone
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe

from optin.support import wording

register = template.Library()

# As ``wording.moment`` and ``wording.exact`` write them.
_WHOLE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d)(?::\d\d)? ([A-Z]{3,5}|[+-]\d{2,4})\b", re.ASCII)

_BETWEEN = re.compile(r"\bbetween (\S+ \S+ \S+ and )?$")
"""Matches what stands before either time of two."""


def short(at: datetime, whole: str) -> SafeString:
    """Return the time as an element: "1 Dec 18:49", with the year unless it is this one."""
    local = timezone.localtime(at)
    year = "" if local.year == timezone.localtime().year else f" {local.year}"
    said = f"{local.day} {local:%b}{year} {local:%H:%M}"
    return format_html('<time datetime="{}" title="{}">{}</time>', local.isoformat(), whole, said)


@register.filter
def times(words: str) -> SafeString:
    """Shorten each whole time in *words*, and say how long ago it is, or in how long."""
    return mark_safe(_WHOLE.sub(_shortened, conditional_escape(words)))  # noqa: S308


def _shortened(found: re.Match[str]) -> str:
    whole, minute, zone = found[0], found[1], found[2]
    try:
        at = timezone.make_aware(datetime.strptime(minute, "%Y-%m-%d %H:%M"))  # noqa: DTZ007
    except ValueError:
        return whole  # somebody's own words
    if at.tzname() != zone:
        at = at.replace(fold=1)  # the second time of that name, when clocks go back
    is_of_two = _BETWEEN.search(found.string[: found.start()])
    ago = "" if is_of_two else f" ({wording.ago(at, timezone.now())})"
    return short(at, whole) + ago
