"""Where a tail came from, as a picture: latency by part for percentiles and slowest messages, and the worst places."""

from __future__ import annotations

from pathlib import Path

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from testbed.analysis.answers import approximate_time
from testbed.analysis.explain import Kind
from testbed.analysis.hops import Network
from testbed.analysis.tail import ExplainedTail, PlaceShare, Tail
from testbed.report import canvas
from testbed.report.cell_figure import Source, cell_figure, frame
from testbed.report.tail import Row, behind_text, percent, place_name, rows_of, waiting_places
from testbed.units import PS_PER_US

_BAR_INCHES = 0.42
_PLACE_INCHES = 0.3
_MOST_PLACES = 6
_FIXED = (Kind.WIRE, Kind.PIPELINE, Kind.SERIALISATION)
_COLOURS: dict[Kind, str] = {
    Kind.SOURCE_SOFTWARE: "#0072B2",
    Kind.SOURCE_NIC: "#56B4E9",
    Kind.SOURCE_QUEUE: "#9A86C9",
    Kind.MESSAGE: "#A6D4EE",
    Kind.RETRANSMISSION: "#000000",
    Kind.PAUSE: "#CC79A7",
    Kind.REPLAY: "#7F4F6A",
    Kind.RECEIVER_NIC: "#7FD1B5",
    Kind.NOTIFICATION: "#009E73",
}
_QUEUE_COLOURS = ("#F3C96B", "#E69F00", "#D55E00", "#A63C00", "#6B2600", "#FFE9B8")
"""Of the queues along a message's way."""
_FIXED_COLOUR = "#C4C4C4"
_LEAST_SHARE = 200
"""Parts that are nowhere more than one in so many of the longest bar are left out."""


def write_tail_figure(found: ExplainedTail, source: Source, directory: Path) -> list[Path]:
    """Draw it as PNG and SVG; the paths written."""
    return canvas.save(tail_figure(found, source), directory, f"tail-{found.tail.cell}")


def tail_figure(found: ExplainedTail, source: Source) -> Figure:
    """Bars of mean latency by part; below them the places at which the slowest waited longest."""
    tail, network = found.tail, found.network
    places = waiting_places(tail)[:_MOST_PLACES]
    heights = [_BAR_INCHES * len(tail.groups) + 0.5, *([_PLACE_INCHES * len(places) + 0.5] if places else [])]
    figure = cell_figure(sum(heights) + 0.6)
    axes = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    legend = _bars(axes[0], tail, network)
    if places:
        _places(axes[1], places, tail, network)
    frame(figure, "Where the tail comes from", source, legend, columns=5)
    return figure


def _bars(axis: Axes, tail: Tail, network: Network) -> list[Artist]:
    """One stacked bar per group, the median on top; the legend's entries."""
    longest_ps = max(group.latency_ps for group in tail.groups)
    legend: list[Artist] = []
    left = [0.0] * len(tail.groups)
    for name, colour, rows in _segments(rows_of(tail, network)):
        means_ps = [
            group.mean_of_ps(lambda part, rows=rows: any(row.holds(part, network) for row in rows))  # type: ignore[misc]
            for group in tail.groups
        ]
        widths = [ps / PS_PER_US for ps in means_ps]
        axis.barh(
            range(len(widths)), widths, left=left, height=0.62, color=colour, edgecolor="white", linewidth=0.4
        )
        left = [before + width for before, width in zip(left, widths, strict=True)]
        if max(means_ps) * _LEAST_SHARE >= longest_ps:
            legend.append(Patch(facecolor=colour, label=name))
    for place, (group, end) in enumerate(zip(tail.groups, left, strict=True)):
        axis.text(end, place, f"  {approximate_time(group.latency_ps)}", va="center", fontsize=8.5)
    axis.set_yticks(range(len(left)), [group.name for group in tail.groups])
    _finish(axis, "mean latency (µs)", max(left))
    return legend


def _segments(rows: list[Row]) -> list[tuple[str, str, list[Row]]]:
    """Name, colour and rows of each segment; what cannot vary is one segment."""
    queues = iter(_QUEUE_COLOURS * 2)
    found = [
        (row.name, next(queues) if row.kind is Kind.QUEUE else _COLOURS[row.kind], [row])
        for row in rows
        if row.kind not in _FIXED
    ]
    fixed = [row for row in rows if row.kind in _FIXED]
    return [("links, pipelines, serialisation", _FIXED_COLOUR, fixed), *found]


def _places(axis: Axes, places: list[PlaceShare], tail: Tail, network: Network) -> None:
    """One bar per place, with behind whom."""
    whole = sum(place.mean_ps for place in waiting_places(tail))
    segments = _segments(rows_of(tail, network))
    longest = max(place.mean_ps for place in places) / PS_PER_US
    for index, place in enumerate(places):
        width = place.mean_ps / PS_PER_US
        colour = next(
            shade for _, shade, rows in segments if any(row.holds(place.part, network) for row in rows)
        )
        axis.barh(index, width, height=0.62, color=colour)
        text = f"{percent(place.mean_ps, whole)} of the waiting"
        text += f"; most often behind {behind_text(place, network)}" if place.behind_cases else ""
        axis.annotate(
            text,
            (width, index),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
        )
    axis.set_yticks(range(len(places)), [place_name(place.part, network) for place in places])
    _finish(axis, f"mean waiting of the {tail.slowest.name} at ports (µs)", 1.9 * longest)


def _finish(axis: Axes, label: str, most: float) -> None:
    canvas.clean(axis)
    axis.grid(False, axis="y")
    axis.invert_yaxis()
    axis.set_xlim(0, 1.12 * most)
    axis.set_xlabel(label, fontsize=9)
    axis.tick_params(axis="y", length=0, labelsize=8.5)
