"""Tornado charts: one bar for each parameter, as wide as it moves the answer, the widest on top."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from testbed.analysis.answers import approximate_time
from testbed.analysis.sensitivity import Group, Parameter, Response, Sensitivity
from testbed.report import canvas
from testbed.report.parameters import quantity_name, range_text, short_path, value_text
from testbed.report.sensitivity import drawn, flips_text, group_name, rest_text
from testbed.units import PS_PER_MS, PS_PER_NS, PS_PER_US

LOW, HIGH, FLIP, FAILED = "#0072B2", "#E69F00", "#000000", "#D55E00"
_GREY = "#555555"
_WIDTH_INCHES, _BAR_INCHES, _MARGIN_INCHES = 11.0, 0.4, 1.8
_BAR_HIGH = 0.36
_LABEL_CHARS = 56
_MOST_CUT = 3
_MUCH_LONGER = 4
"""Up to so many ends of bars are cut if each is so many times as long as all the others."""


def write_tornados(found: Sensitivity, result_id: str, directory: Path) -> list[Path]:
    """One figure for each group in which anything moves, as PNG and SVG; the paths written."""
    return [
        path
        for group in found.groups
        if drawn(group)
        for path in canvas.save(tornado_figure(found, group, result_id), directory, figure_name(group))
    ]


def figure_name(group: Group) -> str:
    """`tornado-load-4KiB`."""
    name = f"tornado-{group_name(group)}".replace(", ", "-").replace(" ", "")
    return re.sub(r"[^\w.-]", "_", name)


def tornado_figure(found: Sensitivity, group: Group, result_id: str) -> Figure:
    """The chart of one group."""
    rows = drawn(group)
    figure = Figure(
        figsize=(_WIDTH_INCHES, _BAR_INCHES * len(rows) + _MARGIN_INCHES),
        layout=ConstrainedLayoutEngine(h_pad=0.06, w_pad=0.1, rect=(0, 0, 0.985, 1)),  # notes are a bit wider
    )
    axis = figure.add_subplot()
    scale, unit = _unit(group, rows)
    reach_ps = _reach(rows, group.quantity_ps)
    for place, row in enumerate(rows):
        _bar(axis, place, row, group.quantity_ps, reach_ps, scale)
        _notes(axis, place, row, found.parameters[row.parameter])
        if row.flips:
            axis.plot([0], [place], "D", color=FLIP, markersize=5, zorder=5)
    _finish(axis, found, group, rows, scale, unit)
    figure.legend(
        handles=_legend(group, rows),
        title=_title(group),
        title_fontproperties={"size": 12, "weight": "bold"},
        alignment="left",
        loc="outside upper left",
        ncols=4,
        fontsize=8.5,
        frameon=False,
    )
    lines = [rest_text(group, rows), f"{found.experiment} · {found.fabric}"]
    lines.append(f"{found.records:,} messages a cell · seed {found.seed} · {result_id} · twin")
    figure.supxlabel("\n".join(filter(None, lines)), fontsize=7.5, x=0.01, ha="left", color=_GREY)
    return figure


def _title(group: Group) -> str:
    what = f"What {group.quantile} depends on"
    if group.best:
        what = f"What the lead of {group.best} depends on"
    return f"{what}: {group_name(group)}"


def _unit(group: Group, rows: Sequence[Response]) -> tuple[int, str]:
    """One unit for the whole axis."""
    most = max(_reach(rows, group.quantity_ps), abs(group.quantity_ps))
    known = ((PS_PER_MS, "ms"), (PS_PER_US, "µs"), (PS_PER_NS, "ns"))
    return next(((scale, unit) for scale, unit in known if most >= scale), (1, "ps"))


def _bar(axis: Axes, place: int, row: Response, base_ps: int, reach_ps: int, scale: int) -> None:
    """The low end in the upper half of the row, the high end in the lower one; one that is too long is cut."""
    for point, colour, shift in ((row.low, LOW, -_BAR_HIGH / 2), (row.high, HIGH, _BAR_HIGH / 2)):
        if point.quantity_ps is None:
            continue
        moved_ps = point.quantity_ps - base_ps
        width_ps = max(-reach_ps, min(reach_ps, moved_ps))
        axis.barh(
            place + shift, width_ps / scale, left=base_ps / scale, height=_BAR_HIGH, color=colour, zorder=3
        )
        if width_ps != moved_ps:
            left = moved_ps < 0
            text = approximate_time(point.quantity_ps)
            axis.annotate(
                f"◀ {text}" if left else f"{text} ▶",
                ((base_ps + width_ps) / scale, place + shift),
                xytext=(3 if left else -3, 0),
                textcoords="offset points",
                ha="left" if left else "right",
                va="center",
                fontsize=7,
                color="white" if colour == LOW else "black",
                zorder=6,
            )


def _reach(rows: Sequence[Response], base_ps: int) -> int:
    """How far bars are drawn: to the longest, unless a few of them are much longer than all others."""
    ends = [
        abs(p.quantity_ps - base_ps) for row in rows for p in (row.low, row.high) if p.quantity_ps is not None
    ]
    lengths = sorted(ends, reverse=True)
    for longer, next_one in pairwise(lengths[: _MOST_CUT + 1]):
        if next_one and longer > _MUCH_LONGER * next_one:
            return max(next_one * 3 // 2, base_ps if any(row.flips for row in rows) else 0)
    return lengths[0]


def _notes(axis: Axes, place: int, row: Response, parameter: Parameter) -> None:
    """Right of the row: where it flips, where it failed."""
    notes = [(flips_text(parameter, row), FLIP)] if row.flips else []
    notes += [(f"fails at {value_text(parameter, p.at)}", FAILED) for p in (row.low, row.high) if p.failure]
    for line, (text, colour) in enumerate(notes):
        height = place + (line - (len(notes) - 1) / 2) * 2 * _BAR_HIGH / max(len(notes), 1)
        axis.annotate(
            text,
            (1, height),
            xycoords=axis.get_yaxis_transform(),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
            color=colour,
        )


def _finish(
    axis: Axes, found: Sensitivity, group: Group, rows: Sequence[Response], scale: int, unit: str
) -> None:
    """Base line, line of no difference, labels."""
    canvas.clean(axis)
    axis.grid(False, axis="y")
    axis.axvline(group.quantity_ps / scale, color=_GREY, linewidth=1.2, zorder=4)
    if _crosses_zero(group, rows):
        axis.axvline(0, color=FLIP, linewidth=1.0, linestyle=":", zorder=4)
    labels = [_label(found.parameters[row.parameter]) for row in rows]
    axis.set_yticks(range(len(rows)), labels, fontsize=8)
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.margins(x=0.04)
    axis.set_xlabel(f"{quantity_name(group)} ({unit})", fontsize=9)


def _crosses_zero(group: Group, rows: Sequence[Response]) -> bool:
    return bool(group.best) and any(row.flips for row in rows)


def _label(parameter: Parameter) -> str:
    """Path, and the range below it."""
    path = short_path(parameter.path)
    if len(path) > _LABEL_CHARS and "{" in path:
        head, _, tail = path.partition("{")
        path = f"{head}\n{{{tail}"
    return f"{path}\n{range_text(parameter)}  ({parameter.mark})"


def _legend(group: Group, rows: Sequence[Response]) -> list[Patch | Line2D]:
    base = approximate_time(group.quantity_ps)
    found: list[Patch | Line2D] = [
        Patch(facecolor=LOW, label="at the low end"),
        Patch(facecolor=HIGH, label="at the high end"),
        Line2D([], [], color=_GREY, linewidth=1.2, label=f"as assumed: {base}"),
    ]
    if _crosses_zero(group, rows):
        found.append(
            Line2D([], [], color=FLIP, linestyle=":", marker="D", markersize=5, label="the answer flips")
        )
    return found
