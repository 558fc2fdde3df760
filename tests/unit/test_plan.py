"""From a cell to the engine's plan: nothing is lost on the way, and the engine runs what comes out."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from nic_emulator import NICS
from nic_emulator.setup import configured as configured_nic
from testbed.engine import _engine
from testbed.engine.plan import build_plan
from testbed.links.latency import link_latency_ps
from testbed.run.join import join_records
from testbed.run.plan import plan_data
from testbed.run.schedule import Schedule, schedule_of
from testbed.spec.experiment import Cell, Scenario
from testbed.spec.fabric import Fabric
from testbed.switches import SWITCHES
from testbed.switches.setup import configured
from testbed.units import byte_time_ps
from topologies import TOPOLOGIES, build_fabric

IDLE = Scenario(name="idle", kind="idle")
LOAD = Scenario(name="load", kind="poisson", load_permille=600)
# the engine's defaults hold, or the switches ask for it
NOT_OF_A_PROFILE = {
    "data_dscp",
    "ack_dscp",
    "reorder_window_pkts",
    "pause_reaction_ps",
    "int_enabled",
    "restarts",
}
# what only some NICs have, or only with a setting
NOT_OF_EVERY_PROFILE = {
    "avoid_marked",
    "batch_bytes",
    "batch_delay_ps",
    "batch_header_bytes",
    "cards",
    "cnp_interval_ps",
    "congestion",
    "congestion_parameters",
    "flit_bytes",
    "flit_payload_bytes",
    "nacks",
    "ordered",
    "paths",
    "receive_depth",
    "restarts",
    "rnr_retry_limit",
    "rnr_timer_ps",
    "tlp_ps",
    "unit_bytes",
    "unit_header_bytes",
    "virtual_channels",
}
INCAST = Scenario(name="incast", kind="incast", load_permille=600, fan_in=8)


def lowered(
    fabric: Fabric, *, nic: str = "transparent", scenario: Scenario = IDLE, records: int = 100, **more: Any
) -> tuple[dict[str, Any], Schedule]:
    size_bytes = more.pop("size_bytes", 4096)
    setup = configured_nic(NICS.get(nic), more.pop("nic_settings", {}))
    cell = Cell(scenario=scenario, size_bytes=size_bytes, nic=nic)
    schedule = schedule_of(cell, fabric, cards_per_nic=setup.cards)
    data = plan_data(
        fabric,
        switch=configured(SWITCHES.get(more.pop("switch", "tomahawk5")), more.pop("settings", {})),
        nic=setup,
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
    profile, node = configured_nic(NICS.get(nic), {}).profile, data["nodes"][0]
    total = sum(stage["latency_ps"] for stages in node["stages"].values() for stage in stages)
    assert total + node["config"]["ingress_latency_ps"] == sum(
        stage.latency.number for stage in profile.stages if stage.place != "signal"
    )
    for name in ("mtu_bytes", "window_pkts", "retry_limit", "ack_bytes", "data_class", "ack_class"):
        assert node["config"][name] == getattr(profile, name).number
    known = {name for name in dir(_engine.NicConfig()) if not name.startswith(("_", "set_"))}
    assert set(node["config"]) <= known
    missing = known - set(node["config"])
    assert missing <= NOT_OF_A_PROFILE | NOT_OF_EVERY_PROFILE, "a field of the engine that no profile fills"


def test_plan_card_does_what_the_switches_ask_of_it(quickstart: Fabric) -> None:
    settings = {"lossless": "3", "int": "on"}
    plain, _ = lowered(quickstart, switch="ideal")
    thin, _ = lowered(quickstart, switch="ideal", settings=settings)
    roce, _ = lowered(quickstart, switch="ideal", settings=settings, nic="rdma")
    paused = {"pause_reaction_ps": 1_158_400}
    assert thin["nodes"][0]["config"] == plain["nodes"][0]["config"] | paused | {"int_enabled": True}
    assert roce["nodes"][0]["config"].items() >= paused.items()
    assert "int_enabled" not in roce["nodes"][0]["config"]


def test_plan_switches_hash_each_in_its_own_way_and_by_seed(quickstart: Fabric) -> None:
    seeds = [
        node["config"]["hash_seed"]
        for seed in (1, 2)
        for node in lowered(quickstart, seed=seed)[0]["nodes"]
        if node["kind"] == "switch"
    ]
    assert len(set(seeds)) == len(seeds) == 12


def configs_of(
    fabric: Fabric, switch: str = "tomahawk5", /, **settings: int | str
) -> dict[str, dict[str, Any]]:
    """The config of every switch, by its name."""
    data, _ = lowered(fabric, switch=switch, settings=settings)
    return {node["name"]: node["config"] for node in data["nodes"] if node["kind"] != "nic"}


PLAIN = [
    "pipeline_latency_ps",
    "cut_through",
    "buffer_bytes",
    "cell_bytes",
    "alpha_log2",
    "reserved_bytes",
    "hash_seed",
    "groups",
    "route",
]


@pytest.mark.parametrize(
    ("switch", "values"),
    [
        ("tomahawk5", [600_000, True, 166_600_000, 254, 0, 1_778]),
        ("tomahawk_ultra", [250_000, True, 166_600_000, 254, 0, 1_778]),
        ("spectrum4", [700_000, True, 158_229_504, 192, 0, 1_344]),
        ("ideal", [0, True, 1 << 40, 1, 7, 0]),
    ],
)
def test_plan_switch_without_settings_has_the_plain_fields_and_no_other(
    quickstart: Fabric, switch: str, values: list[int]
) -> None:
    for config in configs_of(quickstart, switch).values():
        assert list(config) == PLAIN
        assert list(config.values())[:6] == values


@pytest.mark.parametrize(
    ("settings", "fields"),
    [
        ({"ecn": "off", "lossless": "none", "paths": "hash", "trim": "off", "headroom": "1KB"}, {}),
        ({"ecn": "100KB:400KB:20%"}, {"ecn": [[100_000, 400_000, 200_000]] * 8}),
        (
            {"ecn": "step:100KB", "ecn_at": "enqueue"},
            {"ecn": [[100_000, 100_000, 1_000_000]] * 8, "ecn_at_enqueue": True},
        ),
        (
            {"scheduling": "dwrr:1,1,1,15,14,1,strict,strict"},
            {"dwrr_quantum_bytes": [2048, 2048, 2048, 15 * 2048, 14 * 2048, 2048, 0, 0]},
        ),
        (
            {"shaper": "3:100Gbps:64KB; 0:1Gbps:9KB"},
            {
                "shaper_ps_per_kib": [8_192_000, 0, 0, 81_920, 0, 0, 0, 0],
                "shaper_burst_bytes": [9_000, 0, 0, 64_000, 0, 0, 0, 0],
            },
        ),
        (
            {"paths": "flowlet:500ns"},
            {"path_choice": "FLOWLET", "flowlet_gap_ps": 500_000, "flowlet_entries": 1 << 20},
        ),
        (
            {"paths": "least_loaded:500ns"},
            {
                "path_choice": "LEAST_LOADED",
                "flowlet_gap_ps": 500_000,
                "flowlet_entries": 1 << 20,
                "load_quantum_bytes": 1,
            },
        ),
        ({"paths": "least_loaded"}, {"path_choice": "LEAST_LOADED", "load_quantum_bytes": 1}),
        ({"paths": "spray"}, {"path_choice": "SPRAY"}),
        ({"paths": "round_robin"}, {"path_choice": "ROUND_ROBIN"}),
        ({"trim": "64B:6"}, {"trim_bytes": 64, "trim_class": 6}),
        ({"int": "on", "sflow": 1000}, {"int_enabled": True, "sflow_interval": 1000}),
        ({"ingress_alpha_log2": -1}, {"ingress_alpha_log2": -1}),
        ({"watchdog": "1us:1us"}, {}),
    ],
)
def test_plan_switch_setting_adds_exactly_its_fields(
    quickstart: Fabric, settings: dict[str, int | str], fields: dict[str, Any]
) -> None:
    for config in configs_of(quickstart, "ideal", **settings).values():
        assert {name: config[name] for name in config if name not in PLAIN} == fields


def test_plan_switch_number_that_is_set_takes_its_place(quickstart: Fabric) -> None:
    configs = configs_of(
        quickstart, pipeline_latency="450ns", buffer="64MB", alpha_log2=-3, cut_through="off"
    )
    for config in configs.values():
        assert list(config) == PLAIN
        assert list(config.values())[:6] == [450_000, False, 64_000_000, 254, -3, 1_778]


def test_plan_lossless_switch_has_headroom_by_port_and_the_timing_of_its_fastest_port(
    quickstart: Fabric,
) -> None:
    configs = configs_of(quickstart, lossless="3,4", watchdog="100us:200us")
    leaf, setup = configs["l1"], configured(SWITCHES.get("tomahawk5"), {"lossless": "3,4"})
    links = {link.port_at("l1"): link for link in quickstart.links_of("l1")}
    assert {link.rate_bps for link in links.values()} == {400 * 10**9, 800 * 10**9}
    assert leaf["headroom_bytes"] == [0] + [
        setup.headroom(links[port].rate_bps, links[port].length_mm) for port in sorted(links)
    ]
    assert leaf["headroom_bytes"][1] == 439_296
    assert configs["s1"]["headroom_bytes"] == [0] + [634_880] * 4
    assert {name: leaf[name] for name in leaf if name not in PLAIN} == {
        "lossless_classes": 24,
        "lossless_alpha_log2": 0,
        "headroom_bytes": leaf["headroom_bytes"],
        "headroom_pool_bytes": 29_423_360,
        "xon_offset_bytes": 3_556,
        "pause_quanta": 65_535,
        "pfc_generation_ps": 16_384,
        "pause_reaction_ps": 579_200,
        "watchdog_detection_ps": 100_000_000,
        "watchdog_restoration_ps": 200_000_000,
    }


def test_plan_voq_switch_has_a_node_kind_and_fields_of_its_own(quickstart: Fabric) -> None:
    data, _ = lowered(quickstart, switch="jericho2c_plus", settings={"ecn": "step:1MB"})
    node = next(node for node in data["nodes"] if node["kind"] != "nic")
    assert node["kind"] == "voq_switch"
    assert list(node["config"]) == [
        "pipeline_latency_ps",
        "buffer_bytes",
        "voq_limit_bytes",
        "credit_bytes",
        "credit_latency_ps",
        "fabric_latency_ps",
        "egress_buffer_bytes",
        "credit_speedup_permille",
        "ecn",
        "hash_seed",
        "groups",
        "route",
    ]
    assert node["config"]["voq_limit_bytes"] == 500_000_000  # 5 ms at 800 Gb/s


def test_plan_links_of_switches_that_retry_say_so(quickstart: Fabric) -> None:
    plain, _ = lowered(quickstart, switch="tomahawk_ultra")
    both, _ = lowered(quickstart, switch="tomahawk_ultra", settings={"llr": "on", "cbfc": "on"})
    features = {"llr": True, "llr_latency_ps": 100_000, "cbfc": True}
    assert [[*link, features] for link in plain["links"]] == both["links"]


def test_plan_switches_with_the_same_seed_hash_alike(quickstart: Fabric) -> None:
    seeds = {config["hash_seed"] for config in configs_of(quickstart, hash_seed="same").values()}
    assert len(seeds) == 1


@pytest.mark.parametrize("switch", SWITCHES.names())
def test_plan_of_every_switch_survives_json_unchanged(quickstart: Fabric, switch: str) -> None:
    data, _ = lowered(quickstart, switch=switch)
    assert json.loads(json.dumps(data)) == data


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


def test_plan_node_of_an_unknown_kind_is_an_error(quickstart: Fabric) -> None:
    data, _ = lowered(quickstart)
    data["nodes"][-1]["kind"] = "hub"
    with pytest.raises(ValueError, match="'hub'"):
        build_plan(data)


def test_idle_transparent_message_takes_what_its_profiles_add_up_to() -> None:
    fabric = build_fabric("single_switch", {"cards": 2})
    data, _ = lowered(fabric, records=4)
    nic, switch, link = NICS.get("transparent"), SWITCHES.get("tomahawk5"), fabric.links[0]
    frame = nic.first_header_bytes.number + 4096
    stages = sum(
        stage.latency.number + -(-4096 * stage.occupancy_per_kib.number // 1024)
        for stage in nic.stages
        if stage.place != "signal"
    )
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
    first, *others = (
        records_of(lowered(quickstart, nic=nic, scenario=LOAD, records=2000)[0]) for nic in NICS.names()
    )
    for other in others:
        for name in ("src", "dst", "seq", "intended_ps"):
            np.testing.assert_array_equal(first[name], other[name])


ALL_ON: dict[str, int | str] = {
    "lossless": "3,4",
    "watchdog": "100us:200us",
    "ecn": "100KB:400KB:20%",
    "ecn_at": "enqueue",
    "scheduling": "dwrr",
    "shaper": "5:100Gbps:64KB",
    "paths": "least_loaded:500ns",
    "ingress_alpha_log2": 1,
    "trim": "64B:6",
    "int": "on",
    "sflow": 1000,
    "llr": "on",
    "cbfc": "on",
}


def test_plan_switch_fields_are_all_known_to_the_engine_and_all_in_use(quickstart: Fabric) -> None:
    known = {name for name in dir(_engine.SwitchConfig()) if not name.startswith("_")}
    by_engine = {"assert_lossless", "class_of_pcp", "class_of_dscp", "weights", "pg_reserved_bytes"}
    by_failures = {
        "watched",
        "ingress_routes",
        "updates",
        "port_states",
        "restarts",
        "punt_latency_ps",
        "packet_outs",
    }
    for config in configs_of(quickstart, "ideal", **ALL_ON).values():
        assert set(config) == known - by_engine - by_failures


@pytest.mark.parametrize("nic", NICS.names())
def test_run_with_every_setting_on_delivers_every_message(quickstart: Fabric, nic: str) -> None:
    data, _ = lowered(quickstart, switch="ideal", settings=ALL_ON, nic=nic, scenario=LOAD, records=2000)
    assert len(records_of(data)) >= 2000


def test_run_of_lossless_class_pauses_where_a_lossy_one_drops() -> None:
    fabric = build_fabric("single_switch", {"cards": 9})
    totals = {}
    for lossless in ("3", "none"):
        settings = {"buffer": "300KB", "lossless": lossless}
        data, _ = lowered(fabric, scenario=INCAST, size_bytes=65_536, records=200, settings=settings)
        twin = _engine.Twin(build_plan(data))
        twin.run(10**16)
        assert twin.done
        totals[lossless] = total_of(twin, "pfc_tx"), total_of(twin, "out_discards")
    assert totals["3"][0] > 0
    assert totals["3"][1] == 0
    assert totals["none"][0] == 0
    assert totals["none"][1] > 0


def test_run_with_too_little_headroom_is_an_error_that_names_the_port() -> None:
    fabric = build_fabric("single_switch", {"cards": 9})
    settings = {"buffer": "300KB", "lossless": "3", "headroom": "2KB"}
    data, _ = lowered(fabric, scenario=INCAST, size_bytes=65_536, records=200, settings=settings)
    twin = _engine.Twin(build_plan(data))
    with pytest.raises(_engine.LosslessDropError, match=r"lossless class 3 .* headroom of 2000 bytes"):
        twin.run(10**16)


def total_of(twin: _engine.Twin, counter: str) -> int:
    """A counter of all classes and ports of all switches."""
    return sum(
        value
        for node in twin.counters().values()
        for name, value in node.items()
        if name.split(".")[-1] == counter
    )


def test_plan_of_links_that_reorder_widens_the_window_of_nics_that_bear_it() -> None:
    fabric = build_fabric("leaf_spine", {"reorder": "1e-3"})
    for nic in ("transparent", "rdma"):
        data, _ = lowered(fabric, nic=nic)
        window_pkts = NICS.get(nic).reorder_window_pkts.number
        configs = [node["config"] for node in data["nodes"] if node["kind"] == "nic"]
        assert {config.get("reorder_window_pkts", 0) for config in configs} == {window_pkts}
