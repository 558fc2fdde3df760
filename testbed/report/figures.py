"""The four figures of a run, or of several runs over each other."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from testbed.analysis.answers import readable_size
from testbed.analysis.curves import DepthCurve
from testbed.analysis.summary import CellSummary
from testbed.report import canvas
from testbed.report.budget import budget_figure
from testbed.report.sweeps import sweep_figure
from testbed.report.variants import draw_percentile, variant_figure
from testbed.report.view import CellView, RunView, panels, series
from testbed.units import BYTES_PER_KIB, PS_PER_US

COMPARED = ("p50", "p99", "p99.9")
_PERCENT_LABELS = {2: "50", 10: "90", 100: "99", 10**3: "99.9", 10**4: "99.99",
                   10**5: "99.999", 10**6: "99.9999", 10**7: "99.99999"}  # fmt: skip
_MOST_LABELLED = 4
"""So many queues of a panel are named in it."""
_SAME_CHARS = 40
_MOST_SIZES = 3
_MOST_SERIES = 14
_MOST_OF_ONE_NIC = 30


def write_figures(runs: Sequence[RunView], directory: Path) -> list[Path]:
    """Draw every figure that the runs have data for, as PNG and SVG; the paths written."""
    found: dict[str, Figure] = {}
    readable = _readable(runs)
    for suffix, few in readable.items():
        found[f"ccdf{suffix}"] = ccdf_figure(few)
        found[f"percentiles{suffix}"] = percentile_figure(few)
    found["comparison"] = _comparison(runs)
    for suffix, few in readable.items():
        if any(cell.depth is not None for run in few for cell in run.cells):
            found[f"queue_depth{suffix}"] = queue_depth_figure(few)
    return [path for name, figure in found.items() for path in canvas.save(figure, directory, name)]


def _comparison(runs: Sequence[RunView]) -> Figure:
    """What there is to compare: a budget, steps of something, variants, or NICs."""
    budget = budget_figure(runs[0]) if len(runs) == 1 else None
    if (found := budget or sweep_figure(runs)) is not None:
        return found
    return variant_figure(runs) if any(run.variants for run in runs) else comparison_figure(runs)


def _readable(runs: Sequence[RunView]) -> dict[str, list[RunView]]:
    """What of the runs a grid of panels can show: a few sizes, the ends among them, and a few lines.

    With more lines than those each NIC has a figure of its own, named by a suffix; nobody tells 40 lines apart.
    """
    sizes = sorted({size for _, size in panels(runs)})
    chosen = [
        sizes[index] for index in np.linspace(0, len(sizes) - 1, min(len(sizes), _MOST_SIZES)).astype(int)
    ]
    fewer = [run.only(lambda cell: cell.size_bytes in chosen) for run in runs]
    nics = list(dict.fromkeys(cell.summary.nic for run in fewer for cell in run.cells))
    if len(series(fewer)) <= _MOST_SERIES or (len(nics) == 1 and len(series(fewer)) <= _MOST_OF_ONE_NIC):
        return {"": fewer}
    if len(nics) == 1:
        return {}
    return {f"-{nic}": [run.only(partial(_is_of, nic)) for run in fewer] for nic in nics}


def _is_of(nic: str, cell: CellSummary) -> bool:
    return cell.nic == nic


def ccdf_figure(runs: Sequence[RunView]) -> Figure:
    """The share of messages at least as slow as a latency; both axes logarithmic."""
    drawn = canvas.grid(panels(runs))
    for panel, axis in drawn.axes.items():
        here = _cells_of(runs, panel)
        for run, cell in here:
            axis.step(
                cell.latency.latency_ps / PS_PER_US,
                cell.latency.fraction,
                where="pre",
                **_line(cell, run, runs),
            )
        canvas.latency_axis(axis.xaxis, _latency_range(here))
        least = min((1 / cell.latency.n for _, cell in here if cell.latency.n), default=0.1)
        axis.set(yscale="log", ylim=(least / 1.6, 1.6))
        axis.minorticks_off()
        _name_same(axis, here, 0.97, "right")
    _label_outer(drawn, "latency (µs)", "share of messages\nat least this slow")
    canvas.caption(drawn.figure, "How many messages are slower than a latency", runs)
    return drawn.figure


def percentile_figure(runs: Sequence[RunView]) -> Figure:
    """Latency by percentile, as HdrHistogram plots it: each step to the right is a rarer event."""
    drawn = canvas.grid(panels(runs))
    for panel, axis in drawn.axes.items():
        here = _cells_of(runs, panel)
        for run, cell in here:
            axis.plot(
                1 / cell.latency.fraction, cell.latency.latency_ps / PS_PER_US, **_line(cell, run, runs)
            )
        canvas.latency_axis(axis.yaxis, _latency_range(here))
        most = max((cell.latency.n for _, cell in here), default=10)
        axis.set(xscale="log", xlim=(1, max(most, 10) * 1.2))
        axis.minorticks_off()
        shown = {at: text for at, text in _PERCENT_LABELS.items() if at <= max(most, 10)}
        axis.set_xticks(list(shown), list(shown.values()), fontsize=8)
        _name_same(axis, here, 0.03, "left")
    _label_outer(drawn, "percentile (%)", "latency (µs)")
    canvas.caption(drawn.figure, "Latency by percentile", runs)
    return drawn.figure


def comparison_figure(runs: Sequence[RunView]) -> Figure:
    """Per scenario: the NICs beside each other at p50, p99 and p99.9, with 95 % intervals."""
    scenarios = list(dict.fromkeys(scenario for scenario, _ in panels(runs)))
    figure, axes = canvas.figure_of(1, len(scenarios))
    for scenario, axis in zip(scenarios, axes[0], strict=True):
        sizes = [size for name, size in panels(runs) if name == scenario]
        values: list[float] = []
        for index, size in enumerate(sizes):
            values += _compare(axis, runs, (scenario, size), index * (len(COMPARED) + 0.6))
        axis.set_title(scenario, fontsize=10)
        canvas.clean(axis)
        axis.grid(False, axis="x")
        canvas.latency_axis(axis.yaxis, values or [PS_PER_US])
        _two_level_ticks(axis, sizes)
    axes[0][0].set_ylabel("latency (µs)", fontsize=9)
    canvas.caption(
        figure,
        "Percentiles with their 95 % intervals (an arrow: not bounded by this sample)",
        runs,
        dots=True,
    )
    return figure


def queue_depth_figure(runs: Sequence[RunView]) -> Figure:
    """The deepest queue of each cell over virtual time; all panels span the same time."""
    drawn = canvas.grid(panels(runs))
    times = [cell.depth.time_ps for run in runs for cell in run.cells if cell.depth is not None]
    last_us = max((int(of[-1]) for of in times if len(of)), default=PS_PER_US) / PS_PER_US
    for panel, axis in drawn.axes.items():
        highest_kib = 1.0
        for run, cell in _cells_of(runs, panel):
            if cell.depth is not None and len(cell.depth.depth_bytes):
                _depth(axis, cell.depth, cell.series, _line(cell, run, runs))
                highest_kib = max(highest_kib, float(max(cell.depth.depth_bytes)) / BYTES_PER_KIB)
        axis.set(xlim=(0, 1.01 * last_us), ylim=(0, 1.35 * highest_kib))
        lines = len(axis.get_legend_handles_labels()[0])
        if 0 < lines <= _MOST_LABELLED:  # beyond, the legend above has to do
            axis.legend(fontsize=7, loc="upper right", frameon=True, framealpha=0.85, edgecolor="none")
        elif not lines:
            axis.set_yticks([0])
            axis.text(0.5, 0.5, "no frame waited", transform=axis.transAxes, ha="center", color="#555555")
    _label_outer(drawn, "virtual time (µs)", "queue depth (KiB)")
    canvas.caption(drawn.figure, "Depth of the deepest queue", runs)
    return drawn.figure


def _depth(axis: Axes, depth: DepthCurve, name: str, line: dict[str, Any]) -> None:
    axis.step(
        depth.time_ps / PS_PER_US,
        depth.depth_bytes / BYTES_PER_KIB,
        where="post",
        **{**line, "label": f"{name}: {depth.label}", "linewidth": 0.9, "alpha": 0.8},
    )


def _cells_of(runs: Sequence[RunView], panel: tuple[str, int]) -> list[tuple[RunView, CellView]]:
    return [(run, cell) for run in runs for cell in run.cells if cell.panel == panel]


def _line(cell: CellView, run: RunView, runs: Sequence[RunView]) -> dict[str, Any]:
    return {
        "color": canvas.colour(cell.series, runs),
        "linestyle": canvas.dash(cell.series, run, runs),
        "linewidth": 1.6,
    }


def _name_same(axis: Axes, cells: Sequence[tuple[RunView, CellView]], at: float, align: str) -> None:
    """Say which series are the same, of which only the last one drawn can be seen; in an upper corner."""
    curves: dict[bytes, list[str]] = {}
    for run, cell in cells:
        name = cell.series if run is cells[0][0] else f"{cell.series} ({run.label})"
        curve = cell.latency.latency_ps.tobytes() + cell.latency.at_least.tobytes()
        curves.setdefault(curve, []).append(name)
    lines = [
        line
        for names in curves.values()
        if len(names) > 1
        for line in textwrap.wrap(f"the same: {', '.join(names)}", _SAME_CHARS, break_on_hyphens=False)
    ]
    look: dict[str, Any] = {
        "va": "top",
        "ha": align,
        "fontsize": 7,
        "color": "#555555",
        "zorder": 1,
    }  # behind the lines
    axis.text(at, 0.97, "\n".join(lines), transform=axis.transAxes, **look)


def _latency_range(cells: Sequence[tuple[RunView, CellView]]) -> list[float]:
    """The extremes of all curves of a panel."""
    curves = [cell.latency.latency_ps for _, cell in cells if cell.latency.n]
    return [float(v) for curve in curves for v in (curve[0], curve[-1])] or [float(PS_PER_US)]


def _label_outer(drawn: canvas.Grid, x: str, y: str) -> None:
    """Label the axes at the left and at the bottom of the grid only."""
    for axis in drawn.axes.values():
        place = axis.get_subplotspec()
        if place is not None and place.is_last_row():
            axis.set_xlabel(x, fontsize=9)
        if place is not None and place.is_first_col():
            axis.set_ylabel(y, fontsize=9)


def _compare(axis: Axes, runs: Sequence[RunView], panel: tuple[str, int], left: float) -> list[float]:
    """Draw one size of one scenario; the values and bounds drawn."""
    places = [(run, name) for name in series(runs) for run in runs]
    drawn: list[float] = []
    for run, cell in _cells_of(runs, panel):
        shift = (places.index((run, cell.series)) - (len(places) - 1) / 2) * 0.7 / max(len(places), 2)
        for index, name in enumerate(COMPARED):
            found = cell.summary.percentiles.get(name)
            if found is not None and found.value_ps is not None:
                look = {
                    "fmt": canvas.marker(cell.series, runs),
                    "color": canvas.colour(cell.series, runs),
                    "fillstyle": canvas.fill(run, runs),
                    "markersize": 5,
                }
                drawn += draw_percentile(axis, left + index + shift, cell, found, look)
    return drawn


def _two_level_ticks(axis: Axes, sizes: Sequence[int]) -> None:
    """Percentiles below the points, the message size below its group of percentiles."""
    group = len(COMPARED) + 0.6
    axis.set_xticks(
        [index * group + place for index in range(len(sizes)) for place in range(len(COMPARED))],
        [name for _ in sizes for name in COMPARED],
        fontsize=8,
    )
    axis.set_xlim(-0.7, (len(sizes) - 1) * group + len(COMPARED) - 0.3)
    names = axis.secondary_xaxis(location=0)
    names.set_xticks(
        [index * group + (len(COMPARED) - 1) / 2 for index in range(len(sizes))],
        [readable_size(size) for size in sizes],
        fontsize=9,
    )
    names.tick_params(axis="x", length=0, pad=20)
    names.spines["bottom"].set_visible(False)
    for index in range(1, len(sizes)):
        axis.axvline(index * group - 0.8, color="#d9d9d9", linewidth=0.8)
