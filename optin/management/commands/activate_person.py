from optin.management.commands import ActivityCommand
from optin.operations import people


class Command(ActivityCommand):
    help = "Let a person in again who was deactivated."
    action = people.activate
    done = "active"
