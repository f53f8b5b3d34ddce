"""The models of the wire contract: names, types and help as the vendor has them.

``source`` turns wire names into our own; nothing inside knows ``Otp``. A serializer
checks shape only: whether a code is right is for ``operations``, which count.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from rest_framework import serializers

from optin import codes, phones
from optin.api.parsers import fold
from optin.models.files import MAX_FILE_ID
from optin.models.webhooks import MAX_DESCRIPTION, MAX_KINDS
from optin.operations.webhooks import KINDS
from optin.runtime.outside import MAX_URL

# Not int() or \d: both take the digits of other scripts; int() takes "1_000" too.
_ID = re.compile(r"[1-9][0-9]{0,9}")


def parse_id(text: str) -> int | None:
    """Return the id that *text* writes in plain digits, if it is in range."""
    if not _ID.fullmatch(text):
        return None
    number = int(text)
    return number if number <= MAX_FILE_ID else None


class IdField(serializers.Field[int, Any, int, Any]):
    """An id from 1 to 2147483647: a number, or a string of digits."""

    default_error_messages = {
        "invalid": "must be a whole number from 1 to 2147483647, in plain digits."
    }

    def to_internal_value(self, data: Any) -> int:
        # A bool is an int in Python, and 1.0 is not the text of an id.
        text = str(data) if type(data) is int else data
        number = parse_id(text) if isinstance(text, str) else None
        if number is None:
            self.fail("invalid")
        return number

    def to_representation(self, value: int) -> int:
        return value


class SequenceField(IdField):
    """The number of an event in the sequence of its file, in an answer."""


class TextField(serializers.Field[str, Any, str, Any]):
    """A string of at most *max_length* characters; never a number taken for one."""

    default_error_messages = {
        "invalid": "must be a string.",
        "too_long": "is too long.",
        "blank": "must not be empty.",
    }

    def __init__(self, *, max_length: int, allow_blank: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.max_length = max_length
        self.allow_blank = allow_blank

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        if len(data) > self.max_length:
            self.fail("too_long")
        if not data and not self.allow_blank:
            self.fail("blank")
        return data

    def to_representation(self, value: str) -> str:
        return value


OPTIONAL: dict[str, Any] = {
    "required": False,
    "allow_null": True,
    "allow_blank": True,
    "default": "",
}


class WordsField(TextField):
    """Up to *most* of *words*, with spaces between. It may be empty."""

    default_error_messages = {"unknown": "must be {words}, or empty."}

    def __init__(self, words: Sequence[str], *, most: int = 1, **kwargs: Any) -> None:
        super().__init__(max_length=MAX_KINDS, **OPTIONAL, **kwargs)
        one = "|".join(map(re.escape, words))
        self.pattern = f"^(?:(?:{one})(?: |$)){{0,{most}}}$"
        self.said = f"{'one' if most == 1 else 'some'} of {', '.join(words)}"

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if not re.fullmatch(self.pattern, text):
            self.fail("unknown", words=self.said)
        return text.strip()


class NumberField(TextField):
    """A mobile number."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=phones.MAX_LENGTH, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        # A text that is too long is no mobile number, which is an answer of its own.
        return data if isinstance(data, str) and data else super().to_internal_value(data)


class OtpField(TextField):
    """A one-time code: a string, because leading zeros count."""

    default_error_messages = {"invalid": "must be a string: a number loses leading zeros."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=codes.MAX_LENGTH, **kwargs)


class AnyCodeField(OtpField):
    """A code of a text message or an app, or a recovery code."""


class ScopeField(TextField):
    """Words of a scope, in upper or lower case."""

    def to_internal_value(self, data: Any) -> str:
        return fold(super().to_internal_value(data))


class Model(serializers.Serializer[Any]):
    """A model of the contract; its name is its XML root element."""

    @classmethod
    def model_name(cls) -> str:
        return cls.__name__

    @classmethod
    def field_names(cls) -> list[str]:
        """The properties, by their wire names."""
        return list(cls._declared_fields)

    @classmethod
    def validated(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return *data* under our own names.

        :raises serializers.ValidationError: if it has another shape.
        """
        return dict(_made_once(cls).run_validation(data))


@cache
def _made_once(model: type[Model]) -> Model:
    """Return the instance that validates all bodies of *model*: it keeps none of them."""
    return model()


class OptInTo2FARequest(Model):
    MobileNumber = NumberField(
        source="mobile_number",
        help_text="The mobile number to register for 2FA, at most 32 characters, written in "
        "any usual way: 0499 999 999 or +61 499 999 999.",
    )


class Verify2FAOptInRequest(Model):
    ProviderUserId = IdField(
        source="provider_user_id",
        help_text="The provider user id of the mobile number registered for 2FA.",
    )
    Otp = OtpField(
        source="otp",
        help_text="The one time password (OTP) sms-ed to the registered mobile number when you "
        "opt-in to 2FA.",
    )


class OptOutFrom2FARequest(Model):
    Otp = OtpField(
        source="otp",
        **OPTIONAL,
        help_text="The one time password (OTP) sms-ed to the registered mobile number when you "
        "call this without one.",
    )


class OptInTo2FAResult(Model):
    ProviderUserId = IdField(
        help_text="The provider user id of the mobile number registered for 2FA."
    )


class Link(Model):
    rel = TextField(max_length=20, help_text="How the target relates to this answer.")
    href = TextField(max_length=500, help_text="The absolute address of the target.")
    method = TextField(max_length=10, help_text="The HTTP method to use there.")
    title = TextField(
        max_length=100,
        help_text="What the target does; in a link with rel help, the code of the answer.",
    )


class BaseResponseModel(Model):
    StatusMessage = TextField(
        max_length=500, help_text="Status message from the response (if any)."
    )
    _links = Link(
        many=True,
        help_text="Hypermedia links. Contains contextual links to possible next actions related "
        "to this resource. Only present in responses. This data is not to be sent to the server.",
    )


class EventData(Model):
    FileId = IdField(help_text="The file in which it happened.")
    ProviderUserId = IdField(
        required=False,  # in XML, null is left out
        allow_null=True,
        help_text="The provider user id of the mobile number that it is about. Null, in XML left "
        "out, if it is about none, or the person was erased.",
    )
    Sequence = SequenceField(help_text="Its number in the file, which rises by one.")
    Reason = TextField(max_length=32, help_text="Why it happened. May be empty.")
    Reference = TextField(
        max_length=64, help_text="The Client-Reference of the opt-in; empty if there was none."
    )


class Event(Model):
    type = TextField(max_length=24, help_text="What happened.")
    timestamp = TextField(max_length=24, help_text="When it happened, in UTC.")
    # DRF takes the fields out of the class: ``data`` stays what it is of each serializer.
    data = EventData(help_text="What it is about.")  # type: ignore[assignment]


class EventList(Model):
    events = Event(many=True, help_text="The oldest first. Empty if there is nothing new.")
    next = SequenceField(help_text="Send it as after in the next call.")


class EndpointRequest(Model):
    Url = TextField(
        source="url",
        max_length=MAX_URL,
        help_text="An address of your server that begins with https://.",
    )
    Types = WordsField(
        KINDS,
        most=len(KINDS),
        source="kinds",
        help_text="The types of events that it wants, with spaces between. Empty: all, also types "
        "of later releases.",
    )
    Description = TextField(
        source="description",
        max_length=MAX_DESCRIPTION,
        **OPTIONAL,
        help_text="For those who manage the file.",
    )


class EndpointChangeRequest(EndpointRequest):
    State = WordsField(
        ("on", "off"), source="state", help_text="on or off. Empty: it stays as it is."
    )


class EndpointSecretRequest(Model):
    OldSecret = WordsField(
        ("end",),
        source="ends_old",
        help_text="end, if an old secret that still signs may stop at once. Otherwise empty.",
    )


class EndpointSecret(Model):
    EndpointId = IdField(help_text="The id of the endpoint.")
    Secret = TextField(
        max_length=64, help_text="The secret that signs its events. No other answer shows it."
    )


class Endpoint(Model):
    EndpointId = IdField(help_text="The id of the endpoint.")
    Url = TextField(max_length=MAX_URL, help_text="Where its events go.")
    Types = TextField(
        max_length=MAX_KINDS,
        help_text="The types of events that it wants, with spaces between. Empty: all.",
    )
    Description = TextField(max_length=MAX_DESCRIPTION, help_text="May be empty.")
    State = TextField(
        max_length=6,
        help_text="on, off, or paused: then nobody answers for it, until somebody sends on.",
    )
    Reason = TextField(
        max_length=10,
        help_text="Why it is off (staff, member, failing, gone, not_me) or paused (file, gone, "
        "no_manager). Empty if it is on.",
    )


class EndpointList(Model):
    Endpoints = Endpoint(many=True, help_text="The oldest first. At most 5.")


class SandboxText(Model):
    At = TextField(max_length=32, help_text="When it was asked for, in UTC.")
    To = TextField(max_length=16, help_text="The mobile number, as +61491570006.")
    Body = TextField(max_length=1000, help_text="Its words. The code stands first.")
    State = TextField(
        max_length=10, help_text="queued, sending, sent, delivered, failed or expired."
    )
    Reference = TextField(max_length=64, help_text="The id of the text in the logs.")


class SandboxTexts(Model):
    Texts = SandboxText(many=True, help_text="The newest first.")


class Boolean(Model):
    """A bare boolean, no object: the answer of ping."""

    @classmethod
    def model_name(cls) -> str:
        return "boolean"


class OAuthPasswordCredentialsGrantRequest(Model):
    grant_type = TextField(max_length=64, help_text='"password".')
    username = TextField(max_length=254, help_text="The user name or email address.")
    password = TextField(max_length=1024, help_text="The password.")
    scope = ScopeField(
        max_length=1024,
        **OPTIONAL,
        help_text="full, 2fa, modify, view, events and fileid:N, with spaces between; without it, "
        "full and all files.",
    )
    verification_code = AnyCodeField(
        **OPTIONAL,
        help_text="The code of the text message or the app, or a recovery code, where two-factor "
        "authentication is on.",
    )


class OAuthRefreshAccessTokenRequest(Model):
    grant_type = TextField(max_length=64, help_text='"refresh_token".')
    refresh_token = TextField(max_length=512, help_text="The refresh token.")
    scope = ScopeField(
        max_length=1024,
        **OPTIONAL,
        help_text="Some of the scope that the token has; without it, all of that.",
    )


class OAuthAccessTokenGrant(Model):
    access_token = TextField(max_length=512, help_text="Send it as Authorization: Bearer ...")
    token_type = TextField(max_length=6, help_text='"Bearer".')
    expires_in = IdField(help_text="Seconds that the access token lives.")
    refresh_token = TextField(
        max_length=512,
        help_text="Send it for a new access token; from then on use the one of that answer, which "
        "may be the same.",
    )
    scope = TextField(max_length=1024, help_text="What was granted.")


class OAuthGrantRequestError(Model):
    error = TextField(max_length=64, help_text="An error code of RFC 6749, or 2fa_code_required.")
    error_description = TextField(max_length=500, help_text="A sentence for a person.")
