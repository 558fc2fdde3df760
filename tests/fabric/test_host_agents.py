"""Control plane apart from data plane: what becomes of a host agent in mid-run changes no record."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from nic_emulator.control import CardClient, ControlError
from nic_emulator.control.agent import attend
from nic_emulator.control.client import CounterSnapshot
from testbed.errors import FabricError, SpecError
from testbed.fabric.build import LiveFabric, build_fabric
from testbed.fabric.state import RunState, read_state, sockets_of
from testbed.process_table import namespace_of
from testbed.run import emulation
from testbed.run.emulation import Emulated, emulate
from testbed.spec.fabric import Fabric
from tests.fabric.command_line import LONG, Place, running
from tests.fabric.conftest import Traces, wait_for_nothing_left
from tests.fabric.emulated import Idle, Once, assert_equal, cell_data, run_both, twin_run
from topologies import build_fabric as fabric_of

pytestmark = [pytest.mark.fabric, pytest.mark.usefixtures("nothing_left")]

DEADLINE_S = 5.0
GRACE_S = 0.9
"""Less than what agents that do not end by themselves are given."""
SMALL = {"spines": 2, "leaves": 2, "cards": 4}
NICS = {"c1", "c2", "c3", "c4"}


@pytest.fixture
def fabric() -> Fabric:
    return fabric_of("leaf_spine", SMALL)


def pids_of(state: RunState) -> dict[str, int]:
    return {child.name: child.pid for child in read_state(state.path).children}


def socket_of(state: RunState, nic: str) -> Path:
    return sockets_of(state.path) / f"{nic}.sock"


def end_ps(emulated: Emulated) -> int:
    return int(emulated.records["completed_ps"].max())


# ------------------------------------------------------------------------------------------ disturbed in mid-run


@pytest.mark.parametrize("nic", ["transparent", "rdma"])
@pytest.mark.parametrize(
    ("kind", "size_bytes", "records"), [("poisson", 4096, 20_000), ("incast", 65_536, 4000)]
)
def test_agents_stopped_starved_or_killed_change_no_bit(
    state: RunState, fabric: Fabric, nic: str, kind: Any, size_bytes: int, records: int
) -> None:
    data = cell_data(fabric, kind=kind, size_bytes=size_bytes, nic=nic, records=records)
    with build_fabric(fabric, state=state) as live:
        quiet = emulate(live, data, state=state)
        disturbed = {
            how: emulate(live, data, state=state, host_agents=how) for how in ("stopped", "starved", "killed")
        }
        (at_ps,) = {run.disturbed_at_ps for run in disturbed.values()}
        assert at_ps is not None
        # Held at the same time, so that it ends with each NIC and switch as far as in the others.
        held = emulate(live, data, state=state, control=Idle([at_ps]))
    assert (quiet.agents_lost, quiet.disturbed_at_ps) == ((), None)
    assert_equal(quiet, twin_run(data))
    for how, run in disturbed.items():
        assert run.records.tobytes() == quiet.records.tobytes(), how
        assert (run.counters, run.hops) == (held.counters, held.hops), how
        assert 0 < at_ps < end_ps(run), how
        assert set(run.agents_lost) == (NICS if how == "killed" else set()), how


def test_agents_end_with_a_run_so_short_that_it_is_over_at_once(state: RunState, fabric: Fabric) -> None:
    data = cell_data(fabric, kind="idle", size_bytes=64, nic="transparent", records=1)
    with build_fabric(fabric, state=state) as live:
        for _ in range(5):
            run_of = Once(lambda: None, after_messages=0)
            emulated = emulate(live, data, state=state, report=run_of)
            assert emulated.agents_lost == ()
            assert run_of.acted_at_s is not None
            assert time.monotonic() - run_of.acted_at_s < GRACE_S


def test_agents_word_for_the_disturbance_is_checked(state: RunState, fabric: Fabric) -> None:
    data = cell_data(fabric, kind="poisson", size_bytes=4096, nic="transparent")
    with build_fabric(fabric, state=state) as live, pytest.raises(SpecError, match="'paused'"):
        emulate(live, data, state=state, host_agents="paused")


def test_agent_that_dies_in_mid_run_is_reported_and_another_attaches(state: RunState, fabric: Fabric) -> None:
    data = cell_data(fabric, kind="poisson", size_bytes=4096, nic="transparent", records=20_000)
    reasons: list[str] = []

    def come_back() -> None:
        reasons.append(attend(socket_of(state, "c1"), data["nodes"][0:0], patience_s=10))

    successor = threading.Thread(target=come_back)

    def replace() -> None:
        os.kill(pids_of(state)["host agent of c1"], signal.SIGKILL)
        successor.start()

    report = Once(replace)
    with build_fabric(fabric, state=state) as live:
        emulated = emulate(live, data, state=state, report=report)
    successor.join(DEADLINE_S)
    assert reasons == ["DONE"]
    assert emulated.agents_lost == ("c1",)
    assert_equal(emulated, twin_run(data))


def test_agents_all_lost_with_their_launcher_change_no_bit(state: RunState, fabric: Fabric) -> None:
    data = cell_data(fabric, kind="poisson", size_bytes=4096, nic="transparent", records=20_000)
    report = Once(lambda: os.kill(pids_of(state)["host agents"], signal.SIGKILL))
    with build_fabric(fabric, state=state) as live:
        emulated = emulate(live, data, state=state, report=report)
    assert set(emulated.agents_lost) == NICS
    assert_equal(emulated, twin_run(data))


def test_client_reads_counters_in_mid_run_and_changes_no_bit(state: RunState, fabric: Fabric) -> None:
    data = cell_data(fabric, kind="poisson", size_bytes=4096, nic="transparent", records=30_000)
    seen: list[CounterSnapshot] = []
    refusals: list[str] = []

    def look() -> None:
        with CardClient(socket_of(state, "c2")) as nic:
            for command in (nic.start, nic.stop, lambda: nic.load_workload({"arrivals": "NONE"})):
                with pytest.raises(ControlError) as caught:
                    command()
                refusals.append(caught.value.code)
            with contextlib.suppress(ControlError):  # until the NIC has ended, and its process with it
                while True:
                    seen.append(nic.counters())

    looker = threading.Thread(target=look)
    with build_fabric(fabric, state=state) as live:
        emulated = emulate(live, data, state=state, report=Once(looker.start))
    looker.join(DEADLINE_S)
    assert refusals == ["too_late"] * 3
    assert len(seen) > 100
    times = [snapshot.virtual_ps for snapshot in seen]
    assert times == sorted(times)
    for name in ("tx_messages", "tx_packets", "rx_messages", "rx_packets", "tx_acks"):
        counts = [snapshot.counters[name] for snapshot in seen]
        assert counts == sorted(counts)
        assert 0 < counts[0] < counts[-1] <= emulated.counters["c2"][name]
    assert_equal(emulated, twin_run(data))


# ------------------------------------------------------------------------------------------ what they are


def test_agents_and_control_threads_are_ordinary_processes_beside_the_clock(
    state: RunState, fabric: Fabric
) -> None:
    data = cell_data(fabric, kind="poisson", size_bytes=4096, nic="transparent", records=20_000)
    found: dict[str, Any] = {}

    def look() -> None:
        pids = pids_of(state)
        agent, nic = pids["host agent of c1"], pids["c1"]
        found["agent"] = (os.sched_getscheduler(agent), os.getpriority(os.PRIO_PROCESS, agent))
        found["namespaces"] = {namespace_of(pids[name]) for name in ("host agent of c1", "namespace of c1")}
        tasks = [int(task) for task in os.listdir(f"/proc/{nic}/task")]
        found["clock's"] = (os.sched_getscheduler(nic), os.sched_getaffinity(nic))
        (other,) = (task for task in tasks if task != nic)
        found["control's"] = (os.sched_getscheduler(other), os.getpriority(os.PRIO_PROCESS, other))
        found["free"] = os.sched_getaffinity(other) == os.sched_getaffinity(0)
        directory = sockets_of(state.path)
        found["modes"] = [stat.S_IMODE(path.stat().st_mode) for path in (directory, directory / "c1.sock")]
        found["names"] = {path.name for path in directory.iterdir()}

    with build_fabric(fabric, state=state) as live:
        emulated = emulate(live, data, state=state, report=Once(look))
    assert found["agent"] == (os.SCHED_OTHER, os.getpriority(os.PRIO_PROCESS, 0))  # as it was started
    assert found["control's"] == (os.SCHED_OTHER, 0)
    assert found["free"]
    assert found["clock's"][1] == {max(os.sched_getaffinity(0))}
    assert (found["clock's"][0] == os.SCHED_FIFO) == ("FIFO" in emulated.policy)
    assert len(found["namespaces"]) == 1
    assert found["modes"] == [0o700, 0o600]
    assert found["names"] == {f"{nic}.sock" for nic in NICS}
    assert not sockets_of(state.path).exists()


# ------------------------------------------------------------------------------------------ before the start


def with_agents(monkeypatch: pytest.MonkeyPatch, nic: str, **other: Any) -> None:
    """Give one agent another job than it should have."""

    class Changed(emulation._Run):
        def _agent_jobs(self) -> list[dict[str, Any]]:
            return [job | (other if job["name"] == nic else {}) for job in super()._agent_jobs()]

    monkeypatch.setattr(emulation, "_Run", Changed)


def run_again(live: LiveFabric, state: RunState) -> None:
    run_both(live, state, cell_data(live.fabric, kind="poisson", size_bytes=4096, nic="transparent"))


def test_agent_killed_before_the_start_is_named_and_nothing_is_left(
    state: RunState, fabric: Fabric, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = cell_data(fabric, kind="poisson", size_bytes=4096, nic="transparent")
    with build_fabric(fabric, state=state) as live:
        with monkeypatch.context() as patch:
            with_agents(patch, "c2", socket="/nowhere.sock")  # it is still looking for its NIC
            ready = emulation._Run._wait_ready

            def kill_first(run: emulation._Run) -> None:
                os.kill(pids_of(state)["host agent of c2"], signal.SIGKILL)
                ready(run)

            patch.setattr(emulation._Run, "_wait_ready", kill_first)
            began = time.monotonic()
            with pytest.raises(
                FabricError, match=r"host agent of 'c2' \(pid \d+\) died before the run began$"
            ):
                emulate(live, data, state=state)
            assert time.monotonic() - began < DEADLINE_S
        assert not sockets_of(state.path).exists()
        run_again(live, state)


def test_agent_whose_workload_is_refused_is_named_with_the_reason(
    state: RunState, fabric: Fabric, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = cell_data(fabric, kind="poisson", size_bytes=4096, nic="transparent")
    with build_fabric(fabric, state=state) as live:
        with monkeypatch.context() as patch:
            with_agents(patch, "c3", workloads=[data["nodes"][2]["workload"] | {"message_bytes": 0}])
            with pytest.raises(FabricError, match=r"host agent of 'c3' .*no workload: a message has 1 byte"):
                emulate(live, data, state=state)
        run_again(live, state)


def test_agent_that_does_not_come_is_named(
    state: RunState, fabric: Fabric, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = cell_data(fabric, kind="poisson", size_bytes=4096, nic="transparent")
    with build_fabric(fabric, state=state) as live:
        with monkeypatch.context() as patch:
            with_agents(patch, "c4", socket="/nowhere.sock")
            patch.setattr(emulation, "PATIENCE_S", 0.5)
            with pytest.raises(FabricError, match="no host agent has started 'c4' within"):
                emulate(live, data, state=state)
        run_again(live, state)


# ------------------------------------------------------------------------------------------ every way out


def test_agents_that_are_stopped_end_with_a_killed_orchestrator(tmp_path: Path, before: Traces) -> None:
    place = Place.below(tmp_path)
    with running(place, LONG) as run:
        run.await_frames()
        agents = [pid for name, pid in place.children().items() if name.startswith("host agent of ")]
        assert len(agents) == 4
        for pid in agents:
            os.kill(pid, signal.SIGSTOP)
        run.strike(run.process.pid, signal.SIGKILL)
    wait_for_nothing_left(before, deadline_s=DEADLINE_S)
    assert any(path.endswith(".sockets") for path in place.left())  # for `tb clean`: see test_kill_run.py
