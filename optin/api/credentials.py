"""Who calls: a bearer token in the header, a legacy access key in the query, or both. A client of
the token calls may send its own id and secret.

Each credential is one query by its digest. The rows and rules of tokens are those of
django-oauth-toolkit; its own look-up takes several times as long, and takes tokens
from bodies too.
"""

from base64 import b64decode
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

from django.db.models import Exists, F, OuterRef, Q, Subquery
from django.utils import timezone
from oauth2_provider.models import AccessToken, Application
from oauth2_provider.oauth2_validators import OAuth2Validator

from optin import keys
from optin.api.answers import ApiError
from optin.conf import conf
from optin.database import Param, Select
from optin.models import AccessKey, File, ScimClient, TrustedClient, User
from optin.operations.tenants import SCIM_SCOPE
from optin.origin import name_address

CALL_SCOPES = frozenset({"full", "2fa", "modify"})
"""Each of these allows the ``User/`` calls. A token of any scope may ping."""

EVENT_SCOPES = frozenset({"full", "events"})
"""Each of these allows to read events, and to manage endpoints."""


def find_provider(meta: Mapping[str, str]) -> ScimClient:
    """Return which application keeps people up to date by SCIM: by a token of its own.

    :raises ApiError: 401, also for a token of a person, or for any that is narrowed to files.
    """
    token = credential(meta, "bearer")
    if token is None:
        raise ApiError("not_authenticated")
    tokens = AccessToken.objects.filter(user=None, expires__gt=timezone.now())
    found = tokens.filter(token_checksum=keys.sha256(token)).first()
    if found and found.scope.split() == [SCIM_SCOPE] and _is_for_us(found.resource):
        clients = ScimClient.objects.filter(application=found.application_id)
        is_open = Q(file=None) | Q(file__active=True)
        if client := clients.filter(is_open).select_related("file").first():
            return client
    raise ApiError("invalid_token")


@dataclass(frozen=True, slots=True)
class Caller:
    """The user that the credentials stand for, and what these allow."""

    user: User
    client: str  # "app:<id>" or "key:<id>", for limits and the audit trail
    scopes: frozenset[str] | None = None  # of the token, if there is one
    files: frozenset[str] | None = None  # the token's fileid: words, if it names its files
    key_file_id: int | None = None  # of the access key, if there is one
    asked_file_id: int | None = None  # of the query
    asked_file: File | None = None  # that file, if it is open to the user

    def may_call(self, scopes: frozenset[str]) -> bool:
        """Whether the scope is enough for a call that needs one of *scopes*; a key always is."""
        return self.scopes is None or bool(self.scopes & scopes)

    def file(self, file_id: int) -> File | None:
        """Return the file, if the user and each credential may use it."""
        if self.key_file_id not in {None, file_id}:
            return None
        if self.files is not None and f"fileid:{file_id}" not in self.files:
            return None
        if file_id == self.asked_file_id:
            return self.asked_file
        return File.objects.open_to(self.user).filter(pk=file_id).first()


def authenticate(meta: Mapping[str, str], access_key: str, file_id: int | None) -> Caller:
    """Return who calls; *access_key* is the query's ``WsAccessKey``, "" if none.

    :param file_id: the file that is read with them, if the query names one.

    :raises ApiError: 401, unless each credential sent is valid and, where both are,
        they belong to one user.
    """
    now = timezone.now()
    token = credential(meta, "bearer")
    ignored = access_key and not conf.legacy_access_keys
    if ignored:
        access_key = ""
    if token is None and not access_key:
        raise ApiError("not_authenticated")
    by_token = _by_token(token, now, file_id) if token is not None else None
    by_key = _by_key(access_key, now, file_id) if access_key else None
    if by_token and by_key:
        if by_token.user != by_key.user:
            # No secret: whoever has both can try each alone.
            raise ApiError("invalid_token")
        return replace(by_token, key_file_id=by_key.key_file_id)
    caller = by_token or by_key
    if caller is None:
        raise ApiError("invalid_token")
    return caller


def credential(meta: Mapping[str, str], wanted: str) -> str | None:
    """Return what the ``Authorization`` header has for a scheme; None with another scheme."""
    scheme, _, text = meta.get("HTTP_AUTHORIZATION", "").partition(" ")
    return text.strip() if scheme.lower() == wanted else None


# -- clients with a secret ---------------------------------------------------------

CUSTOMER_ADDRESS = "HTTP_X_FAPI_CUSTOMER_IP_ADDRESS"
"""The header of FAPI in which a trusted client names the address of its user."""


def find_client(text: str) -> Any:
    """Return the client whose id and secret *text* has (RFC 6749, 2.3.1), None if they are wrong.

    ``is_trusted`` says whether it may name the address of its user.
    """
    try:
        pair = b64decode(text, validate=True).decode()
    except ValueError:
        return None
    client_id, _, secret = map(unquote_plus, pair.partition(":"))
    # PostgreSQL keeps no NUL: an id with one is nobody's.
    found = None if "\0" in client_id else _BY_CLIENT_ID.row(client_id=client_id)
    is_right = found and OAuth2Validator()._check_secret(secret, found.client_secret)
    return found if is_right else None


def take_address(meta: MutableMapping[str, Any], client: Any) -> None:
    """Let the address that *client* names stand for that of the request, if it is trusted.

    :raises ApiError: 400, if that is not one address.
    """
    named = meta.get(CUSTOMER_ADDRESS)
    if named is None or not client.is_trusted:
        return
    if not name_address(meta, named):
        raise ApiError("invalid_request", "x-fapi-customer-ip-address is not one address.")


_BY_CLIENT_ID = Select(
    lambda: Application._base_manager.filter(client_id=Param("client_id", Application)).annotate(
        is_trusted=Exists(
            TrustedClient.objects.filter(
                application=OuterRef("pk"), application__client_type=Application.CLIENT_CONFIDENTIAL
            )
        )
    )
)


# -- the user's credentials --------------------------------------------------------


def _by_token(token: str, now: datetime, file_id: int | None) -> Caller:
    user: Any = _BY_TOKEN.row(checksum=keys.sha256(token), now=now, file_id=file_id)
    if user is None or not _is_for_us(user.resource):
        raise ApiError("invalid_token")
    scopes = frozenset(user.scope.split())
    files = frozenset(word for word in scopes if word.startswith("fileid:"))
    # A token that an application was given names the files that were open then; where none
    # was, it works for none, also when the user joins one later.
    names_files = bool(files) or user.application_id is not None
    return Caller(
        user,
        f"app:{user.application_id}",
        scopes=scopes,
        files=files if names_files else None,
        asked_file_id=file_id,
        asked_file=_opened(user, file_id),
    )


def _is_for_us(resource: list[str]) -> bool:
    """RFC 8707: a token may be meant for another server; most name none."""
    return not resource or bool(AccessToken(resource=resource).allows_audience(conf.base_url))


def _by_key(text: str, now: datetime, file_id: int | None) -> Caller:
    user: Any = _BY_KEY.row(digest=keys.sha256(text), file_id=file_id)
    if user is None:
        raise ApiError("invalid_token")
    if AccessKey.is_stale(user.key_used_at, now):
        AccessKey.objects.filter(pk=user.key_id).update(last_used_at=now)
    return Caller(
        user,
        f"key:{user.key_id}",
        key_file_id=user.key_file_id,
        asked_file_id=file_id,
        asked_file=_opened(user, file_id),
    )


# This reads only what tells whether the user's sessions were ended meanwhile: each operation reads
# the user again, under its lock. It also reads what is used of the file in the query, if the file
# is open to the user.
_OPEN_FILE = File.objects.open_to(OuterRef("pk")).filter(pk=Param("file_id", File, "id"))
_USERS = (
    User.objects.filter(is_active=True)
    .only("pk", "session_epoch")
    .annotate(
        file_name=Subquery(_OPEN_FILE.values("name")),
        file_texts_end_on=Subquery(_OPEN_FILE.values("texts_end_on")),
    )
)
# The inner joins leave out tokens without a user, as client credentials have.
_BY_TOKEN = Select(
    lambda: _USERS.filter(
        oauth2_provider_accesstoken__token_checksum=Param(
            "checksum", AccessToken, "token_checksum"
        ),
        oauth2_provider_accesstoken__expires__gt=Param("now", AccessToken, "expires"),
    ).annotate(
        scope=F("oauth2_provider_accesstoken__scope"),
        application_id=F("oauth2_provider_accesstoken__application"),
        resource=F("oauth2_provider_accesstoken__resource"),
    )
)
_BY_KEY = Select(
    lambda: _USERS.filter(
        access_keys__digest=Param("digest", AccessKey), access_keys__revoked_at=None
    ).annotate(
        key_id=F("access_keys__pk"),
        key_file_id=F("access_keys__file"),
        key_used_at=F("access_keys__last_used_at"),
    )
)


def _opened(user: Any, file_id: int | None) -> File | None:
    """Return the file that was read with *user*, if it is open to them."""
    if file_id is None or user.file_name is None:
        return None
    return File(id=file_id, name=user.file_name, active=True, texts_end_on=user.file_texts_end_on)
