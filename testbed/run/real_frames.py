"""Every cell on real frames: standing fabrics, a control plane beside each, one cell after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from testbed.controller.tables import Programme
from testbed.run.cell_run import CellRun, emulated_path
from testbed.run.files import storing
from testbed.run.live_cell import LiveCells
from testbed.run.progress import Progress
from testbed.run.resolve import Resolved
from testbed.run.store import ResultWriter

if TYPE_CHECKING:
    from testbed.run.emulation import Emulated

Told = Callable[[CellRun, int, int], None]
"""Called with a cell, virtual time in ps and messages completed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RealFrames:
    """What real frames gave beside their records."""

    speeds: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By cell: how fast it went."""
    programmes: Mapping[int, Programme] = field(default_factory=dict)
    """By index of the cell: rules that are not the testbed's own."""
    control: Mapping[str, Any] = field(default_factory=dict)
    """Who programmed the switches."""


def run_real_frames(
    resolved: Resolved, runs: Sequence[CellRun], writer: ResultWriter, progress: Progress, told: Told
) -> RealFrames:
    """Run every cell; its records wait in the result's directory for the comparison."""
    if not any(run.emulated_records for run in runs):
        return RealFrames()
    # Only here: the twin alone must work where Mininet is not installed.
    from testbed.fabric.build import build_fabric
    from testbed.fabric.clean import clean
    from testbed.fabric.state import RunState

    for item in clean():
        progress.note(f"removed {item} of a run that was killed")
    speeds: dict[str, Mapping[str, Any]] = {}
    programmes: dict[int, Programme] = {}
    with RunState.create(writer.result_id) as state:
        state.record_partial(writer.directory)
        cells = LiveCells(resolved.experiment, state, progress)
        for alike in by_wiring(runs):
            progress.stage("build the fabric")
            with build_fabric(alike[0].network.fabric, state=state) as live:
                for same in _by_rules(alike, own=cells.is_own):
                    with cells.control_plane(live, same[0]) as plane:
                        for run in same:
                            done, programme = cells.emulate(live, plane, run, report=partial(told, run))
                            with storing(emulated_path(writer.directory, run.index)) as path:
                                path.write_bytes(done.records.tobytes())
                            speeds[run.cell.id] = _speed(done)
                            if programme is not None:
                                programmes[run.index] = programme
    return RealFrames(speeds=speeds, programmes=programmes, control=cells.control)


def by_wiring(runs: Sequence[CellRun]) -> list[list[CellRun]]:
    """Cells that one standing fabric serves: rates, media and lengths are the clock's matter, not its."""
    groups: dict[object, list[CellRun]] = {}
    for run in runs:
        fabric = run.network.fabric
        ends = tuple((link.a, link.a_port, link.b, link.b_port) for link in fabric.links)
        groups.setdefault((tuple(fabric.node_names()), ends), []).append(run)
    return list(groups.values())


def _by_rules(runs: Sequence[CellRun], *, own: bool) -> list[list[CellRun]]:
    """Cells that one control plane serves: their switches begin with the same rules.

    An application that is not the testbed's own may have learnt from a cell, so each cell has it anew.
    """
    if not own:
        return [[run] for run in runs]
    groups: dict[object, list[CellRun]] = {}
    for run in runs:
        rates = tuple(link.rate_bps for link in run.network.fabric.links)
        key = (run.network.control.rules, run.cards_per_nic, rates)
        groups.setdefault(key, []).append(run)
    return list(groups.values())


def _speed(done: Emulated) -> dict[str, Any]:
    return {
        "records": len(done.records),
        "packet_hops": done.hops,
        "wall_s": round(done.wall_s, 3),
        "packet_hops_per_s": round(done.hops / done.wall_s),
        "foreign_frames": done.foreign_frames,
        "scheduling": done.policy,
        "agents_disturbed_at_ps": done.disturbed_at_ps,
        "agents_lost": len(done.agents_lost),
    }
