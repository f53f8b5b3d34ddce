from optin.management.commands import GroupCommand, acts_of


class Command(GroupCommand):
    help = "Make a file (a tenant), add a member, or end a membership."
    acts = acts_of("file")
