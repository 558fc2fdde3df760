"""`asic.py` and `text.py`: what a modelled ASIC holds, in the words of ovs-ofctl, and the engine's integers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from testbed.controller.asic import (
    CPU_ROUTE,
    DROP_ROUTE,
    NO_ROUTE,
    check_tables,
    lower,
    lower_updates,
)
from testbed.controller.rules import card_mac, forwarding, switch_tables
from testbed.controller.tables import (
    CPU_PORT,
    Bucket,
    Flow,
    Group,
    GroupKind,
    Match,
    SwitchTables,
    TableUpdate,
)
from testbed.controller.text import flow_text, group_text, tables_text
from testbed.controller.timing import RuleOptions
from testbed.errors import SpecError
from testbed.spec.fabric import Fabric
from testbed.switches import SWITCHES
from testbed.switches.profile import SwitchProfile, TableSizes
from tests.unit.test_topologies import IDS, VARIANTS
from topologies import build_fabric

IDEAL = SWITCHES.get("ideal")
ANY = Flow(table=0, priority=0, goto=1)


def ports_of(fabric: Fabric, name: str) -> list[int]:
    return [link.port_at(name) for link in fabric.links_of(name)]


def to(card: int, *, in_port: int | None = None, priority: int = 10, **action: Any) -> Flow:
    return Flow(table=1, priority=priority, match=Match(in_port=in_port, eth_dst=card_mac(card)), **action)


def group(
    *ports: int, kind: GroupKind = "select", watched: bool = False, weights: tuple[int, ...] = ()
) -> Group:
    each = weights or (1,) * len(ports)
    buckets = tuple(Bucket(port=port, weight=w, watched=watched) for port, w in zip(ports, each, strict=True))
    return Group(number=1, kind=kind, buckets=buckets)


def tables(*flows: Flow, groups: tuple[Group, ...] = ()) -> SwitchTables:
    return SwitchTables(flows=flows, groups=groups)


def sized(**sizes: int) -> SwitchProfile:
    numbers = {name: replace(getattr(IDEAL.tables, name), value=value) for name, value in sizes.items()}
    made: TableSizes = replace(IDEAL.tables, **numbers)  # type: ignore[arg-type] # all are Sourced
    return replace(IDEAL, tables=made)


@pytest.mark.parametrize("cards_per_nic", [1, 4])
@pytest.mark.parametrize(("name", "parameters"), VARIANTS, ids=IDS)
def test_default_rules_lower_to_the_groups_and_routes_of_shortest_paths(
    name: str, parameters: dict[str, Any], cards_per_nic: int
) -> None:
    """Groups sorted by their ports, and nothing else."""
    fabric = build_fabric(name, parameters)
    rules = forwarding(fabric)
    found = switch_tables(fabric, RuleOptions(), cards_per_nic=cards_per_nic)
    for switch, of in found.items():
        ports = [rules[switch][e.name] for e in fabric.endpoints for _ in range(cards_per_nic)]
        groups = sorted(set(ports))
        lowered = lower(of, cards=len(ports), ports=ports_of(fabric, switch))
        assert lowered == {
            "groups": [list(one) for one in groups],
            "route": [groups.index(one) for one in ports],
        }


@pytest.mark.parametrize("name", SWITCHES.names())
def test_every_product_holds_the_rules_of_a_default_fabric_with_failover(name: str) -> None:
    fabric = build_fabric("leaf_spine", {})
    for switch, of in switch_tables(fabric, RuleOptions(failover=True, weights=True)).items():
        check_tables(switch, of, SWITCHES.get(name))


def test_failover_lowers_to_watched_groups_and_routes_by_port() -> None:
    of = tables(
        ANY,
        to(0, group=1),
        to(1, output=3),
        to(0, in_port=2, priority=20, output=3),
        groups=(group(1, 2, watched=True),),
    )
    assert lower(of, cards=2, ports=[1, 2, 3]) == {
        "groups": [[1, 2], [3]],
        "watched": [1, 0],
        "route": [0, 1],
        "ingress_routes": [[2, [1, NO_ROUTE]]],
    }


def test_fast_failover_keeps_the_order_of_its_buckets() -> None:
    of = tables(ANY, to(0, group=1), groups=(group(2, 1, kind="fast_failover", watched=True),))
    assert lower(of, cards=1, ports=[1, 2]) == {"groups": [[2, 1]], "watched": [2], "route": [0]}


def test_weights_are_lowered_where_they_differ() -> None:
    of = tables(ANY, to(0, group=1), to(1, output=1), groups=(group(1, 2, weights=(3, 4)),))
    assert lower(of, cards=2, ports=[1, 2]) == {
        "groups": [[1], [1, 2]],
        "weights": [[1], [3, 4]],
        "route": [1, 0],
    }


def test_drops_and_the_cpu_port_are_told_apart() -> None:
    miss = Flow(table=1, priority=0, output=CPU_PORT)
    of = tables(
        ANY,
        miss,
        to(0),
        to(1, output=1),
        to(1, in_port=2, priority=20),
        to(1, in_port=3, priority=20, output=CPU_PORT),
    )
    assert lower(of, cards=3, ports=[1, 2, 3]) == {
        "groups": [[1]],
        "route": [DROP_ROUTE, 0, NO_ROUTE],
        "ingress_routes": [[2, [NO_ROUTE, DROP_ROUTE, NO_ROUTE]], [3, [NO_ROUTE, CPU_ROUTE, NO_ROUTE]]],
    }
    assert lower(tables(ANY), cards=1, ports=[1])["route"] == [DROP_ROUTE], "no miss rule: OpenFlow 1.3, 5.4"


def test_the_highest_priority_decides_and_table_0_may_forward_alone() -> None:
    low = Flow(table=0, priority=1, match=Match(eth_dst=card_mac(0)), output=1)
    high = replace(low, priority=2, output=2)
    assert lower(tables(low, high), cards=1, ports=[1, 2])["groups"] == [[2]]


def test_classes_other_than_the_models_are_lowered() -> None:
    of = switch_tables(build_fabric("single_switch", {"cards": 2}), RuleOptions(class_of_pcp=(0,) * 8))["l1"]
    lowered = lower(of, cards=2, ports=[1, 2])
    assert lowered["class_of_pcp"] == [0] * 8
    assert "class_of_dscp" not in lowered


def test_updates_are_complete_and_in_order() -> None:
    first = tables(ANY, to(0, output=1))
    later = TableUpdate(time_ps=9, switch="l1", tables=tables(ANY, to(0, output=2)))
    sooner = TableUpdate(time_ps=5, switch="l1", tables=tables(ANY))
    empty: dict[str, Any] = {"weights": [], "watched": [], "ingress_routes": []}
    assert lower_updates(first, [later, sooner], cards=1, ports=[1, 2]) == [
        {"time_ps": 5, "groups": [], "route": [DROP_ROUTE], **empty},
        {"time_ps": 9, "groups": [[2]], "route": [0], **empty},
    ]
    classes = Flow(table=0, priority=9, match=Match(vlan_pcp=1), queue=0, goto=1)
    with pytest.raises(SpecError, match="classes"):
        lower_updates(first, [replace(later, tables=tables(ANY, classes))], cards=1, ports=[1])


@pytest.mark.parametrize(
    ("flow", "problem"),
    [
        (Flow(table=2, priority=1, output=1), "no table 2"),
        (to(0, output=1, other=("strip_vlan",)), "unknown action strip_vlan"),
        (Flow(table=1, priority=1, goto=0), "no way to table 0"),
        (to(0, group=7), "no group 7"),
        (to(0, output=1, group=1), "more than one way on"),
        (to(0, output=1, queue=3), "a class by destination"),
        (Flow(table=1, priority=1, match=Match(eth_src=card_mac(0)), output=1), "does not look up"),
        (Flow(table=1, priority=1, match=Match(vlan_pcp=3), output=1), "does not look up"),
        (Flow(table=1, priority=1, match=Match(other=("tcp_dst=80",)), output=1), "does not look up"),
        (Flow(table=0, priority=1, match=Match(vlan_pcp=3), queue=8, goto=1), "no class"),
        (Flow(table=0, priority=1, match=Match(vlan_pcp=3), queue=3), "ends the lookup"),
    ],
)
def test_a_rule_that_the_asic_cannot_hold_is_named(flow: Flow, problem: str) -> None:
    with pytest.raises(SpecError) as caught:
        check_tables("l1", tables(ANY, flow, groups=(group(1, 2),)), IDEAL)
    assert problem in str(caught.value)
    assert str(caught.value).startswith("l1: ")
    assert str(caught.value).endswith(flow_text(flow))
    assert caught.value.remedy


def test_forwarding_among_the_classes_is_refused() -> None:
    classes = Flow(table=0, priority=9, match=Match(vlan_pcp=1), queue=0, goto=1)
    early = Flow(table=0, priority=5, match=Match(eth_dst=card_mac(0)), output=1)
    with pytest.raises(SpecError, match="among the classes"):
        check_tables("l1", tables(ANY, classes, early), IDEAL)


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (group(), "without a bucket"),
        (group(1, CPU_PORT), "CPU port"),
        (group(1, 1), "a port twice"),
        (replace(group(1, 2), buckets=(Bucket(port=1, watched=True), Bucket(port=2))), "some do not"),
        (group(1, 2, weights=(0, 1)), "below 1"),
    ],
)
def test_a_group_that_the_asic_cannot_hold_is_named(bad: Group, problem: str) -> None:
    with pytest.raises(SpecError, match=problem) as caught:
        check_tables("l1", tables(ANY, groups=(bad,)), IDEAL)
    assert str(caught.value).endswith(group_text(bad))


@pytest.mark.parametrize(
    ("sizes", "named"),
    [
        ({"mac_entries": 1}, f"dl_dst={card_mac(1)}"),
        ({"acl_entries": 0}, "in_port=2"),
        ({"groups": 0}, "group_id=1"),
        ({"group_members": 6}, "group_id=1"),
    ],
)
def test_a_full_table_names_the_entry_that_has_no_room(sizes: dict[str, int], named: str) -> None:
    of = tables(
        ANY,
        to(0, group=1),
        to(1, output=1),
        to(0, in_port=2, priority=20, output=1),
        groups=(group(1, 2, weights=(3, 4)),),
    )
    check_tables("l1", of, sized(mac_entries=2, acl_entries=1, groups=1, group_members=7))
    with pytest.raises(SpecError) as caught:
        check_tables("l1", of, sized(**sizes))
    assert named in str(caught.value)


def test_text_is_that_of_ovs_ofctl() -> None:
    assert tables_text(tables(ANY, to(0, in_port=2, group=1), groups=(group(1, 2, watched=True),))) == [
        "group_id=1,type=select,bucket=weight:1,watch_port:1,actions=output:1,"
        "bucket=weight:1,watch_port:2,actions=output:2",
        "table=0, priority=0 actions=goto_table:1",
        "table=1, priority=10,in_port=2,dl_dst=02:54:4e:00:00:00 actions=group:1",
    ]
    assert flow_text(Flow(table=0, priority=1)) == "table=0, priority=1 actions=drop"
    assert group_text(group(2, kind="fast_failover")) == (
        "group_id=1,type=ff,bucket=watch_port:2,actions=output:2"
    )
    classes = Flow(table=0, priority=9, match=Match(eth_type=0x800, ip_dscp=8), queue=1, goto=1)
    assert flow_text(classes) == "table=0, priority=9,ip,ip_dscp=8 actions=set_queue:1,goto_table:1"
