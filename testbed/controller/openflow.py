"""Tables to OpenFlow 1.3 messages and back, and LLDP frames, in the classes that Ryu and os-ken share.

What a switch is sent for a change is the difference only: entries that stay are not touched, nor are their counters.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from testbed.controller import framework as fw
from testbed.controller.framework import ofproto, parser
from testbed.controller.tables import Bucket, Flow, Group, GroupKind, Match, SwitchTables

_FIELDS = ("in_port", "eth_dst", "eth_src", "eth_type", "vlan_pcp", "ip_dscp")
_KINDS: dict[GroupKind, int] = {"select": ofproto.OFPGT_SELECT, "fast_failover": ofproto.OFPGT_FF}
LLDP_MAC, LLDP_TYPE, LLDP_TTL_S = "01:80:c2:00:00:0e", 0x88CC, 120
_TAGGED = ofproto.OFPVID_PRESENT
_WHOLE_FRAME = ofproto.OFPCML_NO_BUFFER


def changes(datapath: Any, old: SwitchTables, new: SwitchTables) -> Iterator[Any]:  # noqa: ANN401
    """The messages that make the new tables of the old: groups before flows, what is deleted last."""
    had, has = {group.number: group for group in old.groups}, {group.number: group for group in new.groups}
    for number, group in has.items():
        if number not in had:
            yield group_mod(datapath, group, ofproto.OFPGC_ADD)
        elif had[number] != group:
            yield group_mod(datapath, group, ofproto.OFPGC_MODIFY)
    before, after = {_identity(flow): flow for flow in old.flows}, {_identity(f): f for f in new.flows}
    if has != had:
        yield parser.OFPBarrierRequest(datapath)
    for identity, flow in after.items():
        if identity not in before:
            yield flow_mod(datapath, flow, ofproto.OFPFC_ADD)
        elif before[identity] != flow:
            yield flow_mod(datapath, flow, ofproto.OFPFC_MODIFY_STRICT)
    yield from (
        flow_mod(datapath, flow, ofproto.OFPFC_DELETE_STRICT)
        for identity, flow in before.items()
        if identity not in after
    )
    if set(had) - set(has):
        yield parser.OFPBarrierRequest(datapath)
    yield from (
        group_mod(datapath, group, ofproto.OFPGC_DELETE) for number, group in had.items() if number not in has
    )


def _identity(flow: Flow) -> tuple[int, int, Match]:
    return (flow.table, flow.priority, flow.match)


def flow_mod(datapath: Any, flow: Flow, command: int) -> Any:  # noqa: ANN401
    """One rule as a message."""
    return parser.OFPFlowMod(
        datapath,
        table_id=flow.table,
        command=command,
        priority=flow.priority,
        match=_ofp_match(flow.match),
        instructions=list(_instructions(flow)),
        out_port=ofproto.OFPP_ANY,
        out_group=ofproto.OFPG_ANY,
    )


def _ofp_match(match: Match) -> Any:  # noqa: ANN401
    found = {name: getattr(match, name) for name in _FIELDS if getattr(match, name) is not None}
    if match.vlan_vid is not None:
        found["vlan_vid"] = _TAGGED | match.vlan_vid
    elif match.vlan_pcp is not None:
        found["vlan_vid"] = (_TAGGED, _TAGGED)  # any tag: the priority needs one
    return parser.OFPMatch(**found)


def _instructions(flow: Flow) -> Iterator[Any]:
    actions = []
    if flow.queue is not None:
        actions.append(parser.OFPActionSetQueue(flow.queue))
    if flow.group is not None:
        actions.append(parser.OFPActionGroup(flow.group))
    if flow.output is not None:
        actions.append(parser.OFPActionOutput(flow.output, _WHOLE_FRAME))
    if actions:
        yield parser.OFPInstructionActions(ofproto.OFPIT_APPLY_ACTIONS, actions)
    if flow.goto is not None:
        yield parser.OFPInstructionGotoTable(flow.goto)


def group_mod(datapath: Any, group: Group, command: int) -> Any:  # noqa: ANN401
    """One group as a message."""
    select = group.kind == "select"
    buckets = [
        parser.OFPBucket(
            weight=bucket.weight if select else 0,
            watch_port=bucket.port if bucket.watched or not select else ofproto.OFPP_ANY,
            watch_group=ofproto.OFPG_ANY,
            actions=[parser.OFPActionOutput(bucket.port)],
        )
        for bucket in group.buckets
        if command != ofproto.OFPGC_DELETE  # which may have none
    ]
    return parser.OFPGroupMod(datapath, command, _KINDS[group.kind], group.number, buckets)


def flow_of(stats: Any) -> Flow:  # noqa: ANN401
    """A rule from a flow-statistics reply. What our tables do not know is in `other`, so that it is replaced."""
    fields: dict[str, Any] = {}
    other = []
    for name, value in stats.match.items():
        if name == "vlan_vid" and value == (_TAGGED, _TAGGED):
            continue
        if isinstance(value, tuple) or name not in (*_FIELDS, "vlan_vid"):
            other.append(f"{name}={value}")
        else:
            fields[name] = value & ~_TAGGED if name == "vlan_vid" else value
    does: dict[str, Any] = {"other": ()}
    for instruction in stats.instructions:
        if instruction.type == ofproto.OFPIT_GOTO_TABLE:
            does["goto"] = instruction.table_id
        elif instruction.type == ofproto.OFPIT_APPLY_ACTIONS:
            for action in instruction.actions:
                _add_action(action, does)
        else:
            does["other"] = (*does["other"], str(instruction))
    match = Match(**fields, other=tuple(other))
    return Flow(table=stats.table_id, priority=stats.priority, match=match, **does)


def _add_action(action: Any, does: dict[str, Any]) -> None:  # noqa: ANN401
    attributes = {
        ofproto.OFPAT_OUTPUT: ("output", "port"),
        ofproto.OFPAT_GROUP: ("group", "group_id"),
        ofproto.OFPAT_SET_QUEUE: ("queue", "queue_id"),
    }
    name, attribute = attributes.get(action.type, ("", ""))
    if not name or name in does:
        does["other"] = (*does["other"], str(action))
    else:
        does[name] = getattr(action, attribute)


def group_of(description: Any) -> Group:  # noqa: ANN401
    """A group from a group-description reply; one that no table of ours can hold has no bucket."""
    kinds = {number: kind for kind, number in _KINDS.items()}
    kind = kinds.get(description.type, "select")
    outputs = [
        [action.port for action in bucket.actions if action.type == ofproto.OFPAT_OUTPUT]
        for bucket in description.buckets
    ]
    known = description.type in kinds and all(len(ports) == 1 for ports in outputs)
    buckets = tuple(
        Bucket(
            port=ports[0],
            weight=bucket.weight if kind == "select" else 1,
            watched=bucket.watch_port != ofproto.OFPP_ANY,
        )
        for bucket, ports in zip(description.buckets, outputs, strict=True)
        if known
    )
    return Group(number=description.group_id, kind=kind, buckets=buckets)


def lldp_frame(switch: str, port: int) -> bytes:
    """The frame that says who sent it [IEEE 802.1AB: chassis and port, locally assigned]."""
    tlvs = (
        fw.lldp.ChassisID(subtype=fw.lldp.ChassisID.SUB_LOCALLY_ASSIGNED, chassis_id=switch.encode()),
        fw.lldp.PortID(subtype=fw.lldp.PortID.SUB_LOCALLY_ASSIGNED, port_id=str(port).encode()),
        fw.lldp.TTL(ttl=LLDP_TTL_S),
        fw.lldp.End(),
    )
    made = fw.packet.Packet()
    made.add_protocol(fw.ethernet.ethernet(dst=LLDP_MAC, src="02:00:00:00:00:01", ethertype=LLDP_TYPE))
    made.add_protocol(fw.lldp.lldp(tlvs))
    made.serialize()
    return bytes(made.data)


def lldp_sender(frame: bytes) -> tuple[str, int] | None:
    """Switch and port of one of our frames; None for any other."""
    found = fw.packet.Packet(frame).get_protocol(fw.lldp.lldp)
    if found is None:
        return None
    chassis, port = found.tlvs[0], found.tlvs[1]
    return chassis.chassis_id.decode(), int(port.port_id)
