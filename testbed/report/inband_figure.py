"""What packets with in-band telemetry tell of each hop, as a picture: latency, and the queue that they found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from testbed.analysis.inband import InBand
from testbed.analysis.summary import RunSummary
from testbed.report import canvas
from testbed.report.cell_figure import Source, cell_figure, frame
from testbed.report.inband import slowest
from testbed.units import BYTES_PER_KIB

MOST_ROWS = 40
"""Hops in a figure."""
MOST_CELLS = 12
"""With a figure of their own: those with the slowest hops."""
_ROW_INCHES = 0.19
_BAR, _TO_MAX = "#56B4E9", "#0072B2"


def write_hop_figures(summary: RunSummary, result_id: str, directory: Path) -> list[Path]:
    """Draw the hops of each cell with telemetry as PNG and SVG; the paths written."""
    told = [(cell, cell.inband) for cell in summary.cells if cell.inband is not None]
    told.sort(key=lambda one: -max(hop.max_ns for hop in one[1].hops))
    written: list[Path] = []
    for cell, inband in told[:MOST_CELLS]:
        source = Source.of(cell, summary, result_id)
        written += canvas.save(hop_figure(inband, source), directory, f"hops-{cell.id}")
    return written


def hop_figure(inband: InBand, source: Source) -> Figure:
    """A row for each hop, by tier: to the left its latency, to the right the queue that packets found."""
    chosen = set(slowest(inband)[:MOST_ROWS])
    hops = [hop for hop in inband.hops if hop in chosen]
    figure = cell_figure(_ROW_INCHES * len(hops) + 0.7)
    latency, queue = figure.subplots(1, 2, sharey=True)
    _rows(
        latency,
        [(h.p50_ns / 1000, h.p99_ns and h.p99_ns / 1000, h.max_ns / 1000) for h in hops],
        "latency, first bit in to first bit out (µs)",
    )
    kib = BYTES_PER_KIB
    _rows(
        queue,
        [
            (
                h.queue_p50_bytes / kib,
                h.queue_p99_bytes if h.queue_p99_bytes is None else h.queue_p99_bytes / kib,
                h.queue_max_bytes / kib,
            )
            for h in hops
        ],
        "queued before the packet, in its class (KiB)",
    )
    latency.set_yticks(range(len(hops)), [hop.name for hop in hops])
    latency.set_ylim(len(hops) - 0.4, -0.6)
    for axis in (latency, queue):
        for place in range(1, len(hops)):
            if hops[place].tier != hops[place - 1].tier:
                axis.axhline(place - 0.5, color="#999999", linewidth=0.8)
    left_out = len(inband.hops) - len(hops)
    title = "Hops by in-band telemetry" + (f" (the {len(hops)} slowest)" if left_out else "")
    frame(figure, title, source, _legend(inband))
    return figure


def _rows(axis: Axes, rows: Sequence[tuple[float, float | None, float]], label: str) -> None:
    """A bar from median to p99, a line on to the maximum; a hop with few packets has no bar."""
    places = range(len(rows))
    least = [p50 if p99 is None else p99 for p50, p99, _ in rows]
    axis.hlines(places, least, [most for _, _, most in rows], color=_TO_MAX, linewidth=0.9)
    axis.plot([most for _, _, most in rows], places, "|", color=_TO_MAX, markersize=5)
    axis.barh(
        places,
        [0 if p99 is None else p99 - p50 for p50, p99, _ in rows],
        left=[p50 for p50, _, _ in rows],
        height=0.6,
        color=_BAR,
    )
    axis.plot([p50 for p50, _, _ in rows], places, "o", color="black", markersize=3.2)
    canvas.clean(axis)
    axis.grid(False, axis="y")
    axis.set_xlim(left=0, right=1.04 * max(max(most for _, _, most in rows), 1))
    axis.set_xlabel(label, fontsize=9)
    axis.tick_params(axis="y", length=0, labelsize=7.5)


def _legend(inband: InBand) -> list[Artist]:
    kept = "all" if inband.interval == 1 else f"1 in {inband.interval:,}"
    return [
        Line2D([], [], color="black", marker="o", markersize=3.2, linestyle="none", label="p50"),
        Patch(facecolor=_BAR, label="p50 to p99"),
        Line2D([], [], color=_TO_MAX, linewidth=0.9, marker="|", label=f"to the maximum ({kept} packets)"),
    ]
