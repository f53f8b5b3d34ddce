"""Every address of the admin: so that no test of all of them forgets a new one."""

from collections.abc import Iterator

from django.urls import URLPattern, URLResolver

from optin.admin import site


def _routes(found: list[URLPattern | URLResolver], above: str = "") -> Iterator[tuple[str, str]]:
    for pattern in found:
        route = above + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _routes(pattern.url_patterns, route)
        else:
            yield str(pattern.name), route


ADDRESSES = dict(_routes(site.get_urls()))
"""The route of each, below /admin/, by its name."""


def path_to(name: str, ids: dict[str, int]) -> str:
    """Return the path of the address *name*; *ids* has a row for each kind of row."""
    route = ADDRESSES[name]
    if name == "app_list":
        return "/admin/optin/"
    if "<int:object_id>" in route:
        model = next(model for model in ids if name.startswith(f"{model}_"))
        route = route.replace("<int:object_id>", str(ids[model]))
    return f"/admin/{route}"
