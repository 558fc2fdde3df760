"""The project's tree in a full box: copied to /vagrant and set up there by its own set-up, without network."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from testbed.commit import git
from testbed.errors import PreflightError
from testbed.vm.box_tools import Tools, in_namespaces
from testbed.vm.target import VM_TREE
from testbed.vm.tree import tree_files, wheels_are_complete

FIXED_EPOCH_S = 1_767_225_600
"""2026-01-01, the date of a box without a commit: a bare one, or of a tree that is no git repository."""
_PYTHON = "python3.11"
"""Of Debian 12."""
_USER_ID = 1000
"""Of `vagrant` in the guest."""


def tree_epoch_s(tree: Path) -> int:
    """When the last commit of a tree was made; a fixed time where there is none."""
    return int(git(tree, "log", "-1", "--format=%ct") or FIXED_EPOCH_S)


def install_tree(tree: Path, root: Path, *, epoch_s: int, tools: Tools) -> None:
    """Copy the tree to /vagrant of a root directory and run its set-up there."""
    if not wheels_are_complete(tree):
        raise PreflightError(
            "build/wheels lacks Python dependencies, and the box is set up without network",
            remedy="tools/setup.sh wheels, then again",
        )
    made_for = (tree / "build" / "wheels" / "complete").read_text(encoding="utf-8").partition(" ")[0]
    if made_for != _PYTHON:
        raise PreflightError(
            f"the Python dependencies here are for {made_for}, and the box has {_PYTHON}",
            remedy="build the full box on Debian 12, or --bare, which installs them at its first start",
        )
    there = root / VM_TREE.lstrip("/")
    for name, path in sorted(tree_files(tree).items()):
        target = there / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    for made in there.glob("testbed/engine/_engine*"):  # it is compiled there, whatever this machine is
        made.unlink()
    set_up = [f"{VM_TREE}/tools/setup.sh", "packages", "venv", "python", "engine"]
    variables = [
        *("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "TZ=UTC"),
        # Only compileall writes compiled files: an import puts the time of the build into them.
        *("TB_OFFLINE=1", "PYTHONHASHSEED=0", "PYTHONDONTWRITEBYTECODE=1"),
        f"SOURCE_DATE_EPOCH={epoch_s}",
    ]
    tools.run(
        in_namespaces("chroot", root, *variables, *set_up, proc=root / "proc"),
        what="set-up in the box",
        remedy="see the log; on this machine, ./tb does the same set-up",
    )
    _tidy(there)
    _own(there)


def _tidy(there: Path) -> None:
    """Remove what the set-up needed and the machine does not."""
    shutil.rmtree(there / "build")
    if not list(there.glob("testbed/engine/_engine*.so")):
        raise PreflightError("set-up in the box made no engine", remedy="see the log in build/box/")


def _own(there: Path) -> None:
    """Give the tree to the guest's user."""
    for directory, directories, files in os.walk(there):
        for name in (".", *directories, *files):
            os.chown(os.path.join(directory, name), _USER_ID, _USER_ID, follow_symlinks=False)
