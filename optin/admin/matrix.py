"""Who may do what here, as a table for docs/staff.md."""

from collections import defaultdict
from collections.abc import Iterator

from optin.admin.actions import OFFERED
from optin.admin.site import site
from optin.operations import staff

NOT_ACTIONS = {
    "Find an account by name, e-mail or full number": "optin.view_user",
    "Export the audit log": staff.EXPORT,
}


def permissions() -> Iterator[tuple[str, str]]:
    """Name everything that can be seen or done, with the permission that it takes."""
    for model in site._registry:
        yield f"See {model._meta.verbose_name_plural}", staff.sees(model)
    yield from NOT_ACTIONS.items()
    site.get_urls()  # which has every operation offered
    for action in OFFERED.values():
        yield action.title, action.permission


def table() -> str:
    """Return the table in Markdown: what the same roles may do is one row."""
    allows = defaultdict[str, list[str]](list)
    for what, permission in permissions():
        allows[permission].append(what)
    rows = defaultdict[tuple[str, ...], list[str]](list)
    for permission, titles in allows.items():
        may = ("yes" if permission in powers else "no" for powers in staff.ROLES.values())
        rows[tuple(may)].append(f"{'; '.join(titles)} (`{permission}`)")
    lines = [
        f"| | {' | '.join(staff.ROLES)} |",
        f"|---|{'---|' * len(staff.ROLES)}",
        *(f"| {'<br>'.join(whats)} | {' | '.join(may)} |" for may, whats in rows.items()),
    ]
    return "\n".join(lines)
