"""Fabric to forwarding rules: all shortest paths, by number of hops. Pure; imports no Ryu and no socket.

Two endpoints on the same switch differ only at that switch, so one breadth-first search per switch with
endpoints serves all of them: a fabric of 1,000 endpoints on 32 leaves needs 32 searches.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TypeAlias

from testbed.spec.fabric import Fabric

Rules: TypeAlias = dict[str, dict[str, tuple[int, ...]]]
"""Switch, then endpoint: the egress ports of equal cost, ascending."""


def forwarding(fabric: Fabric) -> Rules:
    """For each switch and endpoint, every egress port that lies on a shortest path."""
    switches = [switch.name for switch in fabric.switches]
    rules: Rules = {name: {} for name in switches}
    known = frozenset(switches)
    by_switch: dict[str, list[tuple[str, int]]] = {}
    for endpoint in fabric.endpoints:
        for link in fabric.links_of(endpoint.name):
            home = link.other(endpoint.name)
            if home in known:
                by_switch.setdefault(home, []).append((endpoint.name, link.port_at(home)))
    for home, attached in by_switch.items():
        towards = _ports_towards(fabric, home, known)
        for name in switches:
            for endpoint_name, port in attached:
                rules[name][endpoint_name] = (port,) if name == home else towards[name]
    return {name: _in_order(fabric, of_switch) for name, of_switch in rules.items()}


def _ports_towards(fabric: Fabric, home: str, switches: frozenset[str]) -> Mapping[str, tuple[int, ...]]:
    """For each other switch, its ports to neighbours that are one hop nearer to `home`."""
    hops = _hops_from(fabric, home, switches)
    return {
        name: tuple(
            link.port_at(name)
            for link in fabric.links_of(name)
            if hops.get(link.other(name)) == hops[name] - 1
        )
        for name in hops
        if name != home
    }


def _hops_from(fabric: Fabric, home: str, switches: frozenset[str]) -> dict[str, int]:
    """Distance of every switch from one; endpoints do not forward."""
    hops = {home: 0}
    queue = deque([home])
    while queue:
        name = queue.popleft()
        for neighbour in fabric.neighbours(name):
            if neighbour in switches and neighbour not in hops:
                hops[neighbour] = hops[name] + 1
                queue.append(neighbour)
    return hops


def _in_order(fabric: Fabric, of_switch: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The rules of a switch in the order of the fabric's endpoints."""
    return {e.name: of_switch[e.name] for e in fabric.endpoints if e.name in of_switch}
