"""Known secrets, the people who use them, and the search for them in all that is written."""

import base64
import json
import re
from dataclasses import dataclass, field
from typing import Any

from tests.kit.phone import wrong
from tests.kit.server import METRICS_TOKEN, Site

# Numbers that nobody has (ACMA), none of which stands elsewhere in this project.
ANNS, BENS, CAMS, NOBODYS = "+61491572549", "+61491573770", "+61491574118", "+61491575254"


FAULTY = {
    "DJANGO_SETTINGS_MODULE": "tests.logs.faulty_settings",
    "LOG_LEVEL": "DEBUG",
    "LOG_FORMAT": "json",
}
"""The environment of a server that logs all it can."""


@dataclass
class Secrets:
    """What must turn up nowhere, by what it is."""

    words: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, value: str) -> str:
        assert len(value) > 5
        self.words[name] = value
        return value

    def add_number(self, e164: str) -> None:
        """A number in each spelling that is used here."""
        national = f"0{e164[3:]}"
        spaced = f"{national[:4]} {national[4:7]} {national[7:]}"
        for spelling in (e164[3:], national, spaced, spaced[1:]):
            self.add(f"number {spelling}", spelling)

    def add_key(self, name: str, raw: bytes) -> str:
        """A key as bytes, and in each way to write them; return it as settings have it."""
        self.add(f"{name}, bytes", raw.decode())
        self.add(f"{name}, hex", raw.hex())
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            self.add(f"{name}, {encode.__name__}", encode(raw).decode().rstrip("="))
        return base64.urlsafe_b64encode(raw).decode()

    def found_in(self, text: str) -> set[str]:
        return {name for name, value in self.words.items() if stands_in(value, text)}


def stands_in(value: str, text: str) -> bool:
    """Whether *value* stands in *text*.

    A code is seven digits, which the digest of something else holds now and then: it
    counts as a word of its own. A random word of seven digits is rare enough.
    """
    if value.isdigit() and len(value) <= 7:
        return bool(re.search(rf"(?<![0-9A-Za-z.]){value}(?![0-9A-Za-z])", text))
    return value in text


@dataclass(frozen=True)
class Done:
    """What a command ended with, and printed."""

    status: int
    out: str
    err: str


@dataclass
class Scene:
    """The people of the demo, what they can do, and all that is to be searched."""

    site: Site
    secrets: Secrets = field(default_factory=Secrets)
    people: dict[str, Any] = field(default_factory=dict)
    printed: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        made = self._run("demo", "--json", "--empty")
        self.people = {user["username"]: user for user in json.loads(made.out)["users"]}
        for name, user in self.people.items():
            self.secrets.add(f"password {name}", user["password"])
            for file_id, key in user["access_keys"].items():
                self.secrets.add(f"key {name} {file_id}", key)
        for number in (ANNS, BENS, CAMS, NOBODYS):
            self.secrets.add_number(number)
        self.secrets.add("token of /metrics", METRICS_TOKEN)
        self.secrets.add("SECRET_KEY", (self.site.folder / "secret_key").read_text())

    def key(self, name: str, file_id: int = 777) -> str:
        key: str = self.people[name]["access_keys"][str(file_id)]
        return key

    def call(self, name: str, call: str, body: Any = b"", file_id: int = 777, **more: Any) -> Any:
        path = f"/User/{call}?FileId={file_id}&WsAccessKey={self.key(name, file_id)}"
        return self.site.send(path, body, **more)

    def code(self) -> str:
        """The code of the newest text, a secret from now on, as a wrong one is."""
        return self.know(self.site.code())

    def know(self, code: str) -> str:
        self.secrets.add(f"code {code}", code)
        self.secrets.add(f"wrong code {code}", wrong(code))
        return code

    def tokens(self, answer: Any, name: str) -> dict[str, str]:
        assert answer.status == 200, answer.text
        tokens: dict[str, str] = answer.json
        for kind in ("access_token", "refresh_token"):
            self.secrets.add(f"{kind} {name}", tokens[kind])
        return tokens

    def sign_in(self, call: str, name: str, password: str = "", **more: str) -> Any:
        password = password or self.people[name]["password"]
        body = {"grant_type": "password", "username": name, "password": password, **more}
        return self.site.send(f"/authorisation/{call}", body)

    def refresh(self, tokens: dict[str, str]) -> Any:
        body = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
        return self.site.send("/authorisation/refresh", body)

    def command(self, *arguments: str, **env: str) -> int:
        """Run a command, and return its status."""
        return self.run(*arguments, **env).status

    def run(self, *arguments: str, **env: str) -> Done:
        """Run a command; all that it prints is searched, mails on the console too."""
        done = self._run(*arguments, **env)
        self._keep(arguments, done.out + done.err)
        return done

    def run_for_key(self, *arguments: str) -> str:
        """Run a command whose last line is a new key; all else is searched."""
        done = self._run(*arguments)
        assert done.status == 0, done.err
        *rest, last = done.out.splitlines()
        self._keep(arguments, "\n".join([*rest, done.err]))
        return self.secrets.add(f"key made by command {last[:3]}", last)

    def show_people(self, *arguments: str, **env: str) -> None:
        """Run a command that shows passwords and keys of the demo; all else is searched."""
        done = self._run(*arguments, **env)
        assert done.status == 0, done.err
        text = done.out + done.err
        for person in self.people.values():
            for secret in (person["password"], *person["access_keys"].values()):
                text = text.replace(secret, "")
        self._keep(arguments, text)

    def _run(self, *arguments: str, **env: str) -> Done:
        done = self.site.manage(*arguments, **env)
        return Done(done.returncode, done.stdout, done.stderr)

    def _keep(self, arguments: tuple[str, ...], text: str) -> None:
        self.printed[f"{len(self.printed) + 1}. {arguments[0]}"] = text

    def leaks(self) -> dict[str, set[str]]:
        """The names of the secrets that turned up, by place."""
        written = {
            "log": self.site.log.read_text(),  # mails too: the console is their way out here
            "metrics": self.site.metrics(),
            "database": self.site.dump(),
            **self.printed,
        }
        found = {place: self.secrets.found_in(text) for place, text in written.items()}
        return {place: names for place, names in found.items() if names}
