"""The figures that each cell has of its own: its failures and its pauses as timelines, its queues as a heat map."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from testbed.analysis.depths import PAUSES, Followed, followed_of
from testbed.analysis.records import Records
from testbed.analysis.summary import RunSummary
from testbed.report import canvas
from testbed.report.cell_figure import Source
from testbed.report.failure_figure import failure_figure
from testbed.report.heatmap import heatmap_figure
from testbed.report.timeline import Window, timeline_figure

MOST_DRAWN = 36
"""Cells with figures of their own."""


def write_cell_figures(
    summary: RunSummary,
    result_id: str,
    columns: Mapping[str, Any],
    records: Callable[[str], Records],
    directory: Path,
) -> list[Path]:
    """Draw what the followed queues of each cell have to show, as PNG and SVG; the paths written.

    `columns` are those of queue_depth.parquet; `records` gives the records of a cell by its id. Of many cells those
    are drawn whose queues were deepest: pictures that nobody looks at take longer than the runs.
    """
    written: list[Path] = []
    for cell in [cell for cell in summary.cells if cell.failures][:MOST_DRAWN]:
        figure = failure_figure(records(cell.id), cell.failures, Source.of(cell, summary, result_id))
        written += canvas.save(figure, directory, f"failures-{cell.id}")
    shown = _deepest(columns)
    for cell in summary.cells:
        if cell.id not in shown:
            continue
        followed = followed_of(columns, cell.id)
        source = Source.of(cell, summary, result_id)
        heatmap = heatmap_figure(followed, source)
        if heatmap is not None:
            written += canvas.save(heatmap, directory, f"heatmap-{cell.id}")
        if len(followed.of(*PAUSES)):
            window = window_of(followed)
            own = records(cell.id)
            timeline = timeline_figure(followed, own[own["intended_ps"] < window[1]], window, source)
            written += canvas.save(timeline, directory, f"timeline-{cell.id}")
    return written


def _deepest(columns: Mapping[str, Any]) -> frozenset[str]:
    """The cells to draw, by the depth of any of their queues."""
    deepest: dict[str, int] = {}
    cells, depths = np.asarray(columns["cell"]), np.asarray(columns["depth_bytes"])
    for cell in dict.fromkeys(cells.tolist()):
        deepest[cell] = int(depths[cells == cell].max())
    return frozenset(sorted(deepest, key=lambda cell: -deepest[cell])[:MOST_DRAWN])


def window_of(followed: Followed) -> Window:
    """From the start to the last change."""
    return 0, max(followed.until_ps, 1)
