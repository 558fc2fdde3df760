"""Fabric to forwarding rules: all shortest paths, by number of hops. Pure; imports no Ryu and no socket.

Table 0 gives each frame its class; table 1 has a rule for each card: a port, or a group of ports of equal standing that
all cards share which are reached by these. What has no rule goes to the CPU port.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TypeAlias
from zlib import crc32

from testbed.controller.detours import Detours, detours
from testbed.controller.paths import Graph, Ways, whole_weights
from testbed.controller.tables import (
    CLASS_TABLE,
    CPU_PORT,
    FORWARDING_TABLE,
    Bucket,
    Flow,
    Group,
    GroupKind,
    Match,
    SwitchTables,
)
from testbed.controller.timing import RuleOptions
from testbed.spec.fabric import Fabric, Switch

Rules: TypeAlias = dict[str, dict[str, tuple[int, ...]]]
"""Switch, then endpoint: the egress ports of equal cost, ascending."""

LLDP, IPV4 = 0x88CC, 0x0800
LLDP_PRIORITY = 0xFFFF
DSCP_PRIORITY, PCP_PRIORITY = 200, 100
"""A frame with both has its class from the code point, as in the switches' model."""
DEFLECTED_PRIORITY, FORWARD_PRIORITY = 200, 100
"""Rules that look at the port a frame came in by, and those that do not."""
MAX_CARD = 0xFFFF
_LATE_GROUPS = 1_000_000

_Way: TypeAlias = tuple[GroupKind | None, tuple[Bucket, ...]]
"""What a rule does: a kind of group and its buckets; None: one port."""
_Slot: TypeAlias = tuple[int, int | None]
"""The endpoint, and the port that a frame came in by; None: any."""


def card_mac(card: int) -> str:
    """The address of a card (docs/wire-format.md)."""
    return f"02:54:4e:00:{card >> 8 & 0xFF:02x}:{card & 0xFF:02x}"


def forwarding(fabric: Fabric) -> Rules:
    """For each switch and endpoint, every egress port that lies on a shortest path."""
    graph = Graph(fabric)
    names = [endpoint.name for endpoint in fabric.endpoints]
    found: dict[str, dict[int, tuple[int, ...]]] = {switch.name: {} for switch in fabric.switches}
    for home, attached in graph.attached.items():
        for name, ports in graph.ways_to(home).ports.items():
            for place, port in attached:
                found[name][place] = (port,) if name == home else ports
    return {name: {names[place]: ports for place, ports in sorted(of.items())} for name, of in found.items()}


def switch_tables(
    fabric: Fabric,
    options: RuleOptions,
    *,
    cards_per_nic: int = 1,
    down: frozenset[int] = frozenset(),
    macs: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, SwitchTables]:
    """The tables of every switch.

    Args:
        fabric: The fabric.
        options: What the rules are to do.
        cards_per_nic: How many cards each endpoint has; their addresses are those of `card_mac`.
        down: Indices of links without carrier; cards that cannot be reached without them have no rule.
        macs: The addresses of each endpoint, in place of the cards'.
    """
    if macs is None:
        return dict(_tables_of_cards(fabric, options, cards_per_nic, down))
    return _tables(fabric, options, [macs[endpoint.name] for endpoint in fabric.endpoints], down)


@lru_cache(maxsize=16)
def _tables_of_cards(
    fabric: Fabric, options: RuleOptions, cards_per_nic: int, down: frozenset[int]
) -> dict[str, SwitchTables]:
    """The cells of an experiment have the same."""
    numbers = range(len(fabric.endpoints))
    macs = [[card_mac(nic * cards_per_nic + card) for card in range(cards_per_nic)] for nic in numbers]
    return _tables(fabric, options, macs, down)


def _tables(
    fabric: Fabric, options: RuleOptions, macs: Sequence[Sequence[str]], down: frozenset[int]
) -> dict[str, SwitchTables]:
    whole = _ways(fabric, options, frozenset())
    now = _ways(fabric, options, down) if down else whole
    fixed = (*_class_flows(options), _miss())
    matches: dict[tuple[int, int | None], list[Match]] = {}

    def matches_of(slot: _Slot) -> list[Match]:
        if slot not in matches:
            matches[slot] = [Match(in_port=slot[1], eth_dst=mac) for mac in macs[slot[0]]]
        return matches[slot]

    return {name: _switch(whole[name], now[name], matches_of, fixed) for name in whole}


def _class_flows(options: RuleOptions) -> Iterator[Flow]:
    """Table 0."""
    lldp = Match(eth_type=LLDP)
    yield Flow(table=CLASS_TABLE, priority=LLDP_PRIORITY, match=lldp, output=CPU_PORT)
    onward = FORWARDING_TABLE
    for dscp, queue in enumerate(options.class_of_dscp):
        match = Match(eth_type=IPV4, ip_dscp=dscp)
        yield Flow(table=CLASS_TABLE, priority=DSCP_PRIORITY, match=match, queue=queue, goto=onward)
    for pcp, queue in enumerate(options.class_of_pcp):
        match = Match(vlan_pcp=pcp)
        yield Flow(table=CLASS_TABLE, priority=PCP_PRIORITY, match=match, queue=queue, goto=onward)
    yield Flow(table=CLASS_TABLE, priority=0, goto=onward)


def _miss() -> Flow:
    """What no rule of table 1 knows."""
    return Flow(table=FORWARDING_TABLE, priority=0, output=CPU_PORT)


def _ways(fabric: Fabric, options: RuleOptions, down: frozenset[int]) -> dict[str, dict[_Slot, _Way]]:
    """What each switch does with frames to each endpoint."""
    graph = Graph(fabric, down)
    found: dict[str, dict[_Slot, _Way]] = {switch.name: {} for switch in fabric.switches}
    for home, attached in graph.attached.items():
        ways = graph.ways_to(home)
        to_home = _ToHome(graph, ways, options, detours(graph, ways) if options.failover else Detours())
        for place, port in attached:
            found[home][(place, None)] = (None, (Bucket(port=port),))
        for switch in fabric.switches:
            if switch.name != home and switch.name in ways.hops:
                _add_endpoints(found[switch.name], to_home, switch, [place for place, _ in attached])
    return found


def _add_endpoints(found: dict[_Slot, _Way], to_home: _ToHome, switch: Switch, places: Iterable[int]) -> None:
    """The ways of one switch to all endpoints of a home, which differ only where each has a path of its own."""
    same: dict[int | None, _Way] | None = None
    for place in places:
        if same is None or to_home.options.paths == "single":
            same = to_home.of(switch, place)
        found |= {(place, in_port): way for in_port, way in same.items()}


class _ToHome:
    """How switches send to one home."""

    def __init__(self, graph: Graph, ways: Ways, options: RuleOptions, around: Detours) -> None:
        self.ways, self.options, self.around = ways, options, around
        self.capacities = graph.capacities(ways) if options.weights else {}
        self.deflected: dict[str, list[tuple[int, tuple[int, ...]]]] = {}
        for (name, in_port), ports in around.deflected.items():
            self.deflected.setdefault(name, []).append((in_port, ports))

    def of(self, switch: Switch, place: int) -> dict[int | None, _Way]:
        """By the port that a frame came in by."""
        name, ports = switch.name, self.ways.ports[switch.name]
        first, second = self.around.fallback.get(name, (None, None))
        found: dict[int | None, _Way] = {None: self._way(switch, ports, place, first)}
        if second is not None:
            found[first] = self._way(switch, ports, place, second)
        for in_port, onward in self.deflected.get(name, ()):
            if onward != ports:
                found[in_port] = self._way(switch, onward, place, None)
        return found

    def _way(self, switch: Switch, ports: tuple[int, ...], place: int, around: int | None) -> _Way:
        """One or several of the ports, and which of them to take when some are lost."""
        watched = self.options.failover
        if self.options.paths == "single":
            # the tiers look at different digits of the endpoint's number, so that all ports of each are used
            own = place // len(ports) ** switch.tier % len(ports)
            ports = (*ports[own:], *ports[:own]) if watched else ports[own : own + 1]
        if len(ports) == 1 and around is not None:
            ports = (*ports, around)
        if len(ports) == 1:
            return (None, (Bucket(port=ports[0]),))
        if self.options.paths == "single" or (around is not None and len(ports) == 2 and ports[1] == around):
            return ("fast_failover", tuple(Bucket(port=port, watched=True) for port in ports))
        weights = dict.fromkeys(ports, 1)
        if self.options.weights:
            behind = self.capacities[switch.name]
            weights = whole_weights({port: behind[port] for port in ports})
        return ("select", tuple(Bucket(port=port, weight=weights[port], watched=watched) for port in ports))


def _switch(
    whole: Mapping[_Slot, _Way],
    now: Mapping[_Slot, _Way],
    matches_of: Callable[[_Slot], list[Match]],
    fixed: tuple[Flow, ...],
) -> SwitchTables:
    """Flows and groups of one switch. `whole`: its ways with no link down, which its groups are numbered by."""
    numbers = {way: number for number, way in enumerate(_groups_of(whole.values()), start=1)}
    groups = (
        _numbered(whole, now, numbers) if now is not whole else {(n, way): n for way, n in numbers.items()}
    )
    flows = list(fixed)
    for slot, way in now.items():
        number = groups.get((numbers.get(whole.get(slot, way), 0), _as_group(way)))
        priority = FORWARD_PRIORITY if slot[1] is None else DEFLECTED_PRIORITY
        output = way[1][0].port if number is None else None
        flows += [
            Flow(table=FORWARDING_TABLE, priority=priority, match=match, output=output, group=number)
            for match in matches_of(slot)
        ]
    held = [_group(number, way) for (_, way), number in groups.items()]
    return SwitchTables(flows=tuple(flows), groups=tuple(held))


def _groups_of(ways: Iterable[_Way]) -> list[_Way]:
    """Those that need a group, each once, by their ports."""
    several = {way for way in ways if way[0] is not None}
    return sorted(several, key=lambda way: (way[1], str(way[0])))


def _as_group(way: _Way) -> _Way:
    """A single port as a group has it."""
    return (way[0] or "select", way[1])


def _group(number: int, way: _Way) -> Group:
    kind, buckets = way
    assert kind is not None
    return Group(number=number, kind=kind, buckets=buckets)


def _numbered(
    whole: Mapping[_Slot, _Way], now: Mapping[_Slot, _Way], numbers: Mapping[_Way, int]
) -> dict[tuple[int, _Way], int]:
    """The groups of a fabric with links down: former number (0: none) and way, with the number now.

    A group goes on with the ways that most of its rules have now, so that few entries change; others are new, and what
    they are called depends on nothing but themselves.
    """
    wanted: Counter[tuple[int, _Way]] = Counter()
    before = {number: way for way, number in numbers.items()}
    for slot, way in now.items():
        number = numbers.get(whole.get(slot, way), 0)
        if number or way[0] is not None:
            wanted[(number, _as_group(way))] += 1
    found: dict[tuple[int, _Way], int] = {}
    taken = set(before)
    order = sorted(
        wanted, key=lambda one: (-wanted[one], before.get(one[0]) != one[1], one[1], str(one[1][0]))
    )
    for number, way in order:
        if number in before and number not in found.values():
            found[(number, way)] = number
            continue
        new = len(before) + 1 + crc32(repr((number, way)).encode()) % _LATE_GROUPS
        while new in taken:
            new += 1
        taken.add(new)
        found[(number, way)] = new
    return found
