from optin.management.commands import GroupCommand
from tools.management.guesses import GuessBudget
from tools.management.replay import ReplayPolicy


class Command(GroupCommand):
    help = "Find out what the limits are worth: replay requests, count guesses."
    acts = {"replay": ReplayPolicy, "guesses": GuessBudget}
