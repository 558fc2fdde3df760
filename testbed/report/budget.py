"""A budget as bars: what NICs and fabric take of it, one panel for each column of its table."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from testbed.analysis.answers import approximate_time
from testbed.analysis.budget import Share, shares
from testbed.report import canvas
from testbed.report.view import RunView
from testbed.units import PS_PER_US

_NICS, _FABRIC, _OVER = canvas.COLOURS[0], canvas.COLOURS[4], canvas.COLOURS[1]
_MOST_ACROSS = 3
_MOST_BUDGETS = 4
"""So many times the budget the axis reaches at most."""


def budget_figure(run: RunView) -> Figure | None:
    """One bar for each row; the budget as a line, and what is left of it as a number. None without a budget."""
    found = shares([cell.summary for cell in run.cells], run.budget_ps, run.places)
    columns = list(dict.fromkeys(share.column for share in found))
    if not found:
        return None
    across = min(len(columns), _MOST_ACROSS)
    figure, axes = canvas.figure_of(-(-len(columns) // across), across)
    panels = [axis for row in axes for axis in row]
    most_us = min(max(share.total_ps for share in found), _MOST_BUDGETS * run.budget_ps) / PS_PER_US
    for index, axis in enumerate(panels):
        if index >= len(columns):
            axis.set_axis_off()
            continue
        here = [share for share in found if share.column == columns[index]]
        _bars(axis, here, run.budget_ps, most_us)
        axis.set_title(columns[index], fontsize=10)
        axis.set_xlim(0, 1.22 * most_us)
        axis.set_yticks(
            range(len(here)), [one.row if index % across == 0 else "" for one in here], fontsize=8
        )
        axis.invert_yaxis()
        if index >= len(columns) - across:
            axis.set_xlabel("median latency (µs)", fontsize=9)
    budget = approximate_time(run.budget_ps)
    handles = [
        Line2D([], [], color=_NICS, lw=7, label="NICs at both ends"),
        Line2D([], [], color=_FABRIC, lw=7, label="fabric"),
        Line2D([], [], color=_OVER, lw=1.5, linestyle="--", label=f"{budget}; numbers: what is left of it"),
    ]
    canvas.headed(figure, f"What is left of {budget} for the fabric", handles, [run])
    return figure


def _bars(axis: Axes, here: Sequence[Share], budget_ps: int, most_us: float) -> None:
    """Bars beyond the axis are cut, and say so."""
    canvas.clean(axis)
    axis.grid(False, axis="y")
    places = range(len(here))
    nics = [one.nics_ps / PS_PER_US for one in here]
    axis.barh(places, nics, color=_NICS, height=0.7)
    axis.barh(places, [one.fabric_ps / PS_PER_US for one in here], left=nics, color=_FABRIC, height=0.7)
    axis.axvline(budget_ps / PS_PER_US, color=_OVER, linestyle="--", linewidth=1.5)
    for place, one in zip(places, here, strict=True):
        text = f"{one.left_ps / PS_PER_US:+.2f}".replace("-", "−")
        end = one.total_ps / PS_PER_US
        axis.text(
            min(max(end, budget_ps / PS_PER_US), most_us) + most_us * 0.02,
            place,
            text if end <= most_us else f"{text} »",
            va="center",
            fontsize=7.5,
            color="#333333",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )
