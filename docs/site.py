"""Build the site of the documentation into ``var/site``: ``make docs``.

The pages link to files outside ``docs/``, and are written for GitHub's Markdown. So the pages, and
what they link to, are first copied into ``var/pages``, with their lists as Zensical reads them.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def build(folder: Path) -> Path:
    """Build the site anew, in *folder*, and return where it is.

    Zensical warns of links that lead nowhere; ``tests/test_docs_site.py`` names all of them.
    """
    for name in ("pages", "site"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for path in sorted(linked()):
        _copy(path, folder / "pages" / path.relative_to(ROOT))
    _copy(ROOT / "docs" / "site.css", folder / "pages" / "docs" / "site.css")
    shutil.copy(ROOT / "zensical.toml", folder)  # its paths are relative to where it is
    command = [sys.executable, "-m", "zensical", "build", "--clean"]
    subprocess.run(command, cwd=folder, check=True)  # noqa: S603
    return folder / "site"


def linked() -> set[Path]:
    """Return the pages of ``docs/``, and all files and folders that they link to."""
    found: set[Path] = set()
    waiting = [*(ROOT / "docs").glob("*.md")]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            if path.suffix == ".md":
                waiting += _links(path)
    return found


def _links(page: Path) -> Iterator[Path]:
    for target in re.findall(r"\]\(([^)\s#]+)[^)\s]*\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            yield (page.parent / target).resolve()


def _copy(path: Path, copy: Path) -> None:
    copy.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.copytree(path, copy, dirs_exist_ok=True)
        names = sorted(file.name for file in path.iterdir() if file.is_file())
        files = "\n".join(f"- [{name}]({name})" for name in names)
        (copy / "index.md").write_text(f"# {path.relative_to(ROOT)}\n\n{files}\n", encoding="utf-8")
    elif path.suffix == ".md":
        copy.write_text(wide_lists(path.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        shutil.copy(path, copy)


# -- lists -------------------------------------------------------------------------

_ITEM = re.compile(r"(?:[-*+]|(\d+)[.)])\s+(?=\S)")
_FENCE = re.compile(r"```+")
_STEP = 4
"""Spaces by which Zensical wants the content of an item to be indented, whatever its marker."""


def wide_lists(page: str) -> str:
    """Return a *page* of GitHub's Markdown with its lists as Python-Markdown reads them.

    GitHub indents what belongs to an item as far as its text begins: by 2 for ``-``, by 3 for
    ``1.``. Python-Markdown wants 4, or the item ends.
    """
    made: list[str] = []
    columns: list[int] = []  # where the texts of the open items begin
    fence = ""
    is_new = is_loose = False  # the line before is empty; so is one in the newest item
    for line in page.splitlines():
        body = line.lstrip(" ")
        indent, item, mark = len(line) - len(body), _ITEM.match(body), _FENCE.match(body)
        if not body:
            is_new = is_loose = True
            made.append("")
            continue
        depth = len(columns)
        while columns and indent < columns[-1] and not fence and (is_new or item):
            columns.pop()
        rest = max(indent - (columns[-1] if columns else 0), 0)
        is_code = rest >= _STEP or bool(fence)
        if is_code:
            item = None
        elif item and not is_new and len(columns) == depth and item[1] not in {None, "1"}:
            # A number that begins a line of text: only 1 may begin a list there.
            body, item = body.replace(".", "\\.", 1), None
        if item and is_loose and not is_new:
            made.append("")
        made.append(" " * (_STEP * len(columns) + (rest if is_code else 0)) + body)
        if mark and rest < _STEP:
            fence = "" if fence == mark[0] else fence or mark[0]
        elif item:
            columns.append(indent + len(item[0]))
            is_loose = False
        is_new = False
    return "\n".join(made) + "\n"


if __name__ == "__main__":
    build(ROOT / "var")
