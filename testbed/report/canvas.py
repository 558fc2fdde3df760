"""What all figures share: colours, line styles, a grid of panels, axes for latencies, labels, files.

Draws with matplotlib's Agg and SVG back ends through `Figure` alone; pyplot and its global state stay out.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import matplotlib
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator

from nic_emulator import NICS
from testbed.analysis.answers import readable_size
from testbed.report.view import RunView, series, sweep
from testbed.run.files import storing
from testbed.units import PS_PER_US

Fill: TypeAlias = Literal["full", "left", "right", "bottom", "top", "none"]

# Okabe and Ito's palette: told apart with every common colour blindness, and in grey. Yellow is left out.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
RUN_STYLES = ("-", "--", ":", "-.")
Dash: TypeAlias = str | tuple[int, tuple[int, ...]]
DASHES: tuple[Dash, ...] = (
    *("-", "--", ":", "-."),
    *((0, (7, 2)), (0, (4, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (2, 2)), (0, (9, 2, 2, 2)), (0, (1, 1))),
)
"""Line styles of the variants of one NIC."""
RUN_FILLS: tuple[Fill, ...] = ("full", "none", "left", "top")

PNG_DPI = 150
_PANEL_INCHES = (4.0, 2.9)
_MARGIN_INCHES = (0.6, 1.5)
_LEAST_WIDTH_INCHES = 7.5
_MOST_TICKS = 7
_TITLE_CHARS_PER_INCH = 9.5
_LEGEND_LINE_INCHES = 0.6
_LEGEND_CHAR_INCHES = 0.085


class Grid(NamedTuple):
    """A figure with one panel for each (scenario, size): scenarios side by side, sizes below each other."""

    figure: Figure
    axes: dict[tuple[str, int], Axes]


def grid(panels: Sequence[tuple[str, int]]) -> Grid:
    """An empty grid; pairs that do not occur stay blank."""
    scenarios = list(dict.fromkeys(scenario for scenario, _ in panels))
    sizes = list(dict.fromkeys(size for _, size in panels))
    figure, made = figure_of(len(sizes), len(scenarios))
    axes: dict[tuple[str, int], Axes] = {}
    for row, size in enumerate(sizes):
        for column, scenario in enumerate(scenarios):
            axis = made[row][column]
            if (scenario, size) in panels:
                axes[scenario, size] = axis
                axis.set_title(f"{scenario}, {readable_size(size)}", fontsize=10)
                clean(axis)
            else:
                axis.set_axis_off()
    return Grid(figure, axes)


def figure_of(rows: int, columns: int) -> tuple[Figure, list[list[Axes]]]:
    """A figure with room for its panels, a title, a legend and a footer."""
    width = max(_PANEL_INCHES[0] * columns + _MARGIN_INCHES[0], _LEAST_WIDTH_INCHES)
    figure = Figure(
        figsize=(width, _PANEL_INCHES[1] * rows + _MARGIN_INCHES[1]),
        layout=ConstrainedLayoutEngine(h_pad=0.08),
    )
    made = figure.subplots(rows, columns, squeeze=False)
    return figure, [list(row) for row in made]


def clean(axis: Axes) -> None:
    """A light grid and no box."""
    axis.grid(True, which="major", color="#d9d9d9", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)


def nic_colour(nic: str, runs: Sequence[RunView]) -> str:
    """A NIC has one colour in the figures of all experiments; those beyond the table's take what is left."""
    return COLOURS[_nic_place(nic, runs) % len(COLOURS)]


def nic_marker(nic: str, runs: Sequence[RunView]) -> str:
    """And one marker."""
    return MARKERS[_nic_place(nic, runs) % len(MARKERS)]


def _nic_place(nic: str, runs: Sequence[RunView]) -> int:
    known = NICS.names()
    strangers = [name for name in _nics(runs) if name not in known]
    return known.index(nic) if nic in known else len(known) + strangers.index(nic)


def _nics(runs: Sequence[RunView]) -> list[str]:
    return list(dict.fromkeys(cell.summary.nic for run in runs for cell in run.cells))


def _by_nic(runs: Sequence[RunView]) -> bool:
    """Whether NICs are what series differ in, alone or beside variants."""
    return len(_nics(runs)) > 1 or not any(cell.summary.variant for run in runs for cell in run.cells)


def _nic_and_variant(name: str, runs: Sequence[RunView]) -> tuple[str, str]:
    """What a series is of."""
    found = next(cell.summary for run in runs for cell in run.cells if cell.series == name)
    return found.nic, found.variant


def colour(name: str, runs: Sequence[RunView]) -> str:
    """A series has one colour in all figures of the same runs: its NIC's, where several NICs are compared.

    Variants of one NIC have one each; steps of a scale go from dark to light.
    """
    if _by_nic(runs):
        return nic_colour(_nic_and_variant(name, runs)[0], runs)
    names = series(runs)
    if sweep(runs) is None:
        return COLOURS[names.index(name) % len(COLOURS)]
    return to_hex(colormaps["viridis"](0.92 * names.index(name) / max(len(names) - 1, 1)))


def marker(name: str, runs: Sequence[RunView]) -> str:
    """And one marker."""
    if _by_nic(runs):
        return nic_marker(_nic_and_variant(name, runs)[0], runs)
    return MARKERS[series(runs).index(name) % len(MARKERS)]


def style(run: RunView, runs: Sequence[RunView]) -> str:
    """A run has one line style."""
    return RUN_STYLES[list(runs).index(run) % len(RUN_STYLES)]


def dash(name: str, run: RunView, runs: Sequence[RunView]) -> Dash:
    """The style of a line: that of its run; in a single run that of its variant, if colours are the NICs'.

    Where colours are the variants', those beyond the colours are broken lines.
    """
    if len(runs) > 1:
        return style(run, runs)
    if _by_nic(runs):
        nic, variant = _nic_and_variant(name, runs)
        own = list(dict.fromkeys(cell.summary.variant for cell in run.cells if cell.summary.nic == nic))
        return DASHES[own.index(variant) % len(DASHES)]
    beyond = 0 if sweep(runs) is not None else series(runs).index(name) // len(COLOURS)
    return RUN_STYLES[beyond % len(RUN_STYLES)]


def fill(run: RunView, runs: Sequence[RunView]) -> Fill:
    """And one way to fill its markers."""
    return RUN_FILLS[list(runs).index(run) % len(RUN_FILLS)]


def caption(
    figure: Figure, title: str, runs: Sequence[RunView], *, dots: bool = False, by_nic: bool = False
) -> None:
    """Title and legend above the panels, where the numbers come from below them; `by_nic`: variants are no lines."""
    if by_nic:
        handles = [
            Line2D([], [], color=nic_colour(nic, runs), marker=nic_marker(nic, runs), lw=2, label=nic)
            for nic in _nics(runs)
        ]
    else:
        handles = [_series_handle(name, runs, dots) for name in series(runs)]
    if len(runs) > 1:
        handles += [_run_handle(run, runs, dots) for run in runs]
    headed(figure, title, handles, runs)


def headed(figure: Figure, title: str, handles: Sequence[Line2D], runs: Sequence[RunView]) -> None:
    """Title and legend above the panels, as wide as the figure allows; the footer below them."""
    longest = max((len(str(handle.get_label())) for handle in handles), default=1)
    fitting = int(figure.get_figwidth() / (_LEGEND_LINE_INCHES + longest * _LEGEND_CHAR_INCHES))
    columns = min(len(handles), max(fitting, 1)) if len(runs) == 1 else 2
    figure.legend(
        handles=handles,
        title=textwrap.fill(title, int(figure.get_figwidth() * _TITLE_CHARS_PER_INCH)),
        title_fontproperties={"size": 12, "weight": "bold"},
        alignment="left",
        loc="outside upper left",
        ncols=columns,
        fontsize=9,
        frameon=False,
    )
    figure.supxlabel(_footer(runs), fontsize=7.5, x=0.01, ha="left", color="#555555")


def _series_handle(name: str, runs: Sequence[RunView], dots: bool) -> Line2D:
    handle = Line2D([], [], color=colour(name, runs), lw=2, label=name)
    handle.set(marker=marker(name, runs) if dots else "", linestyle=dash(name, runs[0], runs))
    return handle


def _run_handle(run: RunView, runs: Sequence[RunView], dots: bool) -> Line2D:
    handle = Line2D([], [], color="#555555", lw=1.5, markerfacecoloralt="white", label=run.label)
    if dots:
        handle.set(linestyle="", marker="o", fillstyle=fill(run, runs))
    else:
        handle.set(linestyle=style(run, runs))
    return handle


def _footer(runs: Sequence[RunView]) -> str:
    if len(runs) == 1:
        run = runs[0]
        return f"{run.experiment} · {run.fabric}\nseed {run.seed} · {run.result_id} · {run.clock}"
    return "\n".join(f"{run.experiment} · seed {run.seed} · {run.result_id} · {run.clock}" for run in runs)


def latency_axis(axis: Axis, values_ps: Sequence[float]) -> None:
    """A logarithmic axis in µs with plain numbers, from the smallest to the largest of the values."""
    low, high = min(values_ps) / PS_PER_US, max(values_ps) / PS_PER_US
    low, high = max(low, 1e-6), max(high, 1e-6)
    pad = max((high / low) ** 0.04, 1.02)
    if axis is axis.axes.xaxis:
        axis.axes.set(xscale="log", xlim=(low / pad, high * pad))
    else:
        axis.axes.set(yscale="log", ylim=(low / pad, high * pad))
    plain_ticks(axis, latency_ticks(low / pad, high * pad))


def latency_ticks(low: float, high: float) -> list[float]:
    """Round numbers between two values: dense in a short range, whole decades in a long one."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = [(1, 1.5, *range(2, 10))] if high < 3 * low else []  # in a longer range 9 and 10 stand too close
    for steps in (*every, (1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        ticks = [step * 10.0**decade for decade in decades for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if 3 <= len(ticks) <= _MOST_TICKS:
            return ticks
    if len(ticks) > _MOST_TICKS:
        return ticks[:: math.ceil(len(ticks) / _MOST_TICKS)]
    even = MaxNLocator(4).tick_values(low, high)
    return [float(tick) for tick in even if low <= tick <= high]


def plain_ticks(axis: Axis, ticks: Sequence[float]) -> None:
    """Label ticks with plain numbers, all with the decimals that the finest needs."""
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FixedFormatter([f"{tick:.6g}" for tick in ticks]))
    axis.set_minor_locator(NullLocator())


def save(figure: Figure, directory: Path, name: str) -> list[Path]:
    """Write PNG and SVG; the same figure gives the same bytes."""
    written = []
    figure.draw_without_rendering()  # lays it out once, not for each file
    figure.set_layout_engine("none")
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "path"}):
        for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
            with storing(directory / f"{name}.{kind}") as path:
                path.parent.mkdir(parents=True, exist_ok=True)
                figure.savefig(path, dpi=PNG_DPI, metadata=metadata)
            written.append(path)
    return written
