"""What goes to Vagrant's machines is what goes to all others, and what is a machine's own stays there."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from testbed.vm.tree import tree_files

pytestmark = pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")

SENT = (
    *("tb", "Vagrantfile", "requirements.lock", "experiments/quickstart.py", "docs/images/a b.png"),
    *("testbed/engine/engine.cpp", "testbed/build/x.py", "tests/results/y.py", "topologies/my own ü.py"),
    *("testbed/engine/_engine.cpython-311-x86_64-linux-gnu.so", ".ci/run", ".gitignore"),
    "testbed/engine/_engine.cpython-311-x86_64-linux-gnu.so.key",
)
WHEELS = ("build/wheels/numpy-2.whl", "build/wheels/complete")
NOT_SENT = (
    *(".git/config", ".vagrant/machines/id", ".vm/qemu/tb1/disk", ".venv/bin/x", "results/q/spec.json"),
    *(
        "build/release/a.o",
        "build/setup-engine.log",
        "build/wheels.new/x.whl",
        "build/box/a.box",
        "dist/a.whl",
    ),
    *("testbed/__pycache__/a.cpython-311.pyc", "testbed/old.pyc", "x.egg-info/PKG", "testbed/.#lock"),
    *(".pytest_cache/a", ".mypy_cache/a", ".ruff_cache/a", ".hypothesis/a", "docs/.cache/a"),
    *(
        "testbed/engine/._engine.cpython-311-x86_64-linux-gnu.so.new",
        "mine/.vm/r/run.json",
        "mine/q/.1.partial/x",
    ),
)
LOCK = "numpy==2\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with one of each."""
    root = tmp_path / "a tree"
    for name in (*SENT, *WHEELS, *NOT_SENT):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(LOCK if name == "requirements.lock" else name, encoding="utf-8")
    complete = f"python3.11 x86_64 {hashlib.sha256(LOCK.encode()).hexdigest()}"
    (root / "build" / "wheels" / "complete").write_text(complete, encoding="ascii")
    return root


def synced(repository: Path, tree: Path, there: Path, *more: str) -> set[str]:
    rules = repository / "tools" / "synced.rules"
    command = ["rsync", "--archive", "--delete", *more, f"--filter=. {rules}", f"{tree}/", f"{there}/"]
    subprocess.run(command, check=True)
    return {str(path.relative_to(there)) for path in there.rglob("*") if not path.is_dir()}


def test_what_rsync_sends_is_what_goes_to_other_machines(
    repository: Path, tree: Path, tmp_path: Path
) -> None:
    assert synced(repository, tree, tmp_path / "there") == set(tree_files(tree)) == {*SENT, *WHEELS}


def test_wheelhouse_that_is_not_whole_stays_here(repository: Path, tree: Path, tmp_path: Path) -> None:
    (tree / "build" / "wheels" / "complete").unlink()
    assert (
        synced(repository, tree, tmp_path / "there", "--filter=- /build/")
        == set(tree_files(tree))
        == set(SENT)
    )


def test_what_is_the_machines_own_survives_and_what_went_here_goes_there(
    repository: Path, tree: Path, tmp_path: Path
) -> None:
    there = tmp_path / "there"
    synced(repository, tree, there)
    own = (
        *(".venv/bin/python", "build/release/a.o", "build/setup-engine.log", "results/q/1/spec.json"),
        "testbed/engine/_engine.cpython-312-aarch64-linux-gnu.so",
        "testbed/engine/_engine.cpython-312-aarch64-linux-gnu.so.key",
    )
    for name in own:
        (there / name).parent.mkdir(parents=True, exist_ok=True)
        (there / name).write_text("own", encoding="ascii")
    (tree / "experiments" / "quickstart.py").unlink()
    (tree / "build" / "wheels" / "numpy-2.whl").unlink()
    left = synced(repository, tree, there)
    assert left == {*SENT, *WHEELS, *own} - {"experiments/quickstart.py", "build/wheels/numpy-2.whl"}


def test_vagrantfile_uses_these_rules(repository: Path) -> None:
    text = (repository / "Vagrantfile").read_text(encoding="utf-8")
    assert "\"--filter=. #{File.join(__dir__, 'tools', 'synced.rules')}\"" in text
    assert 'rules.unshift("--filter=- /build/") unless wheels_complete' in text
