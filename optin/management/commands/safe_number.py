from optin.management.commands import ListCommand
from optin.operations import send_controls


class Command(ListCommand):
    help = "Let no breaker refuse opt-ins of a number or a prefix. The other limits hold."
    action = send_controls.keep_safe
    done = "is on the safe list"
