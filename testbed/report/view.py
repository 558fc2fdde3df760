"""What the figures draw: a run boiled down to few points. Knows no matplotlib.

Records are read one cell at a time, so a run of any size fits into memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from testbed.analysis.curves import DepthCurve, LatencyCurve, latency_curve, thin_depth
from testbed.analysis.records import Records, latencies_ps
from testbed.analysis.summary import CellSummary, RunSummary
from testbed.report.text import clock_text


@dataclass(frozen=True, slots=True, kw_only=True)
class CellView:
    """One line of a figure."""

    summary: CellSummary
    latency: LatencyCurve
    depth: DepthCurve | None
    """The deepest queue of the cell, if depths were kept."""

    @property
    def panel(self) -> tuple[str, int]:
        """Cells of one scenario and size share a panel."""
        return (self.summary.scenario, self.summary.size_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """One run as the figures see it."""

    experiment: str
    seed: int
    result_id: str
    clock: str
    fabric: str
    cells: tuple[CellView, ...]

    @property
    def label(self) -> str:
        """How a legend names the run."""
        return f"{self.result_id}, seed {self.seed}"


def view_run(
    summary: RunSummary,
    *,
    result_id: str,
    records: Callable[[str], Records],
    queue_depth: Mapping[str, Any] | None = None,
) -> RunView:
    """Boil a run down; `records` gives the records of a cell by its id."""
    depths = deepest_queues(queue_depth) if queue_depth is not None else {}
    return RunView(
        experiment=summary.experiment,
        seed=summary.seed,
        result_id=result_id,
        clock=clock_text(summary.clock),
        fabric=summary.fabric,
        cells=tuple(
            CellView(
                summary=cell,
                latency=latency_curve(latencies_ps(records(cell.id))),
                depth=depths.get(cell.id),
            )
            for cell in summary.cells
        ),
    )


def deepest_queues(columns: Mapping[str, Any]) -> dict[str, DepthCurve]:
    """Of each cell the queue (node and port) that was deepest; the first one where several were."""
    cells, nodes, ports = (np.asarray(columns[name]) for name in ("cell", "node", "port"))
    times, depths = (np.asarray(columns[name], dtype=np.int64) for name in ("time_ps", "depth_bytes"))
    found: dict[str, DepthCurve] = {}
    for cell in dict.fromkeys(cells.tolist()):
        here = np.flatnonzero(cells == cell)
        peak = here[int(np.argmax(depths[here]))]
        queue = here[(nodes[here] == nodes[peak]) & (ports[here] == ports[peak])]
        found[cell] = thin_depth(f"{nodes[peak]} port {ports[peak]}", times[queue], depths[queue])
    return found


def panels(runs: Sequence[RunView]) -> list[tuple[str, int]]:
    """The (scenario, size) pairs of all runs, in the order in which they first appear."""
    return list(dict.fromkeys(cell.panel for run in runs for cell in run.cells))


def nics(runs: Sequence[RunView]) -> list[str]:
    """The NICs of all runs, in the order in which they first appear."""
    return list(dict.fromkeys(cell.summary.nic for run in runs for cell in run.cells))
