"""Every table of words covers its enum: a new member must be thought of."""

import pytest

from optin.api.answers import CAUSES, TOKEN_ERRORS
from optin.api.tokens import _MESSAGE
from optin.limits import Rule
from optin.models.messages import Unsent
from optin.outcomes import CodeOutcome, FactorOutcome, NotCompared, SendOutcome, TokenOutcome
from optin.passkeys import PasskeyFault
from optin.support import messages, wording
from optin.support.diagnosis import EXPLAINED, Why
from optin.support.passkey_faults import FAULT_WORDS
from optin.web import words

CAUSES_OF = {rule: row.why for rule, row in wording.RULES.items() if row.why}
REFUSE_NOTHING = {Rule.NONE, Rule.OWN_FIRST, Rule.REGION, Rule.REGION_ALARM, Rule.SIM_SWAP}
OF_NO_TEXT = {Rule.EMAIL}
OF_STAFF = {Rule.SEARCH, Rule.REVOCATION}
OF_PASSWORDS = {rule for rule in Rule if rule.startswith(("sign-in-", "reset-"))}


@pytest.mark.parametrize(
    ("told", "members"),
    [
        # A lock is told with the time of its end, a disabling with what works in its place.
        # A refused passkey is told with its fault.
        pytest.param(
            {*words._REFUSALS, "locked", "factor_disabled", "ok", "started", "unchanged"}
            | {CodeOutcome.PASSKEY_REFUSED},
            {*CodeOutcome, *FactorOutcome},
            id="codes",
        ),
        # A country is told with those that are served.
        pytest.param(
            {*words._SENT, *words._UNSENT, "factor_disabled", "region_not_allowed"},
            {*SendOutcome},
            id="texts",
        ),
        pytest.param(
            {*TOKEN_ERRORS, *_MESSAGE, "issued"} & {*TokenOutcome}, {*TokenOutcome}, id="tokens"
        ),
        pytest.param(
            {*wording.RULES} & {*Rule},
            {*Rule} - REFUSE_NOTHING - {Rule.SEARCH},  # which is about no account
            id="rules",
        ),
        pytest.param(
            {*CAUSES_OF} & {*Rule},
            {*Rule} - REFUSE_NOTHING - OF_STAFF - OF_PASSWORDS - OF_NO_TEXT,
            id="causes",
        ),
        # What a rule comes to; and who has limits of passwords.
        pytest.param(
            {*EXPLAINED} & {*CAUSES_OF.values(), Why.PASSWORD_LIMIT},
            {*CAUSES_OF.values(), Why.PASSWORD_LIMIT},
            id="explanations",
        ),
        pytest.param({*messages._REASONS}, {*Unsent}, id="unsent"),
        pytest.param({*wording._WHY}, {*NotCompared, *PasskeyFault}, id="not-compared"),
        pytest.param({*FAULT_WORDS}, {*PasskeyFault}, id="passkeys"),
    ],
)
def test_each_member_has_its_words(told: set[str], members: set[str]) -> None:
    assert told == members


def test_what_is_withheld_has_words_for_staff_only() -> None:
    """S-38, G-07. Whatever a page or a call does with such a rule, it has nothing to say of it."""
    withheld = (Rule.ASKED_NUMBER, Rule.DENY_NUMBER)
    told = [EXPLAINED[CAUSES_OF[rule]] for rule in withheld]
    assert [(each.client, each.person) for each in told] == [("", "")] * 2
    assert all(each.staff for each in EXPLAINED.values())


def test_each_cause_of_a_link_has_its_entry() -> None:
    found = [EXPLAINED[why].client for causes in CAUSES.values() for why in causes]
    assert all(found)
