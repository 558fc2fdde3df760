"""Runs an experiment's cells in the twin with one unverified number after another at the ends of its range.

All runs have the same seed, and so the same arrivals and the same draws: what differs is the number alone. A change
that leaves a cell's plan as it is leaves its outcome as it is; so each plan is run once.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, wait
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from testbed.analysis.percentiles import MIN_SAMPLES_BEYOND, nearest_rank, percentile_name, percentiles
from testbed.analysis.records import Picoseconds, latencies_ps
from testbed.analysis.sensitivity import Answer, LeftOut, Request, Sensitivity, explore, groups_of
from testbed.analysis.summary import condition, measured
from testbed.controller.tables import Programme
from testbed.engine import _engine
from testbed.engine.plan import build_plan
from testbed.errors import SpecError, TestbedError
from testbed.report.describe import networks_line
from testbed.report.sensitivity import sensitivity_text
from testbed.report.tornado import write_tornados
from testbed.run.controllers import check_controller, given_programmes
from testbed.run.join import join_records
from testbed.run.metadata import collect_metadata
from testbed.run.perturb import Varied, chosen, varied_numbers
from testbed.run.plan import cell_plan
from testbed.run.progress import Progress
from testbed.run.resolve import Resolved, resolve
from testbed.run.schedule import schedule_of
from testbed.run.store import ResultWriter, sweep
from testbed.run.twin_cell import advance
from testbed.run.workers import in_workers
from testbed.spec.codec import to_dict
from testbed.spec.experiment import Cell, Experiment
from testbed.units import PPM_PER_WHOLE

RECORDS = 40_000
"""Messages of each cell, unless told otherwise: p99.9 has 40 beyond it, and the quickstart takes about a minute."""
WANTED_PPM = (999_000, 990_000, 900_000, 500_000)
"""Without a wish, the highest of these that all alternatives state."""
_POLL_S = 0.2
_FOLDERS = ("figures",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What is to be done, checked: nothing has run yet."""

    resolved: Resolved
    varied: tuple[Varied, ...]
    left_out: tuple[LeftOut, ...]
    quantiles_ppm: tuple[int, ...]
    given: Mapping[str, Programme] = field(default_factory=dict)
    """By cell: tables in place of the testbed's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SensitivityOutcome:
    """Where the result is, and what it says."""

    directory: Path
    found: Sensitivity
    text: str
    figures: tuple[Path, ...]


def study_of(experiment: Experiment, *, only: str | None = None, quantile_ppm: int | None = None) -> Study:
    """Look everything up, and refuse what cannot be answered."""
    resolved = resolve(experiment)
    varied, left_out = varied_numbers(resolved)
    if not varied:
        raise SpecError(
            f"{experiment.name} rests on no assumed number that could be varied",
            remedy="there is nothing to do",
        )
    picked = chosen(varied, only)
    if quantile_ppm is not None:
        _check_quantile(resolved, quantile_ppm)
    fitting = tuple(one for one in WANTED_PPM if _beyond(_fewest(resolved), one) >= MIN_SAMPLES_BEYOND)
    if quantile_ppm is None and not fitting:
        raise SpecError(
            f"{_fewest(resolved):,} messages are too few for any percentile",
            remedy=f"use at least {_needed(WANTED_PPM[-1]):,} --records",
        )
    quantiles = fitting if quantile_ppm is None else (quantile_ppm,)
    return Study(
        resolved=resolved,
        given=_given(resolved),
        varied=picked,
        left_out=left_out if only is None else (),
        quantiles_ppm=quantiles,
    )


def _given(resolved: Resolved) -> dict[str, Programme]:
    """By cell: tables of a dump; those that change in mid-run were computed from numbers that are to be varied."""
    controller = resolved.experiment.controller
    check_controller(controller, engine="twin")
    given = given_programmes(controller, ((cell, resolved.network(cell)) for cell in resolved.cells))
    if any(programme.updates for programme in given.values()):
        raise SpecError(
            f"tables of {controller} change at times that follow from the numbers that are varied",
            remedy="use controller=ryu, or leave out the failures",
        )
    return given


def _records(resolved: Resolved, cell: Cell) -> int:
    return resolved.experiment.records_of(cell)


def _fewest(resolved: Resolved) -> int:
    return min(_records(resolved, cell) for cell in resolved.cells)


def _beyond(records: int, quantile_ppm: int) -> int:
    return records - nearest_rank(records, quantile_ppm)


def _needed(quantile_ppm: int) -> int:
    return -(-MIN_SAMPLES_BEYOND * PPM_PER_WHOLE // (PPM_PER_WHOLE - quantile_ppm))


def _check_quantile(resolved: Resolved, quantile_ppm: int) -> None:
    fewest = _fewest(resolved)
    if _beyond(fewest, quantile_ppm) < MIN_SAMPLES_BEYOND:
        raise SpecError(
            f"{percentile_name(quantile_ppm)} of {fewest:,} messages has fewer than {MIN_SAMPLES_BEYOND} beyond it",
            remedy=f"use at least {_needed(quantile_ppm):,} --records, or a lower --quantile",
        )


def run_study(study: Study, *, out: Path, progress: Progress) -> SensitivityOutcome:
    """Vary, search, draw, save."""
    experiment = study.resolved.experiment
    try:
        sweep(out, progress.note)
        spec = to_dict(experiment)
        with ResultWriter(out, experiment.name, spec, prefix="sensitivity-", folders=_FOLDERS) as writer:
            found = find(study, progress)
            progress.stage("report")
            writer.write_json("sensitivity.json", to_dict(found))
            writer.write_json("metadata.json", collect_metadata() | {"engine": "twin"})
            drawn = write_tornados(found, writer.result_id, writer.directory / "figures")
            text = sensitivity_text(found)
            writer.write_text("report.txt", text)
        figures = tuple(writer.final / "figures" / path.name for path in drawn)
        return SensitivityOutcome(directory=writer.final, found=found, text=text, figures=figures)
    finally:
        progress.finish()


def find(study: Study, progress: Progress) -> Sensitivity:
    """Everything but files."""
    resolved, experiment = study.resolved, study.resolved.experiment
    runner = _Runner(study, progress)
    references = [variant.name for variant in experiment.variants if variant.reference]
    groups = groups_of([(cell, condition(cell.scenario)) for cell in resolved.cells], references)
    parameters = tuple(one.parameter for one in study.varied)
    explored = explore(parameters, groups, study.quantiles_ppm, runner.evaluate)
    return Sensitivity(
        experiment=experiment.name,
        question=experiment.question,
        fabric=networks_line([one.in_short() for one in resolved.networks]),
        seed=experiment.seed,
        records=_fewest(resolved),
        runs=runner.runs,
        parameters=parameters,
        left_out=study.left_out,
        groups=explored,
    )


# ------------------------------------------------------------------------------------------------- the runs


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One cell to run."""

    cell: Cell
    plan: bytes
    """Its JSON, compressed: thousands wait in line."""
    records: int
    measure_until_ps: int
    quantiles_ppm: tuple[int, ...]
    bounds: bool
    """Whether intervals are wanted, too."""


class _Runner:
    """Runs what has not been run before."""

    def __init__(self, study: Study, progress: Progress) -> None:
        self._study, self._progress = study, progress
        self._known: dict[str, Answer] = {}
        self._plans: dict[Request, str] = {}

    @property
    def runs(self) -> int:
        """How many cells were run."""
        return len(self._known)

    def evaluate(self, what: str, requests: Sequence[Request]) -> list[Answer]:
        """The answers of all requests, in their order."""
        self._progress.stage(f"{what}: plan")
        failed: dict[Request, Answer] = {}
        jobs: dict[str, _Job] = {}
        for (parameter, at), alike in _by_change(requests).items():
            try:
                planned = self._planned(parameter, at, alike)
            except TestbedError as error:
                failed |= dict.fromkeys(alike, _failure(error))
                continue
            for request, job in planned.items():
                key = _key(job)
                self._plans[request] = key
                if key not in self._known:
                    jobs.setdefault(key, job)
        self._run(what, jobs)
        return [failed.get(request) or self._known[self._plans[request]] for request in requests]

    def _planned(self, parameter: int | None, at: int, requests: Sequence[Request]) -> dict[Request, _Job]:
        """The cells of one value of one parameter, planned."""
        change = nullcontext() if parameter is None else self._study.varied[parameter].set_to(at)
        with change:
            resolved = resolve(self._study.resolved.experiment)
            return {one: self._job(resolved, one) for one in requests}

    def _job(self, resolved: Resolved, request: Request) -> _Job:
        cell = resolved.cells[request.cell]
        network = resolved.network(cell)
        schedule = schedule_of(cell, network.fabric)
        records = _records(resolved, cell)
        until_ps = schedule.measure_until_ps(records)
        seed = resolved.experiment.seed
        given = self._study.given.get(cell.id)
        plan = cell_plan(cell, network, schedule=schedule, seed=seed, measure_until_ps=until_ps, given=given)
        return _Job(
            cell=cell,
            plan=zlib.compress(json.dumps(plan).encode(), level=1),
            records=records,
            measure_until_ps=until_ps,
            quantiles_ppm=self._study.quantiles_ppm,
            bounds=request.parameter is None,
        )

    def _run(self, what: str, jobs: Mapping[str, _Job]) -> None:
        """All of them, in as many processes as there are cores."""
        if not jobs:
            return
        whole = sum(job.records for job in jobs.values())
        self._progress.start(whole)
        self._progress.stage(what)
        remedy = "run it again; if memory ran out, use fewer --records"
        with in_workers(run_job, list(jobs.values()), kind="a twin", remedy=remedy) as futures:
            by_future = dict(zip(futures, jobs.items(), strict=True))
            waiting, done_records = set(futures), 0
            while waiting:
                done, waiting = wait(waiting, timeout=_POLL_S, return_when=FIRST_EXCEPTION)
                for future in done:
                    key, job = by_future[future]
                    self._known[key] = future.result()
                    done_records += job.records
                self._progress.update(0, done_records, done_records * PPM_PER_WHOLE // whole)
        self._progress.finish()  # the next ones have a bar of their own


def _by_change(requests: Sequence[Request]) -> dict[tuple[int | None, int], list[Request]]:
    found: dict[tuple[int | None, int], list[Request]] = {}
    for request in requests:
        found.setdefault((request.parameter, request.at), []).append(request)
    return found


def _key(job: _Job) -> str:
    """Cells with the same key have the same outcome."""
    measures = job.cell.scenario.measured_destination
    return hashlib.sha256(repr((job.plan, job.records, measures)).encode()).hexdigest()


def run_job(job: _Job) -> Answer:
    """Run one cell, in a worker; what the engine says against it is an answer, too."""
    try:
        plan = build_plan(json.loads(zlib.decompress(job.plan)))
    except TypeError:  # of the bindings, which say no more than their signature
        return Answer(failure="the number does not fit the field of the engine that takes it")
    except (ValueError, OverflowError) as error:
        return _failure(error)
    try:
        twin = _engine.Twin(plan)
        advance(
            twin, cell_id=job.cell.id, measure_until_ps=job.measure_until_ps, tell=lambda _time, _done: None
        )
        records = join_records([twin.tx_records()], [twin.rx_records()])[: job.records]
    except (TestbedError, RuntimeError, ValueError, OverflowError) as error:
        return _failure(error)
    latency = latencies_ps(measured(records, job.cell.scenario.measured_destination))
    if job.bounds:
        found = {one.quantile_ppm: one for one in percentiles(latency, job.quantiles_ppm)}
        return Answer(
            values_ps={quantile: one.value_ps for quantile, one in found.items()},
            bounds_ps={quantile: (one.low_ps, one.high_ps) for quantile, one in found.items()},
        )
    ordered = np.sort(latency)
    return Answer(values_ps={quantile: _value(ordered, quantile) for quantile in job.quantiles_ppm})


def _value(ordered_ps: Picoseconds, quantile_ppm: int) -> int | None:
    n = len(ordered_ps)
    rank = nearest_rank(n, quantile_ppm)
    return int(ordered_ps[rank - 1]) if n - rank >= MIN_SAMPLES_BEYOND else None


def _failure(error: Exception) -> Answer:
    return Answer(failure=" ".join(str(error).split()) or type(error).__name__)
