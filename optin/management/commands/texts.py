from optin.management.commands import GroupCommand, acts_of


class Command(GroupCommand):
    help = "Stop all texts, allow them again, or open a prefix that a breaker closed."
    acts = acts_of("texts")
