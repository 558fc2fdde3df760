"""A NIC as it is set, lowered: exactly its fields, and an engine that delivers what they say, when they say."""

from __future__ import annotations

from typing import Any

import pytest

from nic_emulator import NICS
from nic_emulator.setup import configured as configured_nic
from testbed.links.latency import link_latency_ps
from testbed.report.nic import one_way_ps
from testbed.spec.experiment import Operation, Scenario
from testbed.spec.fabric import Fabric
from testbed.units import byte_time_ps
from tests.unit.test_plan import LOAD, NOT_OF_EVERY_PROFILE, lowered, records_of
from topologies import build_fabric


@pytest.fixture(scope="module")
def quickstart() -> Fabric:
    return build_fabric("leaf_spine", {"spines": 2, "leaves": 4, "cards": 16})


def config_of(nic: str, **settings: int | str) -> dict[str, Any]:
    """The config of a NIC on a fabric whose switches ask for nothing."""
    fabric = build_fabric("single_switch", {"cards": 2})
    config: dict[str, Any] = lowered(fabric, nic=nic, nic_settings=settings)[0]["nodes"][0]["config"]
    return config


@pytest.mark.parametrize(
    ("nic", "settings", "fields"),
    [
        ("transparent", {"cards": 1, "memory": "performance", "tlp": "off", "batch": "off", "paths": 1}, {}),
        ("transparent", {"tlp": "20us"}, {"tlp_ps": 20_000_000}),
        ("transparent", {"ordered": "on"}, {"ordered": True}),
        (
            "transparent",
            {"batch": "1KiB:200ns"},
            {"batch_bytes": 1024, "batch_delay_ps": 200_000, "batch_header_bytes": 4},
        ),
        ("transparent", {"cards": 4}, {"cards": 4}),
        (
            "transparent",
            {"congestion": "fixed_window", "congestion.window_bytes": "64KiB"},
            {
                "congestion": "fixed_window",
                "congestion_parameters": {"window_bytes": 65_536},
                "ack_every_pkts": 8,  # half of the window
            },
        ),
        (
            "rdma",
            {"receive_depth": 32},
            {"receive_depth": 32, "rnr_timer_ps": 640_000_000, "rnr_retry_limit": 7},
        ),
        ("sue", {"virtual_channels": 1, "batch": "off"}, {"virtual_channels": None, "batch_bytes": None}),
        ("uec", {"mode": "rudi"}, {"nacks": False}),
    ],
)
def test_plan_nic_setting_adds_exactly_its_fields(
    nic: str, settings: dict[str, int | str], fields: dict[str, Any]
) -> None:
    plain, config = config_of(nic), config_of(nic, **settings)
    changed = {name: config.get(name) for name in plain | config if config.get(name) != plain.get(name)}
    changed = {name: value for name, value in changed.items() if name in fields or value is not None}
    assert changed == fields


def test_plan_nic_by_default_has_only_what_differs_from_the_engine() -> None:
    assert not set(config_of("transparent")) & NOT_OF_EVERY_PROFILE
    assert not set(config_of("rdma")) & NOT_OF_EVERY_PROFILE
    assert set(config_of("ualink")) & NOT_OF_EVERY_PROFILE == {
        "unit_bytes",
        "unit_header_bytes",
        "flit_bytes",
        "flit_payload_bytes",
        "batch_bytes",
        "batch_delay_ps",
        "batch_header_bytes",
    }


def test_plan_cards_have_workloads_each_and_routes_by_their_numbers(quickstart: Fabric) -> None:
    data, _ = lowered(quickstart, nic_settings={"cards": 4}, scenario=LOAD)
    alone, _ = lowered(quickstart, scenario=LOAD)
    for node, before in zip(data["nodes"], alone["nodes"], strict=True):
        if node["kind"] == "nic":
            assert "workload" not in node
            assert len(node["workloads"]) == 4
        else:
            assert node["config"]["route"] == [place for place in before["config"]["route"] for _ in range(4)]


def test_plan_operation_and_signal_are_of_the_workload_and_its_stages(quickstart: Fabric) -> None:
    scenario = Scenario(name="s", kind="poisson", load_permille=100, op="put_signal")
    node = lowered(quickstart, scenario=scenario)[0]["nodes"][0]
    assert node["workload"]["op"] == "PUT_SIGNAL"
    assert [stage["name"] for stage in node["stages"]["signal"]] == ["signal"]
    assert "signal" not in lowered(quickstart)[0]["nodes"][0]["stages"]


@pytest.mark.parametrize("nic", ["transparent", "rdma", "uec", "sue", "ualink"])
@pytest.mark.parametrize("size_bytes", [64, 2048])
def test_idle_message_takes_what_the_stages_of_its_profile_add_up_to(nic: str, size_bytes: int) -> None:
    fabric = build_fabric("single_switch", {"cards": 2})
    quiet: dict[str, int | str] = {"host_stalls": "off", "host_jitter": "off"} if nic == "rdma" else {}
    data, _ = lowered(fabric, nic=nic, nic_settings=quiet, records=4, size_bytes=size_bytes, switch="ideal")
    setup, link = configured_nic(NICS.get(nic), quiet), fabric.links[0]
    wires = 2 * link_latency_ps(link.medium, link.length_mm, link.rate_bps)
    frame_bytes = max(64, setup.profile.first_header_bytes.number + size_bytes)
    if setup.profile.framing is not None:
        flits = -(-(size_bytes + -(-size_bytes // 256) * 16) // 628)
        frame_bytes = 640 * flits - 20
    expected = one_way_ps(setup, size_bytes) + wires + (frame_bytes + 8) * byte_time_ps(link.rate_bps)
    records = records_of(data)
    assert set((records["completed_ps"] - records["intended_ps"]).tolist()) == {expected}


@pytest.mark.parametrize(
    ("nic", "settings"),
    [
        ("transparent", {"udp": "on", "paths": 8, "ordered": "on", "tlp": "20us"}),
        ("transparent", {"cards": 4, "memory": "capacity", "batch": "1KiB"}),
        ("transparent", {"congestion": "dctcp"}),
        ("rdma", {"cards": 2, "initiator": "device", "post": "blueflame"}),
        ("rdma", {"congestion": "dcqcn", "completion": "interrupt", "receive_depth": 8}),
        ("kernel", {"congestion": "cubic"}),
        ("kernel", {"protocol": "udp"}),
        ("uec", {"mode": "rod"}),
        ("uec", {"mode": "rudi", "cards": 3}),
        ("uec", {"mode": "uud", "local": "switch", "cards": 2}),
        ("sue", {"header": "standard", "cards": 4}),
        ("ualink", {"cards": 4}),
    ],
)
def test_nic_as_it_is_set_delivers_every_message(nic: str, settings: dict[str, int | str]) -> None:
    fabric = build_fabric("single_switch", {"cards": 8})
    scenario = Scenario(name="s", kind="poisson", load_permille=300, batch=4)
    data, schedule = lowered(
        fabric, nic=nic, nic_settings=settings, scenario=scenario, records=4000, size_bytes=512
    )
    records = records_of(data)
    assert len(records) >= 4000
    assert sorted(set(records["src"].tolist())) == list(range(schedule.cards))
    assert (records["completed_ps"] > 0).all()


@pytest.mark.parametrize(
    ("nic", "op"), [(name, op) for name in NICS.names() for op in NICS.get(name).ops if op != "put"]
)
def test_nic_does_every_operation_that_its_profile_names(nic: str, op: Operation) -> None:
    scenario = Scenario(name="s", kind="poisson", load_permille=100, op=op)
    data, _ = lowered(build_fabric("single_switch", {"cards": 4}), nic=nic, scenario=scenario, records=500)
    assert len(records_of(data)) >= 500


def test_message_between_cards_of_one_nic_takes_bridge_or_switch() -> None:
    fabric = build_fabric("single_switch", {"cards": 2})
    data, _ = lowered(fabric, nic_settings={"cards": 4}, records=400, size_bytes=64)
    records = records_of(data)
    local = records[records["src"] // 4 == records["dst"] // 4]
    paired = local["src"] // 2 == local["dst"] // 2
    latencies = local["completed_ps"] - local["intended_ps"]
    node = data["nodes"][0]["stages"]
    ends_ps = sum(stage["latency_ps"] for place in ("post", "notify") for stage in node[place])
    for place, chosen in (("bridge", latencies[paired]), ("local", latencies[~paired])):
        way_ps = sum(
            stage["latency_ps"] + -(-64 * stage["occupancy_ps_per_kib"] // 1024) for stage in node[place]
        )
        assert set(chosen.tolist()) == {ends_ps + way_ps}, place
