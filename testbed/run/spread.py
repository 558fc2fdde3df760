"""Splits an experiment into parts of about equal work, for several machines or one after the other. Pure."""

from __future__ import annotations

from testbed.errors import SpecError
from testbed.run.cell_run import cell_runs
from testbed.run.resolve import resolve
from testbed.run.work import work_of
from testbed.spec.experiment import Experiment


def split_cells(experiment: Experiment, engine: str, parts: int) -> list[tuple[str, ...]]:
    """The ids of the cells of each part: the longest first, each to the part that has the least work yet.

    Args:
        experiment: what is to be run.
        engine: `emulation` or `twin`; a real frame is much more work than one in the twin.
        parts: how many there are to be; there are as many as cells at most, and none is empty.
    """
    if parts < 1:
        raise SpecError(f"{parts} parts have no room for any cell", remedy="ask for at least one part")
    runs = cell_runs(resolve(experiment), emulated=engine == "emulation")
    chosen: list[list[int]] = [[] for _ in range(min(parts, len(runs)))]
    work = [0] * len(chosen)
    for run in sorted(runs, key=lambda run: (-work_of(run), run.index)):
        # Of parts with equal work the one with fewer cells, so that none stays empty.
        least = min(range(len(chosen)), key=lambda part: (work[part], len(chosen[part]), part))
        chosen[least].append(run.index)
        work[least] += work_of(run)
    return [tuple(runs[index].cell.id for index in sorted(part)) for part in chosen]
