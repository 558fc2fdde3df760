"""`rules.switch_tables` and `verify.walk`: every topology walked by its tables, whole, with a link lost, and broken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from testbed.controller.rules import card_mac, switch_tables
from testbed.controller.tables import CPU_PORT, Bucket, Flow, Group, Match, SwitchTables
from testbed.controller.timing import RuleOptions
from testbed.controller.verify import Walk, walk
from testbed.spec.fabric import Fabric
from tests.unit.test_topologies import IDS, VARIANTS
from topologies import build_fabric

PLAIN = RuleOptions()
OPTIONS = [
    PLAIN,
    RuleOptions(weights=True),
    RuleOptions(paths="single"),
    RuleOptions(failover=True),
    RuleOptions(failover=True, weights=True),
    RuleOptions(failover=True, paths="single"),
]
FAILOVER = [options for options in OPTIONS if options.failover]
# With a single way between some of their switches: the loss of that link cuts the fabric in two.
CUT_BY_ONE_LINK = [
    ("dumbbell", {}),
    ("dumbbell", {"faults": "l1>l2@1us-2us:50%,c1>l1:1ppm"}),
    ("fat_tree", {"k": 2}),
]
WITH_OTHER_WAYS = [variant for variant in VARIANTS if variant not in CUT_BY_ONE_LINK]


def cables(fabric: Fabric) -> list[int]:
    switches = {switch.name for switch in fabric.switches}
    return [index for index, link in enumerate(fabric.links) if {link.a, link.b} <= switches]


def is_perfect(found: Walk, options: RuleOptions) -> bool:
    every_way = found.paths == found.shortest_paths and not found.unused
    return (
        found.is_whole
        and not found.unreached
        and not found.uneven
        and (every_way or options.paths == "single")
    )


def changed(
    tables: dict[str, SwitchTables], switch: str, old: Flow | Group, new: Any
) -> dict[str, SwitchTables]:
    """A copy in which one flow or group of a switch is another; None: it is gone."""
    of = tables[switch]
    field = "flows" if isinstance(old, Flow) else "groups"
    entries = [one for one in getattr(of, field) if one != old] + ([new] if new else [])
    return {**tables, switch: replace(of, **{field: tuple(entries)})}


def flow_to(tables: SwitchTables, card: int, in_port: int | None = None) -> Flow:
    match = Match(in_port=in_port, eth_dst=card_mac(card))
    return next(flow for flow in tables.flows if flow.match == match)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("name", "parameters"), VARIANTS, ids=IDS)
def test_all_pairs_reach_each_other_by_every_way_without_a_circle(
    name: str, parameters: dict[str, Any], options: RuleOptions
) -> None:
    fabric = build_fabric(name, parameters)
    found = walk(fabric, switch_tables(fabric, options), weighted=options.weights)

    assert is_perfect(found, options), found
    assert found.pairs == len(fabric.endpoints) * (len(fabric.endpoints) - 1)


@pytest.mark.parametrize("options", FAILOVER, ids=str)
@pytest.mark.parametrize(
    ("name", "parameters"), [one for one in WITH_OTHER_WAYS if one[1].get("k") != 6], ids=str
)
def test_any_one_link_lost_leaves_all_pairs_reachable_without_a_controller(
    name: str, parameters: dict[str, Any], options: RuleOptions
) -> None:
    fabric = build_fabric(name, parameters)
    tables = switch_tables(fabric, options)

    for lost in cables(fabric):
        found = walk(fabric, tables, down=frozenset([lost]))
        assert found.is_whole, (fabric.links[lost], found)


@pytest.mark.parametrize(("name", "parameters"), CUT_BY_ONE_LINK, ids=str)
def test_where_a_link_is_the_only_way_its_loss_is_found(name: str, parameters: dict[str, Any]) -> None:
    fabric = build_fabric(name, parameters)
    tables = switch_tables(fabric, RuleOptions(failover=True))

    for lost in cables(fabric):
        found = walk(fabric, tables, down=frozenset([lost]))
        assert found.reached < found.pairs
        assert any("is down" in text for text in found.unreached)
        assert not found.loops


def test_two_leaves_have_no_detour_for_frames_may_not_go_back() -> None:
    """A spine that lost its link to one leaf has only the other, where the frames came from."""
    fabric = build_fabric("leaf_spine", {"leaves": 2, "cards": 4})
    found = walk(
        fabric, switch_tables(fabric, RuleOptions(failover=True)), down=frozenset(cables(fabric)[:1])
    )

    assert not found.is_whole
    assert not found.loops


def test_a_dead_leaf_makes_frames_to_it_circle_until_the_rules_change() -> None:
    """What `detours.py` says of link-protecting alternates; the controller's rules end it."""
    fabric = build_fabric("leaf_spine", {})
    options = RuleOptions(failover=True)
    dead = frozenset(index for index, link in enumerate(fabric.links) if "l1" in (link.a, link.b))

    tables = switch_tables(fabric, options)
    lost_uplinks = dead & frozenset(cables(fabric))
    assert walk(fabric, tables, down=lost_uplinks).loops
    assert walk(fabric, switch_tables(fabric, options, down=dead), down=dead).is_whole


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(
    ("name", "parameters"),
    [("leaf_spine", {}), ("leaf_spine", {"uplink_links": 4}), ("fat_tree", {}), ("rail_optimized", {})],
    ids=str,
)
def test_rules_for_a_lost_link_use_all_that_is_left(
    name: str, parameters: dict[str, Any], options: RuleOptions
) -> None:
    fabric = build_fabric(name, parameters)
    for lost in cables(fabric)[::5]:
        down = frozenset([lost])
        found = walk(fabric, switch_tables(fabric, options, down=down), down=down, weighted=options.weights)
        assert is_perfect(found, options), (lost, found)


def test_a_card_without_carrier_has_no_rule_anywhere_and_the_others_have_theirs() -> None:
    fabric = build_fabric("leaf_spine", {})
    lost = next(index for index, link in enumerate(fabric.links) if "c1" in (link.a, link.b))
    whole = switch_tables(fabric, PLAIN)
    tables = switch_tables(fabric, PLAIN, down=frozenset([lost]))

    for name, of in tables.items():
        gone = set(whole[name].flows) - set(of.flows)
        assert {flow.match.eth_dst for flow in gone} == {card_mac(0)}
        assert set(of.flows) < set(whole[name].flows)


def test_a_switch_without_any_link_keeps_its_rules() -> None:
    fabric = build_fabric("leaf_spine", {})
    dead = frozenset(index for index, link in enumerate(fabric.links) if "s1" in (link.a, link.b))
    tables = switch_tables(fabric, PLAIN, down=dead)

    assert tables["s1"] == switch_tables(fabric, PLAIN)["s1"]
    assert walk(fabric, tables, down=dead).is_whole


@pytest.mark.parametrize("cards_per_nic", [1, 3])
def test_counts_of_a_leaf_spine(cards_per_nic: int) -> None:
    """1 + 64 + 8 + 1 rules of classes, one a card and one for the rest; one group a leaf, none on a spine."""
    fabric = build_fabric("leaf_spine", {"spines": 3, "leaves": 5, "cards": 40, "oversubscription": 3})
    for name, tables in switch_tables(fabric, PLAIN, cards_per_nic=cards_per_nic).items():
        assert len(tables.flows) == 74 + 40 * cards_per_nic + 1
        assert [len(group.buckets) for group in tables.groups] == ([3] if name.startswith("l") else [])


@pytest.mark.parametrize("k", [4, 6])
def test_counts_of_a_fat_tree_with_failover(k: int) -> None:
    """Edges and aggregations have one group upwards; a critical switch has two detours for each way down."""
    fabric = build_fabric("fat_tree", {"k": k})
    plain, failover = (switch_tables(fabric, RuleOptions(failover=on)) for on in (False, True))

    for name in plain:
        exact = [flow for flow in failover[name].flows if flow.match.eth_dst and flow.match.in_port is None]
        assert len(exact) == k**3 // 4
        assert len(plain[name].groups) == (0 if name.startswith("k") else 1)
    core = failover["k1"]
    assert sum(group.kind == "fast_failover" for group in core.groups) == 2 * k


def test_weights_follow_the_capacity_behind_a_port() -> None:
    """After one of four cables of a spine is lost, three quarters of the others' share go over it."""
    fabric = build_fabric("leaf_spine", {"uplink_links": 4})
    lost = next(i for i in cables(fabric) if {fabric.links[i].a, fabric.links[i].b} == {"l1", "s1"})
    tables = switch_tables(fabric, RuleOptions(weights=True), down=frozenset([lost]))

    to_l1 = flow_to(tables["l2"], 0)
    group = next(group for group in tables["l2"].groups if group.number == to_l1.group)
    assert [bucket.weight for bucket in group.buckets] == [3] * 4 + [4] * 4
    to_l3 = flow_to(tables["l2"], 8)
    assert to_l3.group == flow_to(switch_tables(fabric, PLAIN)["l2"], 8).group, "its group goes on as it was"


def test_single_paths_are_spread_evenly_over_the_ports_of_every_tier() -> None:
    fabric = build_fabric("fat_tree", {"k": 8})
    tables = switch_tables(fabric, RuleOptions(paths="single"))
    for name in ("e1", "a1"):
        ports = [flow.output for flow in tables[name].flows if flow.match.eth_dst and (flow.output or 0) > 4]
        assert {ports.count(port) for port in (5, 6, 7, 8)} == {len(ports) // 4}


def test_addresses_of_endpoints_can_be_given() -> None:
    fabric = build_fabric("single_switch", {"cards": 2})
    macs = {"c1": ["00:00:00:00:00:0a", "00:00:00:00:00:0b"], "c2": []}
    tables = switch_tables(fabric, PLAIN, macs=macs)

    found = {flow.match.eth_dst: flow.output for flow in tables["l1"].flows if flow.match.eth_dst}
    assert found == {"00:00:00:00:00:0a": 1, "00:00:00:00:00:0b": 1}


def test_classes_are_those_of_the_model_and_discovery_goes_to_the_cpu() -> None:
    tables = switch_tables(build_fabric("single_switch", {"cards": 2}), PLAIN)["l1"]
    first, *_, last = [flow for flow in tables.flows if flow.table == 0]

    assert (first.match, first.output) == (Match(eth_type=0x88CC), CPU_PORT)
    assert (last.match, last.goto) == (Match(), 1)
    by_dscp = {flow.match.ip_dscp: flow.queue for flow in tables.flows if flow.match.ip_dscp is not None}
    by_pcp = {flow.match.vlan_pcp: flow.queue for flow in tables.flows if flow.match.vlan_pcp is not None}
    assert by_dscp == {dscp: dscp // 8 for dscp in range(64)}
    assert by_pcp == {pcp: pcp for pcp in range(8)}
    assert tables.flows[-1] == Flow(table=1, priority=0, output=CPU_PORT)


def test_a_missing_rule_is_found() -> None:
    fabric = build_fabric("leaf_spine", {})
    tables = switch_tables(fabric, PLAIN)
    found = walk(fabric, changed(tables, "s1", flow_to(tables["s1"], 0), None))

    assert found.reached == found.pairs - 12, "all senders on other leaves may take that spine"
    assert any("s1" in text and "there is no rule" in text for text in found.unreached)


def test_a_circle_is_found_and_named() -> None:
    fabric = build_fabric("leaf_spine", {})
    tables = switch_tables(fabric, PLAIN)
    for spine, leaf_port in (("s1", 2), ("s2", 3)):  # to l2 and l3, not l1
        rule = flow_to(tables[spine], 0)
        tables = changed(tables, spine, rule, replace(rule, output=leaf_port))
    found = walk(fabric, tables)

    assert found.loops
    assert {"s1", "l2", "s2", "l3"} == set(found.loops[0].rpartition(": ")[2].split(" > "))
    assert not found.is_whole


def test_a_way_that_is_not_used_is_found() -> None:
    fabric = build_fabric("leaf_spine", {})
    tables = switch_tables(fabric, PLAIN)
    (group,) = tables["l1"].groups
    found = walk(fabric, changed(tables, "l1", group, replace(group, buckets=group.buckets[:1])))

    assert found.is_whole
    assert found.paths == found.shortest_paths - 4 * 12
    assert any("l1" in text and "port 6" in text for text in found.unused)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_wrong_weight_is_found(weighted: bool) -> None:
    fabric = build_fabric("leaf_spine", {})
    tables = switch_tables(fabric, RuleOptions(weights=weighted))
    (group,) = tables["l1"].groups
    buckets = (replace(group.buckets[0], weight=2), *group.buckets[1:])
    found = walk(fabric, changed(tables, "l1", group, replace(group, buckets=buckets)), weighted=weighted)

    assert found.is_whole
    assert found.uneven[0].startswith("l1: ports 5, 6")
    assert found.uneven[0].endswith("have 2:1, not 1:1")


def test_a_rule_to_another_card_and_one_that_drops_are_found() -> None:
    fabric = build_fabric("single_switch", {"cards": 3})
    tables = switch_tables(fabric, PLAIN)
    rule = flow_to(tables["l1"], 0)

    astray = walk(fabric, changed(tables, "l1", rule, replace(rule, output=3)))
    assert astray.reached == astray.pairs - 2
    assert any("another card" in text for text in astray.unreached)
    dropped = walk(fabric, changed(tables, "l1", rule, replace(rule, output=None)))
    assert any("drops" in text for text in dropped.unreached)


def test_a_group_that_does_not_watch_its_ports_loses_frames() -> None:
    fabric = build_fabric("leaf_spine", {})
    lost = frozenset(cables(fabric)[:1])
    assert not walk(fabric, switch_tables(fabric, PLAIN), down=lost).is_whole

    tables = switch_tables(fabric, RuleOptions(failover=True))
    switch = fabric.links[min(lost)].a
    (group,) = (one for one in tables[switch].groups if one.kind == "select")
    blind = replace(group, buckets=tuple(Bucket(port=bucket.port) for bucket in group.buckets))
    assert not walk(fabric, changed(tables, switch, group, blind), down=lost).is_whole
