"""`tb clean`: removes what a run that was killed has left, and only what is the testbed's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from testbed.cli.output import JsonOption, print_json
from testbed.cli.privilege import become_root


def clean(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Where results went, if not to results/: unfinished ones are removed.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Remove what a killed run left, and only what is the testbed's.

    [bold]Examples[/]

      ./tb clean --dry-run

      ./tb clean
    """
    become_root("looking at other processes' namespaces")
    from testbed.fabric.clean import clean as clean_machine
    from testbed.run.loader import ROOT, results_dir
    from testbed.run.store import remove_abandoned
    from testbed.vm.box import remove_unfinished
    from testbed.vm.runs.record import remove_leftovers

    removed = clean_machine(dry_run=dry_run)
    recorded = set(removed)
    removed += [
        item for item in remove_abandoned(out or results_dir(), dry_run=dry_run) if item not in recorded
    ]
    removed += remove_leftovers(out or results_dir(), dry_run=dry_run)
    removed += remove_unfinished(ROOT, dry_run=dry_run)
    if as_json:
        print_json(clean_json(removed, dry_run=dry_run))
        return
    verb = "would remove" if dry_run else "removed"
    for item in removed:
        typer.echo(f"{verb} {item}")
    if not removed:
        typer.echo("nothing was left")


def clean_json(removed: list[str], *, dry_run: bool) -> dict[str, object]:
    """What `--json` prints."""
    return {"dry_run": dry_run, "removed": removed}
