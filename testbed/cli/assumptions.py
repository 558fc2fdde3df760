"""`tb assumptions`: the values that a result rests on and that no public source states."""

from __future__ import annotations

from typing import Annotated

import typer

from testbed.cli.output import JsonOption, print_json, stdout, table

COLUMNS = ("path", "value", "unit", "mark", "source")


def assumptions(
    result: Annotated[
        str, typer.Argument(help="A result's directory, or an experiment's name for its newest.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Show the assumed and estimated values that a result rests on.

    [bold]Examples[/]

      ./tb assumptions quickstart

      ./tb assumptions results/quickstart/20261123T101500Z-1a2b3c4d --json
    """
    from testbed.cli.results import find_result, read_summary

    directory = find_result(result)
    found = read_summary(directory).get("assumptions", [])
    if as_json:
        print_json({"result": str(directory), "assumptions": found})
        return
    rows = [[str(row.get(column, "")) for column in COLUMNS] for row in found]
    console = stdout()
    console.print(f"{directory}: rests on {len(rows)} assumed values", markup=False, highlight=False)
    console.print(table(COLUMNS, rows), markup=False, highlight=False)
