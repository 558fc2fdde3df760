"""`tb test`: pytest, on every test that this machine can run; says plainly what is left out."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from testbed.errors import PreflightError, SpecError

PASS_THROUGH = {"allow_extra_args": True, "ignore_unknown_options": True}
VM_PROGRAMS = (
    *("vagrant", "libvirtd", "virtlogd", "virsh", "tini", "slirp4netns", "nft", "dnsmasq"),
    *("qemu-system-x86_64", "qemu-img", "mmdebstrap", "grub-mkimage", "sfdisk", "mke2fs", "rsync", "ssh"),
)
"""What the tests with virtual machines start, all of it installed by `tools/setup.sh box machine vagrant`."""


def test(
    ctx: typer.Context,
    vm: Annotated[
        bool, typer.Option("--vm", help="Run the tests with virtual machines, and only these.")
    ] = False,  # noqa: PT028 - a verb, not a test
) -> None:
    """Run every test that this machine can run; all arguments go to pytest.

    Ends with pytest's exit code. A `-m` of yours takes the place of the choice made for this machine. Tests with
    virtual machines take three quarters of an hour and run on request; none of them is skipped.

    [bold]Examples[/]

      ./tb test

      ./tb test tests/unit -k units -x

      ./tb test --vm
    """
    from testbed.cli.privilege import become_root, can_be_root
    from testbed.run.loader import ROOT

    arguments = [_from_root(argument) for argument in ctx.args]
    left_out: dict[str, str] = {}
    own_choice = any(argument == "-m" or argument.startswith("-m=") for argument in arguments)
    if vm:
        if own_choice:
            raise SpecError("--vm and -m both choose by marker", remedy="with --vm, choose by -k or by path")
        require_for_vm()
        arguments = ["-m", "vm", *arguments]
    elif not own_choice:
        if can_be_root():
            become_root("a test on real frames")
        left_out = what_is_left_out()
        if left_out:
            arguments = ["-m", " and ".join(f"not {marker}" for marker in left_out), *arguments]
    for marker, reason in left_out.items():
        typer.echo(f"left out: tests marked `{marker}`: {reason}", err=True)
    command = [sys.executable, "-m", "pytest", *arguments]
    raise typer.Exit(subprocess.run(command, cwd=ROOT, check=False).returncode)


def require_for_vm() -> None:
    """Become root, or raise `PreflightError`: a test with virtual machines is never left out for what is missing."""
    from testbed.cli.privilege import become_root

    missing = [name for name in VM_PROGRAMS if shutil.which(name, path=_path_of_root()) is None]
    if missing:
        raise PreflightError(
            f"tests with virtual machines: not installed: {', '.join(missing)}",
            remedy="tools/setup.sh box machine vagrant",
        )
    become_root("a libvirt of the tests' own")


def _path_of_root() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"


def what_is_left_out() -> dict[str, str]:
    """The markers whose tests this machine cannot run, each with the reason."""
    from testbed.run import preflight

    left_out: dict[str, str] = {"bench": "./tb bench runs them", "vm": "./tb test --vm runs them"}
    try:
        preflight.require("emulation")
    except PreflightError as error:
        left_out["fabric"] = f"{error}"
    if os.geteuid() != 0:
        left_out.setdefault("fabric", "they need root")
    return left_out


def _from_root(argument: str) -> str:
    """A path relative to where the user stands, made absolute: pytest runs in the root of the tree."""
    path, separator, rest = argument.partition("::")
    if argument.startswith("-") or not Path(path).exists():
        return argument
    return f"{Path(path).resolve()}{separator}{rest}"
