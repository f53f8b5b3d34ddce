from typing import Any

from django.core.management.base import CommandError, CommandParser

from optin.management.commands import ORIGIN, BaseCommand, find_user
from optin.models import AccessKey
from optin.operations import tenants


class Command(BaseCommand):
    help = "End a WsAccessKey, named by its user and its first characters."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="User name or e-mail address.")
        parser.add_argument("prefix", help="The first characters of the key, at most 6 count.")

    def handle(self, *args: Any, user: str, prefix: str, **options: Any) -> None:
        owner = find_user(user)
        found = AccessKey.objects.filter(
            user=owner, prefix__startswith=prefix[:6], revoked_at=None
        ).select_related("user", "file")
        if len(found) != 1:
            raise CommandError(f"{owner.get_username()} has {len(found)} such keys in use.")
        tenants.revoke_access_key(found[0], origin=ORIGIN)
        self.stdout.write(f"Revoked the key {found[0].prefix}... of {owner.get_username()}.")
