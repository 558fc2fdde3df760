"""Percentiles over what an experiment varies in steps: message size, offered load, or a setting of its variants.

One row of panels for each percentile, one line for each alternative: a NIC has one colour, a variant one line style.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from testbed.analysis.answers import readable_size
from testbed.analysis.summary import CellSummary
from testbed.report import canvas
from testbed.report.view import CellView, RunView, sweep
from testbed.units import PS_PER_US

PERCENTILES = ("p50", "p99.9")
_LEAST_STEPS = 3
_MOST_TICKS = 8
_BAND_ALPHA = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """What lies along x: the steps in order, what a cell's step and its panel are, and how steps are written."""

    steps: tuple[object, ...]
    step: Callable[[CellSummary], object]
    panel: Callable[[CellSummary], str]
    text: Callable[[object], str]
    label: str
    proportional: bool
    """Whether steps are numbers, drawn at logarithmic distance."""
    by_variant: bool = False
    has: Callable[[CellSummary], bool] = lambda _cell: True
    """Whether a cell is on it."""

    def places(self) -> list[float]:
        """Where each step is."""
        if self.proportional:
            return [float(str(step)) for step in self.steps]
        return [float(index) for index in range(len(self.steps))]


def sweep_figure(runs: Sequence[RunView]) -> Figure | None:
    """Percentiles over size, load or variants, whichever has most steps; None where none has at least three."""
    axis = _axis(runs)
    return None if axis is None else _drawn(runs, axis)


def _axis(runs: Sequence[RunView]) -> Axis | None:
    cells = [cell.summary for run in runs for cell in run.cells]
    found = [axis for axis in (_sizes(cells), _variants(runs, cells), _loads(cells)) if axis is not None]
    return max(found, key=lambda axis: len(axis.steps), default=None)


def _sizes(cells: Sequence[CellSummary]) -> Axis | None:
    steps = tuple(sorted({cell.size_bytes for cell in cells}))
    if len(steps) < _LEAST_STEPS:
        return None
    return Axis(
        steps=steps,
        step=lambda cell: cell.size_bytes,
        panel=lambda cell: f"{cell.scenario}: {cell.condition}",
        text=lambda step: readable_size(int(str(step))),
        label="message size",
        proportional=True,
    )


def _variants(runs: Sequence[RunView], cells: Sequence[CellSummary]) -> Axis | None:
    """Variants that many NICs have in common: with few, `variants.variant_figure` shows more."""
    names = tuple(dict.fromkeys(cell.variant for cell in cells))
    nics = {cell.nic for cell in cells}
    if len(names) < _LEAST_STEPS or len(nics) < _LEAST_STEPS:
        return None
    steps = sweep(runs)
    return Axis(
        steps=names,
        step=lambda cell: cell.variant,
        panel=lambda cell: f"{cell.scenario}, {readable_size(cell.size_bytes)}",
        text=lambda step: str(step) if steps is None else steps[1].get(str(step), str(step)),
        label="variant" if steps is None else steps[0],
        proportional=False,
        by_variant=True,
    )


def _loads(cells: Sequence[CellSummary]) -> Axis | None:
    """Scenarios that differ in their load alone; others are not drawn."""
    kinds = Counter(_without_numbers(cell) for cell in cells if cell.offered_bps is not None)
    kind = kinds.most_common(1)[0][0] if kinds else ""
    loads = {cell.load_permille for cell in cells if _without_numbers(cell) == kind and cell.load_permille}
    steps = tuple(sorted(loads))
    if len(steps) < _LEAST_STEPS:
        return None
    return Axis(
        steps=steps,
        has=lambda cell: _without_numbers(cell) == kind,
        step=lambda cell: cell.load_permille,
        panel=lambda cell: readable_size(cell.size_bytes),
        text=lambda step: f"{int(str(step)) / 10:g}",
        label="load (%)",
        proportional=False,
    )


def _without_numbers(cell: CellSummary) -> str:
    """A condition without its load."""
    return "".join(part for part in cell.condition if not part.isdigit())


def _drawn(runs: Sequence[RunView], x: Axis) -> Figure:
    runs = [run.only(x.has) for run in runs]
    every = [cell for run in runs for cell in run.cells]
    panels = list(dict.fromkeys(x.panel(cell.summary) for cell in every))
    several_nics = len({cell.summary.nic for cell in every}) > 1
    percentiles = _stated(every)
    figure, axes = canvas.figure_of(len(percentiles), len(panels))
    for row, percentile in zip(axes, percentiles, strict=True):
        drawn: list[float] = []
        for panel, axis in zip(panels, row, strict=True):
            values = [
                value
                for run in runs
                for cells in _lines([one for one in run.cells if x.panel(one.summary) == panel], x)
                for value in _line(axis, cells, percentile, x, run, runs)
            ]
            axis.set_title(f"{panel}, {percentile}", fontsize=10)
            drawn += values
            _dress(axis, x, values)
        if several_nics:  # one scale for all panels of a percentile
            for axis in row:
                _dress(axis, x, drawn)
        row[0].set_ylabel("latency (µs)", fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel(x.label, fontsize=9)
    by = x.label.partition(" (")[0]
    title = f"Latency by {by}, with 95 % intervals; hollow, or out of sight: beyond what it can carry"
    canvas.caption(figure, title, runs, dots=True, by_nic=x.by_variant)
    return figure


def _stated(cells: Sequence[CellView]) -> tuple[str, ...]:
    """The percentiles that are drawn: for one that no cell has enough messages for, the highest that any has."""

    def is_stated(name: str) -> bool:
        return any(cell.summary.percentiles[name].value_ps is not None for cell in cells)

    names = [name for name in cells[0].summary.percentiles if is_stated(name)] if cells else []
    drawn = [name if is_stated(name) else names[-1] for name in PERCENTILES] if names else list(PERCENTILES)
    return tuple(dict.fromkeys(drawn))


def _lines(cells: Sequence[CellView], x: Axis) -> list[list[CellView]]:
    """The cells of each line, in the order of the steps."""
    lines: dict[str, list[CellView]] = {}
    for cell in sorted(cells, key=lambda cell: x.steps.index(x.step(cell.summary))):
        lines.setdefault(cell.summary.nic if x.by_variant else cell.series, []).append(cell)
    return list(lines.values())


def _line(
    axis: Axes, cells: Sequence[CellView], percentile: str, x: Axis, run: RunView, runs: Sequence[RunView]
) -> list[float]:
    """One line with its intervals; what the axis is to span. What is saturated has no latency, and may leave it."""
    places = dict(zip(x.steps, x.places(), strict=True))
    points = []
    for cell in cells:
        found = cell.summary.percentiles[percentile]
        if found.value_ps is not None:
            bounds = (found.low_ps or found.value_ps, found.high_ps or cell.summary.max_ps or found.value_ps)
            points.append((places[x.step(cell.summary)], found.value_ps, *bounds, cell.summary.saturated))
    if not points:
        return []
    at, value, low, high = (np.array(column, dtype=float) for column in list(zip(*points, strict=True))[:4])
    full = np.array([point[4] for point in points], dtype=bool)
    name = cells[0].summary.nic if x.by_variant else cells[0].series
    colour = canvas.nic_colour(name, runs) if x.by_variant else canvas.colour(name, runs)
    style = canvas.style(run, runs) if x.by_variant else canvas.dash(name, run, runs)
    mark = canvas.nic_marker(name, runs) if x.by_variant else canvas.marker(name, runs)
    axis.fill_between(at, low / PS_PER_US, high / PS_PER_US, color=colour, alpha=_BAND_ALPHA, linewidth=0)
    axis.plot(at, value / PS_PER_US, color=colour, linestyle=style, linewidth=1.5)
    for hollow, chosen in ((False, ~full), (True, full)):
        axis.plot(
            at[chosen],
            value[chosen] / PS_PER_US,
            linestyle="",
            marker=mark,
            markersize=4.5,
            color=colour,
            markerfacecolor="white" if hollow else colour,
        )
    return [*value[~full], *low[~full], *high[~full]]


def _dress(axis: Axes, x: Axis, values: Sequence[float]) -> None:
    canvas.clean(axis)
    canvas.latency_axis(axis.yaxis, values or [PS_PER_US])
    places, texts = x.places(), [x.text(step) for step in x.steps]
    if x.proportional:
        axis.set_xscale("log")
        axis.minorticks_off()
    every = -(-len(places) // _MOST_TICKS)
    axis.set_xticks(places[::every], texts[::every], fontsize=8)
    if sum(map(len, texts[::every])) > 32:
        axis.tick_params(axis="x", rotation=35)
        for label in axis.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
