from optin.management.commands import GroupCommand, acts_of


class Command(GroupCommand):
    help = "Let an application keep people up to date by SCIM, and give it a token for that."
    acts = acts_of("scim")
