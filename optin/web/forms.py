"""The forms of the pages: what a person types, and the labels and hints beside it."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib.auth.forms import PasswordResetForm, SetPasswordForm
from django.core.validators import MaxLengthValidator
from django.utils.translation import gettext_lazy as _

from optin.codes import MAX_LENGTH
from optin.models import File

MAX_NAME = 254
MAX_PASSWORD = 1024


def _password(label: Any, autocomplete: str) -> forms.CharField:
    return forms.CharField(
        label=label,
        max_length=MAX_PASSWORD,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": autocomplete}),
        error_messages={"required": _("Enter your password.")},
    )


class Form(forms.Form):
    """A form without colons after its labels."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **options})


class SignInForm(Form):
    username = forms.CharField(
        label=_("User name or e-mail address"),
        max_length=MAX_NAME,
        widget=forms.TextInput(
            attrs={"autocomplete": "username", "autocapitalize": "none", "spellcheck": "false"}
        ),
        error_messages={"required": _("Enter your user name or e-mail address.")},
    )
    password = _password(_("Password"), "current-password")


class PasswordForm(Form):
    password = _password(_("Password"), "current-password")


class NumberForm(Form):
    number = forms.CharField(
        label=_("Mobile number"),
        max_length=MAX_LENGTH,
        help_text=_("For example 0491 570 156 or +61 491 570 156."),
        widget=forms.TextInput(attrs={"type": "tel", "autocomplete": "tel"}),
        error_messages={"required": _("Enter your mobile number.")},
    )
    file = forms.ModelChoiceField(
        label=_("For which file"),
        help_text=_("Two-factor sign-in protects your whole account, whichever file you choose."),
        queryset=File.objects.none(),
        widget=forms.RadioSelect,
        empty_label=None,
        error_messages={
            "required": _("Choose a file."),
            "invalid_choice": _("Choose a file from the list."),
        },
    )

    def __init__(self, files: Sequence[File], *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if len(files) == 1:
            del self.fields["file"]
        else:
            choice: Any = self.fields["file"]
            choice.queryset = File.objects.filter(pk__in=[file.pk for file in files])
            choice.label_from_instance = lambda file: file.name


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
                "maxlength": MAX_LENGTH,
                "class": "code",
            }
        ),
    )

    def __init__(self, refused: str = "", *, hint: Any = "", has_field: bool = True) -> None:
        super().__init__({} if refused else None)
        if hint:
            self.fields["code"].help_text = hint
        if refused:
            # Where the page shows no field, there is none to lead to.
            self.add_error("code" if has_field else None, refused)


class RecoveryForm(Form):
    """One field for a recovery code."""

    recovery = forms.CharField(
        label=_("Recovery code"),
        required=False,
        help_text=_("16 letters and digits, as on your list. Each works once."),
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


class ResetForm(PasswordResetForm):
    """The e-mail address of somebody who forgot the password; the caller sends the mail."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **options})
        email = self.fields["email"]
        email.label = _("E-mail address")
        email.error_messages["required"] = _("Enter the e-mail address of your account.")
