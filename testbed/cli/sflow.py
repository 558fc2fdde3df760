"""`tb sflow`: what the switches of a saved result sampled, to a collector or into a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from testbed.cli.output import JsonOption, print_json, stdout, table
from testbed.errors import SpecError

if TYPE_CHECKING:
    from testbed.run.sflow import Collector, Export


def sflow(
    result: Annotated[
        str, typer.Argument(metavar="RESULT", help="A result's directory, or an experiment for its newest.")
    ],
    cell: Annotated[
        str | None, typer.Argument(metavar="CELL", help="Which cell, where several were sampled.")
    ] = None,
    to: Annotated[
        str | None, typer.Option(metavar="HOST[:PORT]", help="Send to this collector by UDP; port 6343.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write to a .pcap, or a .bin (each behind its length, 32 bits)."),
    ] = None,
    speed: Annotated[
        float | None,
        typer.Option(help="Virtual time per time: 1 is as fast as it was; without it, 5,000 a second."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Export sampled frames and counters as sFlow v5 datagrams, as the switches would have sent them.

    Needs a result whose switches sampled: run with --set switch.sflow=N for one frame in N.

    [bold]Examples[/]

      ./tb run quickstart --engine twin --set switch.sflow=1000

      ./tb sflow quickstart load-64KiB-rdma --to 127.0.0.1:6343

      ./tb sflow quickstart load-64KiB-rdma --out samples.pcap

      ./tb sflow quickstart load-64KiB-rdma --to 127.0.0.1 --speed 0.001
    """
    from testbed.cli.progress_view import ProgressView
    from testbed.cli.results import find_result
    from testbed.cli.run import ended_by_signal
    from testbed.cli.writable import ensure_writable
    from testbed.run.sflow import FILE_ENDINGS, load_export, parse_collector, send, write
    from testbed.run.store import load_result

    if to is None and out is None:
        raise SpecError("where to?", remedy="give --to HOST:PORT, or --out FILE.pcap")
    if speed is not None and (to is None or not 0 < speed < float("inf")):
        raise SpecError("--speed is more than 0, and goes with --to", remedy="e.g. --to 127.0.0.1 --speed 1")
    if out is not None:
        if out.suffix not in FILE_ENDINGS:
            raise SpecError(f"--out {out}: neither .pcap nor .bin", remedy="name the file NAME.pcap")
        ensure_writable(out.parent, option="--out")
    collector = None if to is None else parse_collector(to)
    loaded = load_result(find_result(result))
    export = load_export(loaded, cell)
    with ended_by_signal():
        if out is not None:
            write(export, out, collector)
        if collector is not None:
            send(export, collector, ProgressView(of="datagrams"), speed=speed)
    if as_json:
        print_json(sflow_json(export, result=str(loaded.directory), collector=collector, out=out))
    else:
        _print(export, [str(where) for where in (collector, out) if where is not None])


def sflow_json(
    export: Export, *, result: str, collector: Collector | None, out: Path | None
) -> dict[str, Any]:
    """What was exported."""
    return {
        "result": result,
        "cell": export.cell,
        "to": None if collector is None else str(collector),
        "out": None if out is None else str(out),
        "datagrams": len(export.datagrams),
        "bytes": sum(len(one.data) for one in export.datagrams),
        "end_ps": export.sampled.end_ps,
        "agents": [
            {"switch": name, "address": address, "interval": interval}
            | {"datagrams": sent, "flow_samples": flows, "counters_samples": counters}
            for name, address, interval, sent, flows, counters in _rows(export)
        ],
    }


def _rows(export: Export) -> list[tuple[str, str, int, int, int, int]]:
    """Switch, address, interval, datagrams, flow samples, counters samples."""
    rows = []
    for agent in export.sampled.agents:
        own = [one for one in export.datagrams if one.agent.entity == agent.entity]
        flows, counters = sum(one.flow_samples for one in own), sum(one.counters_samples for one in own)
        rows.append((agent.name, agent.address, agent.interval, len(own), flows, counters))
    return rows


def _print(export: Export, targets: list[str]) -> None:
    from testbed.analysis.sflow import MOST_SAMPLES

    columns = ("switch", "agent", "one frame in>", "datagrams>", "flow samples>", "counters samples>")
    rows = [[one if isinstance(one, str) else f"{one:,}" for one in row] for row in _rows(export)]
    console = stdout()
    console.print(table(columns, rows), highlight=False)
    size = sum(len(one.data) for one in export.datagrams)
    typer.echo(
        f"{export.cell}: {len(export.datagrams):,} datagrams, {size:,} bytes to {' and '.join(targets)}"
    )
    if len(export.sampled.samples) == MOST_SAMPLES:
        typer.echo(
            f"only the first {MOST_SAMPLES:,} samples of a cell are kept: sample fewer, or run fewer records"
        )
