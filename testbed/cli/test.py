"""`tb test`: pytest, on every test that this machine can run; says plainly what is left out."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import typer

PASS_THROUGH = {"allow_extra_args": True, "ignore_unknown_options": True}


def test(ctx: typer.Context) -> None:
    """Run every test that this machine can run; all arguments go to pytest.

    Ends with pytest's exit code. A `-m` of yours takes the place of the choice made for this machine.

    [bold]Examples[/]

      ./tb test

      ./tb test tests/unit -k units -x
    """
    from testbed.cli.privilege import become_root, can_be_root
    from testbed.run.loader import ROOT

    arguments = [_from_root(argument) for argument in ctx.args]
    left_out: dict[str, str] = {}
    if not any(argument == "-m" or argument.startswith("-m=") for argument in arguments):
        if can_be_root():
            become_root("a test on real frames")
        left_out = what_is_left_out()
        if left_out:
            arguments = ["-m", " and ".join(f"not {marker}" for marker in left_out), *arguments]
    for marker, reason in left_out.items():
        typer.echo(f"left out: tests marked `{marker}`: {reason}", err=True)
    command = [sys.executable, "-m", "pytest", *arguments]
    raise typer.Exit(subprocess.run(command, cwd=ROOT, check=False).returncode)


def what_is_left_out() -> dict[str, str]:
    """The markers whose tests this machine cannot run, each with the reason."""
    from testbed.errors import PreflightError
    from testbed.run import preflight

    left_out: dict[str, str] = {"bench": "./tb bench runs them"}
    try:
        preflight.require("emulation")
    except PreflightError as error:
        left_out["fabric"] = f"{error}"
    if os.geteuid() != 0:
        left_out.setdefault("fabric", "they need root")
    if shutil.which("vagrant") is None:
        left_out["vm"] = "vagrant is not installed"
    return left_out


def _from_root(argument: str) -> str:
    """A path relative to where the user stands, made absolute: pytest runs in the root of the tree."""
    path, separator, rest = argument.partition("::")
    if argument.startswith("-") or not Path(path).exists():
        return argument
    return f"{Path(path).resolve()}{separator}{rest}"
