"""Every cell on real frames: standing fabrics, a control plane beside each, one cell after the other.

The switches forward by what their bridges hold. With the testbed's own application that must be what `rules.py` makes
of the fabric and its failures, entry for entry and time for time, or the run fails; another application's tables go
into the result, and the twin forwards by them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from testbed.controller.tables import Programme
from testbed.errors import MeasurementError
from testbed.run.cell_run import CellRun, emulated_path
from testbed.run.files import storing
from testbed.run.live_control import LiveControl
from testbed.run.progress import Progress
from testbed.run.resolve import Resolved
from testbed.run.store import ResultWriter
from testbed.spec.experiment import Experiment

if TYPE_CHECKING:
    from testbed.fabric.build import LiveFabric
    from testbed.fabric.control_plane import ControlPlane
    from testbed.fabric.state import RunState

STATIC = "static"
OWN = ("ryu", "os-ken")
"""Frameworks under which the testbed's own application runs."""

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
    found = _Found(controller=resolved.experiment.controller or OWN[0])
    with RunState.create(writer.result_id) as state:
        state.record_partial(writer.directory)
        for alike in by_wiring(runs):
            progress.stage("build the fabric")
            with build_fabric(alike[0].network.fabric, state=state) as live:
                for same in _by_rules(alike, own=found.controller in OWN):
                    with _control_plane(same[0], found, state, progress) as plane:
                        for run in same:
                            progress.stage(f"{run.cell.id}, real frames")
                            _run_cell(live, plane, run, resolved.experiment, writer, state, told, found)
    return RealFrames(speeds=found.speeds, programmes=found.programmes, control=found.control)


@dataclass(slots=True)
class _Found:
    controller: str
    speeds: dict[str, dict[str, Any]] = field(default_factory=dict)
    programmes: dict[int, Programme] = field(default_factory=dict)
    control: dict[str, Any] = field(default_factory=dict)


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


@contextmanager
def _control_plane(
    run: CellRun, found: _Found, state: RunState, progress: Progress
) -> Iterator[ControlPlane | None]:
    """Bridges and a controller; None where the rules do not come from a controller."""
    if found.controller == STATIC or found.controller.endswith(".json"):
        found.control["controller"] = found.controller
        yield None
        return
    from testbed.fabric.control_plane import control_plane

    progress.stage("start the control plane")
    with ExitStack() as stack:
        plane = stack.enter_context(
            control_plane(
                run.network.fabric,
                state=state,
                controller=found.controller,
                setup=run.network.control,
                cards_per_nic=run.cards_per_nic,
            )
        )
        found.control |= {"controller": found.controller, "datapath": plane.datapath}
        yield plane


def _run_cell(
    live: LiveFabric,
    plane: ControlPlane | None,
    run: CellRun,
    experiment: Experiment,
    writer: ResultWriter,
    state: RunState,
    told: Told,
    found: _Found,
) -> None:
    """One cell on a standing fabric."""
    from testbed.run.emulation import emulate

    control = None
    if plane is not None:
        control = LiveControl(plane, run.network, cards_per_nic=run.cards_per_nic)
    given = None if control is None else Programme(first=control.first)
    done = emulate(
        live,
        run.plan(experiment.seed, run.emulated_until_ps, given=given),
        state=state,
        snap_bytes=experiment.snap_bytes,
        report=partial(told, run),
        host_agents=run.network.host_agents,
        control=control,
    )
    if control is not None:
        programme = control.finish(done.punts)
        if found.controller in OWN:
            _check_own(run, programme)
        else:
            found.programmes[run.index] = programme
    with storing(emulated_path(writer.directory, run.index)) as path:
        path.write_bytes(done.records.tobytes())
    found.speeds[run.cell.id] = {
        "records": len(done.records),
        "packet_hops": done.hops,
        "wall_s": round(done.wall_s, 3),
        "packet_hops_per_s": round(done.hops / done.wall_s),
        "foreign_frames": done.foreign_frames,
        "scheduling": done.policy,
        "agents_disturbed_at_ps": done.disturbed_at_ps,
        "agents_lost": len(done.agents_lost),
    }


def _check_own(run: CellRun, programme: Programme) -> None:
    """What the bridges held, and when, must be what the rules say."""
    expected = run.programme()
    if dict(programme.first) != dict(expected.first):
        wrong = [name for name, tables in expected.first.items() if programme.first.get(name) != tables]
        raise MeasurementError(
            f"{run.cell.id}: the tables of {', '.join(wrong[:4])} are not what the rules say",
            remedy="something else may have changed them; run again, and report it if it repeats",
        )
    if programme.updates != expected.updates:
        raise MeasurementError(
            f"{run.cell.id}: the controller reacted otherwise than the rules say: {len(programme.updates)} updates"
            f" of tables, {len(expected.updates)} expected",
            remedy="something else may have changed the tables; run again, and report it if it repeats",
        )
