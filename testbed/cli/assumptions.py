"""`tb assumptions`: the values that a result rests on and that no public source states."""

from __future__ import annotations

from typing import Annotated

import typer

from testbed.cli.output import JsonOption, numbers_text, print_json, stdout


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
    console = stdout()
    plural = "value" if len(found) == 1 else "values"
    console.print(
        f"{directory}\nrests on {len(found)} assumed or estimated {plural}", markup=False, highlight=False
    )
    rows = [(row["path"], row["value"], row["unit"], row["mark"], row["source"]) for row in found]
    console.print(numbers_text(rows, console.width), markup=False, highlight=False, soft_wrap=True)
