"""Make each call with the client that openapi-python-client has generated as ``optin_client``.

    generated.py BASE_URL FILE NAME PASSWORD NUMBER

For a test account in a sandbox. It prints what each call answers, as generated.rb does.
"""

import sys
from typing import Any

from optin_client import AuthenticatedClient, Client
from optin_client.api.authorisation import (
    authorisation_ping,
    authorisation_refresh,
    authorisation_token,
    authorisation_token_2fa,
)
from optin_client.api.endpoints import (
    add_endpoint,
    change_endpoint,
    list_endpoints,
    remove_endpoint,
    replace_endpoint_secret,
)
from optin_client.api.events import events
from optin_client.api.sandbox import sandbox_texts
from optin_client.api.user import (
    user_opt_in_to_2_fa,
    user_opt_out_from_2_fa,
    user_verify_2_fa_opt_in,
)
from optin_client.models import (
    EndpointChangeRequest,
    EndpointRequest,
    OAuthPasswordCredentialsGrantRequest,
    OAuthPasswordCredentialsGrantRequestGrantType,
    OAuthRefreshAccessTokenRequest,
    OAuthRefreshAccessTokenRequestGrantType,
    OptInTo2FARequest,
    OptOutFrom2FARequest,
    Verify2FAOptInRequest,
)

URL = "https://hooks.example.com/"
base_url, file, name, password, number = sys.argv[1:]
file_id = int(file)
anybody = Client(base_url)


def sign_in(**more: str) -> Any:
    kind = OAuthPasswordCredentialsGrantRequestGrantType.PASSWORD
    return OAuthPasswordCredentialsGrantRequest(kind, name, password, **more)


def client(grant: Any) -> AuthenticatedClient:
    return AuthenticatedClient(base_url, grant.access_token)


def code(by: AuthenticatedClient) -> str:
    texts = sandbox_texts.sync(client=by, file_id=file_id).texts
    return str(next(text.body for text in texts if text.to == number).split()[0])


grant = authorisation_token.sync(client=anybody, body=sign_in())
me = client(grant)
print("ping", authorisation_ping.sync(client=me, file_id=file_id))
opted = user_opt_in_to_2_fa.sync(
    client=me, file_id=file_id, body=OptInTo2FARequest(number), client_reference="order-17"
)
verified = user_verify_2_fa_opt_in.sync(
    client=me, file_id=file_id, body=Verify2FAOptInRequest(opted.provider_user_id, code(me))
)
print("verify", verified.status_message, verified.field_links[0].title)
print("token", authorisation_token.sync(client=anybody, body=sign_in()).error)
grant = authorisation_token_2fa.sync(client=anybody, body=sign_in(verification_code=code(me)))
print("token-2fa", grant.token_type)
kind = OAuthRefreshAccessTokenRequestGrantType.REFRESH_TOKEN
refresh = OAuthRefreshAccessTokenRequest(kind, grant.refresh_token)
me = client(authorisation_refresh.sync(client=anybody, body=refresh))
asked = user_opt_out_from_2_fa.sync(client=me, file_id=file_id)
print("opt-out", asked.field_links[-1].title)
done = user_opt_out_from_2_fa.sync(client=me, file_id=file_id, body=OptOutFrom2FARequest(code(me)))
print("opt-out", done.status_message)
added = add_endpoint.sync(client=me, file_id=file_id, body=EndpointRequest(URL))
change = EndpointChangeRequest(f"{URL}2", state="off")
one = {"client": me, "file_id": file_id, "endpoint_id": added.endpoint_id}
print("changed", change_endpoint.sync(**one, body=change).state)
new = replace_endpoint_secret.sync(**one)
listed = list_endpoints.sync(client=me, file_id=file_id).endpoints
print("endpoints", new.secret[:6], *(each.url for each in listed))
print("removed", remove_endpoint.sync(**one).status_message)
for event in events.sync(client=me, file_id=file_id, after=0, limit=100).events:
    if event.data.provider_user_id == opted.provider_user_id:
        print("event", event.type_, event.data.reference)
