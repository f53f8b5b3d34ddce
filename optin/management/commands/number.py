from optin.management.commands import GroupCommand, acts_of


class Command(GroupCommand):
    help = "Deny a mobile number or a prefix, keep it safe, unlist it, or allow texts after STOP."
    acts = acts_of("number")
