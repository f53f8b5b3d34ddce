from optin.management.commands import GroupCommand
from tools.management.guesses import GuessBudget


class Command(GroupCommand):
    help = "Find out what the limits are worth."
    acts = {"guesses": GuessBudget}
