from __future__ import annotations

from typing import Any

import networkx
import pytest

from testbed.controller.rules import Rules, forwarding
from testbed.spec.fabric import Endpoint, Fabric, Link, Switch
from tests.unit.test_topologies import IDS, VARIANTS
from topologies import build_fabric


def graph_of(fabric: Fabric) -> networkx.Graph:
    graph = networkx.Graph()
    graph.add_edges_from((link.a, link.b) for link in fabric.links)
    return graph


def next_nodes(fabric: Fabric, rules: Rules, switch: str, target: str) -> list[str]:
    by_port = {link.port_at(switch): link.other(switch) for link in fabric.links_of(switch)}
    return [by_port[port] for port in rules[switch][target]]


@pytest.mark.parametrize(("name", "parameters"), VARIANTS, ids=IDS)
def test_rules_use_exactly_the_ports_of_shortest_paths(name: str, parameters: dict[str, Any]) -> None:
    """Against networkx: a port belongs to the rule iff its neighbour is one hop nearer."""
    fabric = build_fabric(name, parameters)
    rules = forwarding(fabric)

    hops = dict(networkx.all_pairs_shortest_path_length(graph_of(fabric)))
    for switch in fabric.switches:
        for endpoint in fabric.endpoints:
            expected = tuple(
                link.port_at(switch.name)
                for link in fabric.links_of(switch.name)
                if hops[link.other(switch.name)][endpoint.name] == hops[switch.name][endpoint.name] - 1
            )
            assert rules[switch.name][endpoint.name] == expected
            assert expected == tuple(sorted(expected))


@pytest.mark.parametrize(("name", "parameters"), VARIANTS, ids=IDS)
def test_rules_followed_by_any_choice_reach_every_pair(name: str, parameters: dict[str, Any]) -> None:
    fabric = build_fabric(name, parameters)
    rules = forwarding(fabric)
    switches = {switch.name for switch in fabric.switches}

    for target in (endpoint.name for endpoint in fabric.endpoints):
        front = {fabric.neighbours(e.name)[0] for e in fabric.endpoints if e.name != target}
        for _ in range(len(switches)):
            front = {
                node
                for at in front
                for node in (next_nodes(fabric, rules, at, target) if at in switches else [at])
            }
        assert front <= {target}


def test_rules_of_leaf_spine_spread_over_all_uplinks() -> None:
    fabric = build_fabric("leaf_spine", {"uplink_rate": "400Gbps"})

    assert forwarding(fabric)["l1"]["c16"] == (5, 6, 7, 8)
    assert forwarding(fabric)["l1"]["c1"] == (1,)


def test_rules_list_endpoints_in_the_order_of_the_fabric() -> None:
    fabric = build_fabric("rail_optimized", {})

    for of_switch in forwarding(fabric).values():
        assert list(of_switch) == [endpoint.name for endpoint in fabric.endpoints]


def test_rules_never_lead_through_an_endpoint_and_back_to_back_needs_none() -> None:
    pair = Fabric(
        topology="by hand",
        endpoints=(Endpoint(name="c1", server="h1"), Endpoint(name="c2", server="h2")),
        switches=(),
        links=(Link(a="c1", a_port=0, b="c2", b_port=0, rate_bps=10**11, medium="dac", length_mm=1000),),
    )
    assert forwarding(pair) == {}


def test_rules_of_a_ring_take_the_shorter_way_round() -> None:
    cable: dict[str, Any] = {"rate_bps": 10**11, "medium": "dac", "length_mm": 1000}
    ring = [("l1", 2, "l2", 3), ("l2", 2, "l3", 3), ("l3", 2, "l4", 3), ("l4", 2, "l1", 3)]
    fabric = Fabric(
        topology="ring",
        endpoints=tuple(Endpoint(name=f"c{i}", server=f"h{i}") for i in range(1, 5)),
        switches=tuple(Switch(name=f"l{i}", tier=0) for i in range(1, 5)),
        links=(
            *(Link(a=f"c{i}", a_port=0, b=f"l{i}", b_port=1, **cable) for i in range(1, 5)),
            *(Link(a=a, a_port=a_port, b=b, b_port=b_port, **cable) for a, a_port, b, b_port in ring),
        ),
    )
    assert forwarding(fabric)["l1"] == {"c1": (1,), "c2": (2,), "c3": (2, 3), "c4": (3,)}
