from optin.management.commands import GroupCommand, acts_of


class Command(GroupCommand):
    help = "Make a WsAccessKey, or revoke it."
    acts = acts_of("access_key")
