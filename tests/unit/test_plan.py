"""From a cell to the engine's plan: nothing is lost on the way, and the engine runs what comes out."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from nic_emulator import NICS
from testbed.engine import _engine
from testbed.engine.plan import build_plan
from testbed.links.latency import link_latency_ps
from testbed.run.join import join_records
from testbed.run.plan import plan_data
from testbed.run.schedule import Schedule, schedule_of
from testbed.spec.experiment import Cell, Scenario
from testbed.spec.fabric import Fabric
from testbed.switches import SWITCHES
from testbed.units import byte_time_ps
from topologies import TOPOLOGIES, build_fabric

IDLE = Scenario(name="idle", kind="idle")
LOAD = Scenario(name="load", kind="poisson", load_permille=600)
INCAST = Scenario(name="incast", kind="incast", load_permille=600, fan_in=8)


def lowered(
    fabric: Fabric, *, nic: str = "transparent", scenario: Scenario = IDLE, records: int = 100, **more: Any
) -> tuple[dict[str, Any], Schedule]:
    size_bytes = more.pop("size_bytes", 4096)
    schedule = schedule_of(Cell(scenario=scenario, size_bytes=size_bytes, nic=nic), fabric)
    data = plan_data(
        fabric,
        switch=SWITCHES.get(more.pop("switch", "tomahawk5")),
        nic=NICS.get(nic),
        schedule=schedule,
        seed=more.pop("seed", 1),
        measure_until_ps=schedule.measure_until_ps(records),
    )
    return data, schedule


def records_of(data: dict[str, Any]) -> Any:
    twin = _engine.Twin(build_plan(data))
    twin.run(10**16)
    assert twin.done
    return join_records([twin.tx_records()], [twin.rx_records()])


@pytest.fixture(scope="module")
def quickstart() -> Fabric:
    return build_fabric("leaf_spine", {"spines": 2, "leaves": 4, "cards": 16})


@pytest.mark.parametrize("topology", TOPOLOGIES.names())
@pytest.mark.parametrize("nic", NICS.names())
def test_plan_of_every_topology_and_nic_delivers_from_every_card(topology: str, nic: str) -> None:
    fabric = TOPOLOGIES.get(topology)()
    data, _ = lowered(fabric, nic=nic, records=3 * len(fabric.endpoints), switch="ideal")
    assert [node["name"] for node in data["nodes"]] == list(fabric.node_names())
    assert build_plan(data).node_names == list(fabric.node_names())
    assert sorted(set(records_of(data)["src"].tolist())) == list(range(len(fabric.endpoints)))


def test_plan_survives_json_unchanged(quickstart: Fabric) -> None:
    data, _ = lowered(quickstart, nic="rdma", scenario=LOAD)
    assert json.loads(json.dumps(data)) == data


def test_plan_links_have_byte_times_and_latencies_of_their_media(quickstart: Fabric) -> None:
    data, _ = lowered(quickstart)
    names = quickstart.node_names()
    for link, (a, a_port, b, b_port, byte_ps, latency_ps) in zip(
        quickstart.links, data["links"], strict=True
    ):
        assert (names[a], a_port, names[b], b_port) == (link.a, link.a_port, link.b, link.b_port)
        assert byte_ps == byte_time_ps(link.rate_bps)
        assert latency_ps == link_latency_ps(link.medium, link.length_mm, link.rate_bps)


@pytest.mark.parametrize("nic", NICS.names())
def test_plan_card_has_every_number_of_its_profile(quickstart: Fabric, nic: str) -> None:
    data, _ = lowered(quickstart, nic=nic)
    profile, node = NICS.get(nic), data["nodes"][0]
    total = sum(stage["latency_ps"] for stages in node["stages"].values() for stage in stages)
    assert total + node["config"]["ingress_latency_ps"] == sum(
        stage.latency.number for stage in profile.stages
    )
    for name in ("mtu_bytes", "window_pkts", "retry_limit", "ack_bytes", "data_class", "ack_class"):
        assert node["config"][name] == getattr(profile, name).number
    known = set(dir(_engine.NicConfig()))
    assert set(node["config"]) <= known
    missing = {name for name in known if not name.startswith(("_", "set_"))} - set(node["config"])
    assert missing == set(), "a field of the engine that no profile fills"


def test_plan_switches_hash_each_in_its_own_way_and_by_seed(quickstart: Fabric) -> None:
    seeds = [
        node["config"]["hash_seed"]
        for seed in (1, 2)
        for node in lowered(quickstart, seed=seed)[0]["nodes"]
        if node["kind"] == "switch"
    ]
    assert len(set(seeds)) == len(seeds) == 12


def test_plan_routes_never_lead_back_and_name_real_ports(quickstart: Fabric) -> None:
    data, _ = lowered(quickstart)
    ports: dict[int, set[int]] = {}
    for a, a_port, b, b_port, *_ in data["links"]:
        ports.setdefault(a, set()).add(a_port)
        ports.setdefault(b, set()).add(b_port)
    for number, node in enumerate(data["nodes"]):
        if node["kind"] == "switch":
            groups, route = node["config"]["groups"], node["config"]["route"]
            assert len(route) == len(quickstart.endpoints)
            assert all(set(group) <= ports[number] for group in groups)
            assert {len(groups[place]) for place in route} <= {1, 2}


def test_plan_unknown_field_or_value_is_an_error(quickstart: Fabric) -> None:
    data, _ = lowered(quickstart)
    data["nodes"][0]["config"]["format"] = "CARRIER_PIGEON"
    with pytest.raises(AttributeError, match="CARRIER_PIGEON"):
        build_plan(data)


def test_idle_transparent_message_takes_what_its_profiles_add_up_to() -> None:
    fabric = build_fabric("single_switch", {"cards": 2})
    data, _ = lowered(fabric, records=4)
    nic, switch, link = NICS.get("transparent"), SWITCHES.get("tomahawk5"), fabric.links[0]
    frame = nic.first_header_bytes.number + 4096
    stages = sum(s.latency.number + -(-4096 * s.occupancy_per_kib.number // 1024) for s in nic.stages)
    wires = 2 * link_latency_ps(link.medium, link.length_mm, link.rate_bps)
    expected = stages + wires + switch.pipeline_latency.number + (frame + 8) * byte_time_ps(link.rate_bps)
    records = records_of(data)
    assert set((records["completed_ps"] - records["intended_ps"]).tolist()) == {expected}


@pytest.mark.parametrize("nic", NICS.names())
def test_poisson_load_in_the_engine_is_the_load_asked_for(quickstart: Fabric, nic: str) -> None:
    data, schedule = lowered(quickstart, nic=nic, scenario=LOAD, records=40_000)
    records = records_of(data)
    until = schedule.measure_until_ps(40_000)
    assert len(records) >= 40_000
    counts = np.bincount(records["src"], minlength=16)
    load = counts * 4096 * 20 / until
    error = 0.6 * 4 / math.sqrt(2500)  # 4 sigma of each card's count
    assert np.abs(load - 0.6).max() < error
    assert abs(load.mean() - 0.6) < error / 4
    pairs = np.zeros((16, 16), dtype=int)
    np.add.at(pairs, (records["src"], records["dst"]), 1)
    assert pairs.diagonal().sum() == 0
    assert (pairs + np.eye(16, dtype=int)).min() > 0


def test_incast_rounds_in_the_engine_are_common_to_all_senders(quickstart: Fabric) -> None:
    data, schedule = lowered(quickstart, scenario=INCAST, records=8_000)
    records = records_of(data)
    times = [records[records["src"] == sender]["intended_ps"] for sender in range(1, 9)]
    assert len(times[0]) >= 1000
    assert all((own == times[0]).all() for own in times)
    assert set(records["dst"].tolist()) == {0}
    load = len(records) * 4096 * 20 / schedule.measure_until_ps(8_000)
    assert abs(load - 0.6) < 4 * 0.6 / math.sqrt(1000)


def test_idle_turns_in_the_engine_never_overlap(quickstart: Fabric) -> None:
    records = records_of(lowered(quickstart, records=500, size_bytes=65_536)[0])
    assert len(records) == 500
    assert (records["intended_ps"][1:] > records["completed_ps"][:-1]).all()


def test_same_messages_for_every_nic(quickstart: Fabric) -> None:
    first, second = (
        records_of(lowered(quickstart, nic=nic, scenario=LOAD, records=2000)[0]) for nic in NICS.names()
    )
    for name in ("src", "dst", "seq", "intended_ps"):
        np.testing.assert_array_equal(first[name], second[name])
