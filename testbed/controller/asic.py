"""A switch's tables as its ASIC holds them: checked against what the product has, and as the engine's integers. Pure.

The model looks frames up by their destination, and where a rule says so by the port they came in by; it gives them a
class by VLAN priority or code point. Rules on anything else are refused, and so is more than the tables have room for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

from testbed.controller.rules import IPV4, LLDP, card_mac
from testbed.controller.tables import CLASS_TABLE, CPU_PORT, Flow, Group, Match, SwitchTables, TableUpdate
from testbed.controller.text import flow_text, group_text
from testbed.controller.timing import DSCP_CLASSES, PCP_CLASSES
from testbed.errors import SpecError
from testbed.switches.profile import CLASSES, SwitchProfile

NO_ROUTE, DROP_ROUTE, CPU_ROUTE = 0xFFFF_FFFF, 0xFFFF_FFFE, 0xFFFF_FFFD
"""In place of a group: as frames of other ports, or for the CPU port; to be dropped; for the CPU port."""
TABLES = 2
"""Tables 0 and 1."""

Ways: TypeAlias = tuple[tuple[int, ...], tuple[int, ...], int]
"""Ports, their weights, and how they are watched (the engine's `watched`)."""
Result: TypeAlias = Ways | int
"""Ways out, or DROP_ROUTE, or CPU_ROUTE."""
_OF_AN_UPDATE = ("groups", "weights", "watched", "route", "ingress_routes")
_PLAIN, _SELECT_WATCHED, _FAST_FAILOVER = 0, 1, 2


def is_class(flow: Flow) -> bool:
    """Whether a rule is of the maps that give frames a class."""
    match = flow.match
    if flow.table != CLASS_TABLE or match.vlan_pcp is match.ip_dscp is None:
        return False
    return match in (Match(vlan_pcp=match.vlan_pcp), Match(eth_type=IPV4, ip_dscp=match.ip_dscp))


def is_trap(flow: Flow) -> bool:
    """Whether a rule sends discovery frames to the CPU port: that is not for frames of cards."""
    return flow.output == CPU_PORT and flow.match.eth_type is not None and flow.match == Match(eth_type=LLDP)


def _is_for_cards(match: Match) -> bool:
    """Whether it looks at nothing but what the switch looks up."""
    others = (match.eth_src, match.eth_type, match.vlan_vid, match.vlan_pcp, match.ip_dscp)
    return others == (None,) * 5 and not match.other


def check_tables(name: str, tables: SwitchTables, profile: SwitchProfile) -> None:
    """Refuse, with a `SpecError` that names it, the first rule or group that the modelled ASIC cannot hold."""
    groups = {group.number for group in tables.groups}
    has_classes = any(is_class(flow) for flow in tables.flows)
    for flow in tables.flows:
        fault = _fault(flow, groups, has_classes=has_classes)
        if fault is not None:
            raise SpecError(f"{name}: {fault[0]}: {flow_text(flow)}", remedy=fault[1])
    for group in tables.groups:
        _check_group(name, group)
    _check_sizes(name, tables, profile)


def _fault(flow: Flow, groups: set[int], *, has_classes: bool) -> tuple[str, str] | None:
    """What is wrong with a rule, and what to do about it."""
    match = flow.match
    if not 0 <= flow.table < TABLES:
        return (f"the switch has no table {flow.table}", f"use tables 0 to {TABLES - 1}")
    if flow.other:
        return (f"unknown action {flow.other[0]}", "use output, group, set_queue and goto_table")
    if flow.goto is not None and not flow.table < flow.goto < TABLES:
        return (f"from table {flow.table} there is no way to table {flow.goto}", "go to table 1 from table 0")
    if flow.group is not None and flow.group not in groups:
        return (f"there is no group {flow.group}", "add the group before the rule")
    if sum(one is not None for one in (flow.output, flow.group, flow.goto)) > 1:
        return ("more than one way on", "use one of output, group and goto_table")
    if is_class(flow):
        return _class_fault(flow)
    if is_trap(flow):
        return None
    if not _is_for_cards(match):
        return (
            "it matches on a field that the switch does not look up",
            "match on in_port and dl_dst; in table 0 alone on dl_vlan_pcp, or on ip and ip_dscp, with set_queue",
        )
    if flow.queue is not None:
        return ("a class by destination", "give classes by dl_vlan_pcp or ip_dscp in table 0")
    if flow.table == CLASS_TABLE and has_classes and flow != _onward(flow.priority):
        return (
            "a rule for some frames among the classes",
            "forward in table 1, and go on to it from table 0",
        )
    return None


def _class_fault(flow: Flow) -> tuple[str, str] | None:
    """Classes are a map of the whole switch: they change nothing else."""
    if flow.queue is None or not 0 <= flow.queue < CLASSES:
        return ("no class that the switch has", f"use set_queue:0 to set_queue:{CLASSES - 1}")
    if flow.goto != CLASS_TABLE + 1:
        return ("a class that ends the lookup", "go on to table 1")
    return None


def _onward(priority: int) -> Flow:
    """The rule of table 0 for frames without a class."""
    return Flow(table=CLASS_TABLE, priority=priority, goto=CLASS_TABLE + 1)


def _check_group(name: str, group: Group) -> None:
    """Groups have ports, and watch all of them or none."""
    watched = {bucket.watched for bucket in group.buckets}
    ports = [bucket.port for bucket in group.buckets]
    if not ports:
        problem, remedy = "a group without a bucket", "add a bucket, or drop by a rule"
    elif CPU_PORT in ports:
        problem, remedy = "the CPU port in a group", "send to the CPU port by a rule"
    elif len(set(ports)) < len(ports):
        problem, remedy = "a port twice", "use one bucket for each port, with a weight"
    elif group.kind == "select" and len(watched) > 1:
        problem, remedy = "some buckets watch their port and some do not", "watch all or none"
    elif group.kind == "select" and min(bucket.weight for bucket in group.buckets) < 1:
        problem, remedy = "a weight below 1", "leave the bucket out"
    else:
        return
    raise SpecError(f"{name}: {problem}: {group_text(group)}", remedy=remedy)


def _check_sizes(name: str, tables: SwitchTables, profile: SwitchProfile) -> None:
    """The first entry that there is no room for."""
    exact = [flow for flow in tables.flows if flow.match.eth_dst is not None and flow.match.in_port is None]
    others = [flow for flow in tables.flows if flow.match.in_port is not None or is_trap(flow)]
    sizes = profile.tables
    for what, entries, room, remedy in (
        ("MAC entries", exact, sizes.mac_entries.number, "use fewer cards"),
        (
            "ACL entries, for rules with in_port",
            others,
            sizes.acl_entries.number,
            "use failover=off, or fewer cards",
        ),
    ):
        if len(entries) > room:
            raise SpecError(
                f"{name}: {len(entries):,} {what}, {profile.name} has room for {room:,}: {flow_text(entries[room])}",
                remedy=f"{remedy}, or a switch with larger tables",
            )
    taken = 0
    for count, group in enumerate(tables.groups, start=1):
        taken += sum(bucket.weight if group.kind == "select" else 1 for bucket in group.buckets)
        for what, number, room in (
            ("groups", count, sizes.groups.number),
            ("members of groups", taken, sizes.group_members.number),
        ):
            if number > room:
                raise SpecError(
                    f"{name}: more {what} than the {room:,} of {profile.name}: {group_text(group)}",
                    remedy="use paths=single or weights=off, or a switch with larger tables",
                )


def lower(tables: SwitchTables, *, cards: int, ports: Sequence[int]) -> dict[str, Any]:
    """The engine's integers for tables that have been checked; what is off is left out.

    Args:
        tables: Of one switch.
        cards: How many cards the fabric has; rules for other addresses meet no frame.
        ports: The switch's ports that have a link.
    """
    lookup = Lookup(tables)
    by_card = [lookup.results(mac) for mac in _macs(cards)]
    ways = sorted({way for results in by_card for way in results.values() if not isinstance(way, int)})
    place = {way: index for index, way in enumerate(ways)}

    def number(result: Result) -> int:
        return result if isinstance(result, int) else place[result]

    lowered: dict[str, Any] = {
        "groups": [list(ports) for ports, _, _ in ways],
        "route": [NO_ROUTE if results[None] == CPU_ROUTE else number(results[None]) for results in by_card],
    }
    if any(len(set(weights)) > 1 for _, weights, _ in ways):
        lowered["weights"] = [list(weights) for _, weights, _ in ways]
    if any(watched for _, _, watched in ways):
        lowered["watched"] = [watched for _, _, watched in ways]
    special = {port for results in by_card if len(results) > 1 for port in results}
    by_port = [
        [port, [number(results[port]) if port in results else NO_ROUTE for results in by_card]]
        for port in ports
        if port in special
    ]
    if by_port:
        lowered["ingress_routes"] = by_port
    return lowered | _classes(tables)


def lower_updates(
    first: SwitchTables, updates: Iterable[TableUpdate], *, cards: int, ports: Sequence[int]
) -> list[dict[str, Any]]:
    """One switch's `updates`, each complete, in order of time; its classes must stay as they are at `first`."""
    classes = _classes(first)
    found = []
    for update in sorted(updates, key=lambda one: one.time_ps):
        if _classes(update.tables) != classes:
            raise SpecError(
                f"{update.switch}: other classes in mid-run",
                remedy="let the rules of table 0 be as they were",
            )
        lowered = lower(update.tables, cards=cards, ports=ports)
        found.append({"time_ps": update.time_ps} | {name: lowered.get(name, []) for name in _OF_AN_UPDATE})
    return found


def _classes(tables: SwitchTables) -> dict[str, Any]:
    """The class maps, where they are not the model's own."""
    by_pcp, by_dscp = list(PCP_CLASSES), list(DSCP_CLASSES)
    for flow in reversed([flow for flow in tables.flows if is_class(flow)]):  # the highest priority last
        assert flow.queue is not None
        if flow.match.vlan_pcp is not None:
            by_pcp[flow.match.vlan_pcp] = flow.queue
        elif flow.match.ip_dscp is not None:
            by_dscp[flow.match.ip_dscp] = flow.queue
    pairs: Mapping[str, tuple[list[int], Sequence[int]]] = {
        "class_of_pcp": (by_pcp, PCP_CLASSES),
        "class_of_dscp": (by_dscp, DSCP_CLASSES),
    }
    return {name: own for name, (own, usual) in pairs.items() if own != list(usual)}


@lru_cache(maxsize=4)
def _macs(cards: int) -> tuple[str, ...]:
    return tuple(map(card_mac, range(cards)))


class Lookup:
    """What a switch does with frames of cards."""

    def __init__(self, tables: SwitchTables) -> None:
        self.groups = {group.number: _ways_of(group) for group in tables.groups}
        forwarding = [flow for flow in tables.flows if not is_class(flow) and not is_trap(flow)]
        self.any_dst = [flow for flow in forwarding if flow.match.eth_dst is None]
        self.by_dst: dict[str, list[Flow]] = {}
        for flow in forwarding:
            if flow.match.eth_dst is not None:
                self.by_dst.setdefault(flow.match.eth_dst, []).append(flow)

        self.known: dict[tuple[object, ...], dict[int | None, Result]] = {}

    def results(self, mac: str) -> dict[int | None, Result]:
        """By the port that a frame came in by, where that matters; None: by any other."""
        own = self.by_dst.get(mac, [])
        key = tuple((f.table, f.priority, f.match.in_port, f.output, f.group, f.goto) for f in own)
        if key not in self.known:
            flows = sorted([*own, *self.any_dst], key=lambda flow: (flow.table, -flow.priority))
            self.known[key] = self._results(flows)
        return self.known[key]

    def _results(self, flows: Sequence[Flow]) -> dict[int | None, Result]:
        """By rules in the order in which they are looked at."""
        usual = self._result(flows, None)
        special = sorted({flow.match.in_port for flow in flows if flow.match.in_port is not None})
        found = {port: self._result(flows, port) for port in special}
        return {None: usual} | {port: result for port, result in found.items() if result != usual}

    def _result(self, flows: Sequence[Flow], in_port: int | None) -> Result:
        """Through the tables."""
        table: int | None = CLASS_TABLE
        while table is not None:
            flow = next(_matching(flows, table, in_port), None)
            if flow is None:
                return DROP_ROUTE
            if flow.group is not None:
                return self.groups[flow.group]
            if flow.output is not None:
                return CPU_ROUTE if flow.output == CPU_PORT else ((flow.output,), (1,), _PLAIN)
            table = flow.goto
        return DROP_ROUTE


def _matching(flows: Iterable[Flow], table: int, in_port: int | None) -> Iterator[Flow]:
    for flow in flows:
        if flow.table == table and flow.match.in_port in (None, in_port):
            yield flow


def _ways_of(group: Group) -> Ways:
    """A group as the engine has it."""
    ports = tuple(bucket.port for bucket in group.buckets)
    if group.kind == "fast_failover":
        return (ports, (1,) * len(ports), _FAST_FAILOVER)
    watched = any(bucket.watched for bucket in group.buckets)
    return (ports, tuple(bucket.weight for bucket in group.buckets), _SELECT_WATCHED if watched else _PLAIN)
