"""The user's own Vagrantfile on a copy of the tree, in a sandbox: `vagrant ...` and `./tb ...` as a user types them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.vm.sandbox import Sandbox

Record = Callable[[str, float], None]
"""Takes how long something took, in seconds."""


def copy_tree(repository: Path, to: Path) -> None:
    """Copy what goes to another machine: the sources, the wheelhouse and the compiled engine; nothing local."""
    from testbed.vm.tree import tree_files

    for name, path in tree_files(repository).items():
        target = to / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)


class Machines:
    """What a user does in a tree, with its time on record; a command that fails, fails the test with its output."""

    def __init__(self, sandbox: Sandbox, tree: Path, *, box: Path, record: Record, count: int = 1) -> None:
        self.tree = tree
        self._sandbox = sandbox
        self._record = record
        # /dev/kvm is no sign that KVM works: where tests run, guests may hang on it.
        self._settings = {
            "TB_VM_BOX": str(box),
            "TB_VM_TCG": "1",
            "TB_VM_COUNT": str(count),
            "TB_VM_CPUS": str(max(2, (os.cpu_count() or 1) // count)),
        }

    def vagrant(self, *arguments: str, timeout_s: float = 1200, **settings: str) -> str:
        """`vagrant ARGUMENTS`; returns what it printed."""
        done = self.try_vagrant(*arguments, timeout_s=timeout_s, **settings)
        assert done.returncode == 0, (
            f"vagrant {' '.join(arguments)}: exit code {done.returncode}\n{done.stdout}"
        )
        return done.stdout

    def try_vagrant(
        self, *arguments: str, timeout_s: float = 1200, **settings: str
    ) -> subprocess.CompletedProcess[str]:
        """The same, and may fail."""
        return self._timed(["vagrant", *arguments], timeout_s, settings)

    def inside(self, command: str, *, name: str = "tb1", timeout_s: float = 1200) -> str:
        """`vagrant ssh NAME -c COMMAND`."""
        return self.vagrant("ssh", name, "-c", command, "--", "-T", timeout_s=timeout_s)

    def tb(self, *arguments: str, timeout_s: float = 2400) -> str:
        """`./tb ARGUMENTS` of the copy, outside of the machines."""
        # Not ./tb itself: it would make an environment of its own for the copy.
        command = [sys.executable, "-P", "-m", "testbed.cli", *arguments]
        done = self._timed(
            command, timeout_s, {"PYTHONPATH": str(self.tree)}, shown=f"tb {' '.join(arguments[:3])}"
        )
        assert done.returncode == 0, f"tb {' '.join(arguments)}: exit code {done.returncode}\n{done.stdout}"
        return done.stdout

    def _timed(
        self, argv: list[str], timeout_s: float, settings: dict[str, str], *, shown: str = ""
    ) -> subprocess.CompletedProcess[str]:
        began = time.monotonic()
        try:
            return self._sandbox.run(
                *argv, cwd=self.tree, timeout_s=timeout_s, more={**self._settings, **settings}
            )
        finally:
            self._record(shown or " ".join(argv[:6]), time.monotonic() - began)
