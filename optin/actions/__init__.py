"""What staff ask for in the admin, and operators by a command: one ``Action`` each.

An action has a name, a form, the permission that it takes and the operation that it calls. The
admin makes a page of it, ``optin.management`` the command that ``command`` names. Without a
permission there is no page, and without ``command`` no command.
"""

from optin.actions import accounts, tenants, texts

EVERY = (*accounts.EVERY, *tenants.EVERY, *texts.EVERY)
