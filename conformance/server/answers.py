"""Answers as bytes: in the type that the client asked for, from the tables of ``goldens``."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4
from xml.etree.ElementTree import Element

from conformance import goldens
from conformance.goldens import CALLS, CHALLENGES, SENTENCES, SUCCESSES, TOKEN_SENTENCES
from conformance.wire import JSON, MEDIA_TYPES


@dataclass(frozen=True)
class Reply:
    """What goes back for one request; *code* is "" for a 200."""

    status: int
    code: str
    body: bytes
    headers: dict[str, str]


@dataclass
class Refused(Exception):
    """What a call decides against a request.

    :param wait: seconds of ``Retry-After``.
    :param which: which of the sentences that the code has in token calls.
    :param fault: what the client did wrong, if it is the client, and the section.
    :param advice: what a careful client would do better, and the section.
    """

    code: str
    wait: int = 0
    which: int = 0
    fault: tuple[str, str] | None = None
    advice: tuple[str, str] | None = None


@dataclass(frozen=True)
class Way:
    """How a request is answered: its call, its file, the type of the answer.

    :param words: what all sentences say in place of their own words, if not "".
    """

    base_url: str
    call: str
    file: str
    media_type: str
    words: str = ""

    @property
    def _is_token_call(self) -> bool:
        return bool(self.call) and CALLS[self.call].is_token_call

    def granted(self, data: object = None) -> Reply:
        """Return the 200: *data*, or the sentence and the links of the call."""
        model = CALLS[self.call].result
        if model == "BaseResponseModel":
            data = self._told(self._worded(SUCCESSES[self.call][0]), "")
        return self._reply(200, "", model, data)

    def refused(self, status: int, code: str, told: str = "", wait: int = 0) -> Reply:
        """Return the refusal *code*; *told* stands for its sentence."""
        headers = {"Retry-After": str(wait)} if wait else {}
        about = goldens.HELP.get((status, code), code)
        page = f"{self.base_url}/Help/Errors#{about}"
        headers["Link"] = f'<{page}>; rel="help"'
        if code in CHALLENGES:
            headers["WWW-Authenticate"] = CHALLENGES[code]
        if status == 405:
            headers["Allow"] = CALLS[self.call].allow
        told = self._worded(told, wait)
        if self._is_token_call:
            data = {"error": code, "error_description": told}
            return self._reply(status, code, "OAuthGrantRequestError", data, headers)
        return self._reply(status, code, "BaseResponseModel", self._told(told, code), headers)

    def decided(self, refused: Refused) -> Reply:
        """Return the refusal that an operation decided."""
        if not self._is_token_call:
            status, told = SENTENCES[refused.code]
            return self.refused(status, refused.code, told, refused.wait)
        status = next(status for status, code in TOKEN_SENTENCES if code == refused.code)
        told = TOKEN_SENTENCES[status, refused.code][refused.which]
        return self.refused(status, refused.code, told, refused.wait)

    def faulty(self, kind: str, told: str) -> Reply:
        """Return the answer to a request in which something is wrong: *told* is what."""
        of_tokens = {code: (status, known[0]) for (status, code), known in TOKEN_SENTENCES.items()}
        code = kind if kind in {*SENTENCES, *of_tokens} else "invalid_request"
        status, known = SENTENCES.get(code) or of_tokens[code]
        if self._is_token_call and code in SENTENCES:
            code = "invalid_request"
        return self.refused(status, code, known or told)

    def _worded(self, told: str, wait: int = 0) -> str:
        if self.words:
            told = f"{self.words}: {{wait}}." if wait else f"{self.words}."
        return told.replace("{wait}", f"{wait} second{'s' if wait != 1 else ''}")

    def _told(self, sentence: str, code: str) -> dict[str, object]:
        links = goldens.links(self.base_url, self.call, code, self.file)
        return {"StatusMessage": sentence, "_links": links}

    def _reply(
        self,
        status: int,
        code: str,
        model: str,
        data: Any,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        is_xml = "xml" in self.media_type
        body = goldens.xml_bytes(_tree(model, data)) if is_xml else goldens.json_bytes(data)
        kind = {"Content-Type": f"{self.media_type}; charset=utf-8"}
        return Reply(status, code, body, kind | in_common() | dict(headers or {}))


def in_common() -> dict[str, str]:
    """Return the headers of every answer (5.3)."""
    return {"Cache-Control": "no-store", "X-Request-Id": uuid4().hex}


def _tree(tag: str, data: Any) -> Element:
    """Return the element that holds *data*: links before the rest, nothing for None (2.3)."""
    element = Element(tag)
    if isinstance(data, dict):
        for name, value in sorted(data.items(), key=lambda item: item[0] != "_links"):
            element.append(_tree(name, value))
    elif isinstance(data, list):
        element.extend([_tree("Event" if tag == "events" else "Link", each) for each in data])
    else:
        element.text = "true" if data is True else str(data)
    return element


def negotiated(accept: str | None, sent: str) -> str:
    """Return the type of the answer (2.1); *sent* is the type of the body."""
    preferred = sorted(MEDIA_TYPES, key=lambda kind: kind != sent)
    ranges = [_range(part) for part in (accept or "").lower().split(",")]
    fitting = []
    for place, kind in enumerate(preferred):
        exact = [(q, n) for n, (name, q) in enumerate(ranges) if name == kind]
        family = f"{kind.partition('/')[0]}/*"
        found = exact or [(q, n) for n, (name, q) in enumerate(ranges) if name == family]
        fitting += [(-q, n, place, kind) for q, n in found if q > 0]
    if fitting:
        return min(fitting)[3]
    return sent if sent in MEDIA_TYPES else JSON


def _range(part: str) -> tuple[str, float]:
    name, *parameters = [each.strip() for each in part.split(";")]
    told = next((each[2:] for each in parameters if each.startswith("q=")), "1")
    return name, float(told) if re.fullmatch(r"0(\.\d{0,3})?|1(\.0{0,3})?", told) else 0.0
