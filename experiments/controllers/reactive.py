"""A controller that learns: a switch gets a rule for a destination when the first frame for it comes.

Run with `--controller experiments/controllers/reactive.py`. A Ryu application, and no `FabricApp`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from testbed.controller import framework as fw  # Ryu's names, or os-ken's where Ryu cannot be installed
from testbed.controller.app import FabricApp
from testbed.controller.framework import ofp_event, parser
from testbed.controller.framework import ofproto as ofp
from testbed.controller.rules import switch_tables
from testbed.controller.timing import RuleOptions

F = TypeVar("F")
on: Callable[..., Callable[[F], F]] = fw.handler.set_ev_cls


class Reactive(fw.App):  # type: ignore[misc]
    """Rules on demand, and no frame lost meanwhile."""

    OFP_VERSIONS: ClassVar[list[int]] = [ofp.OFP_VERSION]

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        setup = FabricApp.setup
        tables = switch_tables(
            setup.fabric, RuleOptions(paths="single"), cards_per_nic=setup.cards_per_nic, macs=setup.macs
        )
        self.ports = {
            (dpid, flow.match.eth_dst): flow.output
            for dpid, name in setup.dpids().items()
            for flow in tables[name].flows
        }

    @on(ofp_event.EventOFPSwitchFeatures, fw.handler.CONFIG_DISPATCHER)
    def on_switch(self, event: Any) -> None:  # noqa: ANN401
        """What has no rule comes here."""
        add_rule(event.msg.datapath, 0, parser.OFPMatch(), ofp.OFPP_CONTROLLER)

    @on(ofp_event.EventOFPPacketIn, fw.handler.MAIN_DISPATCHER)
    def on_packet_in(self, event: Any) -> None:  # noqa: ANN401
        """A rule for the destination, and the frame on its way."""
        message, datapath = event.msg, event.msg.datapath
        mac = message.data[:6].hex(":")
        port = self.ports.get((datapath.id, mac))
        if port is None:
            return
        add_rule(datapath, 1, parser.OFPMatch(eth_dst=mac), port)
        out = [parser.OFPActionOutput(port)]
        in_port = message.match["in_port"]
        datapath.send_msg(parser.OFPPacketOut(datapath, ofp.OFP_NO_BUFFER, in_port, out, message.data))


def add_rule(datapath: Any, priority: int, match: Any, port: int) -> None:  # noqa: ANN401
    """Frames that match go out of a port, whole."""
    actions = [parser.OFPActionOutput(port, ofp.OFPCML_NO_BUFFER)]
    does = [parser.OFPInstructionActions(ofp.OFPIT_APPLY_ACTIONS, actions)]
    datapath.send_msg(parser.OFPFlowMod(datapath, priority=priority, match=match, instructions=does))
