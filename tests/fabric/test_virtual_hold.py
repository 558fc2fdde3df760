"""Virtual time stands still while a control plane acts, however long that takes; nothing is changed by it."""

from __future__ import annotations

import pytest

from testbed.fabric.build import build_fabric
from testbed.fabric.state import RunState
from testbed.run.emulation import emulate
from testbed.units import PS_PER_US
from tests.fabric.emulated import Idle, assert_equal, cell_data, twin_run
from topologies import build_fabric as fabric_of

pytestmark = pytest.mark.fabric

FABRIC = fabric_of("leaf_spine", {"leaves": 2, "spines": 2, "cards": 4})


@pytest.mark.parametrize("nic", ["transparent", "rdma"])
def test_virtual_clock_held_again_and_again_equals_twin(state: RunState, nic: str) -> None:
    data = cell_data(FABRIC, kind="poisson", size_bytes=4096, nic=nic, records=200)
    twin = twin_run(data)
    last_ps = int(twin.records["completed_ps"].max())
    control = Idle([last_ps * i // 20 for i in range(1, 20)], pause_s=0.02)
    with build_fabric(FABRIC, state=state) as live:
        emulated = emulate(live, data, state=state, control=control)
    assert_equal(emulated, twin, nic)
    assert control.held_ps == [last_ps * i // 20 for i in range(1, 20)]


def test_virtual_clock_is_held_where_nothing_is_left_to_happen(state: RunState) -> None:
    """A hold between two messages, and one that the run does not live to see."""
    data = cell_data(FABRIC, kind="idle", size_bytes=64, nic="transparent", records=4)
    twin = twin_run(data)
    end_ps = int(twin.records["completed_ps"].max())
    between_ps = int(twin.records["completed_ps"].min()) + 1
    control = Idle([between_ps, end_ps + PS_PER_US * 1_000_000])
    with build_fabric(FABRIC, state=state) as live:
        emulated = emulate(live, data, state=state, control=control)
    assert_equal(emulated, twin)
    assert control.held_ps == [between_ps]


@pytest.mark.parametrize("nic", ["transparent", "rdma", "kernel", "uec", "sue"])
def test_virtual_process_of_a_nic_is_ended_and_another_goes_on_in_its_place(
    state: RunState, nic: str
) -> None:
    """Whatever is lost with a process, the plan has it: the new one comes to the same state."""
    data = cell_data(FABRIC, kind="poisson", size_bytes=8192, nic=nic, records=200)
    twin = twin_run(data)
    last_ps = int(twin.records["completed_ps"].max())
    control = Idle([last_ps // 3, last_ps // 2, last_ps * 4 // 5], processes=("c2", "c3"))
    with build_fabric(FABRIC, state=state) as live:
        emulated = emulate(live, data, state=state, control=control)
    assert_equal(emulated, twin, nic)
    assert len(control.held_ps) == 3
