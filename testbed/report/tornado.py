"""Tornado charts: one bar for each parameter, as wide as it moves the answer, the widest on top."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from testbed.analysis.answers import approximate_time
from testbed.analysis.sensitivity import Group, Parameter, Point, Response, Sensitivity
from testbed.report import canvas
from testbed.report.parameters import quantity_name, range_text, short_path, value_text
from testbed.report.sensitivity import group_name, rest_text, shown
from testbed.units import PS_PER_MS, PS_PER_NS, PS_PER_US

LOW, HIGH, FLIP, FAILED = "#0072B2", "#E69F00", "#000000", "#D55E00"
_GREY = "#555555"
_WIDTH_INCHES, _BAR_INCHES, _MARGIN_INCHES = 10.5, 0.4, 2.2
_BAR_HIGH = 0.36
_LABEL_CHARS = 46


def write_tornados(found: Sensitivity, result_id: str, directory: Path) -> list[Path]:
    """One figure for each group in which anything moves, as PNG and SVG; the paths written."""
    return [
        path
        for group in found.groups
        if shown(group)
        for path in canvas.save(tornado_figure(found, group, result_id), directory, figure_name(group))
    ]


def figure_name(group: Group) -> str:
    """`tornado-load-4KiB`."""
    name = f"tornado-{group_name(group)}".replace(", ", "-").replace(" ", "")
    return re.sub(r"[^\w.-]", "_", name)


def tornado_figure(found: Sensitivity, group: Group, result_id: str) -> Figure:
    """The chart of one group."""
    rows = shown(group)
    figure = Figure(
        figsize=(_WIDTH_INCHES, _BAR_INCHES * len(rows) + _MARGIN_INCHES),
        layout=ConstrainedLayoutEngine(h_pad=0.06, w_pad=0.1),
    )
    axis = figure.add_subplot()
    scale, unit = _unit(group, rows)
    for place, row in enumerate(rows):
        _bar(axis, place, row, group, found.parameters[row.parameter], scale)
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
    lines = [rest_text(group), f"{found.experiment} · {found.fabric}"]
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
    points = [point.quantity_ps or 0 for row in rows for point in (row.low, row.high)]
    most = max(map(abs, [*points, group.quantity_ps]))
    known = ((PS_PER_MS, "ms"), (PS_PER_US, "µs"), (PS_PER_NS, "ns"))
    return next(((scale, unit) for scale, unit in known if most >= scale), (1, "ps"))


def _bar(axis: Axes, place: int, row: Response, group: Group, parameter: Parameter, scale: int) -> None:
    """The low end in the upper half of the row, the high end in the lower one."""
    base = group.quantity_ps / scale
    for point, colour, shift in ((row.low, LOW, -_BAR_HIGH / 2), (row.high, HIGH, _BAR_HIGH / 2)):
        if point.quantity_ps is None:
            text = f"{value_text(parameter, point.at)}: failed"
            _beside(axis, base, place + shift, text, FAILED)
        else:
            width = point.quantity_ps / scale - base
            axis.barh(place + shift, width, left=base, height=_BAR_HIGH, color=colour, zorder=3)
    if row.flips:
        axis.plot([0] * len(row.flips), [place] * len(row.flips), "D", color=FLIP, markersize=5, zorder=5)
        text = "; ".join(f"{flip.best} from {value_text(parameter, flip.at)} on" for flip in row.flips)
        _beside(axis, max(_ends(row, base, scale)), place, text, FLIP)


def _ends(row: Response, base: float, scale: int) -> list[float]:
    return [base, 0.0, *(p.quantity_ps / scale for p in (row.low, row.high) if p.quantity_ps is not None)]


def _beside(axis: Axes, x: float, y: float, text: str, colour: str) -> None:
    axis.annotate(
        text, (x, y), xytext=(6, 0), textcoords="offset points", va="center", fontsize=7.5, color=colour,
        zorder=6,
    )  # fmt: skip


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
    axis.margins(x=0.06)
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
        found.append(Line2D([], [], color=FLIP, linestyle=":", marker="D", markersize=5, label="the answer flips"))
    return found


def failed_points(row: Response) -> tuple[Point, ...]:
    """The ends at which a run failed."""
    return tuple(point for point in (row.low, row.high) if point.failure)
