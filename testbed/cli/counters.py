"""`tb counters`: what nodes, ports, queues and priority groups of a saved result counted."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from testbed.cli.output import print_json
from testbed.errors import SpecError

if TYPE_CHECKING:
    from testbed.analysis.counter_meaning import Names
    from testbed.analysis.counter_series import Series
    from testbed.run.store import LoadedResult


class Format(StrEnum):
    """How counters are printed."""

    TEXT = "text"
    JSON = "json"
    PROMETHEUS = "prometheus"


class Naming(StrEnum):
    """Whose names."""

    OWN = "own"
    SAI = "sai"
    IF_MIB = "if-mib"
    ETHTOOL = "ethtool"


def counters(
    result: Annotated[
        str, typer.Argument(metavar="RESULT", help="A result's directory, or an experiment for its newest.")
    ],
    cell: Annotated[
        str | None,
        typer.Argument(
            metavar="CELL", help="Which cell; by default all, or in text the one with the highest p99.9."
        ),
    ] = None,
    node: Annotated[str, typer.Option(metavar="NODE", help="Of this NIC or switch alone.")] = "",
    port: Annotated[
        str, typer.Option(metavar="PORT", help="Of this port alone: its number, or e.g. l1-eth3.")
    ] = "",
    names: Annotated[Naming, typer.Option(help="Whose names; what has none there is left out.")] = Naming.OWN,
    output: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.TEXT,
    nonzero: Annotated[bool, typer.Option("--nonzero/--all", help="Only what is not zero, or all.")] = True,
    series: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="PLACE COUNTER", help="One counter over time, e.g. l1-eth3 in_octets."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw that into a .png or .svg file.")
    ] = None,
) -> None:
    """Show the counters of switches, ports, queues, priority groups and NICs.

    [bold]Examples[/]

      ./tb counters quickstart --node l1

      ./tb counters quickstart load-64KiB-rdma --port l1-eth3 --names sai

      ./tb counters quickstart --format prometheus > /var/lib/node_exporter/tnic.prom

      ./tb counters quickstart load-64KiB-rdma --series l1-eth3 in_octets --plot rate.png
    """
    from testbed.cli.results import find_result
    from testbed.run.store import load_result

    _refuse_what_does_not_go_together(node or port, names, output, series, plot)
    loaded = load_result(find_result(result))
    if series is not None:
        _show_series(loaded, _cell(loaded, cell), series, output, plot)
        return
    from testbed.analysis.counter_rows import Selection, rows_of
    from testbed.report.counters import counters_json, counters_text, prometheus_text

    wanted = (
        [_cell(loaded, cell)] if cell or output is Format.TEXT else [one.id for one in loaded.summary.cells]
    )
    counted = loaded.counters()
    rows = rows_of({one: counted[one] for one in wanted}, Selection(node=node, port=port, nonzero=nonzero))
    naming: Names = names.value
    if output is Format.JSON:
        print_json(counters_json(rows, naming, result=str(loaded.directory)))
    elif output is Format.PROMETHEUS:
        typer.echo(prometheus_text(rows, experiment=loaded.summary.experiment), nl=False)
    else:
        typer.echo(f"{wanted[0]}\n{counters_text(rows, naming)}")


def _refuse_what_does_not_go_together(
    place: str, names: Naming, output: Format, series: tuple[str, str] | None, plot: Path | None
) -> None:
    """Raise `SpecError` for options that would be ignored."""
    if output is Format.PROMETHEUS and names is not Naming.OWN:
        raise SpecError("Prometheus has names of its own", remedy="leave out --names")
    if series is None:
        if plot is not None:
            raise SpecError("--plot draws one counter", remedy="say which: --series l1-eth3 in_octets")
        return
    if place or names is not Naming.OWN:
        raise SpecError("--series names one counter", remedy="leave out --node, --port and --names")
    if output is Format.PROMETHEUS:
        raise SpecError("Prometheus takes no past samples", remedy="use --format json, or the Parquet file")
    if plot is not None:
        from testbed.cli.writable import ensure_writable

        if plot.suffix not in (".png", ".svg"):
            raise SpecError(
                f"--plot {plot}: not a .png or .svg file", remedy="name the file NAME.png or NAME.svg"
            )
        ensure_writable(plot.parent, option="--plot")


def _cell(loaded: LoadedResult, name: str | None) -> str:
    """The cell that is meant; by default the one whose tail is longest."""
    from testbed.registry import unknown_name

    cells = loaded.summary.cells
    if name is None:
        return max(cells, key=lambda one: (_p999_ps(one.percentiles["p99.9"].value_ps), one.max_ps)).id
    if name not in [one.id for one in cells]:
        raise unknown_name("cell", name, [one.id for one in cells])
    return name


def _p999_ps(value_ps: int | None) -> int:
    return -1 if value_ps is None else value_ps


def _show_series(
    loaded: LoadedResult, cell: str, wanted: tuple[str, str], output: Format, plot: Path | None
) -> None:
    from testbed.report.counters import series_json, series_text

    found = _series(loaded, cell, wanted)
    if plot is not None:
        from testbed.report.cell_figure import Source
        from testbed.report.counter_figure import write_series_figure

        summary = next(one for one in loaded.summary.cells if one.id == cell)
        write_series_figure(found, Source.of(summary, loaded.summary, loaded.result_id), plot)
    if output is Format.JSON:
        print_json(series_json(found, result=str(loaded.directory), cell=cell))
        return
    typer.echo(f"{cell}, {found.place.at(found.node)}\n{series_text(found)}")
    if plot is not None:
        typer.echo(str(plot))


def _series(loaded: LoadedResult, cell: str, wanted: tuple[str, str]) -> Series:
    """The counter over time; a `SpecError` names what there is instead."""
    from testbed.analysis.counter_rows import parse_place
    from testbed.registry import unknown_name
    from testbed.run.cell_files import read_series

    place_text, name = wanted
    node, place = parse_place(place_text)
    counted = loaded.counters()[cell]
    if node not in counted:
        raise unknown_name("node", node, counted)
    of_place = read_series(loaded.directory, cell, node, place)
    if not of_place:
        raise SpecError(
            f"nothing was counted at {place_text} in {cell}",
            remedy=f"./tb counters {loaded.directory} {cell}",
        )
    known = {one.meaning.name: one for one in of_place}
    if name not in known:
        raise unknown_name(f"counter of {place_text} over time", name, known)
    return known[name]
