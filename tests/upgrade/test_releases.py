"""Which release is the last one."""

import subprocess
from pathlib import Path

import pytest

from tests.upgrade.releases import last_release


def git(clone: Path, *arguments: str) -> str:
    who = ["-c", "user.name=Ann", "-c", "user.email=ann@example.com"]
    done = subprocess.run(
        ["git", *who, *arguments], cwd=clone, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Commits of two versions, with one more after each."""
    clone = tmp_path / "clone"
    clone.mkdir()
    git(clone, "init", "--quiet")
    for version in ("0.1.0", "0.2.0"):
        (clone / "pyproject.toml").write_text(f'[project]\nversion = "{version}"\n')
        git(clone, "add", ".")
        git(clone, "commit", "--quiet", "--message", version)
        git(clone, "commit", "--quiet", "--message", f"after {version}", "--allow-empty")
    return clone


def subject(clone: Path) -> str:
    return git(clone, "log", "-1", "--format=%s", last_release(clone).commit)


def test_the_newest_tag_is_the_last_release(clone: Path) -> None:
    git(clone, "tag", "v0.1.0", "HEAD~2")
    assert subject(clone) == "after 0.1.0"


def test_the_present_commit_is_not_the_last_release(clone: Path) -> None:
    git(clone, "tag", "v0.1.0", "HEAD~2")
    git(clone, "tag", "v0.2.0")
    assert subject(clone) == "after 0.1.0"


def test_without_tags_the_newest_version_counts(clone: Path) -> None:
    assert subject(clone) == "0.2.0"
    git(clone, "reset", "--quiet", "--hard", "HEAD~1")  # the present commit gives the version
    assert subject(clone) == "0.1.0"


def test_a_shallow_clone_skips(clone: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--depth", "1", f"file://{clone}", "shallow")
    with pytest.raises(pytest.skip.Exception, match="shallow clone"):
        last_release(tmp_path / "shallow")


def test_code_without_a_clone_skips(tmp_path: Path) -> None:
    with pytest.raises(pytest.skip.Exception, match="no clone"):
        last_release(tmp_path)
