"""What stops texts, and lets them leave again."""

from datetime import timedelta
from typing import Any

from django import forms
from django.utils import timezone

from optin import phones
from optin.actions.base import Action, Do, Done, ReasonForm, calls
from optin.errors import InvalidMobileNumber
from optin.operations import send_controls, staff
from optin.operations.send_controls import Target
from optin.origin import Origin
from optin.support import counting, health
from optin.support.wording import exact, some


class NumberForm(ReasonForm):
    """A number, or all that share its first digits."""

    number = forms.CharField(
        max_length=phones.MAX_LENGTH,
        label="Mobile number",
        widget=forms.TextInput(attrs={"type": "tel", "autocomplete": "off"}),
    )
    prefix = forms.BooleanField(  # type: ignore[assignment]  # no prefix of names
        required=False, label="All numbers that begin like it (its last 4 digits do not count)"
    )
    field_order = ("number", "prefix", "days", "hours", "reason")

    def target(self) -> Target:
        make = Target.prefix if self.cleaned_data["prefix"] else Target.number
        return make(self.cleaned_data["number"])

    def clean(self) -> dict[str, Any]:
        if not self.errors:
            try:
                return {"reason": self.cleaned_data["reason"], **self.asked()}
            except InvalidMobileNumber as exc:
                self.add_error("number", exc.message)
        return self.cleaned_data

    def asked(self) -> dict[str, Any]:
        """Return what the operation takes, beside the reason."""
        return {"target": self.target()}


class ListForm(NumberForm):
    days = forms.IntegerField(min_value=1, max_value=366, initial=30, label="Days")

    def asked(self) -> dict[str, Any]:
        return {"target": self.target(), "lasts": timedelta(days=self.cleaned_data["days"])}


class LiftForm(NumberForm):
    prefix = None  # type: ignore[assignment]
    hours = forms.IntegerField(min_value=1, max_value=366 * 24, initial=24, label="Hours")

    def asked(self) -> dict[str, Any]:
        prefix = Target.prefix(self.cleaned_data["number"])
        return {"prefix": prefix, "lasts": timedelta(hours=self.cleaned_data["hours"])}


class OneNumberForm(NumberForm):
    prefix = None  # type: ignore[assignment]

    def target(self) -> Target:
        return Target.number(self.cleaned_data["number"])


def _put(operation: Any, done: str) -> Do:
    def do(row: None, data: dict[str, Any], origin: Origin) -> Done:
        return Done(f"{done} until {exact(operation(**data, origin=origin).until)}.")

    return do


def _hit(row: None) -> str:
    """Say how many texts there were of late, and to how many people."""
    found = counting.texts_since(timezone.now() - timedelta(hours=24))
    own = some(found["texts"] - found["opting"], "text")
    people = some(found["people"], "person", "people")
    return (
        f"In the last 24 hours, it would have hit {people}: {own} to sign in and "
        f"{found['opting']:,} to opt in or out."
    )


EVERY = (
    Action(
        "deny",
        "Put on the deny list",
        staff.SEND_CONTROLS,
        "Refuses opt-ins of a number, or of all numbers with its prefix. Active numbers keep "
        "working.",
        _put(send_controls.deny, "On the deny list"),
        ListForm,
        command="number deny",
    ),
    Action(
        "safe",
        "Put on the safe list",
        staff.SEND_CONTROLS,
        "No breaker refuses opt-ins of this number or prefix. The other limits still apply.",
        _put(send_controls.keep_safe, "On the safe list"),
        ListForm,
        command="number safe",
    ),
    Action(
        "lift",
        "Open a closed prefix",
        staff.SEND_CONTROLS,
        "Opens a prefix that a breaker closed.",
        _put(send_controls.lift_breaker, "The prefix is open"),
        LiftForm,
        command="texts lift-breaker",
    ),
    Action(
        "unlist",
        "Remove from a list",
        staff.SEND_CONTROLS,
        "Takes a number or prefix off the deny or safe list. If an owner closed a number to "
        "strangers, this opens it again.",
        calls(send_controls.unlist, "Removed from the list.", "It was not on a list."),
        NumberForm,
        command="number unlist",
    ),
    Action(
        "texts-again",
        "Allow texts to a number",
        staff.SEND_CONTROLS,
        "For somebody who answered STOP and wants texts again. The gateway must allow it too.",
        calls(
            send_controls.allow_number,
            "Texts may go to it again.",
            "Nobody answered STOP from it.",
        ),
        OneNumberForm,
        command="number allow",
    ),
    Action(
        "stop",
        "Stop all texts",
        staff.SEND_CONTROLS,
        "Stops all texts of every kind. Waiting texts expire. Apps and recovery codes still work.",
        calls(
            send_controls.stop_texts, "Stopped. Waiting texts expire.", "They were stopped already."
        ),
        hits=_hit,
        is_destructive=True,
        changes=lambda _: not health.stop_of_texts(),
        command="texts stop",
    ),
    Action(
        "allow",
        "Allow all texts again",
        staff.SEND_CONTROLS,
        "Ends the stop of all texts. People who were refused must ask again.",
        calls(send_controls.allow_texts, "Texts leave again.", "They were not stopped."),
        changes=lambda _: health.stop_of_texts(),
        command="texts allow",
    ),
)
