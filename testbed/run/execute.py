"""Runs an experiment: cells on real frames, then the same cells in the twin, compared, analysed and saved.

Real frames come first and stop after their share of the records; the twin runs every cell from its first event to the
full number of records. Both keep exactly the messages intended before a virtual time, so the records of the one are a
part of the other's, and must be equal, field by field.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, wait
from functools import partial
from multiprocessing.sharedctypes import SynchronizedArray
from pathlib import Path
from typing import Any

from testbed.controller.tables import Programme
from testbed.errors import MeasurementError
from testbed.run.assemble import FinishedCell, Provenance, RunOutcome, assemble
from testbed.run.cell_run import CellRun, cell_runs, emulated_path
from testbed.run.failure_events import failure_events, stated_outage_ps
from testbed.run.progress import Progress
from testbed.run.real_frames import RealFrames, run_real_frames
from testbed.run.resolve import Resolved, resolve
from testbed.run.store import ResultWriter, sweep
from testbed.run.twin_cell import TwinJob, TwinOutcome, run_twin_cell, share_progress
from testbed.run.work import Tally
from testbed.run.workers import SPAWN, in_workers
from testbed.spec.codec import to_dict
from testbed.spec.experiment import Experiment

_POLL_S = 0.2


def execute(
    experiment: Experiment,
    *,
    engine: str,
    out: Path,
    progress: Progress,
    cells: Collection[str] | None = None,
) -> RunOutcome:
    """Run an experiment on `emulation` (real frames, then the twin) or on the `twin` alone; save the result.

    `cells`: ids of those to run, each as in the whole; None for all of them.
    """
    resolved = resolve(experiment)
    runs = cell_runs(resolved, emulated=engine == "emulation", only=cells)
    tally = Tally(runs, progress)
    try:
        sweep(out, progress.note)
        with ResultWriter(out, experiment.name, to_dict(experiment)) as writer:
            real = RealFrames()
            if engine == "emulation":
                real = run_real_frames(resolved, runs, writer, progress, tally.real)
            outcomes = _twins(resolved, runs, real.programmes, writer, progress, tally)
            _check_equal(outcomes)
            progress.stage("report")
            finished = [_finished(run, one, real) for run, one in zip(runs, outcomes, strict=True)]
            return assemble(resolved, finished, writer, Provenance(engine=engine, control=real.control))
    finally:
        progress.finish()


def _check_equal(outcomes: Sequence[TwinOutcome]) -> None:
    """A run whose real frames disagree with the twin has no result."""
    difference = next((o.difference for o in outcomes if o.difference), None)
    if difference is not None:
        raise MeasurementError(
            f"real frames and the twin disagree: {difference}",
            remedy="this is a bug of the testbed; please report the spec of this run",
        )


def _finished(run: CellRun, outcome: TwinOutcome, real: RealFrames) -> FinishedCell:
    return FinishedCell(
        cell=run.cell,
        summary=outcome.summary,
        records=outcome.records,
        counters=outcome.counters,
        queue=outcome.queue,
        twin={
            "packet_hops": outcome.hops,
            "wall_s": round(outcome.wall_s, 3),
            "packet_hops_per_s": round(outcome.hops / max(outcome.wall_s, 1e-9)),
        },
        real=real.speeds.get(run.cell.id),
        programme=real.programmes.get(run.index) or run.given,
    )


# ------------------------------------------------------------------------------------------------- the twin


def _twins(
    resolved: Resolved,
    runs: Sequence[CellRun],
    programmes: Mapping[int, Programme],
    writer: ResultWriter,
    progress: Progress,
    tally: Tally,
) -> list[TwinOutcome]:
    """Every cell in the twin, in as many processes as there are cores."""
    jobs = [_job(resolved, run, programmes.get(run.index), writer.directory) for run in runs]
    shared = SPAWN.Array("Q", 2 * len(jobs))
    with in_workers(
        run_twin_cell,
        jobs,
        kind="a twin",
        remedy="look at `dmesg | tail` (out of memory?), or lower records",
        prepare=partial(share_progress, shared),
    ) as futures:
        _follow(futures, jobs, shared, progress, tally)
        return [future.result() for future in futures]


def _job(resolved: Resolved, run: CellRun, given: Programme | None, directory: Path) -> TwinJob:
    until_ps = max(run.records_until_ps, run.emulated_until_ps)
    rules = given or run.programme()
    return TwinJob(
        index=run.index,
        cell=run.cell,
        plan=run.plan(resolved.experiment.seed, until_ps, given=given),
        failures=failure_events(run.network, rules.updates),
        stated_ps=stated_outage_ps(run.network, rules, cards_per_nic=run.cards_per_nic),
        records=run.records,
        measure_until_ps=until_ps,
        directory=directory,
        emulated=emulated_path(directory, run.index) if run.emulated_records else None,
        emulated_until_ps=run.emulated_until_ps,
        sample_interval_ps=resolved.experiment.sample_interval_ps,
    )


def _follow(
    futures: Sequence[Future[TwinOutcome]],
    jobs: Sequence[TwinJob],
    shared: SynchronizedArray[Any],
    progress: Progress,
    tally: Tally,
) -> None:
    """Tell how far the workers are until all are done or one has failed."""
    waiting, shown = set(futures), -1
    while waiting:
        done, waiting = wait(waiting, timeout=_POLL_S, return_when="FIRST_EXCEPTION")
        for future in done:
            future.result()
        current = next((job.index for job, one in zip(jobs, futures, strict=True) if not one.done()), shown)
        if current != shown:
            shown = current
            progress.stage(f"{jobs[current].cell.id}, twin")
        values = shared[:]
        tally.twin(values[2 * current], values[1::2])
