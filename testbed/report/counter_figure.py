"""One counter over time as a figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.lines import Line2D

from testbed.analysis.answers import approximate_time
from testbed.analysis.counter_series import Series
from testbed.report import canvas
from testbed.report.cell_figure import Source, cell_figure, frame
from testbed.report.counters import readable_unit
from testbed.run.files import storing
from testbed.units import PS_PER_US

_PANEL_INCHES = 2.9


def write_series_figure(series: Series, source: Source, path: Path) -> Path:
    """Draw the rate of a counter, or the level of a gauge, over virtual time."""
    unit, scale = readable_unit(series)
    shown = series.per_interval() / scale
    figure = cell_figure(_PANEL_INCHES)
    axis = figure.subplots()
    edges = series.time_ps / PS_PER_US
    axis.stairs(shown, edges, color=canvas.COLOURS[0], fill=True, alpha=0.3)
    axis.stairs(shown, edges, color=canvas.COLOURS[0], linewidth=1.2, baseline=None)
    canvas.clean(axis)
    axis.set_xlim(0, edges[-1])
    axis.set_ylim(0, 1.08 * float(np.max(shown)) or 1)
    axis.set_xlabel("virtual time (µs)", fontsize=9)
    axis.set_ylabel(unit, fontsize=9)
    place = series.place.at(series.node)
    how = "level" if series.meaning.gauge else "mean rate"
    interval = approximate_time(int(series.time_ps[1] - series.time_ps[0]))
    label = f"{place}: {series.meaning.what}, {how} of each {interval}"
    line = Line2D([], [], color=canvas.COLOURS[0], label=label)
    frame(figure, f"{place} {series.meaning.name}", source, [line])
    with storing(path):
        figure.savefig(path, dpi=canvas.PNG_DPI)
    return path
