from optin.management.commands import ListCommand
from optin.operations import send_controls


class Command(ListCommand):
    help = "Refuse opt-ins of a number or a prefix. What is active stays, and signs in."
    action = send_controls.deny
    done = "is on the deny list"
