"""A controller that gives switches their rules only when frames come: real frames equal the twin, which has its log."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.controller.tables import Programme
from testbed.fabric.build import build_fabric
from testbed.fabric.control_plane import control_plane
from testbed.fabric.state import RunState
from testbed.run.cell_run import CellRun, cell_runs
from testbed.run.emulation import Emulated, emulate
from testbed.run.live_control import LiveControl
from testbed.run.resolve import resolve
from testbed.spec.experiment import Experiment, Scenario
from testbed.units import PS_PER_US
from tests.fabric.emulated import TwinRun, assert_equal, twin_run

pytestmark = pytest.mark.fabric

APP = "experiments/controllers/reactive.py"
LATENCY_PS, INSTALL_PS = 50 * PS_PER_US, 5 * PS_PER_US


def cell_run(
    *,
    nic: str,
    topology: str = "single_switch",
    switch: str = "tomahawk5",
    records: int = 12,
    failures: tuple[str, ...] = (),
) -> CellRun:
    sizes = {"cards": 4} if topology == "single_switch" else {"leaves": 2, "spines": 2, "cards": 4}
    experiment = Experiment(
        name="reactive",
        question="What does a rule on demand cost?",
        topology=topology,
        topology_parameters=sizes,
        switch=switch,
        nics=(nic,),
        sizes_bytes=(4096,),
        scenarios=(Scenario(name="idle", kind="idle"),),
        control_settings={"control_latency": f"{LATENCY_PS}ps", "rule_install": f"{INSTALL_PS}ps"},
        records=records,
        emulated_records=records,
        controller=APP,
        failures=failures,
    )
    (run,) = cell_runs(resolve(experiment), emulated=True)
    return run


def both(state: RunState, run: CellRun, *, controller: str = APP) -> tuple[Emulated, TwinRun, Programme]:
    """Real frames under the controller, and the twin with its log."""
    network = run.network
    with (
        build_fabric(network.fabric, state=state) as live,
        control_plane(network.fabric, state=state, controller=controller, setup=network.control) as plane,
    ):
        control = LiveControl(plane, network, cards_per_nic=1)
        data = run.plan(1, run.emulated_until_ps, given=Programme(first=control.first))
        emulated = emulate(live, data, state=state, control=control)
        programme = control.finish(emulated.punts)
    twin = twin_run(run.plan(1, run.emulated_until_ps, given=programme))
    assert_equal(emulated, twin, run.cell.nic)
    return emulated, twin, programme


@pytest.mark.parametrize("nic", ["transparent", "rdma", "uec", "kernel", "sue"])
def test_virtual_reactive_controller_equals_twin(state: RunState, nic: str) -> None:
    emulated, twin, programme = both(state, cell_run(nic=nic, topology="leaf_spine"))
    assert programme.updates
    assert programme.packet_outs
    for switch in ("l1", "l2"):
        for name in ("cpu_frames", "cpu_out_frames"):
            assert emulated.counters[switch][name] == twin.counters[switch][name] > 0


@pytest.mark.parametrize("switch", ["tomahawk5", "jericho2c_plus"])
def test_virtual_first_message_to_a_destination_is_late_by_the_control_latency(
    state: RunState, switch: str
) -> None:
    """One switch, messages of one packet, one at a time: later ones to the same card are as ever."""
    run = cell_run(nic="transparent", switch=switch, records=40)
    emulated, _, programme = both(state, run)
    usual = twin_run(run.plan(1, run.emulated_until_ps)).records
    extra_ps = [
        int(one["completed_ps"] - other["completed_ps"])
        for one, other in zip(emulated.records, usual, strict=True)
    ]
    first = int(emulated.records["posted_ps"].argmin())
    assert extra_ps[first] == LATENCY_PS
    assert set(extra_ps) == {0, LATENCY_PS}
    assert len(programme.updates) == 4, "one for each card"


def test_virtual_controller_that_sends_nothing_leaves_it_to_the_transport(
    state: RunState, tmp_path: Path
) -> None:
    text = Path(APP).read_text(encoding="utf-8")
    kept = [line for line in text.splitlines() if "OFPPacketOut(" not in line]
    assert len(kept) == len(text.splitlines()) - 1
    app = tmp_path / "dumb.py"
    app.write_text("\n".join(kept), encoding="utf-8")
    run = cell_run(nic="rdma")
    emulated, _, programme = both(state, run, controller=str(app))
    assert int(emulated.records["retransmits"].sum()) > 0
    heard_ps = programme.updates[0].time_ps - INSTALL_PS
    assert all(out.time_ps > heard_ps for out in programme.packet_outs), "the first frame is lost"


def test_virtual_process_that_takes_the_place_of_another_knows_what_the_controller_sent(
    state: RunState,
) -> None:
    """Two NICs' processes die after the controller has sent them frames."""
    run = cell_run(nic="rdma", records=20, failures=("c1@120us:process", "c2@160us:process"))
    _, _, programme = both(state, run)
    assert min(out.time_ps for out in programme.packet_outs) < 120 * PS_PER_US
