from optin import guards
from optin.management.commands import ListCommand


class Command(ListCommand):
    help = "Let no breaker refuse opt-ins of a number or a prefix. The other limits hold."
    action = guards.keep_safe
    done = "is on the safe list"
