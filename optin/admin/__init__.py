"""The pages for staff, on Django's admin.

These pages show rows. Changes go through ``operations``; no form writes a row by itself. ``site``
decides who may come in, ``rows`` how rows are shown, ``actions`` how staff ask for an operation.
The pages are in English only.
"""

from optin.admin import accounts, audit, numbers, tenants, texts, webhooks
from optin.admin.site import site

__all__ = [
    "accounts",
    "audit",
    "numbers",
    "site",
    "tenants",
    "texts",
    "webhooks",
]
