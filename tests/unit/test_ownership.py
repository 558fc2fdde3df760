from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.run.ownership import Owner, hand_over, heir_at
from testbed.run.store import ResultWriter, sweep

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


@pytest.fixture
def open_home() -> Iterator[Path]:
    """A directory of the caller's that he reaches, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as directory:
        os.chown(directory, CALLER.user, CALLER.group)
        yield Path(directory)


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


def test_partial_result_of_another_user_is_told_and_stays(open_home: Path) -> None:
    """Root was killed in mid-run: the result's directory is the caller's, what it made in it since is root's."""
    home = open_home
    partial = home / "sample" / ".20200101T000000Z-00000000.partial"
    secret = home / "sample" / ".20200101T000000Z-11111111.partial"
    for directory in (partial, secret):
        directory.mkdir(parents=True)
        (directory / ".lock").touch()
    hand_over(home, CALLER)
    (partial / "telemetry").mkdir()
    (partial / "telemetry" / "hops.parquet").touch()
    os.chown(secret, 0, 0)
    secret.chmod(0o700)
    told: list[str] = []
    os.seteuid(CALLER.user)
    try:
        sweep(home, told.append)
    finally:
        os.seteuid(0)
    (line,) = told
    assert (
        line == f"partial result {partial} of a run that was killed stays: Permission denied; try ./tb clean"
    )
    assert (partial / "telemetry" / "hops.parquet").exists()
    assert secret.is_dir()
    sweep(home, told.append)
    assert not list((home / "sample").iterdir())
