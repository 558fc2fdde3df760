"""Links that hold frames up, send them twice, flap and are slow, on real frames: the twin's records, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from testbed.fabric.build import build_fabric
from testbed.fabric.state import RunState
from testbed.spec.experiment import Kind
from tests.fabric.emulated import cell_data, run_both
from topologies import build_fabric as fabric_of

pytestmark = [pytest.mark.fabric, pytest.mark.usefixtures("nothing_left")]

Changes = dict[str, Any]
ONE = 1 << 64

REORDER: Changes = {"reorder_2p64": ONE // 30, "reorder_delay_ps": 700_000}
DUPLICATE: Changes = {"duplicate_2p64": ONE // 30}
LOSS: Changes = {"loss_base_2p64": ONE // 1000, "loss_per_byte_2p64": ONE // 4_000_000}
FLAP: Changes = {
    "faults": [[way, at, at + 300_000, ONE - 1] for at in range(10**6, 2 * 10**7, 10**6) for way in (0, 1)]
}
BIT_ERRORS: Changes = {
    "faults": [
        [way, at, at + 700_000, ONE // 1000, ONE // 100_000]
        for at in range(0, 10**8, 10**6)
        for way in (0, 1)
    ]
}
SLOW: Changes = {
    "slow": [
        [
            way,
            at + way * 300_000,
            at + 800_000 + way * 300_000,
            80 * (1 + at // 10**6 % 5),
            at // 10**6 % 3 * 400_000,
        ]
        for at in range(0, 10**8, 10**6)
        for way in (0, 1)
    ]
}
"""Five paces and three lengths in turn, one direction somewhat after the other."""
PATIENT: Changes = {"rto_ps": 20_000_000, "retry_limit": 1000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What all links of one fabric do, and what its nodes do beside their models."""

    topology: str
    parameters: Changes
    links: Changes
    switch: str = "tomahawk5"
    switches: Changes = field(default_factory=dict)
    cards: Changes = field(default_factory=dict)
    nics: Sequence[str] = ("transparent", "rdma")
    fired: Sequence[str] = ("reordered", "duplicated", "rx_out_of_order", "rx_duplicates", "tx_retransmits")


LEAF_SPINE: Changes = {"spines": 2, "leaves": 2, "cards": 6}

CASES: dict[str, Case] = {
    "reordering": Case(
        topology="single_switch",
        parameters={"cards": 5},
        links=REORDER,
        fired=("reordered", "rx_out_of_order", "tx_retransmits"),
    ),
    "reordering within the window": Case(
        topology="leaf_spine",
        parameters=LEAF_SPINE,
        links=REORDER,
        cards={"reorder_window_pkts": 32},
        nics=("transparent",),
        fired=("reordered", "rx_out_of_order"),
    ),
    "duplicates": Case(
        topology="leaf_spine",
        parameters=LEAF_SPINE,
        links=DUPLICATE,
        fired=("duplicated", "rx_duplicates"),
    ),
    "flapping": Case(
        topology="leaf_spine",
        parameters=LEAF_SPINE,
        links=FLAP,
        cards=PATIENT,
        fired=("fcs_errors", "tx_retransmits"),
    ),
    "all at once": Case(
        topology="rail_optimized",
        parameters={"servers": 3, "rails": 2, "spines": 2},
        links=REORDER | DUPLICATE | FLAP | LOSS,
        cards=PATIENT,
    ),
    "all at once in switches that store, behind virtual output queues": Case(
        topology="single_switch",
        parameters={"cards": 5},
        switch="jericho2c_plus",
        links=REORDER | DUPLICATE | FLAP | LOSS,
        cards=PATIENT,
    ),
    "all at once with link-level retry": Case(
        topology="leaf_spine",
        parameters=LEAF_SPINE,
        links=REORDER | DUPLICATE | LOSS | FLAP | {"llr": True, "llr_latency_ps": 40_000},
        cards=PATIENT,
        fired=("reordered", "duplicated", "llr_replays"),
    ),
    "all at once over faster links between switches": Case(
        topology="leaf_spine",
        parameters=LEAF_SPINE | {"rate": "100Gbps", "uplink_rate": "400Gbps"},
        links=REORDER | DUPLICATE | FLAP | LOSS,
        cards=PATIENT,
    ),
    "all at once with telemetry and trimming": Case(
        topology="leaf_spine",
        parameters=LEAF_SPINE,
        links=REORDER | DUPLICATE | FLAP | LOSS,
        switches={
            "int_enabled": True,
            "path_choice": "SPRAY",
            "buffer_bytes": 60_000,
            "reserved_bytes": 0,
            "trim_bytes": 128,
            "trim_class": 6,
        },
        cards=PATIENT | {"int_enabled": True},
        nics=("transparent",),
        fired=("reordered", "duplicated", "trimmed", "rx_trimmed", "rx_duplicates", "tx_retransmits"),
    ),
}
CASES |= {
    "bit errors": Case(
        topology="leaf_spine",
        parameters=LEAF_SPINE,
        links=BIT_ERRORS,
        cards=PATIENT,
        fired=("fcs_errors", "tx_retransmits"),
    ),
    "no carrier": Case(
        topology="leaf_spine",
        parameters=LEAF_SPINE,
        links={"dark": [[way, at, at + 200_000] for at in range(10**6, 10**8, 10**6) for way in (0, 1)]},
        cards=PATIENT,
        nics=("transparent", "rdma", "sue"),
        fired=("no_carrier_discards", "tx_retransmits"),
    ),
    "slow links": Case(
        topology="leaf_spine",
        parameters=LEAF_SPINE,
        links=SLOW,
        cards=PATIENT,
        nics=("transparent", "rdma", "sue"),
        fired=("out_frames",),
    ),
    "slow links between faster switches that store": Case(
        topology="leaf_spine",
        parameters=LEAF_SPINE | {"rate": "100Gbps", "uplink_rate": "400Gbps"},
        links=SLOW,
        switches={"cut_through": False},
        cards=PATIENT,
        fired=("out_frames",),
    ),
    "slow links that pause": Case(
        topology="leaf_spine",
        parameters=LEAF_SPINE,
        links=SLOW,
        switches={
            "buffer_bytes": 40_000,
            "reserved_bytes": 0,
            "lossless_classes": 0xFF,
            "headroom_bytes": [2_000_000] * 16,
            "pause_quanta": 200,
        },
        cards=PATIENT,
        fired=("pause_frames_rx", "rx_pause_frames"),
    ),
    "slow links with everything else": Case(
        topology="rail_optimized",
        parameters={"servers": 3, "rails": 2, "spines": 2},
        links=SLOW | REORDER | DUPLICATE | BIT_ERRORS | {"llr": True, "llr_latency_ps": 40_000},
        cards=PATIENT,
        fired=("reordered", "duplicated", "llr_replays"),
    ),
    "NICs that restart, on slow links with bit errors": Case(
        topology="leaf_spine",
        parameters=LEAF_SPINE,
        links=SLOW | BIT_ERRORS,
        cards=PATIENT | {"restarts": [[3_000_000, 9_000_000], [20_000_000, 20_500_000]]},
        fired=("restart_discards", "fcs_errors", "tx_retransmits"),
    ),
    "slow links with everything else behind virtual output queues": Case(
        topology="single_switch",
        parameters={"cards": 5},
        switch="jericho2c_plus",
        links=SLOW | REORDER | DUPLICATE | BIT_ERRORS,
        cards=PATIENT,
    ),
}
KINDS: Sequence[tuple[Kind, int]] = (("incast", 65_536), ("poisson", 8_999))


def total(counters: Mapping[str, Mapping[str, int]], name: str) -> int:
    """A counter over all nodes, ports and classes."""
    return sum(
        value for node in counters.values() for key, value in node.items() if key.split(".")[-1] == name
    )


def plan_of(case: Case, kind: Kind, size_bytes: int, nic: str) -> dict[str, Any]:
    """The plan of a cell whose links all do what the case says."""
    fabric = fabric_of(case.topology, dict(case.parameters))
    data = cell_data(
        fabric, kind=kind, size_bytes=size_bytes, nic=nic, switch=case.switch, fan_in=3, records=80
    )
    for node in data["nodes"]:
        node["config"] |= case.cards if node["kind"] == "nic" else case.switches
    return data | {"links": [[*link[:6], dict(case.links)] for link in data["links"]]}


@pytest.mark.parametrize("name", CASES)
def test_virtual_over_links_in_disorder_equals_twin(state: RunState, name: str) -> None:
    case = CASES[name]
    with build_fabric(fabric_of(case.topology, dict(case.parameters)), state=state) as live:
        for nic in case.nics:
            sums = dict.fromkeys(case.fired, 0)
            for kind, size in KINDS:
                emulated, _ = run_both(live, state, plan_of(case, kind, size, nic), what=(name, nic, kind))
                for counter in sums:
                    sums[counter] += total(emulated.counters, counter)
            assert all(sums.values()), (nic, sums)


@pytest.mark.parametrize("groups", [[["l1", "c1", "c2", "c3"], ["l2", "c4", "c5", "c6"], ["s1", "s2"]], None])
@pytest.mark.parametrize("snap_bytes", [0, 40])
def test_virtual_over_links_in_disorder_cut_and_grouped_equals_twin(
    state: RunState, groups: list[list[str]] | None, snap_bytes: int
) -> None:
    case = CASES["all at once with telemetry and trimming"]
    with build_fabric(fabric_of(case.topology, dict(case.parameters)), state=state) as live:
        data = plan_of(case, "incast", 65_536, "transparent")
        emulated, _ = run_both(live, state, data, groups=groups, snap_bytes=snap_bytes)
        assert total(emulated.counters, "duplicated") > 0
