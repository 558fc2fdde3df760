from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from testbed.commit import COMMIT_FILE
from testbed.run import metadata


def test_metadata_is_json_and_has_every_key(tmp_path: Path) -> None:
    found = json.loads(json.dumps(metadata.collect_metadata(tmp_path), allow_nan=False))
    assert {"utc", "project_version", "git_commit", "git_dirty", "python", "packages", "machine"} <= set(
        found
    )
    assert {"kernel", "cpu_model", "cores", "memory_bytes", "governor", "load_average"} <= set(
        found["machine"]
    )
    assert found["packages"]["numpy"].count(".") >= 1


def test_metadata_outside_a_repository_has_no_commit(tmp_path: Path) -> None:
    found = metadata.collect_metadata(tmp_path)
    assert found["git_commit"] is None
    assert found["git_dirty"] is None


def test_metadata_in_a_repository_names_commit_and_changes(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@t", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "x")
    clean = metadata.collect_metadata(tmp_path)
    assert clean["git_commit"] == git("rev-parse", "HEAD")
    assert clean["git_dirty"] is False
    (tmp_path / "new").write_text("x")
    assert metadata.collect_metadata(tmp_path)["git_dirty"] is True


@pytest.mark.parametrize(("told", "dirty"), [("0123abcd\n", False), ("0123abcd+\n", True)])
def test_metadata_in_a_tree_that_was_sent_names_the_commit_it_came_from(
    tmp_path: Path, told: str, dirty: bool
) -> None:
    (tmp_path / COMMIT_FILE).write_text(told)
    found = metadata.collect_metadata(tmp_path)
    assert (found["git_commit"], found["git_dirty"]) == ("0123abcd", dirty)


def test_metadata_without_git_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", "")
    assert metadata.collect_metadata(tmp_path)["git_commit"] is None


def test_metadata_missing_package_and_files_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "PACKAGES", ("no-such-package-anywhere",))
    monkeypatch.setattr(metadata, "_GOVERNOR", tmp_path / "nothing")
    found = metadata.collect_metadata(tmp_path)
    assert found["packages"] == {"no-such-package-anywhere": None}
    assert found["machine"]["governor"] is None
