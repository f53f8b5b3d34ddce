from optin.management.commands import GroupCommand, acts_of


class Command(GroupCommand):
    help = "Make a file (a tenant), keep its members, or set the day on which texts end."
    acts = acts_of("file")
