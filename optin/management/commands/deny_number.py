from optin import guards
from optin.management.commands import ListCommand


class Command(ListCommand):
    help = "Refuse opt-ins of a number or a prefix. What is active stays, and signs in."
    action = guards.deny
    done = "is on the deny list"
