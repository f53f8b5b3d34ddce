"""The pages for staff, on Django's admin.

Everything is read here, and changed by the operations that every face calls; no form writes
a row by itself. ``site`` knows who may come in, ``rows`` how rows are shown, ``actions`` how
an operation is asked for; the other modules are the pages by subject. One language: English,
as staff and the runbooks speak it.
"""

from optin.admin import accounts, audit, matrix, tenants, texts
from optin.admin.site import site

__all__ = ["accounts", "audit", "matrix", "site", "tenants", "texts"]
