"""How much work cells are, and how much of it a run has done."""

from __future__ import annotations

from collections.abc import Sequence

from testbed.run.cell_run import CellRun
from testbed.run.progress import Progress
from testbed.run.workers import worker_count
from testbed.units import PPM_PER_WHOLE

REAL_FRAME_WORK = 35
"""How many frames a twin computes while one goes over real links; only the time left is estimated with it."""


def work_of(run: CellRun) -> int:
    """A whole cell, in frames of the twin about."""
    return run.message_work * (run.records + REAL_FRAME_WORK * run.emulated_records)


class Tally:
    """Turns messages done per cell and clock into what a progress listener wants to know."""

    def __init__(self, runs: Sequence[CellRun], progress: Progress) -> None:
        self._progress = progress
        cost = REAL_FRAME_WORK * worker_count(len(runs))
        self._real_work = [run.message_work * cost for run in runs]
        self._twin_work = [run.message_work for run in runs]
        self._real = [0] * len(runs)
        self._twin = [0] * len(runs)
        emulated, records = [run.emulated_records for run in runs], [run.records for run in runs]
        self._whole = max(1, _dot(emulated, self._real_work) + _dot(records, self._twin_work))
        progress.start(sum(records) + sum(emulated))

    def real(self, run: CellRun, virtual_ps: int, messages: int) -> None:
        """A cell on real frames has come so far."""
        self._real[run.index] = min(messages, run.emulated_records)
        self._tell(virtual_ps)

    def twin(self, virtual_ps: int, messages: Sequence[int]) -> None:
        """All cells of the twin have come so far."""
        self._twin = list(messages)
        self._tell(virtual_ps)

    def _tell(self, virtual_ps: int) -> None:
        work = _dot(self._real, self._real_work) + _dot(self._twin, self._twin_work)
        self._progress.update(
            virtual_ps, sum(self._real) + sum(self._twin), work * PPM_PER_WHOLE // self._whole
        )


def _dot(counts: Sequence[int], work: Sequence[int]) -> int:
    return sum(count * each for count, each in zip(counts, work, strict=True))
