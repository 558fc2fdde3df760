"""Failures in the engine's plan, against integers worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from nic_emulator import NICS
from nic_emulator.setup import configured as configured_nic
from testbed.controller.timing import configured as configured_control
from testbed.run.failure_plan import UNDISTURBED, FailurePlan, failure_plan
from testbed.run.plan import cell_plan, plan_data
from testbed.run.resolve import resolve
from testbed.run.schedule import schedule_of
from testbed.spec.experiment import Cell, Experiment, Scenario
from testbed.spec.fabric import FOREVER_PS, Fabric
from testbed.spec.failures import parse_failures
from testbed.switches import SWITCHES
from testbed.switches.setup import configured
from topologies import build_fabric

US = 10**6
PROFILE = SWITCHES.get("tomahawk_ultra")
ALL = 2**64 - 1
TIMES = {"detection": "10us", "control_latency": "100us", "rule_install": "5us", "link_up": "20us"}
TABLES = {"groups", "weights", "watched", "route", "ingress_routes"}
L1_S1 = 4
"""The place of that link: four cards come first."""


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return build_fabric("leaf_spine", {"spines": 2, "leaves": 2, "cards": 4})


def of(fabric: Fabric, *texts: str, **settings: str) -> FailurePlan:
    return failure_plan(fabric, PROFILE, configured_control(TIMES | settings), parse_failures(texts))


def plan(fabric: Fabric, disturbed: FailurePlan, **switch: str) -> dict[str, Any]:
    nic = configured_nic(NICS.get("transparent"), {})
    cell = Cell(scenario=Scenario(name="idle", kind="idle"), size_bytes=4096, nic="transparent")
    return plan_data(
        fabric,
        switch=configured(PROFILE, switch),
        nic=nic,
        schedule=schedule_of(cell, fabric, cards_per_nic=1),
        seed=1,
        measure_until_ps=US,
        disturbed=disturbed,
    )


def config(data: dict[str, Any], name: str) -> dict[str, Any]:
    return next(node["config"] for node in data["nodes"] if node["name"] == name)


def us(rows: list[list[int]]) -> list[list[int]]:
    """Rows with their times, all but those that do not end, in us."""
    return [[row[0], row[1] // US, row[2] // US, *row[3:]] for row in rows]


def test_plan_without_failures_is_the_one_that_it_was(fabric: Fabric) -> None:
    assert of(fabric) is UNDISTURBED
    data = plan(fabric, UNDISTURBED)
    assert not any(
        set(node["config"]) & {"updates", "port_states", "restarts", "watched"} for node in data["nodes"]
    )
    assert [len(link) for link in data["links"]] == [6] * len(fabric.links)


def test_plan_of_silent_failures_has_the_nodes_that_it_had(fabric: Fabric) -> None:
    plain, silent = plan(fabric, UNDISTURBED), plan(fabric, of(fabric, "l1<>s1@1us-2us:loss=1%"))
    assert plain["nodes"] == silent["nodes"]
    assert plain["links"] != silent["links"]


def test_rules_that_the_experiment_sets_are_those_of_its_plan() -> None:
    single = Experiment(
        name="x",
        question="?",
        topology="leaf_spine",
        switch="tomahawk5",
        nics=("transparent",),
        sizes_bytes=(4096,),
        scenarios=(Scenario(name="idle", kind="idle"),),
        records=10,
        emulated_records=0,
        control_settings={"paths": "single"},
        failures=("s1@1us-2us:restart",),
    )
    resolved = resolve(single)
    cell, network = resolved.cells[0], resolved.networks[0]
    schedule = schedule_of(cell, network.fabric, cards_per_nic=1)
    data = cell_plan(cell, network, schedule=schedule, seed=1, measure_until_ps=US)
    assert {len(group) for group in config(data, "l1")["groups"]} == {1}
    assert config(data, "s1")["restarts"] == [[US, 2 * US]]


def test_link_down_loses_all_both_ways_until_the_ports_are_up(fabric: Fabric) -> None:
    disturbed = of(fabric, "l1<>s1@100us-300us:down")
    assert us(disturbed.links[L1_S1]["dark"]) == [[0, 100, 320], [1, 100, 320]]
    assert set(disturbed.links) == {L1_S1}
    assert disturbed.nodes["l1"]["port_states"] == [[110 * US, 3, 0], [320 * US, 3, 1]]
    assert disturbed.nodes["s1"]["port_states"] == [[110 * US, 1, 0], [320 * US, 1, 1]]
    assert not any("port_states" in disturbed.nodes.get(name, {}) for name in ("l2", "s2"))


def test_link_down_one_way_loses_that_way_alone_and_both_ports(fabric: Fabric) -> None:
    toward_l1 = of(fabric, "s1>l1@100us-300us:down")
    assert us(toward_l1.links[L1_S1]["dark"]) == [[1, 100, 320]]
    both = of(fabric, "l1<>s1@100us-300us:down")
    assert toward_l1.nodes == both.nodes


def test_link_down_for_good_has_no_end(fabric: Fabric) -> None:
    disturbed = of(fabric, "l1>s1@100us:down")
    assert disturbed.links[L1_S1]["dark"] == [[0, 100 * US, FOREVER_PS]]
    assert disturbed.nodes["l1"]["port_states"] == [[110 * US, 3, 0]]


def test_flap_shorter_than_detection_loses_frames_and_no_port_notices(fabric: Fabric) -> None:
    disturbed = of(fabric, "l1>s1@100us-109us/100us*2:down")
    assert us(disturbed.links[L1_S1]["dark"]) == [[0, 100, 109], [0, 200, 209]]
    assert disturbed.nodes == {}


def test_card_that_loses_its_link_is_seen_by_its_switch_alone(fabric: Fabric) -> None:
    disturbed = of(fabric, "c3<>l2@100us-300us:down")
    assert disturbed.nodes["l2"]["port_states"] == [[110 * US, 1, 0], [320 * US, 1, 1]]
    assert "c3" not in disturbed.nodes


def test_silent_loss_corruption_and_slowness_are_of_the_links_alone(fabric: Fabric) -> None:
    texts = (
        "l1>s1@1us-2us:loss=50%",
        "l1<>s1@3us-4us:ber=1e-6",
        "s1>l1@5us-6us:rate=100Gbps",
        "l1>s1@7us-8us:delay=3ns",
    )
    disturbed = of(fabric, *texts)
    per_byte = 8 * 2**64 // 10**6
    features = disturbed.links[L1_S1]
    assert us(features["faults"]) == [
        [0, 1, 2, 2**63],
        [0, 3, 4, 0, per_byte],
        [1, 3, 4, 0, per_byte],
    ]
    byte_ps = 8 * 10**12 // fabric.links[L1_S1].rate_bps
    assert us(features["slow"]) == [[0, 7, 8, byte_ps, 3_000], [1, 5, 6, 80, 0]]
    assert disturbed.nodes == {}


def test_bit_error_ratio_of_a_half_stays_below_the_engine_s_limit(fabric: Fabric) -> None:
    assert of(fabric, "l1>s1:ber=0.5").links[L1_S1]["faults"] == [[0, 0, FOREVER_PS, 0, ALL]]


def test_switch_restart_darkens_its_links_and_drops_what_it_has(fabric: Fabric) -> None:
    disturbed = of(fabric, "s1@100us-300us:restart")
    assert disturbed.nodes["s1"]["restarts"] == [[100 * US, 300 * US]]
    assert {index: us(found["dark"]) for index, found in disturbed.links.items()} == {
        4: [[0, 100, 320], [1, 100, 320]],
        6: [[0, 100, 320], [1, 100, 320]],
    }
    assert disturbed.nodes["l2"]["port_states"] == [[110 * US, 3, 0], [320 * US, 3, 1]]
    assert [row[1:] for row in disturbed.nodes["s1"]["port_states"]] == [[1, 0], [2, 0], [1, 1], [2, 1]]


def test_card_restart_is_of_the_nic_and_another_process_is_none_of_its_business(fabric: Fabric) -> None:
    disturbed = of(fabric, "c3@100us-300us:restart", "c3@500us:process", "c4@100us-200us:process")
    assert disturbed.nodes["c3"] == {"restarts": [[100 * US, 300 * US]]}
    assert "c4" not in disturbed.nodes
    assert set(disturbed.links) == {2}


def test_failures_of_a_link_come_behind_what_it_does_anyway() -> None:
    fabric = build_fabric("leaf_spine", {"spines": 2, "leaves": 2, "cards": 4, "faults": "l1>s1@1us-2us:1%"})
    data = plan(fabric, of(fabric, "l1>s1@5us-6us:loss=100%"), llr="on")
    features = data["links"][L1_S1][6]
    assert [row[:3] for row in features["faults"]] == [[0, US, 2 * US], [0, 5 * US, 6 * US]]
    assert features["llr"] is True
    assert plan(fabric, UNDISTURBED)["links"][L1_S1][6]["faults"] == features["faults"][:1]


def test_link_down_brings_new_rules_after_detection_latency_and_installation(fabric: Fabric) -> None:
    disturbed = of(fabric, "l1<>s1@100us-1ms:down")
    down, up = disturbed.nodes["l1"]["updates"]
    assert [set(update) for update in (down, up)] == [TABLES | {"time_ps"}] * 2
    assert (down["time_ps"] - 210 * US) % (5 * US) == 0, "detection, latency, and a whole number of rules"
    assert down["time_ps"] > 210 * US
    assert up["time_ps"] > 1_120 * US
    whole = config(plan(fabric, UNDISTURBED), "l1")
    assert [uplinks_of(tables) for tables in (whole, down, up)] == [{(3, 4)}, {(4,)}, {(3, 4)}]
    assert [up["groups"], up["route"]] == [whole["groups"], whole["route"]]


def uplinks_of(tables: dict[str, Any]) -> set[tuple[int, ...]]:
    """Where l1 sends what is for the cards of l2."""
    return {tuple(tables["groups"][group]) for group in tables["route"][2:]}


def test_controller_that_is_lost_brings_them_when_it_is_back(fabric: Fabric) -> None:
    there = of(fabric, "l1<>s1@100us:down").nodes["l1"]["updates"]
    away = of(fabric, "controller@50us-400us:lost", "l1<>s1@100us:down").nodes["l1"]["updates"]
    assert [update["time_ps"] for update in away] == [there[0]["time_ps"] + (400 - 110) * US]
    assert {name: away[0][name] for name in TABLES} == {name: there[0][name] for name in TABLES}


def test_cards_behind_one_nic_each_have_a_route(fabric: Fabric) -> None:
    failures = parse_failures(["l1<>s1@100us:down"])
    found = failure_plan(fabric, PROFILE, configured_control(TIMES), failures, cards_per_nic=2)
    assert len(found.nodes["l1"]["updates"][0]["route"]) == 8
