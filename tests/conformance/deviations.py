"""One thing wrong at a time: what a server may get wrong, and the checks that must say so."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from conformance.checks import (
    addresses,
    bodies,
    credentials,
    events,
    every_answer,
    formats,
    headers,
    oauth,
    order,
    ping,
    stories,
    tokens,
)
from conformance.registry import read
from conformance.wire import Request
from tests.kit.proxy import Alter, Forward, Reply


@dataclass(frozen=True)
class Deviation:
    """Where ``alter`` is at work, exactly the checks of these names fail."""

    name: str
    alter: Alter
    found_by: frozenset[str]


DEVIATIONS: list[Deviation] = []


def found_by(*looks: Callable[..., None]) -> Callable[[Alter], Alter]:
    """Put a way to deviate into the list, with the checks that find it: all of them."""

    def register(alter: Alter) -> Alter:
        names = frozenset(read(look.__doc__)[0] for look in looks)
        DEVIATIONS.append(Deviation(alter.__name__, alter, names))
        return alter

    return register


def answers_found_by(*looks: Callable[..., None]) -> Callable[[Callable[[Reply], Reply]], None]:
    """``found_by`` for a change of each answer."""

    def register(change: Callable[[Reply], Reply]) -> None:
        def alter(request: Request, forward: Forward) -> Reply:
            return change(forward(request))

        alter.__name__ = change.__name__
        found_by(*looks)(alter)

    return register


def rewritten(reply: Reply, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Reply:
    """Write an object in JSON anew; leave other answers alone."""
    data = None if reply.is_xml else reply.read.data
    if not isinstance(data, dict) or reply.request.path.startswith("/o/"):
        return reply
    return replace(reply, body=json.dumps(change(data), separators=(",", ":")).encode())


def of_api(request: Request) -> bool:
    return request.path.startswith(("/user/", "/authorisation/"))


def of_verify(request: Request) -> bool:
    return request.path.startswith("/user/verify-2fa-opt-in")


# -- headers -----------------------------------------------------------------------


@answers_found_by(every_answer.cache_control)
def refusals_may_be_cached(reply: Reply) -> Reply:
    return reply.with_headers(cache_control=None) if reply.status == 403 else reply


@found_by(every_answer.request_id)
def no_request_id(request: Request, forward: Forward) -> Reply:
    return forward(request).with_headers(x_request_id=None)


@answers_found_by(every_answer.challenge, oauth.unknown_client)
def no_challenge(reply: Reply) -> Reply:
    return reply.with_headers(www_authenticate=None)


@answers_found_by(every_answer.allow)
def no_allow(reply: Reply) -> Reply:
    return reply.with_headers(allow=None)


@answers_found_by(every_answer.retry_after)
def no_retry_after(reply: Reply) -> Reply:
    return reply.with_headers(retry_after=None)


@answers_found_by(every_answer.content_type)
def no_charset(reply: Reply) -> Reply:
    return reply.with_headers(content_type=reply.headers["content-type"].partition(";")[0])


@found_by(formats.preferences)
def q_is_ignored(request: Request, forward: Forward) -> Reply:
    accept = re.sub(r";q=0\.\d", "", request.headers.get("Accept", "*/*"))
    return forward(replace(request, headers={**request.headers, "Accept": accept}))


@answers_found_by(every_answer.help_link)
def a_wrong_code_has_a_cause(reply: Reply) -> Reply:
    link = reply.headers.get("link", "").replace("#otp_incorrect", "#otp_incorrect.unknown_id")
    return reply.with_headers(link=link) if link else reply


@answers_found_by(every_answer.no_help_link)
def a_withheld_text_is_told(reply: Reply) -> Reply:
    link = '</Help/Errors#send_limit>; rel="help"'
    is_opt_in = reply.status == 200 and b"ProviderUserId" in reply.body
    return reply.with_headers(link=link) if is_opt_in else reply


@answers_found_by(every_answer.cookies)
def a_cookie_is_set(reply: Reply) -> Reply:
    return reply.with_headers(set_cookie="sessionid=x") if reply.status == 401 else reply


def without(request: Request, *names: str) -> Request:
    kept = {n: v for n, v in request.headers.items() if n not in names}
    return replace(request, headers=kept)


@found_by(headers.client_reference, stories.event)
def client_references_are_ignored(request: Request, forward: Forward) -> Reply:
    return forward(without(request, "Client-Reference"))


@found_by(addresses.override)
def a_header_overrides_the_method(request: Request, forward: Forward) -> Reply:
    if "X-HTTP-Method-Override" in request.headers:
        request = replace(request, method="POST")
    return forward(request)


# -- bodies in XML -----------------------------------------------------------------


@answers_found_by(every_answer.xml_bytes, ping.bare)
def declaration(reply: Reply) -> Reply:
    declared = b'<?xml version="1.0" encoding="utf-8"?>' + reply.body
    return replace(reply, body=declared) if reply.is_xml else reply


@answers_found_by(every_answer.elements, formats.token_errors)
def another_root(reply: Reply) -> Reply:
    return reply.with_body(b"OAuthGrantRequestError", b"Error")


# -- bodies in JSON ----------------------------------------------------------------


@answers_found_by(every_answer.json_bytes)
def white_space_in_json(reply: Reply) -> Reply:
    return reply if reply.is_xml else reply.with_body(b'":"', b'": "')


@answers_found_by(every_answer.properties)
def links_first_in_json(reply: Reply) -> Reply:
    return rewritten(reply, lambda data: dict(sorted(data.items(), key=lambda i: i[0] != "_links")))


@answers_found_by(stories.id_is_a_number, stories.event, every_answer.properties)
def id_as_a_string(reply: Reply) -> Reply:
    return replace(reply, body=re.sub(rb'UserId":(\d+)', rb'UserId":"\1"', reply.body))


@answers_found_by(ping.bare)
def ping_answers_an_object(reply: Reply) -> Reply:
    return replace(reply, body=b'{"result":true}') if reply.body == b"true" else reply


# -- sentences ---------------------------------------------------------------------


_SENTENCE = rb'((?:StatusMessage|error_description)(?:>|":"))(\w[^"<]*)'


@answers_found_by()
def other_words(reply: Reply) -> Reply:
    """The contract lets sentences change: nothing is found."""
    if b"leading zero" in reply.body:  # there the contract says what the sentence tells
        return reply
    return replace(reply, body=re.sub(_SENTENCE, rb"\1Sorry, no: \2", reply.body))


@answers_found_by(every_answer.sentence)
def codes_for_sentences(reply: Reply) -> Reply:
    if reply.status not in {401, 403}:
        return reply
    return replace(reply, body=re.sub(_SENTENCE, rb"\1E401", reply.body))


@answers_found_by(every_answer.seconds)
def minutes_for_seconds(reply: Reply) -> Reply:
    if reply.status != 429:
        return reply
    return replace(reply, body=re.sub(rb"\d+ seconds?", b"some minutes", reply.body))


# -- links -------------------------------------------------------------------------


@answers_found_by(every_answer.links)
def no_link_to_a_new_code(reply: Reply) -> Reply:
    def less(data: dict[str, Any]) -> dict[str, Any]:
        return data | {"_links": [li for li in data["_links"] if li["title"] != "Send a new code"]}

    return rewritten(reply, less) if reply.read.code == "otp_incorrect" else reply


@answers_found_by(every_answer.keys_in_links, every_answer.links)
def key_in_a_link(reply: Reply) -> Reply:
    return reply.with_body(b"?FileId=", b"?WsAccessKey=x&amp;FileId=")


# -- decisions ---------------------------------------------------------------------


@found_by(
    stories.wrong_code,
    stories.unknown_id,
    stories.of_others,
    stories.exhausted,
    stories.opt_out_wrong,
    every_answer.code_and_status,
    every_answer.help_link,
)
def another_code(request: Request, forward: Forward) -> Reply:
    reply = forward(request)
    is_unknown = b"2147483647" in request.body
    return reply if is_unknown else reply.with_body(b"otp_incorrect", b"otp_wrong")


@answers_found_by(stories.verify_again, every_answer.no_help_link)
def already_verified_is_fine(reply: Reply) -> Reply:
    return replace(reply, status=200) if reply.read.code == "already_verified" else reply


@found_by(order.first_of_two)
def type_before_credentials(request: Request, forward: Forward) -> Reply:
    plain = request.headers.get("Content-Type") == "text/plain"
    if plain and "conformance-unknown" in request.headers.get("Authorization", ""):
        return forward(without(request, "Authorization"))
    return forward(request)


@found_by(formats.nothing_fits, every_answer.code_and_status)
def not_acceptable(request: Request, forward: Forward) -> Reply:
    reply = forward(request)
    return replace(reply, status=406) if request.headers.get("Accept") == "text/html" else reply


@found_by(addresses.any_case, formats.no_redirect, every_answer.code_and_status)
def slashes_are_redirected(request: Request, forward: Forward) -> Reply:
    reply = forward(request)
    if request.path.startswith("/user/") and request.path.endswith("/") and reply.status != 404:
        return replace(reply, status=301).with_headers(location=request.path[:-1])
    return reply


@found_by(addresses.names)
def names_are_exact(request: Request, forward: Forward) -> Reply:
    target = re.sub(r"wsaccesskey=(?=\w{9})", "x=", request.target)
    return forward(replace(request, target=target))


@found_by(bodies.otp_as_number)
def numbers_are_codes(request: Request, forward: Forward) -> Reply:
    body = re.sub(rb'"Otp": (\d+)', rb'"Otp": "\1"', request.body)
    return forward(replace(request, body=body))


@found_by(
    bodies.null,
    every_answer.no_500,
    stories.opt_out_asks,
    every_answer.code_and_status,
    every_answer.error_and_status,
)
def null_is_a_fault_of_the_server(request: Request, forward: Forward) -> Reply:
    reply = forward(request)
    return replace(reply, status=500) if request.body == b"null" else reply


@found_by(bodies.dtd)
def a_dtd_is_read(request: Request, forward: Forward) -> Reply:
    return forward(replace(request, body=re.sub(rb"^<!DOCTYPE \w+>", b"", request.body)))


@found_by(tokens.refresh)
def access_tokens_outlive_a_refresh(request: Request, forward: Forward) -> Reply:
    reply = forward(request)
    if "/authorisation/" in request.path and (found := _ACCESS_TOKEN.search(reply.body)):
        _given_out.append(found[1].decode())
    token = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if reply.status == 401 and token in _given_out:
        newest = {**request.headers, "Authorization": f"Bearer {_given_out[-1]}"}
        return forward(replace(request, headers=newest))
    return reply


_ACCESS_TOKEN = re.compile(rb"access_token[\": >]+([\w-]+)")
_given_out: list[str] = []


@found_by(tokens.same_refresh_token)
def refresh_tokens_rotate(request: Request, forward: Forward) -> Reply:
    if b"-rotated" in request.body:
        request = replace(request, body=re.sub(rb"(-rotated)+", b"", request.body))
    reply = forward(request)
    if reply.status == 200 and request.path.endswith("/refresh"):
        rotated = rb'\1-rotated"' if not reply.is_xml else rb"\1-rotated<"
        return replace(reply, body=re.sub(rb"(refresh_token\W+[\w-]+)[\"<]", rotated, reply.body))
    return reply


@found_by(credentials.scopes, events.scopes, events.events_only)
def view_is_enough(request: Request, forward: Forward) -> Reply:
    reply = forward(request)
    if reply.read.code == "insufficient_scope":
        return forward(without(request, "Authorization"))
    return reply


@found_by(tokens.ignored_code, every_answer.help_link)
def codes_are_always_judged(request: Request, forward: Forward) -> Reply:
    reply = forward(request)
    if b'"verification_code": "0000000"' in request.body:
        said = "The code is not right, or not valid any more."
        body = f'{{"error":"invalid_grant","error_description":"{said}"}}'
        return replace(reply, status=400, body=body.encode())
    return reply


@found_by(tokens.wrong_client)
def any_client(request: Request, forward: Forward) -> Reply:
    if not request.path.startswith("/authorisation/token"):
        return forward(request)
    kept = {n: v for n, v in request.headers.items() if not v.startswith("Basic ")}
    return forward(replace(request, headers=kept))


@found_by(credentials.elsewhere)
def tokens_count_in_the_query(request: Request, forward: Forward) -> Reply:
    if found := re.search(r"access_token=([^&]+)", request.target):
        authorization = {"Authorization": f"Bearer {found[1]}"}
        request = replace(request, headers={**request.headers, **authorization})
    return forward(request)


@found_by(credentials.other_file)
def other_files_are_told_apart(request: Request, forward: Forward) -> Reply:
    reply = forward(request)
    is_of_ben = reply.read.code == "file_access_denied" and "FileId=888" in request.target
    return reply.with_body(b"You cannot", b"This person cannot") if is_of_ben else reply


@found_by(stories.unknown_id)
def ids_are_told_apart(request: Request, forward: Forward) -> Reply:
    reply = forward(request)
    is_known = of_verify(request) and b"2147483647" not in request.body
    return reply.with_body(b"is not right", b"is not right now") if is_known else reply


@found_by(tokens.wrong_password)
def names_are_told_apart(request: Request, forward: Forward) -> Reply:
    reply = forward(request)
    is_unknown = b"conformance-nobody" in request.body
    return (
        reply.with_body(b"The user name or the", b"The user name and the") if is_unknown else reply
    )


@found_by(
    addresses.twice, events.malformed, order.each_alone, order.first_of_two, order.token_calls
)
def the_last_parameter_counts(request: Request, forward: Forward) -> Reply:
    path, _, query = request.target.partition("?")
    named = {pair.partition("=")[0].lower(): pair for pair in query.split("&")}
    return forward(replace(request, target=f"{path}?{'&'.join(named.values())}"))


@found_by(events.malformed, events.one_at_a_time)
def limits_are_ignored(request: Request, forward: Forward) -> Reply:
    return forward(replace(request, target=re.sub(r"&limit=[^&]*", "", request.target)))


@answers_found_by(events.in_each_format, events.one_at_a_time, stories.event)
def the_newest_event_comes_first(reply: Reply) -> Reply:
    def turned(data: dict[str, Any]) -> dict[str, Any]:
        return data | {"events": data["events"][::-1]}

    return rewritten(reply, turned) if b'"events":' in reply.body else reply


@answers_found_by(events.gone)
def no_event_is_gone(reply: Reply) -> Reply:
    empty = b'{"events":[],"next":0}'
    gone = replace(reply, status=200, body=empty).with_headers(link=None)
    return gone if reply.status == 410 else reply


@found_by(stories.lost_answer, stories.another_body, stories.opt_out, headers.idempotency_key)
def a_lost_answer_is_lost(request: Request, forward: Forward) -> Reply:
    return forward(without(request, "Idempotency-Key"))


@found_by(stories.another_body)
def an_idempotency_key_has_any_body(request: Request, forward: Forward) -> Reply:
    reply = forward(request)
    if (reply.status == 400 and b'"Other"' in request.body) or b"<Other>" in request.body:
        body = request.body.replace(b', "Other": "1"', b"").replace(b"<Other>1</Other>", b"")
        return forward(replace(request, body=body))
    return reply
