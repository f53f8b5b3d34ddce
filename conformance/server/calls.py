"""What each call decides, in the order of sections 3.5 and 4.2 of the contract.

The last two digits of a number make some answers happen: see ``goldens.SANDBOX``.
"""

import re

from conformance.goldens import OPT_OUT_FAILS_FOR, SANDBOX
from conformance.server.answers import Refused
from conformance.server.bodies import clean
from conformance.server.people import GRACE, RIGHTS, Count, Grant, Number, People, Person
from conformance.server.visits import Visit

_ENDINGS = {number[-2:]: asked for number, asked in SANDBOX.items()}
_AT_ONCE = {"internal_error", "unavailable", "throttled"}
_WAITS = {"send_limit": 30, "unavailable": 5, "throttled": 1}  # seconds of Retry-After


def decide(visit: Visit) -> object:
    """Return the body of the 200 to a request without a fault; nothing is the usual one.

    :raises Refused: for every other answer.
    """
    if visit.call == "ping":
        return True
    if not visit.person:
        return _refresh(visit) if visit.call == "refresh" else _token(visit)
    if visit.call == "events":
        return _events(visit)
    if visit.call == "opt-in":
        return _opt_in(visit, visit.person)
    if visit.person.is_disabled:
        raise Refused("factor_disabled")
    if wait := visit.people.lock(visit.person.own, visit.person.programs):
        raise Refused("locked", wait)
    return (_verify if visit.call == "verify" else _opt_out)(visit, visit.person)


def _events(visit: Visit) -> object:
    known = visit.people.events.get(int(visit.parameter("fileid") or 0), [])
    asked, limit = visit.parameter("after") or 0, int(visit.parameter("limit") or 100)
    after = len(known) if asked == "latest" else int(asked)
    if after > len(known):
        raise Refused("cursor_gone")
    found = known[after : after + limit]
    return {"events": found, "next": after + len(found)}


def mobile(text: str) -> str:
    """Return a number in E.164 form.

    :raises Refused: where it is no mobile number, or none of Australia.
    """
    digits = re.sub(r"[\s().\-/\u2010-\u2015]", "", text)
    digits = re.sub("^(0011|0(?=4))", lambda found: "+" if found[0] == "0011" else "+61", digits)
    if len(text) > 32 or not re.fullmatch(r"\+614[0-9]{8}|\+(?!61)[1-9][0-9]{6,14}", digits):
        raise Refused("mobile_number_invalid")
    if not digits.startswith("+61"):
        raise Refused("region_not_allowed")
    return digits


def _asked(call: str, number: str) -> str:
    """Return the code that *number* asks *call* for, if it asks for one."""
    of_call, code = _ENDINGS.get(number[-2:], ("", ""))
    if of_call == call and code in _AT_ONCE:
        raise Refused(code, _WAITS.get(code, 0))
    return code if of_call == call else ""


def _refuse_as_asked(call: str, number: str, visit: Visit, person: Person) -> None:
    """Refuse a text, if *number* asks for that."""
    code = _asked(call, number)
    if code == "locked":
        raise Refused(code, visit.people.lock(person.own, begin=True))
    if code and code != "otp_expired":
        person.is_disabled = code == "factor_disabled"
        raise Refused(code, _WAITS.get(code, 0))


def _opt_in(visit: Visit, person: Person) -> object:
    people, number = visit.people, mobile(visit.properties["MobileNumber"])
    # An opt-in ends what an earlier one has caused.
    person.own, person.programs, person.is_disabled = Count(), Count(), False
    _refuse_as_asked("opt-in", number, visit, person)
    if person.active:
        raise Refused("already_opted_in")
    if wait := people.wait(number, "opt-in"):
        raise Refused("send_limit", wait)
    own = people.number(person, number, int(visit.parameter("fileid") or 0))
    own.reference = visit.request.headers.get("client-reference", "")
    own.code = people.send(number, "opt-in", own.code)
    return {"ProviderUserId": own.id}


def _verify(visit: Visit, person: Person) -> object:
    people, id_ = visit.people, int(visit.properties["ProviderUserId"])
    file = int(visit.parameter("fileid") or 0)
    number = next((n for n in person.numbers if n.id == id_ and n.file == file), None)
    if not number:
        told = "ProviderUserId is none that this person got under this file"
        raise Refused("otp_incorrect", fault=(told, "4.2"))
    asked = _asked("verify", number.mobile)
    if number is person.active and not number.code:
        raise Refused("already_verified")
    if asked == "otp_expired" and number.code:
        number.code.ends = 0
    people.prove(person, number.code, visit.properties["Otp"], person.programs)
    for each in person.numbers:  # this code is used up, those of other opt-ins are cancelled
        each.code = None
    if asked == "mobile_number_in_use" or people.is_in_use(number, person):
        raise Refused("mobile_number_in_use")
    person.active, number.verified = number, people.now()
    people.happened("number.activated", "verified", number)
    people.end_refresh_tokens(person)
    return None


def _opt_out(visit: Visit, person: Person) -> object:
    people, number = visit.people, person.active
    if not number:
        raise Refused("not_opted_in")
    otp = visit.properties.get("Otp") or ""
    if not clean(otp):
        if people.now() < number.verified + OPT_OUT_FAILS_FOR:
            _refuse_as_asked("opt-out", number.mobile, visit, person)
        _ask(people, person, number, "opt-out")
    code = person.codes.get("opt-out")
    ends = _ENDINGS.get(number.mobile[-2:]) == ("opt-out", "otp_expired")
    if code and ends and not number.was_late:
        # Not the next one: else the number would stay active for good.
        code.ends, number.was_late = 0, True
    people.prove(person, code, otp, person.programs)
    people.happened("number.removed", "opted_out", number)
    person.numbers.remove(number)
    person.active = None
    person.codes.clear()
    return None


def _ask(people: People, person: Person, number: Number, purpose: str) -> None:
    """Text a code, unless the wait is not over, and ask for it."""
    if not people.wait(number.mobile, purpose):
        code = people.send(number.mobile, purpose, person.codes.get(purpose))
        person.codes[purpose] = code
    raise Refused("2fa_code_required")


def _token(visit: Visit) -> object:
    people, given = visit.people, visit.properties
    named = [person for person in people.people if person.name == given["username"].casefold()]
    if not named or named[0].password != given["password"]:
        raise Refused("invalid_grant")
    (person,) = named
    scope = _scope(visit, Grant(person, RIGHTS, person.files, 0), RIGHTS[:1])
    if person.active:
        if wait := people.lock(person.own):
            raise Refused("temporarily_unavailable", wait)
        code = given.get("verification_code") or ""
        if not clean(code):
            _ask(people, person, person.active, "sign-in")
        try:
            people.prove(person, person.codes.get("sign-in"), code, person.own)
        except Refused:
            raise Refused("invalid_grant", which=1) from None
        del person.codes["sign-in"]
    if people.are_wasted(person):
        told = "The two tokens of before were used once at most: use a token until it ends"
        visit.advise(told, "3.4")
    return people.issue(people.new_refresh_token(scope), scope)


def _scope(visit: Visit, granted: Grant, rights: tuple[str, ...]) -> Grant:
    scope = visit.people.scope(visit.properties.get("scope") or "", granted, rights)
    if not scope:
        told = "scope names a word or a file that cannot be granted"
        raise Refused("invalid_scope", fault=(told, "3.2"))
    return scope


def _refresh(visit: Visit) -> object:
    people, token = visit.people, visit.properties["refresh_token"]
    grant = people.refresh.get(token)
    if not grant:
        fault = ("No such refresh_token was ever given out", "3.5")
        raise Refused("invalid_grant", which=2, fault=fault)
    if grant.replaced and grant.person and people.now() >= grant.replaced + GRACE:
        people.end_refresh_tokens(grant.person)
        fault = ("The refresh_token was replaced by another, in the answer to its use", "3.4")
        raise Refused("invalid_grant", which=2, fault=fault)
    if grant.ends <= people.now():
        raise Refused("invalid_grant", which=2)
    scope = _scope(visit, grant, grant.rights)
    if people.rotate:
        grant.replaced = grant.replaced or people.now()
        people.end_access_token(grant)
        token = people.new_refresh_token(scope)
    return people.issue(token, scope)
