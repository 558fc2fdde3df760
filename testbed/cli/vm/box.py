"""`tb vm box`: builds a box of the project's own, and gives it to Vagrant."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from testbed.cli.privilege import become_root
from testbed.cli.run import ended_by_signal
from testbed.cli.writable import ensure_writable
from testbed.errors import SpecError
from testbed.run.loader import ROOT
from testbed.vm import box as building
from testbed.vm import box_add, vagrant
from testbed.vm.box_root import DEFAULT_MIRROR, parse_mirror


def box(
    bare: Annotated[
        bool, typer.Option("--bare", help="As a public Debian box is: the first start installs the rest.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The file to make; build/box/NAME.box by default.")
    ] = None,
    mirror: Annotated[
        str, typer.Option(metavar="URL", help="A Debian mirror, or a day of snapshot.debian.org.")
    ] = DEFAULT_MIRROR,
    add: Annotated[bool, typer.Option("--add/--no-add", help="Give it to Vagrant, if that is there.")] = True,
) -> None:
    """Build a Vagrant box (Debian 12, everything installed) from the distribution's packages alone.

    [bold]Examples[/]

      ./tb vm box

      ./tb vm box --bare --no-add --out /tmp/bare.box

      ./tb vm box --mirror http://snapshot.debian.org/archive/debian/20261101T000000Z
    """
    source = parse_mirror(mirror)
    target = (out or building.default_out(ROOT, bare=bare)).absolute()
    if target.suffix != ".box":
        raise SpecError(f"--out {target}: a box is a file *.box", remedy=f"--out {target}.box")
    become_root("building a box")
    plan = building.BoxPlan(tree=ROOT, out=target, bare=bare, mirror=source)
    ensure_writable(target.parent, option="--out")
    began = time.monotonic()
    with ended_by_signal():
        manifest = building.build_box(plan, step=show_step)
    typer.echo(summary(plan, manifest, took_s=time.monotonic() - began))
    if add:
        _add(plan)


def summary(plan: building.BoxPlan, manifest: dict[str, Any], *, took_s: float) -> str:
    """What is said of a box that is made."""
    return (
        f"{plan.out}\n"
        f"  {plan.name}: Debian 12, kernel {manifest['kernel']}, {len(manifest['packages'])} packages; "
        f"{manifest['box_bytes'] / 1e6:.0f} MB, {took_s:.0f} s\n"
        f"  SHA-256 {manifest['box_sha256']}; what is in it: {plan.manifest}"
    )


def _add(plan: building.BoxPlan) -> None:
    if not vagrant.installed():
        typer.echo(f"Vagrant is not installed; later: vagrant box add --force --name {plan.name} {plan.out}")
        return
    with show_step("vagrant"):
        stale = box_add.add_box(plan.name, plan.out)
    if stale is not None:
        typer.echo(
            "libvirt keeps the image of the box before. When no machine is made from it any more:\n"
            f"  virsh -c qemu:///system vol-delete --pool default {stale}"
        )


@contextmanager
def show_step(name: str) -> Iterator[None]:
    """Say on stderr that a step has begun, and then how long it took."""
    began = time.monotonic()
    typer.echo(f"box  {name:<9} ... ", nl=False, err=True)
    try:
        yield
    except BaseException:
        typer.echo("failed", err=True)
        raise
    typer.echo(f"{time.monotonic() - began:.1f} s", err=True)
