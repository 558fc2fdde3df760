"""Real frames under the virtual clock give the twin's records, bit for bit."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from typing import get_args

import pytest

from testbed.fabric.build import build_fabric
from testbed.fabric.state import RunState
from testbed.spec.experiment import Kind
from tests.fabric.emulated import cell_data, run_both, settled, with_buffer
from topologies import build_fabric as fabric_of

pytestmark = [pytest.mark.fabric, pytest.mark.usefixtures("nothing_left")]

NICS = ("transparent", "rdma")
SIZES = (64, 4096, 8999, 65_536)
SMALL = {
    "single_switch": {"cards": 3},
    "dumbbell": {"left": 2, "right": 2, "trunks": 2},
    "leaf_spine": {"spines": 2, "leaves": 2, "cards": 4},
    "rail_optimized": {"servers": 2, "rails": 2, "spines": 2},
    "fat_tree": {"k": 2},
    "squadrack": {"servers": 2, "cards": 8, "switches": 2},
}
MIXED: tuple[tuple[Kind, int], ...] = (("poisson", 8999), ("permutation", 65_536), ("idle", 1))


@contextlib.contextmanager
def busy_cores() -> Iterator[None]:
    """The core that the run uses and another, each with a process that never sleeps."""
    cores = sorted(os.sched_getaffinity(0))[-2:]
    loop = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])}); print(flush=True)\nwhile True: pass"
    with contextlib.ExitStack() as stack:
        for core in cores:
            command = [sys.executable, "-c", loop, str(core)]
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
            stack.callback(process.kill)
            assert process.stdout is not None
            process.stdout.readline()
        yield


@pytest.mark.parametrize("kind", get_args(Kind))
def test_virtual_every_scenario_nic_and_size_equals_twin(state: RunState, kind: Kind) -> None:
    fabric = fabric_of("single_switch", {"cards": 4})
    with build_fabric(fabric, state=state) as live:
        for nic, size in product(NICS, SIZES):
            data = cell_data(fabric, kind=kind, size_bytes=size, nic=nic, records=40)
            emulated, twin = run_both(live, state, data, what=(kind, nic, size))
            assert len(emulated.records) >= 40
            if kind in ("idle", "pingpong"):  # nothing is under way when the last message is in
                assert settled(emulated.counters) == settled(twin.counters)


@pytest.mark.parametrize("topology", SMALL)
def test_virtual_every_topology_equals_twin(state: RunState, topology: str) -> None:
    fabric = fabric_of(topology, SMALL[topology])
    with build_fabric(fabric, state=state) as live:
        for nic, (kind, size) in product(NICS, MIXED):
            run_both(
                live, state, cell_data(fabric, kind=kind, size_bytes=size, nic=nic), what=(kind, size, nic)
            )


@pytest.mark.parametrize("switch", ["ideal", "spectrum4", "tomahawk_ultra"])
def test_virtual_every_switch_equals_twin(state: RunState, switch: str) -> None:
    fabric = fabric_of("leaf_spine", SMALL["leaf_spine"])
    with build_fabric(fabric, state=state) as live:
        for nic in NICS:
            run_both(live, state, cell_data(fabric, kind="poisson", size_bytes=9000, nic=nic, switch=switch))


def test_virtual_link_rates_that_differ_equal_twin(state: RunState) -> None:
    """Store-and-forward from fast to slow and back, on links of different lengths."""
    fabric = fabric_of("dumbbell", {"left": 2, "right": 2, "rate": "100Gbps", "trunk_length": "100m"})
    with build_fabric(fabric, state=state) as live:
        for nic in NICS:
            run_both(live, state, cell_data(fabric, kind="poisson", size_bytes=20_000, nic=nic))


@pytest.mark.parametrize("snap_bytes", [0, 1, 64, 65_535])
def test_virtual_snap_equals_twin(state: RunState, snap_bytes: int) -> None:
    fabric = fabric_of("leaf_spine", SMALL["leaf_spine"])
    with build_fabric(fabric, state=state) as live:
        for nic in NICS:
            data = cell_data(fabric, kind="incast", size_bytes=65_536, nic=nic)
            run_both(live, state, data, snap_bytes=snap_bytes, what=nic)


@pytest.mark.parametrize("nic", NICS)
def test_virtual_frames_dropped_and_sent_again_equals_twin(state: RunState, nic: str) -> None:
    fabric = fabric_of("single_switch", {"cards": 4})
    with build_fabric(fabric, state=state) as live:
        for buffer_bytes in (30_000, 60_000):
            whole = cell_data(fabric, kind="incast", size_bytes=65_536, nic=nic, fan_in=3, records=30)
            emulated, _ = run_both(live, state, with_buffer(whole, buffer_bytes))
            assert emulated.counters["l1"]["port1.out_discards"] > 0
            assert emulated.records["retransmits"].sum() > 0


def test_virtual_busy_cores_equals_twin(state: RunState) -> None:
    fabric = fabric_of("leaf_spine", SMALL["leaf_spine"])
    with build_fabric(fabric, state=state) as live, busy_cores():
        for nic, kind in product(NICS, ("poisson", "incast")):
            run_both(live, state, cell_data(fabric, kind=kind, size_bytes=65_536, nic=nic, records=300))


def test_virtual_same_cell_twice_on_one_fabric_is_the_same(state: RunState) -> None:
    fabric = fabric_of("single_switch", {"cards": 3})
    with build_fabric(fabric, state=state) as live:
        data = cell_data(fabric, kind="poisson", size_bytes=4096, nic="rdma")
        first, _ = run_both(live, state, data)
        second, _ = run_both(live, state, data)
        other = cell_data(fabric, kind="poisson", size_bytes=4096, nic="rdma", seed=2)
        third, _ = run_both(live, state, other)
    assert first.records.tobytes() == second.records.tobytes()
    assert first.records.tobytes() != third.records.tobytes()


GROUPS = {
    "cards together": [["c1", "c2", "c3", "c4"], ["l1"], ["l2"], ["s1"], ["s2"]],
    "switches together": [["c1"], ["c2"], ["c3"], ["c4"], ["s2", "l1", "s1", "l2"]],
    "by leaf": [["l1", "c1", "c2"], ["l2", "c3", "c4"], ["s1", "s2"]],
    "all in one": [["c1", "c2", "c3", "c4", "l1", "l2", "s1", "s2"]],
}


@pytest.mark.parametrize("groups", GROUPS.values(), ids=GROUPS)
def test_virtual_nodes_that_share_a_process_equal_twin(state: RunState, groups: list[list[str]]) -> None:
    fabric = fabric_of("leaf_spine", SMALL["leaf_spine"])
    with build_fabric(fabric, state=state) as live:
        for nic, (kind, size) in product(NICS, MIXED):
            data = cell_data(fabric, kind=kind, size_bytes=size, nic=nic)
            run_both(live, state, data, what=(kind, size, nic), groups=groups)
