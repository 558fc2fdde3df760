"""Becoming root for the verbs that need it: the same command again through sudo, if sudo asks nothing."""

from __future__ import annotations

import compileall
import os
import subprocess
import sys

from testbed.errors import PreflightError
from testbed.run.loader import ROOT


def can_be_root() -> bool:
    """Whether this process is root, or sudo would make it root without a question."""
    if os.geteuid() == 0:
        return True
    try:
        return subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def become_root(why: str, *, otherwise: str = "") -> None:
    """Return when root; else go on as the same command under sudo, or raise `PreflightError`."""
    if os.geteuid() == 0:
        return
    if not can_be_root():
        raise PreflightError(
            f"{why} needs root",
            remedy=f"sudo ./tb {' '.join(sys.argv[1:])}{otherwise and ', or '}{otherwise}",
        )
    kept = [f"{name}={value}" for name, value in os.environ.items() if name.startswith("TB_")]
    _compile_modules()
    sys.stdout.flush()
    os.execvp("sudo", ["sudo", "-n", "env", *kept, str(ROOT / "tb"), *sys.argv[1:]])


def _compile_modules() -> None:
    """What Python compiles of the testbed is this user's: root, who reads it under sudo, writes none (see `tb`)."""
    for package in ("testbed", "nic_emulator", "topologies", "experiments"):
        compileall.compile_dir(ROOT / package, quiet=2)
