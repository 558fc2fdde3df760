"""`tb clean`: removes what a run that was killed has left, and only what is the testbed's."""

from __future__ import annotations

from typing import Annotated

import typer

from testbed.cli.output import JsonOption, print_json
from testbed.cli.privilege import become_root


def clean(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove what a killed run left, and only what is the testbed's.

    [bold]Examples[/]

      ./tb clean --dry-run

      ./tb clean
    """
    become_root("looking at other processes' namespaces")
    from testbed.fabric.clean import clean as clean_machine

    removed = clean_machine(dry_run=dry_run)
    if as_json:
        print_json({"dry_run": dry_run, "removed": removed})
        return
    verb = "would remove" if dry_run else "removed"
    for item in removed:
        typer.echo(f"{verb} {item}")
    if not removed:
        typer.echo("nothing was left")
