"""The type of the answer, and what is refused unread (docs/contract.md, section 2).

None of it needs a database: none may be touched.
"""

import pytest

from tests.kit.clients import MEDIA_TYPES, Api

JSON, TEXT_JSON, XML, TEXT_XML = MEDIA_TYPES

# Accept, type of the body, type of the answer: beside what the conformance kit asks.
NEGOTIATION = [
    (None, "text/xml; charset=utf-8", TEXT_XML),
    (None, "TEXT/XML", TEXT_XML),
    ("", TEXT_XML, TEXT_XML),
    ("*/*", "text/plain", JSON),
    ("text/xml;version=1.0;q=0.9", JSON, TEXT_XML),
    ("application/json; indent=4", TEXT_XML, JSON),
    ("application/json ; q=0.5 , text/xml ; q=0.4", TEXT_XML, JSON),
    ("*/*, text/xml;q=0.1", JSON, TEXT_XML),
    ("text/*", JSON, TEXT_JSON),
    ("text/*, application/xml;q=0.5", TEXT_XML, TEXT_XML),
    ("application/json;q=0.0, application/*", JSON, XML),
    ("application/*;q=0, application/xml", JSON, XML),
    # What is malformed is passed over.
    *(
        (f"application/json;q={q}, text/xml;q=0.1", JSON, TEXT_XML)
        for q in ("2", "inf", "nan", "-1")
    ),
    (",,;,text/xml,", JSON, TEXT_XML),
    (";;q=1", TEXT_XML, TEXT_XML),
    ("*", TEXT_XML, TEXT_XML),
    ("*/xml", JSON, JSON),
    ("text/xml/json", JSON, JSON),
    ('text/xml;a="', JSON, TEXT_XML),
    ("text/xml;a*=utf-16''%00", JSON, TEXT_XML),
    ("\xe9\xff/\x80", JSON, JSON),
    ("a/b," * 5000 + "text/xml", JSON, TEXT_XML),
    ("text/xml;" + "q" * 20_000, JSON, TEXT_XML),
]


@pytest.mark.parametrize(
    ("accept", "body_type", "answer_type"),
    NEGOTIATION,
    ids=[f"{accept!s:.40} on {body}" for accept, body, _ in NEGOTIATION],
)
def test_negotiation_never_fails(accept: str | None, body_type: str, answer_type: str) -> None:
    """The rule needs no credentials: a 401 is negotiated like everything else."""
    answer = Api(accept=accept).post("opt-in-to-2fa", b"x", media_type=body_type)
    assert answer.brief == (401, "not_authenticated")
    assert answer.media_type == f"{answer_type}; charset=utf-8"


# -- Host --------------------------------------------------------------------------

FOREIGN = [
    "evil.example.net",
    "2fa.example.com.evil.example.net",
    "evil.example.net:443",
    "2fa.example.com@evil.example.net",
    "2fa.example.com:x",
    "2fa_example.com",
    "",
    "\xe9",
]


@pytest.mark.parametrize("host", FOREIGN)
@pytest.mark.parametrize("path", ["/user/VERIFY-2fa-opt-in/", "/authorisation/token//"])
def test_foreign_host(path: str, host: str) -> None:
    """S-26"""
    answer = Api().send("POST", path, b"{}", headers={"Host": host}, accept="text/xml")
    assert answer.brief == (400, "invalid_request")
    assert answer.content.startswith(b"<BaseResponseModel ")
    assert answer.headers["Cache-Control"] == "no-store"
    assert not host or host.encode() not in answer.content


@pytest.mark.parametrize("call", ["TOKEN-2fa", "refresh/"])
def test_foreign_host_at_the_token_calls_answers_in_their_format(call: str) -> None:
    answer = Api(accept="text/xml").send(
        "POST", f"/authorisation/{call}", b"{}", headers={"Host": "evil.example.net"}
    )
    assert (answer.status, answer.data["error"]) == (400, "invalid_request")
    assert answer.content.startswith(b"<OAuthGrantRequestError ")
