"""Keeps keys, tokens, codes and the middle of numbers out of what is printed."""

import json
import re
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

_ISSUED = re.compile(r"(?:access_token|refresh_token)(?:\"\s*:\s*\"|>)([^\"<\s]{8,})")
_BETWEEN = r"(?:[\s().+-]|%20|%2B)*"  # how a number or a code may be spread in a request


class Secrets:
    """The secrets of one run; more become known as it goes on."""

    def __init__(self) -> None:
        self._patterns: dict[str, str] = {}

    def add(self, secret: str, shown: str) -> None:
        """Show *shown* wherever *secret* stands, in any way a request may write it."""
        for written in {
            secret,
            json.dumps(secret)[1:-1],
            escape(secret),
            quote(secret, safe=""),
            quote_plus(secret),
        }:
            if written:
                self._patterns[re.escape(written)] = f"<{shown}>"

    def add_number(self, number: str) -> None:
        """Show three digits at the end of *number*, however it is written."""
        digits = re.sub(r"\D", "", number)[-9:]
        self._patterns[_BETWEEN.join(digits)] = f"...{digits[-3:]}"

    def add_code(self, code: str) -> None:
        self._patterns[rf"(?<!\d){_BETWEEN.join(code)}(?!\d)"] = "<code>"

    def learn(self, answer: str) -> None:
        """Remember the tokens that an answer gives out."""
        for token in _ISSUED.findall(answer):
            self.add(token, "token")

    def hide(self, text: str) -> str:
        """Return *text* without any secret."""
        for pattern in sorted(self._patterns, key=len, reverse=True):
            text = re.sub(pattern, self._patterns[pattern].replace("\\", r"\\"), text)
        return text
