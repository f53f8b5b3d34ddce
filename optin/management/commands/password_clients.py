from optin.management.commands import GroupCommand, acts_of


class Command(GroupCommand):
    help = "Allow clients without a client id to sign people in by password, or end it."
    acts = acts_of("password_clients")
