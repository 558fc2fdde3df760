"""One cell in the twin, in a worker process: run, join, compare with the records of real frames, save, summarise."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.sharedctypes import SynchronizedArray
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from testbed.analysis.counter_series import SAMPLES, CounterSampler
from testbed.analysis.depths import SAMPLE_DTYPE, columns_of, followed_in
from testbed.analysis.failures import FailureEvent, outage_of
from testbed.analysis.inband import INT_DTYPE, InBand, inband_of
from testbed.analysis.records import RECORD_DTYPE, Records, digest, first_difference
from testbed.analysis.sflow import FLOW_DTYPE, Sampled, agents_of
from testbed.analysis.summary import CellSummary, rate_bps, summarise_cell
from testbed.engine import _engine
from testbed.engine.plan import build_plan
from testbed.errors import MeasurementError
from testbed.run import cell_files, telemetry_files
from testbed.run.engine_errors import engine_error
from testbed.run.join import RX_DTYPE, count_lost, is_lossy, join_records
from testbed.spec.experiment import Cell
from testbed.units import PS_PER_US

TRACE_PS = 200 * PS_PER_US
TRACE_SAMPLES = 1_200_000
"""Three for each change of a queue, of which `testbed.analysis.depths` keeps two where one class is in use."""
MOST_EVENTS = 1_000

_progress: SynchronizedArray[Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinJob:
    """One cell to run."""

    index: int
    """Its place in the shared progress array, twice: virtual time, messages."""
    cell: Cell
    plan: Mapping[str, Any]
    records: int
    """How many to keep, the first by intended time."""
    measure_until_ps: int
    directory: Path
    emulated: Path | None
    """Raw records of real frames to compare with, if there are any."""
    emulated_until_ps: int
    failures: tuple[FailureEvent, ...] = ()
    """What goes wrong in the cell, and what follows."""
    stated_ps: int | None = None
    """For how long that costs frames."""
    sample_interval_ps: int | None = None
    """Between two samples of its counters; None: a 200th of the measured time, 0: no samples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinOutcome:
    """What came of it."""

    summary: CellSummary
    records: int
    """All that were kept, whichever of them the summary is of."""
    counters: dict[str, dict[str, int]]
    queue: dict[str, npt.NDArray[Any]]
    """Columns of queue_depth.parquet: queues and pauses in the first 200 us."""
    difference: str | None
    hops: int
    wall_s: float


def share_progress(progress: SynchronizedArray[Any]) -> None:
    """Let this process tell in `progress` how far its cells are."""
    global _progress
    _progress = progress


def run_twin_cell(job: TwinJob) -> TwinOutcome:
    """Run a cell in this process."""
    began = time.monotonic()
    twin = _engine.Twin(build_plan(job.plan))
    twin.trace_queues(TRACE_PS, TRACE_SAMPLES)
    sampler = _sampler(job)
    advance(
        twin,
        cell_id=job.cell.id,
        measure_until_ps=job.measure_until_ps,
        tell=partial(_tell, job),
        sampler=sampler,
    )
    wall_s = time.monotonic() - began
    lossy, halves = is_lossy(job.plan), ([twin.tx_records()], [twin.rx_records()])
    records = join_records(*halves, lossy=lossy)
    emulated = _emulated(job)
    kept = records[: job.records]
    lost = count_lost(*halves, until_ps=_last_ps(job, kept), dst=_measured(job)) if lossy else 0
    counters = twin.counters()
    cell_files.write_cell(job.directory, job.cell.id, kept)
    inband = _telemetry(twin, job)
    if sampler is not None:
        cell_files.write_series(job.directory, job.cell.id, sampler.table())
    return TwinOutcome(
        summary=replace(
            summarise_cell(job.cell, kept, counters, lost=lost, goodput_bps=_goodput_bps(job, halves[1])),
            emulated_records=len(emulated),
            emulated_digest=digest([("", emulated)]) if len(emulated) else "",
            failures=job.failures[:MOST_EVENTS],
            outage=outage_of(kept, job.failures, job.stated_ps),
            inband=inband,
        ),
        records=len(kept),
        counters=counters,
        queue=_followed(twin, job),
        difference=_difference(job, emulated, records),
        hops=twin.hops,
        wall_s=wall_s,
    )


def _last_ps(job: TwinJob, kept: Records) -> int:
    """When the last message was intended that would be kept, had it arrived."""
    return int(kept["intended_ps"][-1]) if len(kept) == job.records else job.measure_until_ps


def _goodput_bps(job: TwinJob, rx_parts: Sequence[bytes]) -> int | None:
    """Of all messages that arrived: those kept are the first that were intended, and in a closed loop of few cards."""
    arrived = np.concatenate([np.frombuffer(part, RX_DTYPE) for part in rx_parts])
    if (measured := _measured(job)) is not None:
        arrived = arrived[arrived["dst"] == measured]
    return rate_bps(arrived["completed_ps"], job.cell.size_bytes)


def _measured(job: TwinJob) -> int | None:
    return job.cell.scenario.measured_destination


def _sampler(job: TwinJob) -> CounterSampler | None:
    """What keeps the cell's counters over time, unless that is off."""
    if job.sample_interval_ps == 0:
        return None
    interval_ps = job.sample_interval_ps or _usual_step_ps(job.measure_until_ps)
    return CounterSampler(interval_ps, job.measure_until_ps)


def _usual_step_ps(measure_until_ps: int) -> int:
    """A 200th, or less, with two digits."""
    step_ps = max(1, measure_until_ps // SAMPLES)
    unit_ps: int = 10 ** max(0, len(str(step_ps)) - 2)
    return step_ps // unit_ps * unit_ps


def advance(
    twin: _engine.Twin,
    *,
    cell_id: str,
    measure_until_ps: int,
    tell: Callable[[int, int], None],
    sampler: CounterSampler | None = None,
) -> None:
    """Run to the end in steps, telling virtual time and messages done, and sampling counters."""
    step_ps = sampler.step_ps if sampler else _usual_step_ps(measure_until_ps)
    step = 1
    try:
        while twin.run(step * step_ps):
            tell(twin.now_ps, twin.messages)
            after = max(step + 1, twin.next_event_ps // step_ps + 1)  # nothing happens in between
            if sampler is not None:
                sampler.take(step, after, twin.counters)
            step = after
    except RuntimeError as error:
        known = engine_error(f"{cell_id}: {error}", type(error).__name__)
        if known is None:
            raise
        raise known from error
    if not twin.done:
        raise MeasurementError(
            f"{cell_id}: nothing is left to do, but messages are missing",
            remedy="a model is at fault; please report the spec of this run",
        )
    tell(twin.now_ps, twin.messages)


def _tell(job: TwinJob, virtual_ps: int, messages: int) -> None:
    if _progress is not None:
        _progress[2 * job.index] = virtual_ps
        _progress[2 * job.index + 1] = min(messages, job.records)


def _emulated(job: TwinJob) -> Records:
    """What real frames left, whose file is not needed any more."""
    if job.emulated is None:
        return np.empty(0, RECORD_DTYPE)
    emulated: Records = np.fromfile(job.emulated, RECORD_DTYPE)
    os.unlink(job.emulated)
    return emulated


def _difference(job: TwinJob, emulated: Records, records: Records) -> str | None:
    """The first record of real frames that differs from the twin's."""
    if job.emulated is None:
        return None
    both = records[records["intended_ps"] < job.emulated_until_ps]
    difference = first_difference(emulated, both, names=("real frames", "the twin"))
    return None if difference is None else f"{job.cell.id}: {difference}"


def _telemetry(twin: _engine.Twin, job: TwinJob) -> InBand | None:
    """Save what packets brought along and what switches sampled; what the former say of each hop."""
    hops = np.frombuffer(twin.int_samples(), INT_DTYPE)
    inband = inband_of(hops, job.plan, twin.int_interval)
    if inband is not None:
        telemetry_files.write_inband(job.directory, job.cell.id, hops, inband)
    if agents := agents_of(job.plan):
        samples = np.frombuffer(twin.flow_samples(), FLOW_DTYPE)
        end_ps = max(twin.now_ps, int(samples["time_ps"].max(initial=0)))  # a switch may be ahead of others
        sampled = Sampled(samples=samples, agents=agents, end_ps=end_ps)
        telemetry_files.write_sampled(job.directory, job.cell.id, sampled)
    return inband


def _followed(twin: _engine.Twin, job: TwinJob) -> dict[str, npt.NDArray[Any]]:
    """The queues and pauses of the first 200 us, as columns."""
    samples = np.frombuffer(twin.queue_samples(), SAMPLE_DTYPE)
    return columns_of(job.cell.id, followed_in(job.plan, samples))
