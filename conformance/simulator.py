"""Read the simulated phone of a development start: a command for ``--texts``.

    python -m conformance.simulator http://localhost:8000

prints the newest text to the number that follows.
"""

import re
import sys
from html.parser import HTMLParser
from urllib.request import urlopen


class Texts(HTMLParser):
    """The texts of the page, newest first: whom each is to, and what it says."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[tuple[str, str]] = []
        self._part = ""
        self._about = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "p":
            self._part = dict(attrs).get("class") or ""
            self._about = "" if self._part == "about" else self._about

    def handle_data(self, data: str) -> None:
        if self._part == "about":
            self._about += data
        elif self._part == "bubble":
            self.texts.append((self._about, data))

    def handle_endtag(self, tag: str) -> None:
        if tag == "p":
            self._part = ""


def newest(base_url: str, number: str) -> str:
    """Return the newest text to *number*, in any way it is written; "" if there is none."""
    wanted = re.sub(r"\D", "", number)[-9:]
    with urlopen(f"{base_url.rstrip('/')}/simulator/", timeout=10) as page:  # noqa: S310
        reader = Texts()
        reader.feed(page.read().decode())
    about = ((re.sub(r"\D", "", whom), text) for whom, text in reader.texts)
    return next((text for whom, text in about if wanted in whom), "")


if __name__ == "__main__":
    print(newest(sys.argv[1], sys.argv[2]))
