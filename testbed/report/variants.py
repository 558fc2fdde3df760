"""The variants of an experiment beside each other: p50, p99 and p99.9 with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from testbed.analysis.percentiles import Percentile
from testbed.report import canvas
from testbed.report.view import CellView, RunView, panels, sweep
from testbed.units import PS_PER_US

SHOWN = {
    "p50": (canvas.COLOURS[0], 8),
    "p99": (canvas.COLOURS[2], 6),
    "p99.9": (canvas.COLOURS[1], 4),
}
"""Colour and size of the points: all three are seen where they coincide."""
_LEVEL_CHARS = 40
"""Tick labels with more letters in all are turned."""
_NO_VARIANT = "without"
"""What a run that has no variants is called beside one that has."""
Group = tuple[RunView, str]
"""One run and NIC: points of one line."""


def variant_figure(runs: Sequence[RunView]) -> Figure:
    """One panel per scenario and size; variants from left to right, joined by lines if they are steps of a scale."""
    drawn = canvas.grid(panels(runs))
    names = list(dict.fromkeys(cell.summary.variant for run in runs for cell in run.cells))
    steps = sweep(runs) if all(names) else None
    groups = [(run, nic) for run in runs for nic in dict.fromkeys(cell.summary.nic for cell in run.cells)]
    for panel, axis in drawn.axes.items():
        values: list[float] = []
        for index, group in enumerate(groups):
            cells = [cell for cell in group[0].cells if (cell.panel, cell.summary.nic) == (panel, group[1])]
            shift = (index - (len(groups) - 1) / 2) * 0.5 / len(groups)
            values += _group(axis, cells, names, shift, look=index, joined=steps is not None)
        canvas.latency_axis(axis.yaxis, values or [PS_PER_US])
        axis.set_xlim(-0.5, len(names) - 0.5)
        axis.grid(False, axis="x")
        texts = (
            [name or _NO_VARIANT for name in names] if steps is None else [steps[1][name] for name in names]
        )
        turned = sum(map(len, texts)) > _LEVEL_CHARS
        axis.set_xticks(range(len(names)), texts, fontsize=8)
        if turned:
            axis.tick_params(axis="x", rotation=35)
            for label in axis.get_xticklabels():
                label.set(ha="right", rotation_mode="anchor")
        if steps is not None:
            axis.set_xlabel(steps[0], fontsize=9)
        axis.set_ylabel("latency (µs)", fontsize=9)
    title = "Percentiles by variant, with 95 % intervals (an arrow: not bounded by this sample)"
    canvas.headed(drawn.figure, title, _handles(groups), runs)
    return drawn.figure


def _group(
    axis: Axes, cells: Sequence[CellView], names: Sequence[str], shift: float, *, look: int, joined: bool
) -> list[float]:
    """The points of one run and NIC; the values and bounds drawn."""
    drawn: list[float] = []
    for percentile, (colour, size) in SHOWN.items():
        line: list[tuple[float, float]] = []
        for cell in cells:
            found = cell.summary.percentiles.get(percentile)
            if found is not None and found.value_ps is not None:
                x = names.index(cell.summary.variant) + shift
                fill = canvas.RUN_FILLS[look % len(canvas.RUN_FILLS)]
                drawn += draw_percentile(
                    axis, x, cell, found, {"fmt": "o", "color": colour, "markersize": size, "fillstyle": fill}
                )
                line.append((x, found.value_ps / PS_PER_US))
        if joined and line:
            axis.plot(*zip(*line, strict=True), color=colour, linewidth=1, alpha=0.6)
    return drawn


def draw_percentile(
    axis: Axes, x: float, cell: CellView, found: Percentile, look: dict[str, Any]
) -> list[float]:
    """A percentile with its interval; an open bound is an arrow at the end of the sample. What was drawn."""
    value, summary = found.value_ps or 0, cell.summary
    low = found.low_ps if found.low_ps is not None else summary.min_ps or value
    high = found.high_ps if found.high_ps is not None else summary.max_ps or value
    axis.errorbar(
        x,
        value / PS_PER_US,
        yerr=np.array([[value - low], [high - value]]) / PS_PER_US,
        markerfacecoloralt="white",
        capsize=3,
        linewidth=1.2,
        **look,
    )
    for bound, end, arrow in ((found.low_ps, low, "v"), (found.high_ps, high, "^")):
        if bound is None:
            axis.plot(x, end / PS_PER_US, arrow, color=look["color"], markersize=5)
    return [value, low, high]


def _handles(groups: Sequence[Group]) -> list[Line2D]:
    """Percentiles by colour; runs and NICs by fill, if there are several."""
    handles = [
        Line2D([], [], color=colour, marker="o", lw=2, label=name) for name, (colour, _) in SHOWN.items()
    ]
    if len(groups) > 1:
        several_runs = len({run.result_id for run, _ in groups}) > 1
        handles += [
            Line2D([], [], color="#555555", marker="o", linestyle="-", markerfacecoloralt="white",
                   fillstyle=canvas.RUN_FILLS[look % len(canvas.RUN_FILLS)],
                   label=f"{nic}, {run.label}" if several_runs else nic)
            for look, (run, nic) in enumerate(groups)
        ]  # fmt: skip
    return handles
