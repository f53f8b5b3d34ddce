"""The forms of the pages: what a person types, and the labels and hints beside it."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from django import forms
from django.contrib.auth.forms import PasswordResetForm, SetPasswordForm
from django.core.validators import MaxLengthValidator
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext_lazy as _

from optin import phones
from optin.codes import MAX_LENGTH
from optin.conf import conf
from optin.keys import UndecryptableError
from optin.models import File, ProposedNumber
from optin.models.passkeys import MAX_NAME as MAX_PASSKEY_NAME
from optin.models.webhooks import MAX_DESCRIPTION, MAX_SEQUENCE
from optin.operations import webhooks
from optin.runtime import outside
from optin.support.wording import plain
from optin.web import typed, words

MAX_NAME = 254
MAX_PASSWORD = 1024


class Form(forms.Form):
    """A form without colons after its labels."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **options})


class PasswordForm(Form):
    password = forms.CharField(
        label=_("Password"),
        max_length=MAX_PASSWORD,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
        error_messages={"required": _("Enter your password.")},
    )


class SignInForm(PasswordForm):
    field_order = ("username", "password")

    username = forms.CharField(
        label=_("User name or email address"),
        max_length=MAX_NAME,
        widget=forms.TextInput(
            attrs={"autocomplete": "username", "autocapitalize": "none", "spellcheck": "false"}
        ),
        error_messages={"required": _("Enter your user name or email address.")},
    )


class PlainField(forms.CharField):
    """A name that somebody chooses. Characters that are not printed are removed."""

    widget = forms.TextInput(attrs={"autocomplete": "off"})

    def to_python(self, value: Any) -> str:
        return plain(super().to_python(value))


class PasskeyForm(Form):
    name = PlainField(
        label=_("Name"),
        help_text=_("For example, “Work laptop” or “Blue key”. You can change it later."),
        max_length=MAX_PASSKEY_NAME,
        error_messages={"required": _("Enter a name.")},
    )


class BrowserForm(Form):
    name = PlainField(
        label=_("Name"),
        help_text=_("For example, “Work laptop”. Leave it empty to remove the name."),
        max_length=40,
        required=False,
    )


class NumberForm(Form):
    PROPOSED, OTHER = "proposed", "other"

    which = forms.ChoiceField(
        label=_("Where should we text the code?"), required=False, widget=forms.RadioSelect
    )
    number = forms.CharField(
        label=_("Mobile number"),
        max_length=MAX_LENGTH,
        widget=forms.TextInput(attrs={"type": "tel", "autocomplete": "tel"}),
        error_messages={"required": _("Enter your mobile number.")},
    )
    file = forms.ModelChoiceField(
        label=_("For which organisation"),
        help_text=_(
            "Two-factor sign-in protects your whole account, whichever organisation you choose."
        ),
        queryset=File.objects.none(),
        widget=forms.RadioSelect,
        empty_label=None,
        error_messages={
            "required": _("Choose an organisation."),
            "invalid_choice": _("Choose an organisation from the list."),
        },
    )

    def __init__(
        self, files: Sequence[File], *args: Any, proposed: ProposedNumber | None, **options: Any
    ) -> None:
        """With the end of a *proposed* number as a choice: to see it whole takes a phone."""
        super().__init__(*args, **options)
        self.fields["number"].help_text = _number_hint()
        self.proposed = ""
        with suppress(UndecryptableError):
            self.proposed = proposed.open_number() if proposed else ""
        if proposed and self.proposed:
            which: Any = self.fields["which"]
            ours = _("To %(number)s, the number that we have for you")
            which.choices = [
                (self.PROPOSED, ours % {"number": proposed.masked_number}),
                (self.OTHER, _("To another number")),
            ]
            which.initial = self.PROPOSED
            self.fields["number"].required = self.asked == "number"
        else:
            del self.fields["which"]
        if len(files) == 1:
            del self.fields["file"]
        else:
            choice: Any = self.fields["file"]
            choice.queryset = File.objects.filter(pk__in=[file.pk for file in files])
            choice.label_from_instance = lambda file: file.name

    @property
    def asked(self) -> str:
        """The field that says to which number the code goes, and has what is wrong with it."""
        is_proposed = "which" in self.fields and self["which"].value() == self.PROPOSED
        return "which" if is_proposed else "number"

    def clean_number(self) -> str:
        if self.asked == "which":
            return self.proposed
        return typed.number(self.cleaned_data["number"])


class EndpointForm(Form):
    """A webhook endpoint: where its events go, and which."""

    url = forms.CharField(
        label=_("Address"),
        help_text=_("An address of your server. It begins with https://."),
        max_length=outside.MAX_URL,
        widget=forms.TextInput(attrs={"type": "url", "autocomplete": "off"}),
        error_messages={"required": _("Enter an address.")},
    )
    description = forms.CharField(
        label=_("Description"),
        help_text=_("For you and others who manage the organisation. You can leave it empty."),
        max_length=MAX_DESCRIPTION,
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    kinds = forms.MultipleChoiceField(
        label=_("Events"),
        help_text=_("Leave all empty to get every event, including new kinds."),
        choices=[(kind.value, _(kind.label)) for kind in webhooks.KINDS],
        required=False,
        widget=forms.CheckboxSelectMultiple,
        error_messages={"invalid_choice": _("Choose events from the list.")},
    )

    def clean_url(self) -> str:
        url: str = self.cleaned_data["url"]
        if outside.fault(url):
            raise forms.ValidationError(words.wrong_endpoint())
        return url


class SampleForm(Form):
    kind = forms.ChoiceField(
        label=_("Event"),
        help_text=_("We send a sample of it. It's about nobody, and has no Sequence."),
        choices=[(kind.value, kind.value) for kind in webhooks.TESTS],
    )


class SequenceForm(Form):
    sequence = forms.IntegerField(
        label=_("From Sequence"),
        help_text=_("Each event has the same webhook-id as before."),
        min_value=1,
        max_value=MAX_SEQUENCE,
        error_messages={"required": _("Enter the Sequence of an event.")},
    )


class SecretForm(Form):
    ends_old = forms.BooleanField(
        label=_("The old secret may stop at once: no server needs it."), required=False
    )


def _number_hint() -> str:
    """Give an example and, where there are several, the countries whose numbers do."""
    national, international = words.number_examples()
    hint = _("For example %(national)s or %(international)s.") % {
        "national": national,
        "international": international,
    }
    if len(conf.sms_regions) == 1:
        return hint
    # The script puts the name of a country in place of its code.
    countries = format_html_join(
        ", ",
        '{} (<span data-region="{}">{}</span>)',
        ((phones.calling_code(region), region, region) for region in conf.sms_regions),
    )
    return format_html("{} {} {}.", hint, _("Allowed countries:"), countries)


class CodeForm(Form):
    """One field for a code; the code is never written back into it (P-04)."""

    code = forms.CharField(
        label=_("Code"),
        required=False,
        widget=forms.TextInput(
            attrs={
                "inputmode": "numeric",
                "autocomplete": "one-time-code",
                "spellcheck": "false",
                "maxlength": typed.MAX_LENGTH,
                "class": "code",
            }
        ),
    )

    def __init__(
        self,
        refused: str = "",
        *,
        by_text: int = 0,
        by_app: bool = False,
        by_passkey: str = "",
        sends_itself: bool = True,
    ) -> None:
        """For a code that ``words.malformed`` says the shape of.

        :param by_passkey: why a passkey was refused that was used in place of a code.
        :param sends_itself: whether the last digit sends it, where the browser runs scripts.
        """
        super().__init__({} if refused or by_passkey else None)
        has_field = bool(by_text) or by_app
        field = self.fields["code"]
        field.help_text = words.code_hint(by_text, by_app=by_app) if has_field else ""
        if has_field and sends_itself:
            digits = max(words.code_lengths(by_text, by_app=by_app))
            field.widget.attrs["data-digits"] = digits
            note = _("We'll submit it when you've typed all %(n)d digits.") % {"n": digits}
            field.help_text = format_html(
                "{} <span data-sends hidden>{}</span>", field.help_text, note
            )
        if refused:
            # If the page shows no field, the error cannot lead to it.
            self.add_error("code" if has_field else None, refused)
        if by_passkey:
            self.add_error(None, by_passkey)


class RecoveryForm(Form):
    """One field for a recovery code."""

    recovery = forms.CharField(
        label=_("Recovery code"),
        required=False,
        help_text=_("16 letters and digits, as on your list."),
        widget=forms.TextInput(
            attrs={
                "autocomplete": "off",
                "autocapitalize": "characters",
                "spellcheck": "false",
                "maxlength": MAX_LENGTH,
                "class": "code",
            }
        ),
    )

    def __init__(self, refused: str = "") -> None:
        super().__init__({} if refused else None)
        if refused:
            self.add_error("recovery", refused)


class EmailForm(Form):
    """A new email address; the operation says whether it is one."""

    email = forms.CharField(
        label=_("New email address"),
        widget=forms.EmailInput(
            attrs={"autocomplete": "email", "autocapitalize": "none", "spellcheck": "false"}
        ),
        error_messages={"required": _("Enter your new email address.")},
    )


class NewPasswordForm(SetPasswordForm):  # type: ignore[type-arg]
    """A new password, twice; the caller saves it."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **options})
        for field in self.fields.values():
            field.validators.append(MaxLengthValidator(MAX_PASSWORD))
        first, second = self.fields["new_password1"], self.fields["new_password2"]
        first.error_messages["required"] = _("Enter a new password.")
        second.label = _("New password, once more")
        second.help_text = ""
        second.error_messages["required"] = _("Enter the new password once more.")

    def validate_password_for_user(self, user: Any, password_field_name: str = "") -> None:
        """Say at the first field what is wrong with the password: it is to be chosen there."""
        super().validate_password_for_user(user, "new_password1")


class ResetForm(PasswordResetForm):
    """The email address of somebody who forgot the password; the caller sends the mail."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **options})
        email = self.fields["email"]
        email.label = _("Email address")
        email.error_messages["required"] = _("Enter the email address of your account.")
        email.error_messages["invalid"] = words.wrong_address(self.data.get("email", ""))
