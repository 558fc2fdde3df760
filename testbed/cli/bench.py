"""`tb bench`: the speed of the testbed itself, each figure with its spread and its reference."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from testbed.cli.output import JsonOption, print_json, stderr, stdout, table

if TYPE_CHECKING:
    from testbed.run.benchmark import BenchRow

COLUMNS = ("benchmark", "median>", "spread>", "unit", "reference", "median>", "ratio>", "target", "met")


def bench(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Which; all by default.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer repetitions: wider spread, less time.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure the testbed's own speed beside references in the same run. Nothing passes or fails on speed.

    [bold]Examples[/]

      ./tb bench

      ./tb bench twin --quick --json
    """
    from testbed.cli.privilege import become_root
    from testbed.registry import unknown_name
    from testbed.run.benchmark import discover
    from testbed.run.loader import ROOT

    found = {benchmark.name: benchmark for benchmark in discover(ROOT / "tests" / "bench")}
    for name in names or ():
        if name not in found:
            raise unknown_name("benchmark", name, found)
    become_root("measuring on real frames")
    rows: dict[str, list[BenchRow]] = {}
    for name in names or found:
        stderr().print(f"{name}: {found[name].description}", markup=False, highlight=False)
        rows[name] = found[name].run(quick)
    if as_json:
        print_json(bench_json(rows, quick=quick))
        return
    console = stdout()
    console.print(table(COLUMNS, [_cells(row) for some in rows.values() for row in some]), highlight=False)
    console.print(
        "  ".join(f"{key}: {value}" for key, value in machine().items()), markup=False, highlight=False
    )


def bench_json(rows: Mapping[str, Sequence[BenchRow]], *, quick: bool) -> dict[str, object]:
    """What `--json` prints."""
    benchmarks = {name: [row.to_dict() for row in some] for name, some in rows.items()}
    return {"machine": machine(), "quick": quick, "benchmarks": benchmarks}


def machine() -> dict[str, str | int]:
    """What a figure must be read together with."""
    return {
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
    }


def _cells(row: BenchRow) -> tuple[str, ...]:
    met = {True: "[green]yes[/]", False: "[yellow]no[/]", None: ""}[row.met]
    return (
        row.name,
        _number(row.median),
        f"{_number(row.low)} – {_number(row.high)}",
        row.unit,
        row.reference_name or "",
        _number(row.reference_median),
        _number(row.ratio),
        row.target or "",
        met,
    )


def _number(value: float | None) -> str:
    """Three significant digits, or nothing."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
