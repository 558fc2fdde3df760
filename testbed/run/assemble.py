"""From finished cells, whose files lie in the result's directory, to the result: tables, summary, report, figures.

A run assembles the cells that it has run; a merge those of several runs, of one cell or more each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from testbed.analysis.answers import answers
from testbed.analysis.budget import budget_answers
from testbed.analysis.records import digest
from testbed.analysis.summary import CellSummary, ClockStatement, RunSummary
from testbed.controller.dump import dump_of
from testbed.controller.tables import Programme
from testbed.report.cells import write_cell_figures
from testbed.report.describe import networks_line
from testbed.report.figures import write_figures
from testbed.report.inband_figure import write_hop_figures
from testbed.report.nic import one_way_ps
from testbed.report.text import report_text
from testbed.report.view import view_run
from testbed.run import cell_files
from testbed.run.assumptions import assumptions_of_run
from testbed.run.controllers import TABLES, dump_text, failure_texts
from testbed.run.metadata import collect_metadata
from testbed.run.resolve import Resolved
from testbed.run.store import ResultWriter
from testbed.spec.codec import to_dict
from testbed.spec.experiment import STATIC, Cell, Experiment


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """Where the result is, and what it says."""

    directory: Path
    summary: RunSummary
    text: str
    """The report at its full width."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedCell:
    """What a result says of a cell beside what is in the cell's own files."""

    cell: Cell
    summary: CellSummary
    records: int
    """All that were kept, whichever of them the summary is of."""
    counters: Mapping[str, Mapping[str, int]]
    queue: Mapping[str, npt.NDArray[Any]]
    """Its columns of queue_depth.parquet."""
    twin: Mapping[str, Any]
    """How fast the twin was."""
    real: Mapping[str, Any] | None = None
    """How fast real frames went; None without any."""
    programme: Programme | None = None
    """Its tables, where they are not the testbed's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """How the cells of a result came about."""

    engine: str
    control: Mapping[str, Any] = field(default_factory=dict)
    """Who programmed the switches, where real frames ran."""
    parts: Sequence[Mapping[str, Any]] = ()
    """What is known of the parts that were merged; none in a result of one run."""


def assemble(
    resolved: Resolved, cells: Sequence[FinishedCell], writer: ResultWriter, provenance: Provenance
) -> RunOutcome:
    """Write all of a result but the files of its cells, which are there.

    Args:
        resolved: the experiment.
        cells: all of its cells or some, in its order.
        writer: of the result.
        provenance: for the metadata.
    """
    _save_tables(resolved, cells, writer)
    summary = _summary(resolved, provenance.engine, cells, writer.directory)
    queue = {name: np.concatenate([cell.queue[name] for cell in cells]) for name in cells[0].queue}
    writer.write_json("summary.json", to_dict(summary))
    writer.write_json("counters.json", {cell.summary.id: cell.counters for cell in cells})
    writer.write_json("metadata.json", _metadata(resolved, cells, provenance))
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


def _save_tables(resolved: Resolved, cells: Sequence[FinishedCell], writer: ResultWriter) -> None:
    """Tables that are not the testbed's own are a part of the result."""
    dump = dump_of(
        (one.cell.id, failure_texts(resolved.network(one.cell)), one.programme)
        for one in cells
        if one.programme is not None
    )
    if dump.programmes:
        writer.write_text(TABLES, dump_text(dump))


def _metadata(resolved: Resolved, cells: Sequence[FinishedCell], provenance: Provenance) -> dict[str, Any]:
    """This program and machine; who ran which cells, and how fast."""
    part_of = _part_of(resolved, cells)
    part = {"part_of": part_of, "cells": [one.cell.id for one in cells]} if part_of else {}
    return {
        **collect_metadata(),
        "engine": provenance.engine,
        "emulation": {one.cell.id: one.real for one in cells if one.real is not None},
        "control": provenance.control or {"controller": resolved.experiment.controller or STATIC},
        "twin": {one.cell.id: one.twin for one in cells},
        **part,
        **({"parts": list(provenance.parts)} if provenance.parts else {}),
    }


def _part_of(resolved: Resolved, cells: Sequence[FinishedCell]) -> int:
    """How many cells there should be, if there are fewer; else 0."""
    return len(resolved.cells) if len(cells) < len(resolved.cells) else 0


def _summary(
    resolved: Resolved, engine: str, finished: Sequence[FinishedCell], directory: Path
) -> RunSummary:
    """All cells together."""
    experiment = resolved.experiment
    emulated = sum(one.summary.emulated_records for one in finished)
    cells = tuple(
        replace(
            one.summary, nics_ps=one_way_ps(resolved.network(one.cell).nic(one.cell), one.cell.size_bytes)
        )
        for one in finished
    )
    places = {one.name: (one.row or one.name, one.column) for one in experiment.variants}
    part_of = _part_of(resolved, finished)
    return RunSummary(
        experiment=experiment.name,
        question=experiment.question,
        seed=experiment.seed,
        fabric=networks_line([one.in_short() for one in resolved.networks]),
        part_of=part_of,
        variants={variant.name: variant.changes() for variant in experiment.variants},
        failures=experiment.failures,
        control=_control(experiment),
        budget_ps=experiment.budget_ps,
        places=places,
        clock=ClockStatement(
            engine=engine,
            clock="virtual" if emulated else "twin",
            emulated_records=emulated,
            twin_records=sum(one.records for one in finished),
            equal=True if emulated else None,
            foreign_frames=sum(one.real["foreign_frames"] for one in finished if one.real is not None),
        ),
        cells=cells,
        records_digest=digest((cell.id, cell_files.read_records(directory, cell.id)) for cell in cells),
        assumptions=assumptions_of_run(resolved),
        answers=_answers(experiment, cells, places, whole=not part_of),
    )


def _control(experiment: Experiment) -> dict[str, str]:
    """What it sets of its control plane."""
    controller = {"controller": experiment.controller} if experiment.controller else {}
    return controller | {key: str(value) for key, value in experiment.control_settings.items()}


def _answers(
    experiment: Experiment,
    cells: tuple[CellSummary, ...],
    places: Mapping[str, tuple[str, ...]],
    *,
    whole: bool,
) -> tuple[str, ...]:
    """About a budget, if there is one; else about tails. Of a part, as far as its cells tell."""
    if experiment.budget_ps:
        return tuple(budget_answers(cells, experiment.budget_ps, places))
    disturbed = {variant.name: variant.host_agents for variant in experiment.variants if variant.host_agents}
    return answers(
        cells,
        [variant.name for variant in experiment.variants if variant.reference],
        disturbed if whole else {},  # what it is compared with may be in another part
    )
