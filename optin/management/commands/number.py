from datetime import timedelta
from typing import Any

from django.core.management.base import CommandParser

from optin.management.commands import ORIGIN, BaseCommand, target_of
from optin.operations import send_controls
from optin.outcomes import StaffOutcome
from optin.phones import mask

ACTS = {
    "deny": "Refuse its opt-ins for a time. What is active stays, and signs in.",
    "safe": "Let no breaker refuse its opt-ins for a time. The other limits hold.",
    "unlist": "Take it off the deny or safe list.",
    "allow": "Let texts go to it again after somebody answered STOP.",
}


class Command(BaseCommand):
    help = "Deny a mobile number or a prefix, keep it safe, unlist it, or allow texts after STOP."

    def add_arguments(self, parser: CommandParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True)
        for act, says in ACTS.items():
            each = acts.add_parser(act, help=says, description=says)
            each.add_argument("number", help="A mobile number.")
            each.add_argument("--reason", required=True, help="Kept in the audit trail.")
            if act != "allow":
                each.add_argument(
                    "--prefix", action="store_true", help="All that begin so, but for 4 digits."
                )
            if act in {"deny", "safe"}:
                each.add_argument("--days", type=int, required=True, help="For how long: 1 to 366.")

    def handle(self, *args: Any, act: str, number: str, **options: Any) -> None:
        target = target_of(number, prefix=options.get("prefix", False))
        why: dict[str, Any] = {"reason": options["reason"], "origin": ORIGIN}
        if act in {"deny", "safe"}:
            put = send_controls.deny if act == "deny" else send_controls.keep_safe
            control = put(target, timedelta(days=max(0, min(options["days"], 1000))), **why)
            what = f"The number {mask(control.last_three)}" if control.last_three else "The prefix"
            said = f"{what} is on the {act} list until {control.until:%Y-%m-%d %H:%M} UTC."
        elif act == "unlist":
            done = send_controls.unlist(target, **why) is not StaffOutcome.UNCHANGED
            said = "Taken off the list." if done else "It is on no list."
        else:
            done = send_controls.allow_number(target, **why) is not StaffOutcome.UNCHANGED
            said = "Texts go to it again." if done else "Nobody answered STOP from it."
        self.stdout.write(said)
