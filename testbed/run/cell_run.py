"""One cell with everything that its runs need: how far it goes on each clock, and its plan."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.analysis.counter_series import MOST_SAMPLES
from testbed.controller.reaction import programme
from testbed.controller.tables import Programme
from testbed.errors import SpecError
from testbed.registry import unknown_name
from testbed.run.controllers import check_controller, given_programmes
from testbed.run.plan import cell_plan
from testbed.run.resolve import Network, Resolved
from testbed.run.schedule import Schedule, schedule_of
from testbed.spec.experiment import Cell
from testbed.units import format_time

_FRAME_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRun:
    """One cell with everything that its runs need."""

    index: int
    cell: Cell
    network: Network
    schedule: Schedule
    records: int
    emulated_records: int
    emulated_until_ps: int
    records_until_ps: int
    given: Programme | None = None
    """Tables in place of those of the testbed's own application."""

    @property
    def message_work(self) -> int:
        """What a message costs the twin, in frames about."""
        return self.cell.size_bytes // _FRAME_BYTES + 2

    @property
    def cards_per_nic(self) -> int:
        """How many cards share each NIC."""
        return self.network.nic(self.cell).cards

    def programme(self) -> Programme:
        """The rules that it is run with: given ones, or those of the testbed's own application."""
        if self.given is not None:
            return self.given
        network = self.network
        return programme(network.fabric, network.control, network.failures, cards_per_nic=self.cards_per_nic)

    def plan(self, seed: int, measure_until_ps: int, *, given: Programme | None = None) -> dict[str, Any]:
        """The engine's plan until every message intended before a time is complete."""
        return cell_plan(
            self.cell,
            self.network,
            schedule=self.schedule,
            seed=seed,
            measure_until_ps=measure_until_ps,
            given=given or self.given,
        )


def cell_runs(resolved: Resolved, *, emulated: bool, only: Collection[str] | None = None) -> list[CellRun]:
    """How far each cell goes on each clock, and by whose rules.

    `only`: ids of the cells that are wanted; each goes as far as it would beside all others.
    """
    experiment = resolved.experiment
    check_controller(experiment.controller, engine="emulation" if emulated else "twin")
    cells = resolved.cells if only is None else chosen_cells(resolved.cells, only)
    given = given_programmes(experiment.controller, ((cell, resolved.network(cell)) for cell in cells))
    share = math.ceil(experiment.emulated_records / len(resolved.cells)) if emulated else 0
    runs = [
        cell_run(
            cell,
            resolved.network(cell),
            records=experiment.records_of(cell),
            emulated_share=share,
            index=index,
            given=given.get(cell.id),
        )
        for index, cell in enumerate(cells)
    ]
    _check_samples(runs, experiment.sample_interval_ps)
    return runs


def chosen_cells(cells: Sequence[Cell], ids: Collection[str]) -> tuple[Cell, ...]:
    """Those of these ids, in the experiment's order."""
    known = [cell.id for cell in cells]
    for wanted in ids:
        if wanted not in known:
            raise unknown_name("cell", wanted, known)
    if not ids:
        raise SpecError("no cell is chosen", remedy=f"name at least one of: {', '.join(known)}")
    return tuple(cell for cell in cells if cell.id in ids)


def _check_samples(runs: Sequence[CellRun], interval_ps: int | None) -> None:
    """Raise `SpecError` if the interval at which counters are sampled is too short for a cell."""
    longest = max(runs, key=lambda run: run.records_until_ps)
    if interval_ps and longest.records_until_ps // interval_ps > MOST_SAMPLES:
        raise SpecError(
            f"sample_interval: {format_time(interval_ps)} makes more than {MOST_SAMPLES:,} samples of cell "
            f"{longest.cell.id}, which takes {format_time(longest.records_until_ps)}",
            remedy="give a longer one, or auto for 200 samples",
        )


def cell_run(
    cell: Cell,
    network: Network,
    *,
    records: int,
    emulated_share: int,
    index: int = 0,
    given: Programme | None = None,
) -> CellRun:
    """One cell: so many records, and so many of them as real frames."""
    schedule = schedule_of(cell, network.fabric, cards_per_nic=network.nic(cell).cards)
    share = min(emulated_share, records)
    return CellRun(
        index=index,
        cell=cell,
        network=network,
        schedule=schedule,
        records=records,
        emulated_records=share,
        emulated_until_ps=schedule.measure_until_ps(share) if share else 0,
        records_until_ps=schedule.measure_until_ps(records),
        given=given,
    )


def emulated_path(directory: Path, index: int) -> Path:
    """Where the records of a cell's real frames wait for the twin's."""
    return directory / f"emulated-{index}.raw"
