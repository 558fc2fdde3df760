from __future__ import annotations

import subprocess
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from testbed.errors import SpecError
from testbed.report.describe import diameter_hops, oversubscription
from testbed.spec.fabric import FOREVER_PS, Fabric, LinkFault
from topologies import TOPOLOGIES, build_fabric, parameter_names, parse_parameters

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in TOPOLOGIES.names()),
    ("single_switch", {"cards": 1}),
    ("dumbbell", {"left": 1, "right": 3, "trunks": 2}),
    ("leaf_spine", {"spines": 1, "leaves": 1, "cards": 1}),
    ("leaf_spine", {"spines": 3, "leaves": 5, "cards": 40, "oversubscription": 3}),
    ("leaf_spine", {"uplink_links": 4}),
    ("rail_optimized", {"servers": 1, "rails": 8}),
    ("rail_optimized", {"servers": 3, "rails": 2, "spines": 1}),
    ("fat_tree", {"k": 2}),
    ("fat_tree", {"k": 6, "oversubscription": 2}),
    ("squadrack", {"switches": 2}),
    ("squadrack", {"cards_per_nic": 2, "switches": 2}),
    ("squadrack", {"cards_per_nic": 8}),
    ("single_switch", {"lanes": 4, "length": "2m", "fec": "ll", "ber": "1e-5"}),
    ("dumbbell", {"faults": "l1>l2@1us-2us:50%,c1>l1:1ppm"}),
]
IDS = [f"{name} {parameters}" for name, parameters in VARIANTS]


@pytest.mark.parametrize(("name", "parameters"), VARIANTS, ids=IDS)
def test_topology_names_and_ports_are_regular(name: str, parameters: dict[str, Any]) -> None:
    fabric = build_fabric(name, parameters)

    assert fabric.topology == name
    assert [e.name for e in fabric.endpoints] == [f"c{i}" for i in range(1, len(fabric.endpoints) + 1)]
    for switch in fabric.switches:
        ports = [link.port_at(switch.name) for link in fabric.links_of(switch.name)]
        assert ports == list(range(1, len(ports) + 1)), "ports count from 1 without a gap"
    assert set(fabric.parameters) == set(parameter_names(TOPOLOGIES.get(name)))


@pytest.mark.parametrize(("name", "parameters"), VARIANTS, ids=IDS)
def test_topology_can_be_rebuilt_from_its_own_parameters(name: str, parameters: dict[str, Any]) -> None:
    fabric = build_fabric(name, parameters)

    assert build_fabric(fabric.topology, fabric.parameters) == fabric


def test_registry_holds_every_topology_file(repository: Path) -> None:
    files = {path.stem for path in (repository / "topologies").glob("*.py") if not path.stem.startswith("_")}

    assert set(TOPOLOGIES.names()) == files


def test_leaf_spine_default_is_non_blocking() -> None:
    fabric = build_fabric("leaf_spine", {})

    assert (len(fabric.endpoints), len(fabric.switches), len(fabric.links)) == (16, 6, 24)
    assert oversubscription(fabric) == {0: 1}
    assert diameter_hops(fabric) == 4


@pytest.mark.parametrize(
    ("parameters", "ratio", "uplink_gbps", "uplinks"),
    [
        ({}, Fraction(1), 800, 8),
        ({"oversubscription": 2}, Fraction(2), 400, 8),
        ({"cards": 32}, Fraction(1), 800, 16),
        ({"cards": 24}, Fraction(3, 4), 800, 16),
        ({"cards": 8, "rate": "100Gbps"}, Fraction(1), 100, 8),
        ({"uplink_rate": "400Gbps"}, Fraction(1), 400, 16),
        ({"uplink_rate": "400Gbps", "uplink_links": 1}, Fraction(2), 400, 8),
        ({"uplink_links": 2}, Fraction(1), 400, 16),
        ({"spines": 4, "oversubscription": 4}, Fraction(4), 100, 16),
    ],
)
def test_leaf_spine_uplinks_follow_from_the_parameters(
    parameters: dict[str, Any], ratio: Fraction, uplink_gbps: int, uplinks: int
) -> None:
    fabric = build_fabric("leaf_spine", parameters)
    up = [link for link in fabric.links if link.b.startswith("s")]

    assert oversubscription(fabric) == {0: ratio}
    assert {link.rate_bps for link in up} == {uplink_gbps * 10**9}
    assert len(up) == uplinks


def test_fat_tree_has_the_counts_of_the_paper() -> None:
    fabric = build_fabric("fat_tree", {"k": 6})

    tiers = Counter(switch.tier for switch in fabric.switches)
    assert (len(fabric.endpoints), tiers) == (54, {0: 18, 1: 18, 2: 9})
    assert {len(fabric.links_of(switch.name)) for switch in fabric.switches} == {6}
    assert oversubscription(fabric) == {0: 1, 1: 1}
    assert diameter_hops(fabric) == 6


def test_fat_tree_pods_meet_only_at_the_cores() -> None:
    fabric = build_fabric("fat_tree", {"k": 4})

    assert set(fabric.neighbours("e1")) == {"c1", "c2", "a1", "a2"}
    assert set(fabric.neighbours("k1")) == {"a1", "a3", "a5", "a7"}


def test_rail_optimized_card_r_of_every_server_is_on_leaf_r() -> None:
    fabric = build_fabric("rail_optimized", {"servers": 3, "rails": 2})

    assert [e.server for e in fabric.endpoints] == ["h1", "h1", "h2", "h2", "h3", "h3"]
    assert [fabric.neighbours(e.name)[0] for e in fabric.endpoints] == ["l1", "l2"] * 3


def test_squadrack_is_what_is_public() -> None:
    fabric = build_fabric("squadrack", {})

    assert fabric.cards() == 64
    assert {endpoint.cards for endpoint in fabric.endpoints} == {4}
    assert set(Counter(endpoint.server for endpoint in fabric.endpoints).values()) == {2}
    assert len({endpoint.server for endpoint in fabric.endpoints}) == 8
    assert "assumed" in str(sys.modules["topologies.squadrack"].__doc__)


def test_squadrack_two_switches_deal_out_the_nics_of_a_server() -> None:
    fabric = build_fabric("squadrack", {"switches": 2})

    assert [fabric.neighbours(e.name)[0] for e in fabric.endpoints[:4]] == ["l1", "l2", "l1", "l2"]
    assert oversubscription(fabric) == {0: 1}


def test_squadrack_three_nics_a_server_keep_their_order_over_two_switches() -> None:
    fabric = build_fabric("squadrack", {"switches": 2, "cards": 12, "servers": 2})

    assert [fabric.neighbours(e.name)[0] for e in fabric.endpoints] == ["l1", "l2", "l1"] * 2


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("single_switch", {"cards": 0}, "cards: 0 is out of range"),
    ("single_switch", {"cards": -3}, "cards: -3 is out of range"),
    ("single_switch", {"cards": 10**12}, "cards: 1000000000000 is out of range"),
    ("single_switch", {"cards": "8"}, "cards: '8' is no whole number"),
    ("single_switch", {"cards": True}, "cards: True is no whole number"),
    ("single_switch", {"card": 8}, "did you mean 'cards'?"),
    ("single_switch", {"rate": "fast"}, "rate: 'fast' is not a rate"),
    ("single_switch", {"rate": 400}, "rate: 400 is no text"),
    ("single_switch", {"rate": "300Gbps"}, "no whole number of picoseconds"),
    ("single_switch", {"rate": "2Tbps"}, "no medium carries 2Tbps"),
    ("single_switch", {"medium": "dak"}, "did you mean 'dac'?"),
    ("single_switch", {"length": "3"}, "length: '3' is not a length"),
    ("single_switch", {"length": "-3m"}, "is negative"),
    ("single_switch", {"length": "4m"}, "length: 4m of dac is too long"),
    ("single_switch", {"rate": "800Gbps"}, "it reaches 2m"),
    ("dumbbell", {"left": 60_000, "right": 60_000}, "left + right: 120,000 is more than 65,535"),
    ("dumbbell", {"trunks": 0}, "trunks: 0 is out of range"),
    ("dumbbell", {"trunk_length": "1km"}, "trunk_length: 1km of dr is too long"),
    ("leaf_spine", {"cards": 15}, "15 cards do not divide over 4 leaves"),
    ("leaf_spine", {"oversubscription": 0}, "oversubscription: 0 is out of range"),
    (
        "leaf_spine",
        {"uplink_rate": "400Gbps", "uplink_links": 1, "oversubscription": 2},
        "oversubscription: uplink_rate and uplink_links already fix it",
    ),
    ("leaf_spine", {"spines": 65_535, "leaves": 65_535, "cards": 65_535}, "more than 1,000,000"),
    ("leaf_spine", {"uplink_medium": "dac"}, "uplink_length: 10m of dac is too long"),
    ("rail_optimized", {"servers": 1000, "rails": 1000}, "servers x rails: 1,000,000 is more than"),
    ("fat_tree", {"k": 3}, "k: 3 is odd"),
    ("fat_tree", {"k": 0}, "k: 0 is out of range"),
    ("fat_tree", {"k": 128}, "is more than 65,535"),
    ("squadrack", {"cards_per_nic": 3}, "8 cards a server do not divide by 3"),
    ("squadrack", {"switches": 3}, "switches: 3 is out of range"),
    ("squadrack", {"switches": 2, "cards_per_nic": 8}, "switches: 2 switches for 1 NIC a server"),
    ("single_switch", {"lanes": "many"}, "lanes: 'many' is no number of lanes"),
    ("single_switch", {"lanes": 0}, "lanes: 0 is no number of lanes"),
    ("single_switch", {"lanes": True}, "lanes: True is no number of lanes"),
    ("single_switch", {"lanes": 3}, "lanes: 400Gbps does not run over 3 lanes"),
    ("single_switch", {"lanes": "4"}, "length: 3m of dac is too long: at 400Gbps (100Gbps lanes)"),
    ("single_switch", {"fec": "kp5"}, "fec: unknown FEC 'kp5'; did you mean 'kp4'?"),
    ("single_switch", {"fec": "none"}, "fec: 50Gbps lanes are PAM4"),
    ("single_switch", {"ber": "often"}, "ber: 'often' is not a ratio"),
    ("single_switch", {"ber": "1e-2"}, "ber: at a bit error ratio of 1e-2 more than 10%"),
    ("leaf_spine", {"uplink_lanes": 3}, "uplink_lanes: 800Gbps does not run over 3 lanes"),
    ("leaf_spine", {"uplink_fec": "kr4"}, "uplink_fec: fec kr4 is not used at 100Gbps lanes"),
    ("leaf_spine", {"uplink_ber": "1"}, "uplink_ber: at a bit error ratio of 1 more"),
    ("fat_tree", {"core_fec": "none"}, "core_fec: 50Gbps lanes are PAM4"),
    ("leaf_spine", {"faults": "l9>s1:1%"}, "faults: unknown node 'l9'; did you mean 'l"),
    ("leaf_spine", {"faults": "l1>zzz:1%"}, "faults: unknown node 'zzz'"),
    ("leaf_spine", {"faults": "l1>l2:1%"}, "faults: no link from l1 to l2"),
    ("leaf_spine", {"faults": "l1.9>s1:1%"}, "faults: no link from l1 to s1 on port 9 of l1"),
    ("leaf_spine", {"faults": "l1-s1:1%"}, "faults: 'l1-s1:1%' is no fault"),
    ("leaf_spine", {"faults": "l1>s1"}, "faults: 'l1>s1' is no fault"),
    ("leaf_spine", {"faults": ""}, "faults: '' is no fault"),
    ("leaf_spine", {"faults": 5}, "faults: 5 is no text"),
    ("leaf_spine", {"faults": "l1>s1@2us-1us:1%"}, "faults: a fault from 2us until 1us is at no time"),
    ("leaf_spine", {"faults": "l1>s1@2-3us:1%"}, "faults: '2' is not a time"),
    ("leaf_spine", {"faults": "l1>s1:101%"}, "faults: a fault that loses 1,010,000 of a million"),
    ("leaf_spine", {"faults": "l1>s1:1%,l1>s1@1us-2us:2%"}, "two at once toward 's1'"),
    ("leaf_spine", {"faults": "l1>s1@1us-2us/1us:1%"}, "lasts 1us and comes back every 1us never ends"),
    ("leaf_spine", {"faults": "l1>s1@1us-2us/0us:1%"}, "comes back every 0ps never ends"),
    ("leaf_spine", {"faults": "l1>s1@1us-2us/99us:1%"}, "a fault every 99us comes 10,102 times in 1s"),
    ("leaf_spine", {"faults": "l1>s1@1us-2us/9us*10001:1%"}, "a fault every 9us comes 10,001 times"),
    ("leaf_spine", {"faults": "l1>s1@1us-2us/9us*0:1%"}, "a fault every 9us comes 0 times"),
    ("leaf_spine", {"faults": "l1>s1@1us-2us/often:1%"}, "faults: 'often' is not a time"),
    ("leaf_spine", {"faults": "l1>s1@1us-2us/9us*x:1%"}, "is no fault"),
    ("leaf_spine", {"faults": "l1>s1/9us:1%"}, "is no fault"),
    ("leaf_spine", {"faults": "l1<s1:1%"}, "is no fault"),
    ("leaf_spine", {"faults": "l1<>l2:1%"}, "faults: no link from l1 to l2"),
    ("leaf_spine", {"faults": "l1<>s1:1%,s1>l1:2%"}, "two at once toward 'l1'"),
    ("leaf_spine", {"reorder": "often"}, "reorder: 'often' is not a ratio"),
    ("leaf_spine", {"reorder": "1.1"}, "reorder: ratio '1.1' is no whole number of 1e-18 up to 1"),
    ("leaf_spine", {"reorder_delay": "3"}, "reorder_delay: '3' is not a time"),
    ("leaf_spine", {"reorder_delay": 3}, "reorder_delay: 3 is no text"),
    ("leaf_spine", {"reorder_delay": "0us"}, "reorder_delay: frames cannot be held up for '0us'"),
    ("leaf_spine", {"reorder_delay": "2s"}, "reorder_delay: frames cannot be held up for '2s'"),
    ("leaf_spine", {"duplicate": "-1"}, "duplicate: '-1' is not a ratio"),
    ("leaf_spin", {}, "did you mean 'leaf_spine'?"),
]


@pytest.mark.parametrize(("name", "parameters", "message"), BAD)
def test_topology_bad_parameter_is_refused_with_a_remedy(
    name: str, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError) as caught:
        build_fabric(name, parameters)
    assert message in str(caught.value)
    assert caught.value.remedy


def test_topology_many_bad_parameters_are_named_together() -> None:
    with pytest.raises(SpecError) as caught:
        build_fabric("leaf_spine", {"spines": 0, "rate": "x", "medium": "y", "colour": 1, "cards": 7})
    paths = [problem.path for problem in caught.value.problems]
    assert sorted(paths) == ["cards", "colour", "medium", "rate", "spines"]


def test_parse_parameters_reads_numbers_and_text() -> None:
    builder = TOPOLOGIES.get("leaf_spine")

    assert parse_parameters("leaf_spine", builder, ["leaves=2", "rate = 100Gbps"]) == {
        "leaves": 2,
        "rate": "100Gbps",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [("leaves", "no key=value"), ("leaves=", "no key=value"), ("laeves=2", "did you mean 'leaves'?")],
)
def test_parse_parameters_bad_text_is_refused(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_parameters("leaf_spine", TOPOLOGIES.get("leaf_spine"), [text])
    assert message in str(caught.value)


@pytest.mark.parametrize("name", TOPOLOGIES.names())
def test_topology_file_executed_as_mn_does_offers_its_factory(
    repository: Path, tmp_path: Path, name: str
) -> None:
    """`mn` executes the text with empty globals, from anywhere, without this tree on its path."""
    path = repository / "topologies" / f"{name}.py"
    script = (
        f"names = {{}}; exec(compile(open({str(path)!r}).read(), {str(path)!r}, 'exec'), names, names);"
        f"assert callable(names['topos'][{name!r}]);"
        "clash = {'TOPOS', 'SWITCHES', 'HOSTS', 'CONTROLLERS', 'LINKS', 'TESTS', 'Topo', 'Mininet', 'CLI',"
        " 'Host', 'Controller', 'OVSSwitch', 'init', 'validate'} & set(names); assert not clash, clash"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_topology_import_leaves_the_path_alone(repository: Path) -> None:
    script = (
        "import sys; before = list(sys.path); import topologies;"
        "assert sys.path == before, sys.path; assert 'mininet' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=repository, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_mininet_topo_has_the_same_nodes_links_and_ports() -> None:
    pytest.importorskip("mininet.topo")
    from topologies._mininet import to_topo

    fabric: Fabric = build_fabric("leaf_spine", {})
    topo = to_topo(fabric)

    assert set(topo.hosts()) == {e.name for e in fabric.endpoints}
    assert set(topo.switches()) == {s.name for s in fabric.switches}
    assert len(topo.links()) == len(fabric.links)
    for link in fabric.links:
        assert topo.port(link.a, link.b) == (link.a_port, link.b_port)
    dpids = [topo.nodeInfo(s.name)["dpid"] for s in fabric.switches]
    assert len(set(dpids)) == len(dpids)


def test_topology_of_a_users_file_builds_by_its_path(tmp_path: Path) -> None:
    mine = tmp_path / "my own.py"
    mine.write_text("from topologies.single_switch import build\n", encoding="utf-8")
    assert build_fabric(str(mine), {"cards": 3}) == build_fabric("single_switch", {"cards": 3})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "there is no topology file"),
        ("x = 1\n", "no function `build`"),
        ("def build(:\n", "cannot be read"),
    ],
)
def test_topology_file_that_is_none_is_refused(tmp_path: Path, text: str | None, said: str) -> None:
    mine = tmp_path / "mine.py"
    if text is not None:
        mine.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match=said):
        build_fabric(str(mine), {})


def test_cable_parameters_reach_the_links_they_are_of() -> None:
    fabric = build_fabric(
        "leaf_spine",
        {
            "lanes": 4,
            "length": "2m",
            "ber": "1e-5",
            "uplink_lanes": "4",
            "uplink_fec": "ll",
            "uplink_ber": "0",
        },
    )
    cables = {(link.rate_bps // 10**9, link.lanes, link.fec, link.ber_e18) for link in fabric.links}

    assert cables == {(400, 4, "auto", 10**13), (800, 4, "ll", 0)}


def test_faults_parameter_is_of_one_direction_and_of_all_parallel_links() -> None:
    fabric = build_fabric(
        "leaf_spine",
        {"uplink_links": 2, "faults": "l1>s1@100us-200us:100% , s2>l3 : 1%, l2.6>s1:5ppm"},
    )
    faulty = {(link.a, link.a_port, link.b): link.faults for link in fabric.links if link.faults}

    dead = LinkFault(toward="s1", from_ps=100_000_000, until_ps=200_000_000, loss_ppm=1_000_000)
    poor = LinkFault(toward="l3", from_ps=0, until_ps=FOREVER_PS, loss_ppm=10_000)
    rare = LinkFault(toward="s1", from_ps=0, until_ps=FOREVER_PS, loss_ppm=5)
    assert faulty == {
        ("l1", 5, "s1"): (dead,),
        ("l1", 6, "s1"): (dead,),
        ("l3", 7, "s2"): (poor,),
        ("l3", 8, "s2"): (poor,),
        ("l2", 6, "s1"): (rare,),
    }


def flap(toward: str, starts_us: range, loss_ppm: int = 1_000_000) -> list[LinkFault]:
    """Down for 10 us each time."""
    return [
        LinkFault(toward=toward, from_ps=us * 10**6, until_ps=(us + 10) * 10**6, loss_ppm=loss_ppm)
        for us in starts_us
    ]


def test_fault_with_a_period_comes_back_for_a_second_or_as_often_as_it_says() -> None:
    text = "l1>s1@100us-110us/1ms:100% , l2 > s1 @ 5us-15us / 20us * 3 : 50%"
    fabric = build_fabric("leaf_spine", {"faults": text})
    faulty = {(link.a, link.b): list(link.faults) for link in fabric.links if link.faults}

    assert faulty == {
        ("l1", "s1"): flap("s1", range(100, 1_000_100, 1_000)),
        ("l2", "s1"): flap("s1", range(5, 65, 20), 500_000),
    }


def test_fault_of_a_whole_link_is_of_both_directions_of_its_parallel_links() -> None:
    text = "l1<>s1@5us-15us/20us*2:100%, l2.6<>s1:1ppm"
    fabric = build_fabric("leaf_spine", {"uplink_links": 2, "faults": text})
    faulty = {(link.a, link.a_port, link.b): list(link.faults) for link in fabric.links if link.faults}

    both = flap("s1", range(5, 45, 20)) + flap("l1", range(5, 45, 20))
    ever = [LinkFault(toward=one, from_ps=0, until_ps=FOREVER_PS, loss_ppm=1) for one in ("s1", "l2")]
    assert faulty == {("l1", 5, "s1"): both, ("l1", 6, "s1"): both, ("l2", 6, "s1"): ever}


@pytest.mark.parametrize("name", TOPOLOGIES.names())
def test_reordering_and_duplicates_are_of_every_link(name: str) -> None:
    parameters = {"reorder": "1e-3", "reorder_delay": "3us", "duplicate": "0.5"}
    links = build_fabric(name, parameters).links

    disorder = {(link.reorder_e18, link.reorder_delay_ps, link.duplicate_e18) for link in links}
    assert disorder == {(10**15, 3_000_000, 5 * 10**17)}


@pytest.mark.parametrize("name", TOPOLOGIES.names())
def test_default_cables_are_the_usual_ones_without_a_fault(name: str) -> None:
    links = build_fabric(name, {}).links

    assert {(link.lanes, link.fec, link.ber_e18, link.faults) for link in links} == {(0, "auto", None, ())}


def test_fault_of_every_link_is_of_both_directions_of_each() -> None:
    fabric = build_fabric("single_switch", {"cards": 2, "faults": "*<>*:5ppm"})
    found = [[(fault.toward, fault.loss_ppm) for fault in link.faults] for link in fabric.links]
    assert found == [[("c1", 5), ("l1", 5)], [("c2", 5), ("l1", 5)]]


@pytest.mark.parametrize("text", ["*>*:5ppm", "*<>l1:5ppm", "c1<>*:5ppm"])
def test_fault_of_every_link_is_written_in_one_way(text: str) -> None:
    with pytest.raises(SpecError, match="is no fault"):
        build_fabric("single_switch", {"cards": 2, "faults": text})
