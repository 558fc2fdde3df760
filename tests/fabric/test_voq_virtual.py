"""Switches with virtual output queues on real frames give the twin's records, bit for bit."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.fabric.build import build_fabric
from testbed.fabric.state import RunState
from testbed.spec.experiment import Kind
from tests.fabric.emulated import cell_data, run_both, settled
from topologies import build_fabric as fabric_of

pytestmark = [pytest.mark.fabric, pytest.mark.usefixtures("nothing_left")]

NICS = ("transparent", "rdma")


def with_limits(data: dict[str, Any], **limits: Any) -> dict[str, Any]:
    """The same plan with VOQ switches of other numbers."""
    nodes = [
        {**node, "config": {**node["config"], **limits}} if node["kind"] == "voq_switch" else node
        for node in data["nodes"]
    ]
    return {**data, "nodes": nodes}


@pytest.mark.parametrize("kind", ["poisson", "permutation", "pingpong"])
def test_virtual_voq_switches_equal_twin(state: RunState, kind: Kind) -> None:
    fabric = fabric_of("leaf_spine", {"spines": 2, "leaves": 2, "cards": 4, "rate": "400Gbps"})
    with build_fabric(fabric, state=state) as live:
        for nic in NICS:
            data = cell_data(fabric, kind=kind, size_bytes=9000, nic=nic, switch="jericho2c_plus")
            assert any(node["kind"] == "voq_switch" for node in data["nodes"])
            emulated, twin = run_both(live, state, data, what=(kind, nic))
            if kind == "pingpong":  # nothing else is under way when the last message is in
                assert settled(emulated.counters) == settled(twin.counters)


@pytest.mark.parametrize("nic", NICS)
def test_virtual_voq_switch_that_marks_and_drops_equals_twin(state: RunState, nic: str) -> None:
    fabric = fabric_of("single_switch", {"cards": 4, "rate": "400Gbps"})
    limits = {"voq_limit_bytes": 40_000, "ecn": [[8_000, 16_000, 500_000]] * 8}
    with build_fabric(fabric, state=state) as live:
        data = cell_data(
            fabric,
            kind="incast",
            size_bytes=65_536,
            nic=nic,
            switch="jericho2c_plus",
            fan_in=3,
            records=30,
        )
        emulated, _ = run_both(live, state, with_limits(data, **limits))
        assert emulated.counters["l1"]["port1.out_discards"] > 0
        assert sum(n for name, n in emulated.counters["l1"].items() if name.endswith("ecn_marked")) > 0
        assert emulated.records["retransmits"].sum() > 0
