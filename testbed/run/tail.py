"""Explains a saved result's slowest messages: runs one of its cells again in the twin, with their packets traced.

The twin has one outcome for a spec and a seed, so the second run is the first one, seen more closely. That it is, is
checked: every record must be equal to the saved one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from testbed.analysis.explain import Message, Packets, explain, messages_of, packets_of
from testbed.analysis.hops import HOP_DTYPE, hops_by_packet, network_of
from testbed.analysis.records import Records, first_difference
from testbed.analysis.summary import CellSummary
from testbed.analysis.tail import ExplainedTail, choose, tail_of
from testbed.engine import _engine
from testbed.engine.plan import build_plan
from testbed.errors import SpecError
from testbed.registry import unknown_name
from testbed.run.controllers import TABLES, read_programmes
from testbed.run.join import is_lossy, join_records
from testbed.run.plan import cell_plan
from testbed.run.progress import Progress
from testbed.run.resolve import Resolved, resolve
from testbed.run.schedule import schedule_of
from testbed.run.store import LoadedResult
from testbed.run.twin_cell import advance
from testbed.spec.codec import from_dict
from testbed.spec.experiment import Cell, Experiment
from testbed.units import PPM_PER_WHOLE


def explain_tail(
    result: LoadedResult, cell_id: str | None, slowest_ppm: int, progress: Progress
) -> ExplainedTail:
    """Explain the slowest share of a cell's messages; without a cell, of the one with the highest p99.9."""
    summary = _summary_of(result, cell_id)
    resolved = _resolved(result)
    cell = _cell(resolved, summary.id, result)
    plan, until_ps = _plan(resolved, cell, result)
    _require_whole_packets(cell, plan["nodes"][0]["config"])
    packets, network = packets_of(plan["nodes"][0]), network_of(plan)
    records = result.records(summary.id)
    counted = np.flatnonzero(
        records["src"] // network.cards_per_nic != records["dst"] // network.cards_per_nic
    )
    if summary.destination is not None:
        counted = counted[records["dst"][counted] == summary.destination]
    chosen = choose(records[counted], slowest_ppm, packets.count(cell.size_bytes))
    groups = {name: messages_of(records, counted[places]) for name, places in chosen.items()}
    again, hops = _run(plan, until_ps, summary.id, len(records), groups, packets, progress)
    _require_equal(records, again, result)
    explained = {
        name: [explain(message, hops, network, packets) for message in messages]
        for name, messages in groups.items()
    }
    return ExplainedTail(
        summary=summary,
        network=network,
        tail=tail_of(summary.id, len(counted), slowest_ppm, explained),
        slowest=tuple(list(explained.values())[-1]),
    )


def _summary_of(result: LoadedResult, cell_id: str | None) -> CellSummary:
    """The cell that is meant."""
    cells = {cell.id: cell for cell in result.summary.cells}
    if cell_id is None:
        return max(cells.values(), key=lambda cell: cell.percentiles["p99.9"].value_ps or 0)
    if cell_id not in cells:
        raise unknown_name("cell", cell_id, cells)
    return cells[cell_id]


def _resolved(result: LoadedResult) -> Resolved:
    """The experiment of a result; a spec that this version does not understand was written by another."""
    try:
        return resolve(from_dict(Experiment, result.spec))
    except SpecError as error:
        raise SpecError(
            f"{result.directory} cannot be run again: {error}", remedy=_written_by(result)
        ) from error


def _cell(resolved: Resolved, cell_id: str, result: LoadedResult) -> Cell:
    found = next((cell for cell in resolved.cells if cell.id == cell_id), None)
    if found is None:
        raise SpecError(f"{result.directory}: the spec has no cell {cell_id}", remedy=_written_by(result))
    return found


def _require_whole_packets(cell: Cell, config: Mapping[str, Any]) -> None:
    """Refuse messages that are not packets of their own, in their sender's order."""
    reasons = {
        "messages are read, and not sent": cell.scenario.op == "get",
        "messages share packets": bool(config.get("batch_bytes")),
        "packets are made of units": bool(config.get("unit_bytes")),
    }
    for reason, applies in reasons.items():
        if applies:
            raise SpecError(
                f"cell {cell.id}: {reason}, which tb tail does not follow", remedy="explain another cell"
            )


def _written_by(result: LoadedResult) -> str:
    """What to do about a result of another version."""
    version, commit = (result.metadata.get(name) for name in ("project_version", "git_commit"))
    made = f"version {version}" + (f", commit {str(commit)[:12]}" if commit else "")
    return f"explain it with what made it ({made}), or run the experiment again"


def _plan(resolved: Resolved, cell: Cell, result: LoadedResult) -> tuple[dict[str, Any], int]:
    """The plan of the cell's run in the twin, and until when its messages are measured."""
    network = resolved.network(cell)
    schedule = schedule_of(cell, network.fabric, cards_per_nic=network.nic(cell).cards)
    until_ps = schedule.measure_until_ps(resolved.experiment.records_of(cell))
    seed = resolved.experiment.seed
    saved = result.directory / TABLES
    given = read_programmes(saved, [(cell, network)])[cell.id] if saved.is_file() else None
    plan = cell_plan(cell, network, schedule=schedule, seed=seed, measure_until_ps=until_ps, given=given)
    return plan, until_ps


def _run(
    plan: Mapping[str, Any],
    until_ps: int,
    cell_id: str,
    records: int,
    groups: Mapping[str, Sequence[Message]],
    packets: Packets,
    progress: Progress,
) -> tuple[Records, dict[tuple[int, int, int], Any]]:
    """The records of the cell, run again, and the hops of the traced packets."""
    twin = _engine.Twin(build_plan(plan))
    traced = {message for messages in groups.values() for message in messages}
    twin.trace_packets([(*m.flow, psn) for m in traced for psn in packets.psns(m)])
    progress.start(records)
    progress.stage(f"{cell_id}, again")

    def tell(virtual_ps: int, messages: int) -> None:
        done = min(messages, records)
        progress.update(virtual_ps, done, done * PPM_PER_WHOLE // max(records, 1))

    try:
        advance(twin, cell_id=cell_id, measure_until_ps=until_ps, tell=tell)
        progress.stage("explain")
        parts = [twin.tx_records()], [twin.rx_records()]
        again = join_records(*parts, lossy=is_lossy(plan))[:records]
        return again, hops_by_packet(np.frombuffer(twin.hop_samples(), HOP_DTYPE))
    finally:
        progress.finish()


def _require_equal(records: Records, again: Records, result: LoadedResult) -> None:
    difference = first_difference(records, again, names=("the result", "this version"))
    if difference is not None:
        raise SpecError(
            f"{result.directory} was made by another model, so its tail cannot be explained: {difference}",
            remedy=_written_by(result),
        )
