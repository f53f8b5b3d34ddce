"""Of what an action consists."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django import forms

from optin.errors import OutOfReach
from optin.models import File, Membership, User
from optin.models.files import MAX_FILE_ID
from optin.models.reasons import MAX_REASON
from optin.origin import Origin
from optin.outcomes import RevocationOutcome, SendOutcome, StaffOutcome


class NoForm(forms.Form):
    """What all forms of actions share. By itself it has no fields, and asks for confirmation."""

    def __init__(self, data: Any, row: Any = None) -> None:
        super().__init__(data)
        self.row = row
        for field in self.fields.values():  # the summary of what is wrong names each
            field.error_messages["required"] = f"{field.label or 'This'}: nothing was entered."
            # Django's own repeats what was sent.
            field.error_messages["invalid_choice"] = f"{field.label}: choose one from the list."

    def settle(self, name: str, value: str) -> Any:
        """Take *value* for a field that is not asked for any more, and return what it names.

        :raises ValidationError: if it names nothing.
        """
        field = self.fields[name]
        found = field.clean(value)
        # Whatever is sent for a disabled field counts for nothing.
        field.initial, field.disabled, field.widget = value, True, forms.HiddenInput()
        return found


def tick(what: str) -> forms.BooleanField:
    """Return a field that asks staff to confirm *what*."""
    return forms.BooleanField(label=what, error_messages={"required": f"Tick this first: {what}"})


class ReasonForm(NoForm):
    """The reason. The audit trail keeps it for as long as the event."""

    reason = forms.CharField(
        max_length=MAX_REASON,
        label="Reason",
        help_text="Kept in the audit log. Do not enter a phone number or a password.",
        widget=forms.Textarea(attrs={"rows": 3, "autocomplete": "off"}),
    )


class PersonField(forms.CharField):
    """A person, by user name, email address or id."""

    def __init__(self) -> None:
        super().__init__(max_length=254, label="User name, email address or id (such as id:17)")

    def clean(self, value: Any) -> User:
        text = super().clean(value).strip()
        pk = text.removeprefix("id:")
        user: User | None
        if pk != text and pk.isdecimal():
            user = User.objects.filter(pk=int(pk)).first() if len(pk) < 19 else None
        else:
            user = User.objects.by_login(text)
        if user is None:
            raise forms.ValidationError("There is no such account.")
        return user


class FileField(forms.IntegerField):
    """A file, by its FileId."""

    def __init__(self) -> None:
        super().__init__(min_value=1, max_value=MAX_FILE_ID, label="File id")

    def clean(self, value: Any) -> File | None:
        pk = super().clean(value)
        if pk is None:  # where it need not be given
            return None
        file = File.objects.filter(pk=pk).first()
        if file is None:
            raise forms.ValidationError("There is no such file.")
        return file


class PersonForm(NoForm):
    """Names the person whom an action of a command is about."""

    who = PersonField()

    def found(self) -> Any:
        """Return the row that the fields name."""
        return self.cleaned_data["who"]


@dataclass(frozen=True, slots=True)
class Done:
    """The result: what to tell, and what is shown once, such as a key."""

    words: str
    outcome: str = StaffOutcome.OK
    secret: str = ""
    answer: str = ""
    """What a command prints alone on its last line, if it is no secret."""
    row: Any = None
    """What was made. Its page comes next, if it has one."""

    @property
    def is_done(self) -> bool:
        return self.outcome in _DONE


_DONE = frozenset[str](
    {
        *(StaffOutcome.OK, SendOutcome.SENT, SendOutcome.RESENT),
        *(RevocationOutcome.PLANNED, RevocationOutcome.WITHDRAWN),
    }
)


def told(outcome: str, words: Mapping[Any, str]) -> Done:
    """Say what became of an operation."""
    if outcome == StaffOutcome.OUT_OF_REACH:
        return Done(OutOfReach.message, outcome)
    said = words.get(outcome) or f"Nothing was done: {outcome.replace('_', ' ')}."
    return Done(said, outcome)


Do = Callable[[Any, dict[str, Any], Origin], Done]
"""Takes the row that an action is about, what its form holds, and who asks."""


def calls(operation: Any, done: str, unchanged: str = "Already set.", **more: Any) -> Do:
    """Return what calls *operation* with the row, if there is one, and what the form holds.

    :param done: what is told if it did something: without a ``StaffOutcome``, it did.
    """
    words = {
        StaffOutcome.OK: done,
        StaffOutcome.UNCHANGED: unchanged,
        StaffOutcome.NOT_OPTED_IN: "Nothing was done: this person has no such second factor.",
    }

    def do(row: Any, data: dict[str, Any], origin: Origin) -> Done:
        rows = [] if row is None else [row]
        if isinstance(row, Membership):
            rows = [row.user, row.file]
        result = operation(*rows, **data, **more, origin=origin)
        return told(result if isinstance(result, StaffOutcome) else StaffOutcome.OK, words)

    return do


@dataclass(frozen=True, slots=True)
class Action:
    """One operation: who may ask for it, what it says, what it calls."""

    name: str
    title: str
    permission: str
    """Which members of staff may ask for it; "" if it is for operators only."""
    says: str
    do: Do
    form: type[NoForm] = ReasonForm
    hits: Callable[[Any], str] | None = None
    """Says on its page what to know of the row before, or how many texts it hits."""
    is_destructive: bool = False
    """Whether it takes something away from people. Its button is red."""
    command: str = ""
    """By which command operators ask for it, such as "person unlock"."""
    by: Any = None
    """The form by which the command names the row, such as ``PersonForm``."""
    is_final: bool = False
    """Whether the command asks first."""
    needs: str = ""
    """What must be so before: staff tick it, and the help of the command says it."""
    changes: Callable[[Any], object] = lambda it: True
    """Whether it would do anything for this row. For an account, it gets ``Known``."""
    helps: Callable[[Any], object] = lambda it: False
    """Whether staff most likely want it then, if it would do anything."""

    def asks(self, data: Any, row: Any) -> NoForm:
        """Return the form by which staff ask for it, with the tick if it needs one."""
        form = self.form(data, row)
        if self.needs:
            form.fields["ready"] = tick(self.needs)
        return form
