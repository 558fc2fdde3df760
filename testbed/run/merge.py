"""Merges results of parts of an experiment (`tb run --cells`) into what one run of all its cells would have saved.

What is known of a cell alone is taken from its part: its files are copied, and their records must have the digest that
the part's summary states. All that is about several cells is made anew, by what makes it in a run.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from testbed import __version__
from testbed.analysis.records import digest
from testbed.analysis.summary import CellSummary
from testbed.controller.tables import Programme
from testbed.errors import MeasurementError, SpecError
from testbed.run import cell_files, telemetry_files
from testbed.run.assemble import FinishedCell, Provenance, RunOutcome, assemble
from testbed.run.controllers import TABLES, read_programmes
from testbed.run.files import storing
from testbed.run.metadata import SCHEMA_VERSION
from testbed.run.resolve import Resolved, resolve
from testbed.run.store import LoadedResult, ResultWriter, load_result
from testbed.spec.codec import to_dict
from testbed.spec.experiment import Cell, Experiment

_TELLS_OF_CELLS = ("emulation", "twin", "cells", "part_of")
"""What the metadata of a part say of its cells; the merged result says it of all of them."""
_AGAIN = "run that part again"


def merge_results(parts: Sequence[Path], experiment: Experiment, *, engine: str, out: Path) -> RunOutcome:
    """One result of parts that have each cell once, saved below `out`.

    Raises:
        SpecError: a part is none of this experiment, seed, engine or version, or a cell is missing or there twice.
        MeasurementError: what a part holds is not what it says.
    """
    resolved = resolve(experiment)
    loaded = [_load(Path(directory)) for directory in parts]
    for part in loaded:
        _check_alike(part, experiment, engine)
    owners = _owners(loaded, resolved)
    with ResultWriter(out, experiment.name, to_dict(experiment)) as writer:
        finished = _finished(loaded, owners, resolved, writer)
        provenance = Provenance(
            engine=engine, control=_control(loaded), parts=[_about(one) for one in loaded]
        )
        return assemble(resolved, finished, writer, provenance)


# ------------------------------------------------------------------------------------------------- what fits


def _load(directory: Path) -> LoadedResult:
    try:
        return load_result(directory)
    except SpecError as error:
        raise SpecError(f"part {directory}: {error}", remedy=error.remedy) from error


def _check_alike(part: LoadedResult, experiment: Experiment, engine: str) -> None:
    """Raise a `SpecError` unless a part is of this experiment, and was run as the others were."""
    wanted = to_dict(experiment)
    others = [name for name in {**wanted, **part.spec} if part.spec.get(name) != wanted.get(name)]
    if others:
        told = (
            f"seed {part.spec.get('seed')}, not {experiment.seed}"
            if others == ["seed"]
            else ", ".join(others)
        )
        raise _unlike(part, f"is of another spec: {told}", "merge parts of one experiment, with one seed")
    if part.summary.clock.engine != engine:
        raise _unlike(
            part, f"was run by engine {part.summary.clock.engine}, not {engine}", "run it by that one"
        )
    version = part.metadata.get("project_version")
    if version != __version__:
        raise _unlike(part, f"is of version {version}, this is {__version__}", "run it with this version")
    schema = part.metadata.get("schema_version")
    if schema != SCHEMA_VERSION:
        raise _unlike(
            part, f"has metadata of form {schema}, not {SCHEMA_VERSION}", "run it with this version"
        )


def _unlike(part: LoadedResult, what: str, remedy: str) -> SpecError:
    return SpecError(f"part {part.directory} {what}", remedy=remedy)


def _owners(parts: Sequence[LoadedResult], resolved: Resolved) -> dict[str, LoadedResult]:
    """By cell: the one part that has it."""
    known = {cell.id for cell in resolved.cells}
    owners: dict[str, LoadedResult] = {}
    for part in parts:
        for cell in part.summary.cells:
            if cell.id not in known:
                raise _unlike(part, f"has a cell that the experiment has not: {cell.id}", _AGAIN)
            if cell.id in owners:
                raise _unlike(
                    part,
                    f"repeats cell {cell.id} of part {owners[cell.id].directory}",
                    "give each part once, and parts that share no cell",
                )
            owners[cell.id] = part
    if missing := [cell.id for cell in resolved.cells if cell.id not in owners]:
        raise SpecError(
            f"no part has {len(missing)} of the {len(known)} cells: {', '.join(missing)}",
            remedy=f"run them: ./tb run ... --cells {','.join(missing)}",
        )
    return owners


# ------------------------------------------------------------------------------------------------- its cells


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """What is read once of a part, for all its cells."""

    result: LoadedResult
    counters: dict[str, dict[str, dict[str, int]]]
    queue: dict[str, npt.NDArray[Any]]
    programmes: dict[str, Programme]

    def metadata_of(self, kind: str, cell_id: str) -> Any:  # noqa: ANN401 - JSON
        """What its metadata say of a cell on one clock; None for nothing."""
        return self.result.metadata.get(kind, {}).get(cell_id)


def _finished(
    loaded: Sequence[LoadedResult],
    owners: dict[str, LoadedResult],
    resolved: Resolved,
    writer: ResultWriter,
) -> list[FinishedCell]:
    """All cells in the experiment's order, their files in the new result."""
    parts = {part.directory: _read(part, resolved) for part in loaded}
    return [_cell(parts[owners[cell.id].directory], cell, resolved, writer) for cell in resolved.cells]


def _read(part: LoadedResult, resolved: Resolved) -> _Part:
    ids = {cell.id for cell in part.summary.cells}
    networks = [(cell, resolved.network(cell)) for cell in resolved.cells if cell.id in ids]
    tables = part.directory / TABLES
    queue = _of_part(part, part.queue_depth)
    if queue is None:
        raise _untrusted(part, "has no queue_depth.parquet")
    return _Part(
        result=part,
        counters=_of_part(part, part.counters),
        queue=queue,
        programmes=_of_part(part, lambda: read_programmes(tables, networks)) if tables.exists() else {},
    )


def _of_part(part: LoadedResult, read: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever is read
    """What a file of a part holds; that it cannot be read spoils the part."""
    try:
        return read()
    except SpecError as error:
        raise _untrusted(part, f"is damaged: {error}") from error


def _cell(part: _Part, cell: Cell, resolved: Resolved, writer: ResultWriter) -> FinishedCell:
    """One cell, whose files are copied and checked."""
    result = part.result
    summary = next(one for one in result.summary.cells if one.id == cell.id)
    sampled = resolved.experiment.sample_interval_ps != 0
    for path in _files_of(result, summary, sampled=sampled):
        _copy(result, path, writer.directory)
    records = _of_part(result, lambda: cell_files.read_records(writer.directory, cell.id))
    if digest([("", records)]) != summary.records_digest:
        raise _untrusted(result, f"has other records of {cell.id} than its summary says")
    twin = part.metadata_of("twin", cell.id)
    if cell.id not in part.counters or twin is None:
        raise _untrusted(result, f"says too little of {cell.id}: counters.json or metadata.json lacks it")
    here = part.queue["cell"] == cell.id
    return FinishedCell(
        cell=cell,
        summary=summary,
        records=len(records),
        counters=part.counters[cell.id],
        queue={name: column[here] for name, column in part.queue.items()},
        twin=twin,
        real=part.metadata_of("emulation", cell.id),
        programme=part.programmes.get(cell.id),
    )


def _files_of(part: LoadedResult, summary: CellSummary, *, sampled: bool) -> Iterable[Path]:
    """Those that a cell has in its part, relative to it."""
    root, cell_id = Path(), summary.id
    yield cell_files.records_path(root, cell_id)
    yield cell_files.hdr_path(root, cell_id)
    if sampled:
        yield cell_files.series_path(root, cell_id)
    for path in telemetry_files.telemetry_paths(root, cell_id):
        if (part.directory / path).exists():
            yield path


def _copy(part: LoadedResult, path: Path, into: Path) -> None:
    source = part.directory / path
    if not source.is_file():
        raise _untrusted(part, f"lacks {path}")
    with storing(into / path) as target:
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(source, target)


def _untrusted(part: LoadedResult, what: str) -> MeasurementError:
    return MeasurementError(f"part {part.directory} {what}", remedy=_AGAIN)


# ------------------------------------------------------------------------------------------------- where it is from


def _control(parts: Sequence[LoadedResult]) -> dict[str, Any]:
    """Who programmed the switches, as far as all parts agree; where they do not, each part has its own."""
    told = [part.metadata.get("control", {}) for part in parts]
    return {key: value for key, value in told[0].items() if all(one.get(key) == value for one in told)}


def _about(part: LoadedResult) -> dict[str, Any]:
    """A part in the metadata of the whole: the result, its cells, the program and the machine that ran it."""
    cells = [cell.id for cell in part.summary.cells]
    known = {key: value for key, value in part.metadata.items() if key not in _TELLS_OF_CELLS}
    return {"result": part.result_id, "cells": cells, **known}
