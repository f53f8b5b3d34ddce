from optin.management.commands import GroupCommand
from tools.management.guesses import GuessBudget
from tools.management.rehearse import Rehearse
from tools.management.replay import ReplayPolicy


class Command(GroupCommand):
    help = "Find out what the limits are worth: play an attack, replay requests, count guesses."
    acts = {"rehearse": Rehearse, "replay": ReplayPolicy, "guesses": GuessBudget}
