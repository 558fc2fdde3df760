"""The controller's application, for Ryu and os-ken: turns events into calls, and tables into messages.

What is to be in the switches comes from `tables`, a pure function of which links are down; a user's application is a
class derived from `FabricApp` that has another (docs/controller.md). The application keeps every switch at these
tables: when a switch comes, and after every change of a port, it sends what differs, and nothing else.

All of it happens in the application's one event loop, so there is nothing to lock. `serve.py` starts it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from testbed.controller import framework as fw
from testbed.controller import openflow
from testbed.controller.app_setup import Setup
from testbed.controller.framework import ofp_event, ofproto, parser
from testbed.controller.reaction import switches_at
from testbed.controller.rules import switch_tables
from testbed.controller.tables import Flow, Group, SwitchTables

MAIN = fw.handler.MAIN_DISPATCHER
DEAD = fw.handler.DEAD_DISPATCHER
F = TypeVar("F")
on: Callable[..., Callable[[F], F]] = fw.handler.set_ev_cls


@dataclass(slots=True)
class _Switch:
    """What is known of one switch that is connected."""

    datapath: Any
    down: set[int] = field(default_factory=set)
    """Ports without carrier."""
    flows: list[Flow] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    holds: SwitchTables | None = None
    """What is in it; None: not yet read."""
    awaited: int | None = None
    """The barrier whose reply is still to come."""
    then: SwitchTables | None = None
    """What is in it then; None: what has been read meanwhile."""


class EventRequest(fw.event.EventBase):  # type: ignore[misc]
    """A line from the testbed."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        super().__init__()
        self.request = request


class EventWork(fw.event.EventBase):  # type: ignore[misc]
    """Look at all switches again; behind all port events that are already there."""


class FabricApp(fw.App):  # type: ignore[misc]
    """Keeps the switches of a fabric at the tables that it computes."""

    OFP_VERSIONS: ClassVar[list[int]] = [ofproto.OFP_VERSION]
    setup: ClassVar[Setup]

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        self._names = self.setup.dpids()
        self._switches: dict[str, _Switch] = {}
        self._links = {
            (name, link.port_at(name)): index
            for index, link in enumerate(self.setup.fabric.links)
            for name in (link.a, link.b)
        }
        self._wanted: tuple[frozenset[int], Mapping[str, SwitchTables]] | None = None
        self._urgent: frozenset[str] = frozenset()
        self._request: Mapping[str, Any] | None = None
        self._work_is_due = False
        self._changed: set[str] = set()

    def tables(self, down: frozenset[int]) -> Mapping[str, SwitchTables]:
        """What each switch is to hold. Override this.

        Args:
            down: indices in `self.setup.fabric.links` of the links without carrier.
        """
        setup = self.setup
        return switch_tables(
            setup.fabric, setup.rules, cards_per_nic=setup.cards_per_nic, down=down, macs=setup.macs
        )

    @on(ofp_event.EventOFPStateChange, [MAIN, DEAD])
    def on_state(self, event: Any) -> None:  # noqa: ANN401
        """Ask a new switch for its ports and for what it holds: rules stay when a controller goes."""
        datapath = event.datapath
        name = self._names.get(datapath.id)
        if name is None:
            return
        if event.state == DEAD:
            if name in self._switches and self._switches[name].datapath is datapath:
                del self._switches[name]
            return
        self._switches[name] = switch = _Switch(datapath)
        datapath.send_msg(parser.OFPPortDescStatsRequest(datapath, 0))
        datapath.send_msg(parser.OFPGroupDescStatsRequest(datapath, 0))
        datapath.send_msg(parser.OFPFlowStatsRequest(datapath))
        self._send_barrier(switch, then=None)

    def _of(self, event: Any) -> _Switch | None:  # noqa: ANN401
        """The switch that a message is from; None: of a connection that is no more."""
        switch = self._switches.get(self._names.get(event.msg.datapath.id, ""))
        return switch if switch is not None and switch.datapath is event.msg.datapath else None

    @on(ofp_event.EventOFPPortDescStatsReply, MAIN)
    def on_ports(self, event: Any) -> None:  # noqa: ANN401
        """How the ports are when the switch comes."""
        for port in event.msg.body:
            self._note_port(self._of(event), port)

    @on(ofp_event.EventOFPPortStatus, MAIN)
    def on_port_status(self, event: Any) -> None:  # noqa: ANN401
        """A carrier has come or gone."""
        self._note_port(self._of(event), event.msg.desc)
        self._want_work()

    @staticmethod
    def _note_port(switch: _Switch | None, port: Any) -> None:  # noqa: ANN401
        if switch is not None and port.port_no <= ofproto.OFPP_MAX:
            (switch.down.add if port.state & ofproto.OFPPS_LINK_DOWN else switch.down.discard)(port.port_no)

    @on(ofp_event.EventOFPFlowStatsReply, MAIN)
    def on_flows(self, event: Any) -> None:  # noqa: ANN401
        """Part of what the switch holds."""
        if switch := self._of(event):
            switch.flows += [openflow.flow_of(stats) for stats in event.msg.body]

    @on(ofp_event.EventOFPGroupDescStatsReply, MAIN)
    def on_groups(self, event: Any) -> None:  # noqa: ANN401
        """Part of what the switch holds."""
        if switch := self._of(event):
            switch.groups += [openflow.group_of(description) for description in event.msg.body]

    @on(ofp_event.EventOFPErrorMsg, MAIN)
    def on_error(self, event: Any) -> None:  # noqa: ANN401
        """A switch has refused a message."""
        name, message = self._names.get(event.msg.datapath.id, "?"), event.msg
        why = ofproto.ofp_error_code_to_str(message.type, message.code)
        emit({"error": f"switch '{name}' refused a message: {why}"})

    def _send_barrier(self, switch: _Switch, *, then: SwitchTables | None) -> None:
        barrier = parser.OFPBarrierRequest(switch.datapath)
        switch.datapath.send_msg(barrier)
        switch.awaited, switch.then = barrier.xid, then

    @on(ofp_event.EventOFPBarrierReply, MAIN)
    def on_barrier(self, event: Any) -> None:  # noqa: ANN401
        """All that was sent before is done."""
        switch = self._of(event)
        if switch is not None and switch.awaited == event.msg.xid:
            read = SwitchTables(flows=tuple(switch.flows), groups=tuple(switch.groups))
            switch.holds, switch.awaited = switch.then or read, None
            self._want_work()

    def _want_work(self) -> None:
        if not self._work_is_due:
            self._work_is_due = True
            # Not from here: an application that waits for room in its own full queue waits for ever.
            fw.hub.spawn(self.send_event, self.name, EventWork())

    def _down(self) -> frozenset[int]:
        """Links of which an end has no carrier."""
        ends = ((name, port) for name, switch in self._switches.items() for port in switch.down)
        return frozenset(self._links[end] for end in ends if end in self._links)

    @on(EventWork)
    def on_work(self, _event: EventWork) -> None:
        """Send every switch what it lacks, first those at links that are back; say so when all have it."""
        self._work_is_due = False
        if len(self._switches) < len(self._names) or any(s.holds is None for s in self._switches.values()):
            return  # with a part of the fabric known, links would look lost that are not
        down = self._down()
        if self._wanted is None or self._wanted[0] != down:
            if self._wanted is not None:
                self._urgent = switches_at(self.setup.fabric, self._wanted[0] - down)
            self._wanted = (down, self.tables(down))
        lacking = {n for n, s in self._switches.items() if s.awaited or s.holds != self._wanted_of(n)}
        for name in sorted(lacking & self._urgent or lacking):
            switch, wanted = self._switches[name], self._wanted_of(name)
            if switch.awaited is None and switch.holds is not None:
                for message in openflow.changes(switch.datapath, switch.holds, wanted):
                    switch.datapath.send_msg(message)
                self._send_barrier(switch, then=wanted)
                self._changed.add(name)
        self._answer_settled()

    def _wanted_of(self, name: str) -> SwitchTables:
        assert self._wanted is not None
        return self._wanted[1].get(name, SwitchTables())

    def _answer_settled(self) -> None:
        """The testbed waits until the ports are as it has set them, and every switch has its tables."""
        if self._request is None or any(s.awaited is not None for s in self._switches.values()):
            return
        expected = {name: set(ports) for name, ports in self._request["down"].items()}
        if all(switch.down == expected.get(name, set()) for name, switch in self._switches.items()):
            emit({"settled": self._request["settle"], "changed": sorted(self._changed)})
            self._request = None
            self._changed.clear()

    @on(EventRequest)
    def on_request(self, event: EventRequest) -> None:
        """What the testbed asks for: `settle`, or `discover`."""
        if "discover" in event.request:
            self._discover()
        else:
            self._request = event.request
            self._want_work()

    def _discover(self) -> None:
        """Send one LLDP frame out of every port of every switch that has a cable."""
        ends = [(name, port) for name, port in self._links if name in self._switches]
        for name, port in ends:
            datapath = self._switches[name].datapath
            actions = [parser.OFPActionOutput(port)]
            frame = openflow.lldp_frame(name, port)
            buffer, source = ofproto.OFP_NO_BUFFER, ofproto.OFPP_CONTROLLER
            datapath.send_msg(parser.OFPPacketOut(datapath, buffer, source, actions, frame))
        emit({"discovering": len(ends)})

    @on(ofp_event.EventOFPPacketIn, MAIN)
    def on_packet_in(self, event: Any) -> None:  # noqa: ANN401
        """An LLDP frame says which port is at the other end."""
        name, sender = self._names.get(event.msg.datapath.id), openflow.lldp_sender(event.msg.data)
        if name is not None and sender is not None:
            emit({"link": [*sender, name, event.msg.match["in_port"]]})


def emit(message: Mapping[str, Any]) -> None:
    """A line to the testbed, in one write, so that no other's comes between."""
    os.write(1, json.dumps(message).encode() + b"\n")
