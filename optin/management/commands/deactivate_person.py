from optin.management.commands import ActivityCommand
from optin.operations import people


class Command(ActivityCommand):
    help = "End a person's access: sessions, tokens and access keys stop at once."
    action = people.deactivate
    done = "deactivated"
