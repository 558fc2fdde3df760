"""A run whose real frames disagree with the twin in one picosecond of one field has no result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from testbed.analysis.records import RECORD_DTYPE, Records
from testbed.errors import MeasurementError
from testbed.run import execute as execute_module
from testbed.run.execute import execute
from testbed.run.plan import cell_plan
from testbed.run.progress import NullProgress
from testbed.run.real_frames import RealFrames
from testbed.run.resolve import resolve
from testbed.run.schedule import schedule_of
from testbed.run.twin_cell import TwinJob, run_twin_cell
from testbed.spec.experiment import Experiment, Scenario

EXPERIMENT = Experiment(
    name="comparison",
    question="Does a difference end the run?",
    topology="single_switch",
    topology_parameters={"cards": 3},
    switch="tomahawk5",
    nics=("transparent",),
    sizes_bytes=(4096,),
    scenarios=(Scenario(name="load", kind="poisson", load_permille=500),),
    records=100,
    emulated_records=40,
)


def job(directory: Path, *, until_records: int, emulated: Path | None) -> TwinJob:
    resolved = resolve(EXPERIMENT)
    schedule = schedule_of(resolved.cells[0], resolved.fabric)
    until_ps = schedule.measure_until_ps(until_records)
    cell, network = resolved.cells[0], resolved.networks[0]
    return TwinJob(
        index=0,
        cell=cell,
        plan=cell_plan(cell, network, schedule=schedule, seed=1, measure_until_ps=until_ps),
        records=10_000,
        measure_until_ps=until_ps,
        directory=directory,
        emulated=emulated,
        emulated_until_ps=schedule.measure_until_ps(40),
    )


def real_frames(directory: Path, change: Callable[[Records], Records]) -> Path:
    """What real frames would have given (a shorter run of the same model), changed."""
    from testbed.run.cell_files import read_records

    run_twin_cell(job(directory, until_records=40, emulated=None))
    records = change(read_records(directory, EXPERIMENT.cells()[0].id).copy())
    path = directory / "emulated-0.raw"
    records.tofile(path)
    return path


def one_more(field: str) -> Callable[[Records], Records]:
    def change(records: Records) -> Records:
        records[field][7] += 1
        return records

    return change


def test_comparison_of_equal_records_finds_nothing(tmp_path: Path) -> None:
    path = real_frames(tmp_path, lambda records: records)
    outcome = run_twin_cell(job(tmp_path, until_records=100, emulated=path))
    assert outcome.difference is None
    assert outcome.summary.emulated_records >= 40
    assert outcome.summary.n > outcome.summary.emulated_records, "the twin went on"


@pytest.mark.parametrize("field", RECORD_DTYPE.names)
def test_comparison_of_one_changed_field_finds_it(tmp_path: Path, field: str) -> None:
    path = real_frames(tmp_path, one_more(field))
    outcome = run_twin_cell(job(tmp_path, until_records=100, emulated=path))
    assert outcome.difference is not None


@pytest.mark.parametrize(
    "change",
    [lambda records: records[:-1], lambda records: np.concatenate([records, records[-1:]])],
    ids=["missing", "twice"],
)
def test_comparison_of_a_missing_or_repeated_record_finds_it(
    tmp_path: Path, change: Callable[[Records], Records]
) -> None:
    path = real_frames(tmp_path, change)
    assert run_twin_cell(job(tmp_path, until_records=100, emulated=path)).difference is not None


def test_execute_with_a_difference_saves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(_resolved: object, _runs: object, writer: object, *_rest: object) -> RealFrames:
        real_frames(writer.directory, one_more("delivered_ps"))  # type: ignore[attr-defined]
        return RealFrames()

    monkeypatch.setattr(execute_module, "run_real_frames", run)
    with pytest.raises(MeasurementError, match="real frames and the twin disagree"):
        execute(EXPERIMENT, engine="emulation", out=tmp_path / "out", progress=NullProgress())
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []
