"""`tb list`: what can be named in an experiment, each with one line."""

from __future__ import annotations

from typing import Annotated

import typer

from testbed.cli.output import JsonOption, print_json, stdout, table


def list_(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="KIND", help="topologies, switches, nics, cards, media or experiments; all by default."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List topologies, switches, NICs, cards, media and experiments, each with one line.

    [bold]Examples[/]

      ./tb list

      ./tb list switches --json
    """
    from testbed.cli import catalogue

    kinds = catalogue.KINDS if kind is None else (kind,)
    found = {one: catalogue.entries(one) for one in kinds}
    if as_json:
        print_json(
            {one: [{"name": name, "description": line} for name, line in rows] for one, rows in found.items()}
        )
        return
    console = stdout()
    for index, (one, rows) in enumerate(found.items()):
        if index:
            console.print()
        console.print(table([one, ""], rows), markup=False, highlight=False)
