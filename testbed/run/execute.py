"""Runs an experiment: cells on real frames, then the same cells in the twin, compared, analysed and saved.

Real frames come first and stop after their share of the records; the twin runs every cell from its first event to the
full number of records. Both keep exactly the messages intended before a virtual time, so the records of the one are a
part of the other's, and must be equal, field by field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.sharedctypes import SynchronizedArray
from pathlib import Path
from typing import Any

import numpy as np

from testbed.analysis.answers import answers
from testbed.analysis.budget import budget_answers
from testbed.analysis.records import digest
from testbed.analysis.summary import CellSummary, ClockStatement, RunSummary
from testbed.controller.dump import dump_of
from testbed.controller.tables import Programme
from testbed.errors import MeasurementError
from testbed.report.cells import write_cell_figures
from testbed.report.describe import networks_line
from testbed.report.figures import write_figures
from testbed.report.inband_figure import write_hop_figures
from testbed.report.nic import one_way_ps
from testbed.report.text import report_text
from testbed.report.view import view_run
from testbed.run import cell_files
from testbed.run.assumptions import assumptions_of_run
from testbed.run.cell_run import CellRun, cell_runs, emulated_path
from testbed.run.controllers import TABLES, dump_text, failure_texts
from testbed.run.failure_events import failure_events, stated_outage_ps
from testbed.run.metadata import collect_metadata
from testbed.run.progress import Progress
from testbed.run.real_frames import RealFrames, run_real_frames
from testbed.run.resolve import Resolved, resolve
from testbed.run.store import ResultWriter, remove_abandoned
from testbed.run.twin_cell import TwinJob, TwinOutcome, run_twin_cell, share_progress
from testbed.run.workers import SPAWN, in_workers, worker_count
from testbed.spec.codec import to_dict
from testbed.spec.experiment import STATIC, Experiment
from testbed.units import PPM_PER_WHOLE

_POLL_S = 0.2
_REAL_FRAME_WORK = 35
"""How many frames a twin computes while one goes over real links; only the time left is estimated with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """Where the result is, and what it says."""

    directory: Path
    summary: RunSummary
    text: str
    """The report at its full width."""


class _Tally:
    """Turns messages done per cell and clock into what a progress listener wants to know."""

    def __init__(self, runs: Sequence[CellRun], progress: Progress) -> None:
        self._progress = progress
        cost = _REAL_FRAME_WORK * worker_count(len(runs))
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


def execute(experiment: Experiment, *, engine: str, out: Path, progress: Progress) -> RunOutcome:
    """Run an experiment on `emulation` (real frames, then the twin) or on the `twin` alone; save the result."""
    resolved = resolve(experiment)
    runs = cell_runs(resolved, emulated=engine == "emulation")
    tally = _Tally(runs, progress)
    try:
        for item in remove_abandoned(out):
            progress.note(f"removed {item} of a run that was killed")
        with ResultWriter(out, experiment.name, to_dict(experiment)) as writer:
            real = RealFrames()
            if engine == "emulation":
                real = run_real_frames(resolved, runs, writer, progress, tally.real)
            outcomes = _twins(resolved, runs, real.programmes, writer, progress, tally)
            progress.stage("report")
            return _report(resolved, engine, outcomes, real, writer)
    finally:
        progress.finish()


# ------------------------------------------------------------------------------------------------- the twin


def _twins(
    resolved: Resolved,
    runs: Sequence[CellRun],
    programmes: Mapping[int, Programme],
    writer: ResultWriter,
    progress: Progress,
    tally: _Tally,
) -> list[TwinOutcome]:
    """Every cell in the twin, in as many processes as there are cores."""
    jobs = [_job(resolved, run, programmes.get(run.index), writer.directory) for run in runs]
    _save_tables(runs, programmes, writer)
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


def _save_tables(runs: Sequence[CellRun], programmes: Mapping[int, Programme], writer: ResultWriter) -> None:
    """Tables that are not the testbed's own are a part of the result."""
    own = [(run, programmes.get(run.index) or run.given) for run in runs]
    dump = dump_of(
        (run.cell.id, failure_texts(run.network), found) for run, found in own if found is not None
    )
    if dump.programmes:
        writer.write_text(TABLES, dump_text(dump))


def _follow(
    futures: Sequence[Future[TwinOutcome]],
    jobs: Sequence[TwinJob],
    shared: SynchronizedArray[Any],
    progress: Progress,
    tally: _Tally,
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


# ------------------------------------------------------------------------------------------------- the result


def _report(
    resolved: Resolved,
    engine: str,
    outcomes: Sequence[TwinOutcome],
    real: RealFrames,
    writer: ResultWriter,
) -> RunOutcome:
    """Summary, tables and figures of a finished run."""
    foreign = sum(speed["foreign_frames"] for speed in real.speeds.values())
    summary = _summary(resolved, engine, outcomes, writer.directory, foreign_frames=foreign)
    queue = {name: np.concatenate([o.queue[name] for o in outcomes]) for name in outcomes[0].queue}
    writer.write_json("summary.json", to_dict(summary))
    control = real.control or {"controller": resolved.experiment.controller or STATIC}
    writer.write_json("counters.json", {o.summary.id: o.counters for o in outcomes})
    writer.write_json(
        "metadata.json",
        collect_metadata()
        | {"engine": engine, "emulation": real.speeds, "control": control, "twin": _speeds(outcomes)},
    )
    writer.write_queue_depth(queue)
    records, figures = partial(cell_files.read_records, writer.directory), writer.directory / "figures"
    depths = queue if len(queue["time_ps"]) else None
    view = view_run(summary, result_id=writer.result_id, records=records, queue_depth=depths)
    write_figures([view], figures)
    write_cell_figures(summary, writer.result_id, queue, records, figures)
    write_hop_figures(summary, writer.result_id, figures)
    text = report_text(summary, result=resolved.experiment.name)
    writer.write_text("report.txt", text)
    return RunOutcome(directory=writer.final, summary=summary, text=text)


def _speeds(outcomes: Sequence[TwinOutcome]) -> dict[str, dict[str, Any]]:
    return {
        o.summary.id: {
            "packet_hops": o.hops,
            "wall_s": round(o.wall_s, 3),
            "packet_hops_per_s": round(o.hops / max(o.wall_s, 1e-9)),
        }
        for o in outcomes
    }


def _summary(
    resolved: Resolved, engine: str, outcomes: Sequence[TwinOutcome], directory: Path, *, foreign_frames: int
) -> RunSummary:
    """All cells together; a run whose real frames disagree with the twin has no result."""
    experiment = resolved.experiment
    difference = next((o.difference for o in outcomes if o.difference), None)
    if difference is not None:
        raise MeasurementError(
            f"real frames and the twin disagree: {difference}",
            remedy="this is a bug of the testbed; please report the spec of this run",
        )
    emulated = sum(o.emulated_records for o in outcomes)
    cells = tuple(
        replace(outcome.summary, nics_ps=one_way_ps(network.nic(cell), cell.size_bytes))
        for outcome, cell in zip(outcomes, resolved.cells, strict=True)
        for network in [resolved.network(cell)]
    )
    places = {one.name: (one.row or one.name, one.column) for one in experiment.variants}
    return RunSummary(
        experiment=experiment.name,
        question=experiment.question,
        seed=experiment.seed,
        fabric=networks_line([one.in_short() for one in resolved.networks]),
        variants={variant.name: variant.changes() for variant in experiment.variants},
        failures=experiment.failures,
        control=_control(experiment),
        budget_ps=experiment.budget_ps,
        places=places,
        clock=ClockStatement(
            engine=engine,
            clock="virtual" if emulated else "twin",
            emulated_records=emulated,
            twin_records=sum(o.records for o in outcomes),
            equal=True if emulated else None,
            foreign_frames=foreign_frames,
        ),
        cells=cells,
        records_digest=digest((cell.id, cell_files.read_records(directory, cell.id)) for cell in cells),
        assumptions=assumptions_of_run(resolved),
        answers=_answers(experiment, cells, places),
    )


def _control(experiment: Experiment) -> dict[str, str]:
    """What it sets of its control plane."""
    controller = {"controller": experiment.controller} if experiment.controller else {}
    return controller | {key: str(value) for key, value in experiment.control_settings.items()}


def _answers(
    experiment: Experiment, cells: tuple[CellSummary, ...], places: Mapping[str, tuple[str, ...]]
) -> tuple[str, ...]:
    """About a budget, if there is one; else about tails."""
    if experiment.budget_ps:
        return tuple(budget_answers(cells, experiment.budget_ps, places))
    return answers(
        cells,
        [variant.name for variant in experiment.variants if variant.reference],
        {variant.name: variant.host_agents for variant in experiment.variants if variant.host_agents},
    )
