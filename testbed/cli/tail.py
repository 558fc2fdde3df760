"""`tb tail`: where the tail of a saved result came from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from testbed.cli.output import JsonOption, print_json, table_width


def tail(
    result: Annotated[
        str, typer.Argument(metavar="RESULT", help="A result's directory, or an experiment for its newest.")
    ],
    cell: Annotated[
        str | None,
        typer.Option(metavar="CELL", help="Which cell; by default the one with the highest p99.9."),
    ] = None,
    slowest: Annotated[
        str, typer.Option(metavar="SHARE", help="Which share of the messages is the tail.")
    ] = "0.1%",
    out: Annotated[
        Path | None, typer.Option(help="Where the figure goes: by default into the result.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Explain the slowest messages: which switch, which queue, waiting behind whom.

    Runs the cell again in the twin, with their packets traced, and divides their latency along their way.

    [bold]Examples[/]

      ./tb tail quickstart

      ./tb tail quickstart --cell load-64KiB-rdma --slowest 0.01%

      ./tb tail results/quickstart/20261123T101500Z-1a2b3c4d --json
    """
    from testbed.cli.progress_view import ProgressView
    from testbed.cli.results import find_result
    from testbed.cli.run import ended_by_signal
    from testbed.cli.writable import ensure_writable
    from testbed.report.cell_figure import Source
    from testbed.report.tail import tail_json, tail_text
    from testbed.report.tail_figure import write_tail_figure
    from testbed.run.store import load_result
    from testbed.run.tail import explain_tail
    from testbed.units import parse_ppm

    slowest_ppm = parse_ppm(slowest)
    loaded = load_result(find_result(result))
    target = out or loaded.directory / "figures"
    ensure_writable(target, option="--out")
    view = ProgressView()
    with ended_by_signal():
        try:
            found = explain_tail(loaded, cell, slowest_ppm, view)
        finally:
            view.finish()
    source = Source.of(found.summary, loaded.summary, loaded.result_id)
    figures = write_tail_figure(found, source, target)
    if as_json:
        print_json(tail_json(found, result=str(loaded.directory), figures=figures))
        return
    typer.echo(tail_text(found, title=source.cell_name, width=table_width()))
    typer.echo("\n".join(map(str, figures)))
