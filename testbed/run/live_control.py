"""The control plane of a standing fabric in one cell: what it does while the clock is held, and what follows from it.

At each time at which switches notice something, carriers change, the controller reacts, and its tables are read back
from the bridges. They take effect when its latency and the installation of the entries are over, in virtual time.

A frame without a rule reaches its bridge, and so the controller, when the control latency is over: neither may know of
what has not happened yet. What they then send leaves the switch at that time; new tables take effect when their entries
are installed.

What the emulated part of a cell does not live to see is gone through afterwards, so that the twin, which goes on, has
it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from testbed.controller.asic import check_tables, lower_updates
from testbed.controller.reaction import Installation, switches_at
from testbed.controller.tables import PacketOut, Programme, SwitchTables, TableUpdate
from testbed.engine import _engine
from testbed.errors import MeasurementError
from testbed.run.holds import Acts, Punt
from testbed.run.resolve import Network
from testbed.spec.fabric import FOREVER_PS


class Plane(Protocol):
    """What it needs of `testbed.fabric.control_plane.ControlPlane`."""

    @property
    def is_ours(self) -> bool:
        """Whether the application changes switches in the order of `Installation`."""

    def to_cpu(self, switch: str, port: int, frame: bytes) -> None:
        """A frame that came by a port goes to the bridge."""

    def from_cpu(self) -> Sequence[tuple[str, int, bytes]]:
        """What the bridges have sent since the last time: switch, port and frame."""

    def processes(self) -> dict[str, int]:
        """Those that must live."""

    def set_carrier(self, switch: str, port: int, up: bool) -> None:
        """Of a port's host interface."""

    def settle(self, *, carriers: bool = True) -> None:
        """Until the controller has reacted: to carriers, or to a frame."""

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
        self._dark: set[int] = set()
        self._known: frozenset[int] = frozenset()
        """Links without carrier: as they are, and as the controller knew them when it last reacted."""
        self._due: dict[int, list[Punt]] = {}
        self._sent: list[PacketOut] = []
        self.first: Mapping[str, SwitchTables] = plane.tables()
        """What the switches begin with."""
        self._installation = Installation(network.control, self.first)
        plane.from_cpu()  # what is left of another cell

    @property
    def punt_latency_ps(self) -> int:
        """From a frame without a rule to what the controller makes of it."""
        return self._network.control.control_latency_ps

    def processes(self) -> dict[str, int]:
        """Those of the control plane that run now, by name."""
        return self._plane.processes()

    def next_ps(self) -> int:
        """When something is due next."""
        return min([*self._steps, *self._due], default=_engine.NEVER_PS)

    def act(self, now_ps: int, punts: Sequence[Punt]) -> Acts:
        """Do what is due."""
        self._note(punts)
        orders = []
        for punt in self._due.pop(now_ps, ()):
            orders += self._hand_over(punt, now_ps)
        step = self._steps.pop(now_ps, None)
        if step is not None:
            orders += self._do(now_ps, step)
        return Acts(orders=orders, processes=step.processes if step else ())

    def finish(self, punts: Sequence[Punt] = ()) -> Programme:
        """Go through what is left, and bring everything back to how it was; all that has followed."""
        self._note(punts)
        while (time_ps := self.next_ps()) < _engine.NEVER_PS:
            self.act(time_ps, ())
        self._restore()
        return Programme(
            first=self.first,
            updates=self._installation.in_order(),
            packet_outs=tuple(sorted(self._sent, key=lambda out: out.time_ps)),
        )

    def _note(self, punts: Sequence[Punt]) -> None:
        """The controller is told of them in order of time; of one time, in the order of the switches."""
        order = {name: index for index, name in enumerate(self.first)}
        for punt in sorted(punts, key=lambda one: (one.time_ps, order[one.switch], one.port)):
            self._due.setdefault(punt.time_ps + self.punt_latency_ps, []).append(punt)

    def _hand_over(self, punt: Punt, now_ps: int) -> list[dict[str, Any]]:
        """A frame reaches its bridge; what follows from it."""
        if self._lost:
            return []
        self._plane.to_cpu(punt.switch, punt.port, punt.frame)
        self._plane.settle(carriers=False)
        return self._react(punt.time_ps, now_ps)

    def _react(self, heard_ps: int, send_ps: int) -> list[dict[str, Any]]:
        """What the controller makes of something that switches noticed at a time; it may send frames later."""
        found = self._plane.tables()
        for name, tables in found.items():
            check_tables(name, tables, self._network.switch.profile)
        back = self._known - self._dark if self._plane.is_ours else frozenset()
        self._known = frozenset(self._dark)
        updates = self._installation.react(found, heard_ps, urgent=switches_at(self._network.fabric, back))
        sent = [_packet_out(switch, port, frame, send_ps) for switch, port, frame in self._plane.from_cpu()]
        self._sent += sent
        return [*map(self._order, updates), *map(_packet_order, sent)]

    def _do(self, now_ps: int, step: _Step) -> list[dict[str, Any]]:
        if step.controller is False:
            self._plane.stop_controller()
            self._lost = True
        for index, up in step.carriers:
            self._set(index, up=up)
            (self._dark.discard if up else self._dark.add)(index)
        if step.controller:
            self._plane.start_controller()
            self._lost = False
            self._known = frozenset()  # it does not know what was before it came
        if self._lost or not (step.carriers or step.controller):
            return []
        self._plane.settle()
        return self._react(now_ps, now_ps + self._network.control.control_latency_ps)

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
        first = self.first[update.switch]
        (tables,) = lower_updates(first, [update], cards=self._cards, ports=ports)
        return {"node": update.switch, "time_ps": tables.pop("time_ps"), "tables": tables}


def _packet_out(switch: str, port: int, frame: bytes, time_ps: int) -> PacketOut:
    """A frame as the bridge sent it, which must be as it came to the CPU."""
    kind, _, about = _engine.decode(frame)
    if kind != "frame" or about is None or not about["intact"]:
        raise MeasurementError(
            f"a frame that the controller sent out of port {port} of {switch} is none of a card's",
            remedy="send the bytes of the packet-in as they came (`data=msg.data`), to the last one",
        )
    return PacketOut(time_ps=time_ps, switch=switch, port=port, frame=frame)


def _packet_order(out: PacketOut) -> dict[str, Any]:
    return {"node": out.switch, "time_ps": out.time_ps, "port": out.port, "frame": out.frame.hex()}


def _steps(network: Network) -> dict[int, _Step]:
    """By time."""
    steps: dict[int, _Step] = {}

    def at(time_ps: int) -> _Step:
        return steps.setdefault(time_ps, _Step())

    for event in network.port_events():
        at(event.time_ps).carriers.append((event.link, event.up))
    for failure in network.failures:
        if failure.kind == "lost":
            at(failure.from_ps).controller = False
            if failure.until_ps < FOREVER_PS:
                at(failure.until_ps).controller = True
        elif failure.kind == "process":
            at(failure.from_ps).processes.append(failure.where)
    return steps


def _last_carriers(network: Network) -> dict[int, bool]:
    """By link: whether it is up in the end."""
    return {event.link: event.up for event in network.port_events()}
