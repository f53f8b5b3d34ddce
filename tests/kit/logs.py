"""The lines that the service logs."""

import json
import logging
from collections.abc import Iterator
from io import StringIO
from typing import Any

from optin.runtime import logs


class Lines:
    """What is written, by the handler that the settings configure."""

    def __init__(self, form: str) -> None:
        self.stream = StringIO()
        self.handler = logging.StreamHandler(self.stream)
        self.handler.setFormatter(logs.Line(form))
        self.handler.addFilter(logs.WithoutClientsWords())

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]

    @property
    def requests(self) -> list[dict[str, Any]]:
        return [line for line in self.all if line["logger"] == "optin.request"]


def lines(form: str) -> Iterator[Lines]:
    written = Lines(form)
    logging.getLogger().addHandler(written.handler)
    yield written
    logging.getLogger().removeHandler(written.handler)
