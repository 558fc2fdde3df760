from __future__ import annotations

import os
from pathlib import Path

import pytest

from testbed.run.ownership import Owner, hand_over, heir_at
from testbed.run.store import ResultWriter

CALLER = Owner(user=12345, group=12346)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of the caller's, and his environment as sudo leaves it."""
    monkeypatch.setenv("SUDO_UID", str(CALLER.user))
    monkeypatch.setenv("SUDO_GID", str(CALLER.group))
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, CALLER.user, CALLER.group)
    return home


def owner_of(path: Path) -> Owner:
    about = path.lstat()
    return Owner(user=about.st_uid, group=about.st_gid)


def test_heir_below_a_directory_of_the_callers_is_the_caller(home: Path) -> None:
    assert heir_at(home / "not" / "yet") == CALLER


def test_heir_below_a_directory_of_everybodys_is_the_caller(home: Path, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o1777)
    assert heir_at(tmp_path / "open" / "new") == CALLER


def test_heir_below_a_directory_of_roots_is_nobody(home: Path, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o755)
    assert heir_at(tmp_path / "closed" / "new") is None


def test_heir_without_sudo_is_nobody(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_UID")
    assert heir_at(home) is None


def test_hand_over_follows_no_symbolic_link(home: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").touch()
    (home / "made").mkdir()
    (home / "made" / "link").symlink_to(tmp_path / "elsewhere")
    hand_over(home / "made", CALLER)
    assert owner_of(home / "made" / "link") == CALLER
    assert owner_of(tmp_path / "elsewhere") == owner_of(tmp_path / "elsewhere" / "file") != CALLER


def test_result_under_sudo_is_the_callers_with_all_above_that_was_made(home: Path) -> None:
    with ResultWriter(home / "results", "sample", {"name": "sample"}) as writer:
        begun = [home / "results", writer.directory, writer.directory / "records"]
        assert [path for path in begun if owner_of(path) != CALLER] == []  # a killed run leaves them so
        writer.write_text("report.txt", "text")
    made = [home / "results", *(home / "results").rglob("*")]
    assert writer.final / "report.txt" in made
    assert [path for path in made if owner_of(path) != CALLER] == []
