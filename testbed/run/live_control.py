"""The control plane of a standing fabric in one cell: what it does while the clock is held, and what follows from it.

At each time at which switches notice something, carriers change, the controller reacts, and its tables are read back
from the bridges. They take effect when its latency and the installation of the entries are over, in virtual time. What
the emulated part of a cell does not live to see is gone through afterwards, so that the twin, which goes on, has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from testbed.controller.asic import check_tables, lower
from testbed.controller.carrier import port_events
from testbed.controller.reaction import Installation
from testbed.controller.tables import Programme, SwitchTables, TableUpdate
from testbed.engine import _engine
from testbed.run.emulation import Acts
from testbed.run.resolve import Network
from testbed.spec.fabric import FOREVER_PS


class Plane(Protocol):
    """What it needs of `testbed.fabric.control_plane.ControlPlane`."""

    netns_pid: int

    def cpu_interface(self, switch: str, port: int) -> str:
        """By which frames of a port go to the CPU."""

    def processes(self) -> dict[str, int]:
        """Those that must live."""

    def set_carrier(self, switch: str, port: int, up: bool) -> None:
        """Of a port's host interface."""

    def settle(self) -> None:
        """Until the controller has reacted."""

    def tables(self) -> dict[str, SwitchTables]:
        """As the bridges have them."""

    def check_tables(self) -> None:
        """That nobody but the controller has changed them."""

    def stop_controller(self) -> None:
        """It is lost."""

    def start_controller(self) -> None:
        """It is back."""


@dataclass(slots=True)
class _Step:
    """What is due at one time."""

    carriers: list[tuple[int, bool]] = field(default_factory=list)
    controller: bool | None = None
    processes: list[str] = field(default_factory=list)


class LiveControl:
    """Drives a control plane through the failures of a cell."""

    def __init__(self, plane: Plane, network: Network, *, cards_per_nic: int) -> None:
        self._plane = plane
        self._network = network
        self._cards = len(network.fabric.endpoints) * cards_per_nic
        self._steps = _steps(network)
        self._lost = False
        self.first: Mapping[str, SwitchTables] = plane.tables()
        """What the switches begin with."""
        self._installation = Installation(network.control, self.first)

    @property
    def punt_latency_ps(self) -> int:
        """From a frame without a rule to what the controller makes of it."""
        return self._network.control.control_latency_ps

    def cpu_place(self, switch: str, ports: int) -> dict[str, Any]:
        """Where a switch hands frames to its CPU."""
        names = [self._plane.cpu_interface(switch, port) for port in range(1, ports)]
        return {"cpu_netns": f"/proc/{self._plane.netns_pid}/ns/net", "cpu_interfaces": ["", *names]}

    def processes(self) -> dict[str, int]:
        """Those of the control plane that run now, by name."""
        return self._plane.processes()

    def next_ps(self) -> int:
        """When something is due next."""
        return min(self._steps, default=_engine.NEVER_PS)

    def act(self, now_ps: int) -> Acts:
        """Do what is due, or look at what frames without a rule have made of the controller."""
        step = self._steps.pop(now_ps, _Step())
        updates = self._do(now_ps, step)
        return Acts(orders=[self._order(update) for update in updates], processes=step.processes)

    def finish(self) -> Programme:
        """Go through what is left, and bring everything back to how it was; all that has followed."""
        for time_ps in sorted(self._steps):
            self._do(time_ps, self._steps.pop(time_ps))
        self._restore()
        return Programme(first=self.first, updates=self._installation.in_order())

    def _do(self, now_ps: int, step: _Step) -> Sequence[TableUpdate]:
        if step.controller is False:
            self._plane.stop_controller()
            self._lost = True
        for index, up in step.carriers:
            self._set(index, up=up)
        if step.controller:
            self._plane.start_controller()
            self._lost = False
        if self._lost:
            return ()
        self._plane.settle()
        found = self._plane.tables()
        for name, tables in found.items():
            check_tables(name, tables, self._network.switch.profile)
        return self._installation.react(found, now_ps)

    def _set(self, index: int, *, up: bool) -> None:
        """Both ends of a link, where they are switches."""
        link = self._network.fabric.links[index]
        switches = {switch.name for switch in self._network.fabric.switches}
        for name in (link.a, link.b):
            if name in switches:
                self._plane.set_carrier(name, link.port_at(name), up)

    def _restore(self) -> None:
        if self._lost:
            self._plane.start_controller()
            self._lost = False
        for index, up in _last_carriers(self._network).items():
            if not up:
                self._set(index, up=True)
        self._plane.settle()
        self._plane.check_tables()

    def _order(self, update: TableUpdate) -> dict[str, Any]:
        ports = [link.port_at(update.switch) for link in self._network.fabric.links_of(update.switch)]
        tables = lower(update.tables, cards=self._cards, ports=ports)
        return {"node": update.switch, "time_ps": update.time_ps, "tables": tables}


def _steps(network: Network) -> dict[int, _Step]:
    """By time."""
    steps: dict[int, _Step] = {}

    def at(time_ps: int) -> _Step:
        return steps.setdefault(time_ps, _Step())

    for event in _noticed(network):
        at(event.time_ps).carriers.append((event.link, event.up))
    for failure in network.failures:
        if failure.kind == "lost":
            at(failure.from_ps).controller = False
            if failure.until_ps < FOREVER_PS:
                at(failure.until_ps).controller = True
        elif failure.kind == "process":
            at(failure.from_ps).processes.append(failure.where)
    return steps


def _noticed(network: Network) -> Sequence[Any]:
    control = network.control
    return port_events(
        network.fabric,
        network.failures,
        detection_ps=control.detection_ps,
        link_up_ps=control.link_up_ps,
    )


def _last_carriers(network: Network) -> dict[int, bool]:
    """By link: whether it is up in the end."""
    return {event.link: event.up for event in _noticed(network)}
