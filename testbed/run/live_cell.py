"""A cell on a standing fabric, with the control plane that programs its switches: for runs and captures alike.

The switches forward by what their bridges hold. With the testbed's own application that must be what `rules.py` makes
of the fabric and its failures, entry for entry and time for time, or the run fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from testbed.controller.discovery import check_wiring
from testbed.controller.tables import Programme
from testbed.errors import MeasurementError
from testbed.run.cell_run import CellRun
from testbed.run.live_control import LiveControl
from testbed.run.progress import Progress
from testbed.spec.experiment import DUMP, FRAMEWORKS, STATIC, Experiment

if TYPE_CHECKING:
    from testbed.fabric.build import LiveFabric
    from testbed.fabric.control_plane import ControlPlane
    from testbed.fabric.state import RunState
    from testbed.run.emulation import Emulated


@dataclass(slots=True)
class LiveCells:
    """The cells of one run on real frames, whose switches one controller programs."""

    experiment: Experiment
    state: RunState
    progress: Progress
    control: dict[str, Any] = field(default_factory=dict)
    """Who programmed the switches: of metadata.json."""

    @property
    def controller(self) -> str:
        """By name or file."""
        return self.experiment.controller or FRAMEWORKS[0]

    @property
    def is_own(self) -> bool:
        """Whether the testbed's own application does."""
        return self.controller in FRAMEWORKS

    @contextmanager
    def control_plane(self, live: LiveFabric, run: CellRun) -> Iterator[ControlPlane | None]:
        """Bridges and a controller, and cables that lead where they should; None where no controller runs."""
        self.control["controller"] = self.controller
        if self.controller == STATIC or self.controller.endswith(DUMP):
            yield None
            return
        # Only here, as for Mininet: what is wrong with the input must be told where nothing is installed, too.
        from testbed.fabric.control_plane import control_plane

        self.progress.stage("start the control plane")
        with control_plane(
            run.network.fabric,
            state=self.state,
            controller=self.controller,
            setup=run.network.control,
            cards_per_nic=run.cards_per_nic,
        ) as plane:
            self.control |= plane.about()
            if plane.is_ours:
                self.progress.stage("look for the cables")
                switches = {switch.name: live.netns_pid(switch.name) for switch in live.fabric.switches}
                check_wiring(run.network.fabric, plane.links(switches))
            yield plane

    def emulate(
        self,
        live: LiveFabric,
        plane: ControlPlane | None,
        run: CellRun,
        *,
        report: Callable[[int, int], None],
    ) -> tuple[Emulated, Programme | None]:
        """One cell; with it the tables that its switches had, where these are not the testbed's own."""
        from testbed.run import emulation

        self.progress.stage(f"{run.cell.id}, real frames")
        control = None if plane is None else LiveControl(plane, run.network, cards_per_nic=run.cards_per_nic)
        first = None if control is None else Programme(first=control.first)
        done = emulation.emulate(
            live,
            run.plan(self.experiment.seed, run.emulated_until_ps, given=first),
            state=self.state,
            snap_bytes=self.experiment.snap_bytes,
            report=report,
            host_agents=run.network.host_agents,
            control=control,
        )
        if control is None:
            return done, run.given
        programme = control.finish(done.punts)
        if not self.is_own:
            return done, programme
        _check_own(run, programme)
        return done, None


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
