"""The German catalogue: complete, and compiled from what is committed (P-13)."""

import ast
import gettext
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from django.conf import LazySettings, settings
from django.core.management import call_command

from tests.kit.server import needs

BASE: Path = settings.BASE_DIR
CATALOGUE = BASE / "optin/locale/de/LC_MESSAGES/django.po"


@dataclass
class Entry:
    flags: set[str] = field(default_factory=set)
    parts: dict[str, str] = field(default_factory=dict)  # msgid, msgid_plural, msgstr[0] ...

    @property
    def msgid(self) -> str:
        return self.parts["msgid"]

    @property
    def words(self) -> list[str]:
        return [text for name, text in self.parts.items() if name.startswith("msgstr")]


def entries(text: str) -> Iterator[Entry]:
    """Read a catalogue as gettext's tools write it, without what is obsolete."""
    for block in re.split(r"\n\s*\n", text.strip()):
        entry, name = Entry(), ""
        for line in block.splitlines():
            if line.startswith("#,"):
                entry.flags = {flag.strip() for flag in line[2:].split(",")}
            if line.startswith("#"):
                continue
            said, _, quoted = line.partition('"')
            name = said.strip() or name
            entry.parts[name] = entry.parts.get(name, "") + ast.literal_eval(f'"{quoted}')
        if entry.parts:
            yield entry


def catalogue() -> list[Entry]:
    header, *found = entries(CATALOGUE.read_text())
    assert header.msgid == ""
    return found


def test_every_message_is_translated_and_none_is_a_guess() -> None:
    """P-13."""
    found = catalogue()
    assert len(found) > 300
    assert [entry.msgid for entry in found if "fuzzy" in entry.flags] == []
    assert [entry.msgid for entry in found if not all(entry.words)] == []
    for entry in found:
        assert len(entry.words) == (2 if "msgid_plural" in entry.parts else 1)


def test_what_is_put_into_a_message_is_put_into_its_translation() -> None:
    """Names of values, and tags: a lost one is a page that fails, or a number untold."""
    for entry in catalogue():
        for words in entry.words:
            for pattern in (r"%\(\w+\)[sd]", r"<[^>]+>"):
                assert sorted(re.findall(pattern, words)) == sorted(
                    re.findall(pattern, entry.msgid)
                ), entry.msgid


def test_compiled_catalogue_is_that_of_the_source() -> None:
    """It is committed, so that no start needs gettext; `make messages` makes it."""
    with CATALOGUE.with_suffix(".mo").open("rb") as compiled:
        words = gettext.GNUTranslations(compiled)._catalog  # type: ignore[attr-defined]
    expected: dict[str | tuple[str, int], str] = {}
    for entry in catalogue():
        if "msgid_plural" in entry.parts:
            expected |= {(entry.msgid, form): text for form, text in enumerate(entry.words)}
        else:
            expected[entry.msgid] = entry.words[0]
    assert {key: text for key, text in words.items() if key != ""} == expected


def test_catalogue_has_every_string_of_the_sources(
    tmp_path: Path, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """... and no other. Where this fails, run `make messages` and translate what is new."""
    needs("gettext (xgettext)", shutil.which("xgettext") is not None)
    for part in ("optin", "templates", "twofa_site"):
        copy = shutil.ignore_patterns("locale", "__pycache__", "static")
        shutil.copytree(BASE / part, tmp_path / part, ignore=copy)
    (tmp_path / "locale").mkdir()
    settings.LOCALE_PATHS = [tmp_path / "locale"]
    monkeypatch.chdir(tmp_path)

    call_command("makemessages", locale=["de"], verbosity=0)

    made = entries((tmp_path / "locale/de/LC_MESSAGES/django.po").read_text())
    found = {entry.msgid for entry in made} - {""}
    assert found == {entry.msgid for entry in catalogue()}
