from __future__ import annotations

import ast
import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.errors import SpecError
from testbed.vm import agent
from testbed.vm.agent.files import is_below, sha256
from testbed.vm.asking import MODULES, command, loader
from testbed.vm.tree import program_digest, state_of, tree_files, wheels_are_complete


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def test_tree_files_of_this_tree_are_all_that_git_knows_but_results(repository: Path) -> None:
    if not (repository / ".git").exists():
        pytest.skip("this tree is no clone")
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={repository}", "ls-files", "-z"], cwd=repository, capture_output=True
    )
    known = {name for name in listed.stdout.decode().split("\0") if name and (repository / name).exists()}
    assert len(known) > 500
    assert known - set(tree_files(repository)) <= {"results/.gitkeep"}


def test_tree_files_leave_at_home_what_each_machine_makes(tmp_path: Path) -> None:
    stays = [".git/x", ".vagrant/x", ".vm/x", ".venv/x", "build/x", "build/release/x", "results/x", "dist/x"]
    stays += ["a/__pycache__/a.pyc", "a/b.pyc", ".pytest_cache/x", ".mypy_cache/x", "a/.ruff_cache/x"]
    stays += [
        "mine/tiny/1/summary.json",
        "mine/tiny/1/records/x",
        "mine/tiny/.1.partial/x",
        "mine/.vm/r/run.json",
    ]
    stays += ["testbed/engine/._engine.so.new", "x.egg-info/x", ".hypothesis/x", ".cache/x"]
    goes = ["tb", ".ci/run", ".gitignore", "testbed/engine/_engine.cpython-311-x86_64-linux-gnu.so"]
    goes += [
        "testbed/engine/_engine.cpython-311-x86_64-linux-gnu.so.key",
        "testbed/build/x",
        "größe 1/ä b.py",
    ]
    make(tmp_path, *stays, *goes)
    found = tree_files(tmp_path)
    assert sorted(found) == sorted(goes)
    assert all(found[name] == tmp_path / name for name in goes)


def test_tree_files_hold_the_wheels_only_when_they_are_a_whole_set(tmp_path: Path) -> None:
    make(tmp_path, "requirements.lock", "build/wheels/a.whl")
    assert sorted(tree_files(tmp_path)) == ["requirements.lock"]
    key = f"python3.11 x86_64 {sha256(str(tmp_path / 'requirements.lock'))}  -\n"
    (tmp_path / "build/wheels/complete").write_text(key)
    assert wheels_are_complete(tmp_path)
    assert sorted(tree_files(tmp_path)) == [
        "build/wheels/a.whl",
        "build/wheels/complete",
        "requirements.lock",
    ]
    (tmp_path / "requirements.lock").write_text("newer")
    assert sorted(tree_files(tmp_path)) == ["requirements.lock"]


def test_program_is_what_decides_on_results(tmp_path: Path) -> None:
    make(tmp_path, "testbed/a.py", "topologies/b.py", "requirements.lock", "README.md")
    before = program_digest(tmp_path)
    make(tmp_path, "docs/new.md", "experiments/new.py", "testbed/engine/_engine.so", "build/wheels/a.whl")
    (tmp_path / "README.md").write_text("newer")
    assert program_digest(tmp_path) == before
    for name in ("testbed/a.py", "topologies/b.py", "requirements.lock"):
        (tmp_path / name).write_text("newer")
        assert program_digest(tmp_path) != before
        make(tmp_path, name)
    make(tmp_path, "nic_emulator/new.py")
    assert program_digest(tmp_path) != before


def test_tree_files_follow_a_link_to_a_file_and_refuse_others(tmp_path: Path) -> None:
    make(tmp_path, "a", "b/c")
    (tmp_path / "link").symlink_to("a")
    assert state_of(tree_files(tmp_path)["link"]) == state_of(tmp_path / "a")
    for target in ("b", "nowhere"):
        (tmp_path / "other").symlink_to(target)
        with pytest.raises(SpecError, match="other is a link to no file"):
            tree_files(tmp_path)
        (tmp_path / "other").unlink()


def test_what_cannot_be_read_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SpecError, match="gone cannot be read: No such file"):
        state_of(tmp_path / "gone")
    (tmp_path / "closed").mkdir()
    real = os.scandir

    def scandir(path: str) -> Iterator[os.DirEntry[str]]:
        if path.endswith("closed"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)  # root may read everything
    with pytest.raises(SpecError, match="closed cannot be read: Permission denied"):
        tree_files(tmp_path)


def test_what_the_agent_is_told_survives_every_shell() -> None:
    told = ["!x", "\\", "a\\b", '\\"', "\\\\!", "\n", "ü"]
    *_, words = command("status", job=told)
    assert json.loads(words)["job"] == told
    assert "!" not in words  # csh
    assert "\\\\" not in words  # fish
    assert words.isascii()


def test_agent_is_python_3_9() -> None:
    ast.parse(loader(), feature_version=(3, 9))
    for path in Path(agent.__path__[0]).glob("*.py"):
        ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))


def test_agent_is_sent_whole_and_runs_without_the_project() -> None:
    directory = Path(agent.__path__[0])
    assert sorted(MODULES) == sorted(path.stem for path in directory.glob("[!_]*.py"))
    end = "print(sorted(name for name in sys.modules if name.startswith('testbed')))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-"], input=f"{loader()}\n{end}", capture_output=True, text=True
    )
    assert done.stdout.strip() == str(sorted(f"testbed.vm.agent.{name}" for name in MODULES)), done.stderr


@pytest.mark.parametrize("path", ["../x", "/x", "a/../x", "a//b", "", ".", "a/."])
def test_paths_that_lead_elsewhere_are_told(path: str) -> None:
    assert not is_below(path)
    assert is_below("a b/ä..b/.c")
