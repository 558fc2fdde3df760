"""The queues of a whole fabric over time: a row for each egress port that ever held something."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from testbed.analysis.depths import DepthMap, Followed, depth_map
from testbed.report.cell_figure import Source, cell_figure, frame
from testbed.units import BYTES_PER_KIB, PS_PER_NS, PS_PER_US

_ROW_INCHES = 0.17
_LEAST_INCHES = 2.0
_MOST_TICKS = 7
# White where nothing waits, then from pale yellow to nearly black: dark is deep, in grey and for the colour-blind, too.
_SHADES = LinearSegmentedColormap.from_list(
    "depth", ["#fff4d2", "#fee39a", "#fdb562", "#ee7b3c", "#c8413b", "#8b1a4a", "#2b0a3d"]
)


def heatmap_figure(followed: Followed, source: Source) -> Figure | None:
    """The largest depth of each egress port over time; None if no frame waited."""
    depths = depth_map(followed)
    if depths is None:
        return None
    figure = cell_figure(max(_ROW_INCHES * len(depths.ports) + 0.5, _LEAST_INCHES))
    axis = figure.add_subplot()
    _shade(figure, axis, depths)
    _name_rows(axis, depths, followed)
    axis.set_xlabel(f"virtual time (µs){followed.cut_note}", fontsize=9)
    axis.xaxis.set_major_locator(MaxNLocator(_MOST_TICKS, steps=[1, 2, 5, 10]))
    axis.tick_params(labelsize=8)
    axis.tick_params(axis="y", length=0, labelsize=7.5)
    frame(figure, "Queues of the egress ports" + _left_out(depths), source, ())
    return figure


def _left_out(depths: DepthMap) -> str:
    shown = len(depths.ports)
    return f" (the {shown} deepest of {depths.all_ports:,})" if shown < depths.all_ports else ""


def _shade(figure: Figure, axis: Axes, depths: DepthMap) -> None:
    """The map with its colour bar."""
    last_us = int(depths.edges_ps[-1]) / PS_PER_US
    image = axis.imshow(
        np.ma.masked_equal(depths.depth_bytes, 0) / BYTES_PER_KIB,
        cmap=_SHADES,
        vmin=0,
        aspect="auto",
        interpolation="nearest",
        extent=(0, last_us, len(depths.ports) - 0.5, -0.5),
    )
    bin_ns = int(depths.edges_ps[-1]) / (len(depths.edges_ps) - 1) / PS_PER_NS
    bar = figure.colorbar(image, ax=axis, pad=0.015, fraction=0.04, aspect=28)
    bar.set_label(f"largest depth in {bin_ns:,.0f} ns (KiB)", fontsize=8.5)
    bar.ax.tick_params(labelsize=8)
    bar.ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 4, 5, 10]))
    bar.outline.set_linewidth(0.5)


def _name_rows(axis: Axes, depths: DepthMap, followed: Followed) -> None:
    """Ports by name; a line between two switches, a stronger one between two tiers."""
    axis.set_yticks(np.arange(len(depths.ports)), [followed.label(*port) for port in depths.ports])
    for row, ((above, _), (below, _)) in enumerate(zip(depths.ports, depths.ports[1:], strict=False)):
        if above != below:
            other_tier = followed.tiers[above] != followed.tiers[below]
            axis.axhline(
                row + 0.5, color="#333333" if other_tier else "#bbbbbb", linewidth=0.9 if other_tier else 0.6
            )
    for spine in axis.spines.values():
        spine.set_linewidth(0.5)
