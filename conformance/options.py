"""What a run is told: options of the command line, or the same names in a file of TOML."""

import argparse
import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

_SERVED = "127.0.0.1:8099"


def _option(default: Any, told: str, **how: Any) -> Any:
    return field(default=default, metadata={"help": told, **how})


class NotChecked(Exception):
    """Nobody could look; the text says why, for people."""


@dataclass(frozen=True)
class Options:
    """What the person at the server is, and how to read their phone. The rest has defaults."""

    base_url: str
    file: int = _option(0, "FileId of a file of the person")
    access_key: str = _option("", "WsAccessKey of the person for this file")
    username: str = _option("", "user name of the person, who has no second factor")
    password: str = _option("", "password of the person")
    numbers: tuple[str, ...] = _option(
        (), "mobile numbers nobody uses, three for all checks", nargs="+"
    )
    texts: str = _option("", "command that prints the newest text to the number put behind it")
    other_file: int = _option(0, "FileId of another person's file")
    other_access_key: str = _option("", "WsAccessKey of another person for other-file")
    client_id: str = _option("", "id of a confidential client for client_credentials")
    client_secret: str = _option("", "its secret")
    sandbox: bool = _option(
        False,
        "the file is a sandbox: also check the answers that its numbers ask for",
        action="store_true",
    )
    digits: int = _option(7, "digits of a texted code (default: 7)")
    max_wait: int = _option(60, "longest wait that a 429 may ask for, in seconds (default: 60)")

    def need(self, *names: str) -> None:
        """Go on only where all of these are given.

        :raises NotChecked: with the names of those that are not.
        """
        missing = [f"--{name.replace('_', '-')}" for name in names if not getattr(self, name)]
        if missing:
            raise NotChecked(f"not given: {', '.join(missing)}")


@dataclass(frozen=True)
class Command:
    """A parsed command line: the run, and what to make of it."""

    options: Options
    junit: Path | None
    only: Sequence[str] = ()
    strict: bool = False
    serve: str = ""
    rotate: bool = False
    expire: int | None = None
    vary: bool = False
    listen: str = ""
    send: str = ""
    secret: Sequence[str] = ()


_TOLD = [option for option in fields(Options) if option.name != "base_url"]
"""The options that a file may give, too."""


def parse(arguments: Sequence[str] | None, sections: Sequence[str]) -> Command:
    """Read the command line; what it says wins over the file of ``--config``.

    Exits with status 2 where something is wrong.
    """
    parser = _parser(sections)
    given = vars(parser.parse_args(arguments))
    if sum(bool(given[name]) for name in ("base_url", "serve", "listen", "send")) != 1:
        parser.error("give one of BASE_URL, --serve, --listen and --send")
    values = _from_file(parser, given["config"], {option.name for option in _TOLD})
    values |= {o.name: given[o.name] for o in _TOLD if given[o.name] is not None}
    values["numbers"] = tuple(values.get("numbers", ()))
    of_run = {each.name: given[each.name] for each in fields(Command) if each.name != "options"}
    return Command(Options((given["base_url"] or "").rstrip("/"), **values), **of_run)


def _parser(sections: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m conformance", description="Check a server, or a client, against the contract."
    )
    add = parser.add_argument
    at: dict[str, Any] = {"metavar": "HOST:PORT", "nargs": "?", "const": _SERVED, "default": ""}
    add("base_url", metavar="BASE_URL", nargs="?", help="as clients have it")
    told = "be a server that tests clients, in place of a run"
    add("--serve", **at, help=f"{told} (default: {_SERVED})")
    add("--rotate", action="store_true", help="with --serve: each refresh token works once")
    told = "with --serve: how long access tokens live"
    add("--expire", type=int, metavar="SECONDS", help=told)
    add("--vary", action="store_true", help="with --serve: other sentences in each run")
    add("--listen", **at, help=f"receive webhooks, and verify them (default: {_SERVED})")
    add("--send", metavar="URL", default="", help="try a receiver of webhooks")
    told = "with --listen and --send: whsec_..., asked for if it is left out"
    add("--secret", metavar="SECRET", nargs="+", default=(), help=told)
    add("--config", type=Path, help="TOML file with the options below")
    for option in _TOLD:
        how: dict[str, Any] = dict(option.metadata)
        if "action" not in how:
            is_list = "nargs" in how
            how |= {"type": str if is_list else option.type, "metavar": option.name.upper()}
        add(f"--{option.name.replace('_', '-')}", default=None, **how)
    add("--junit", type=Path, help="write the results to this file too")
    add("--only", nargs="+", default=(), choices=sections, metavar="SECTION")
    add(
        "--strict",
        action=argparse.BooleanOptionalAction,
        default=os.environ.get("CI") == "true",
        help="exit with status 3 if something was not checked (default where CI=true)",
    )
    return parser


def _from_file(
    parser: argparse.ArgumentParser, path: Path | None, known: set[str]
) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        read = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        parser.error(f"{path}: {exc}")
    values = {name.replace("-", "_"): value for name, value in read.items()}
    if unknown := values.keys() - known:
        parser.error(f"{path}: no such option: {', '.join(sorted(unknown))}")
    return values
