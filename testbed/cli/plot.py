"""`tb plot`: draws saved results again, several of them over each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def plot(
    results: Annotated[
        list[str],
        typer.Argument(metavar="RESULT", help="Result directories, or experiments for their newest."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Where the figures go: by default into the result, or into ./figures for several."),
    ] = None,
) -> None:
    """Draw the figures of saved results; several are overlaid.

    [bold]Examples[/]

      ./tb plot quickstart

      ./tb plot results/quickstart/A results/quickstart/B --out compared
    """
    from testbed.cli.results import find_result
    from testbed.cli.writable import ensure_writable

    found = [find_result(result) for result in results]
    target = out or (found[0] / "figures" if len(found) == 1 else Path("figures"))
    ensure_writable(target, option="--out")
    from testbed.report.plot import plot_results

    for path in plot_results(found, target):
        typer.echo(str(path))
