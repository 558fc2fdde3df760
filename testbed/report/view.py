"""What the figures draw: a run boiled down to few points. Knows no matplotlib.

Records are read one cell at a time, so a run of any size fits into memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from testbed.analysis.curves import DepthCurve, LatencyCurve, latency_curve, thin_depth
from testbed.analysis.depths import SampleKind
from testbed.analysis.records import Records, latencies_ps
from testbed.analysis.summary import CellSummary, RunSummary, measured
from testbed.report.text import clock_text, part_text

_STEP = re.compile(r"(step:)?-?\d")
_LEAST_STEPS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class CellView:
    """One line of a figure."""

    summary: CellSummary
    series: str
    """What a legend calls it: the NIC, or the variant, or both where both vary."""
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
    variants: Mapping[str, str]
    """By name: what each variant sets."""
    budget_ps: int = 0
    places: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def only(self, chosen: Callable[[CellSummary], bool]) -> RunView:
        """Some of its cells, the others left out."""
        return replace(self, cells=tuple(cell for cell in self.cells if chosen(cell.summary)))

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
    several_nics = len({cell.nic for cell in summary.cells}) > 1
    return RunView(
        experiment=summary.experiment,
        seed=summary.seed,
        result_id=result_id,
        clock="; ".join(filter(None, [clock_text(summary.clock), part_text(summary)])),
        fabric=summary.fabric,
        cells=tuple(
            CellView(
                summary=cell,
                series=f"{cell.variant}, {cell.nic}" if cell.variant and several_nics else cell.alternative,
                latency=latency_curve(latencies_ps(measured(records(cell.id), cell.destination))),
                depth=depths.get(cell.id),
            )
            for cell in summary.cells
        ),
        variants=summary.variants,
        budget_ps=summary.budget_ps,
        places=summary.places,
    )


def deepest_queues(columns: Mapping[str, Any]) -> dict[str, DepthCurve]:
    """Of each cell the queue (node and port) that was deepest; the first one where several were."""
    cells, nodes, ports = (np.asarray(columns[name]) for name in ("cell", "node", "port"))
    times, depths = (np.asarray(columns[name], dtype=np.int64) for name in ("time_ps", "depth_bytes"))
    of_port = np.asarray(columns["kind"]) == SampleKind.PORT
    found: dict[str, DepthCurve] = {}
    for cell in dict.fromkeys(cells.tolist()):
        here = np.flatnonzero((cells == cell) & of_port)
        if len(here) == 0:
            continue
        peak = here[int(np.argmax(depths[here]))]
        queue = here[(nodes[here] == nodes[peak]) & (ports[here] == ports[peak])]
        found[cell] = thin_depth(f"{nodes[peak]} port {ports[peak]}", times[queue], depths[queue])
    return found


def panels(runs: Sequence[RunView]) -> list[tuple[str, int]]:
    """The (scenario, size) pairs of all runs, in the order in which they first appear."""
    return list(dict.fromkeys(cell.panel for run in runs for cell in run.cells))


def series(runs: Sequence[RunView]) -> list[str]:
    """The series of all runs, in the order in which they first appear."""
    return list(dict.fromkeys(cell.series for run in runs for cell in run.cells))


def sweep(runs: Sequence[RunView]) -> tuple[str, dict[str, str]] | None:
    """The one setting that all variants set, and its value in each, if these are steps of a scale; else None."""
    pairs = {name: text.partition("=") for run in runs for name, text in run.variants.items()}
    keys = {key for key, _, _ in pairs.values()}
    values = {name: value for name, (_, _, value) in pairs.items()}
    steps = [value for value in values.values() if _STEP.match(value)]
    if len(keys) != 1 or len(steps) < _LEAST_STEPS or any("=" in value for value in values.values()):
        return None
    return (keys.pop(), values) if len(steps) >= len(values) - 1 else None
