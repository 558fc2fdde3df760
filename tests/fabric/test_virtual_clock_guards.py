"""A run under the virtual clock that goes wrong fails, and says where; what is not the run's changes nothing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from testbed.errors import MeasurementError, TestbedError
from testbed.fabric.build import LiveFabric, build_fabric
from testbed.fabric.capture import start_capture
from testbed.fabric.state import RunState
from testbed.run import emulation
from testbed.run.emulation import Report, emulate
from tests.fabric.emulated import (
    Once,
    assert_equal,
    captured_frames,
    cell_data,
    in_namespace,
    inject,
    run_both,
    twin_run,
)
from topologies import build_fabric as fabric_of

pytestmark = [pytest.mark.fabric, pytest.mark.usefixtures("nothing_left")]

DEADLINE_S = 5.0
LONG = 100_000
"""Records of a run that is still under way when something happens to it."""
THIN, IPV4 = b"\x88\xb5", b"\x08\x00"
STRANGERS = (
    b"\xff" * 6 + b"\x02" * 6 + THIN + b"not ours".ljust(60, b"\0"),
    b"\xff" * 6 + b"\x02" * 6 + THIN + b"\0" * 1500,
    b"\x02" * 12
    + IPV4
    + bytes.fromhex("4500001c00000000401100000a0000020a000001")
    + b"\x12\xb7" * 4
    + b"\0" * 40,
    b"\x02" * 14,
)


def overstate(monkeypatch: pytest.MonkeyPatch, *, factor: int, only: tuple[int, int] | None = None) -> None:
    """Let the orchestrator promise that no chain of frames is faster than `factor` times what it is."""

    class Overstated(emulation._Run):
        def finish(self, report: Report) -> emulation.Emulated:
            numbers = range(len(self._names))
            for pair in ((a, b) for a in numbers for b in numbers if a != b):
                if only in (None, pair):
                    self._clock.set_reach_ps(*pair, factor * self._clock.reach_ps(*pair))
            return super().finish(report)

    monkeypatch.setattr(emulation, "_Run", Overstated)


@pytest.mark.parametrize("nic", ["transparent", "rdma"])
def test_clock_reach_overstated_fails_the_run(
    state: RunState, monkeypatch: pytest.MonkeyPatch, nic: str
) -> None:
    fabric = fabric_of("leaf_spine", {"spines": 2, "leaves": 2, "cards": 4})
    data = cell_data(fabric, kind="poisson", size_bytes=4096, nic=nic, records=2000)
    with build_fabric(fabric, state=state) as live:
        with monkeypatch.context() as patch:
            overstate(patch, factor=4)
            with pytest.raises(
                MeasurementError, match=r"port \d+: a frame for \d+ ps came when the clock stood at"
            ):
                emulate(live, data, state=state)
        run_both(live, state, data)  # the same fabric is none the worse


def test_clock_reach_overstated_for_one_pair_fails_the_run(
    state: RunState, monkeypatch: pytest.MonkeyPatch
) -> None:
    fabric = fabric_of("leaf_spine", {"spines": 2, "leaves": 2, "cards": 4})
    data = cell_data(fabric, kind="poisson", size_bytes=4096, nic="transparent", records=2000)
    names = fabric.node_names()
    with build_fabric(fabric, state=state) as live:
        overstate(monkeypatch, factor=3, only=(names.index("l1"), names.index("c1")))
        with pytest.raises(
            MeasurementError, match="'c1' stopped the run: ClockError: c1 port 0: a frame for"
        ):
            emulate(live, data, state=state)


def test_clock_strangers_frames_are_counted_and_change_nothing(state: RunState) -> None:
    fabric = fabric_of("single_switch", {"cards": 3})
    data = cell_data(fabric, kind="poisson", size_bytes=4096, nic="rdma", records=30_000)
    with build_fabric(fabric, state=state) as live:

        def disturb() -> None:
            inject(live, "c1", "c1-eth0", *STRANGERS)
            inject(live, "l1", "l1-eth2", *STRANGERS)

        report = Once(disturb)
        emulated = emulate(live, data, state=state, report=report)
    assert report.acted_at_s is not None
    assert_equal(emulated, twin_run(data))
    assert emulated.foreign_frames == 2 * len(STRANGERS)


def a_captured_frame(live: LiveFabric, state: RunState, path: Path) -> bytes:
    """A frame that reached c1 in a run that is over."""
    with start_capture(
        netns_pid=live.netns_pid("c1"), interface="c1-eth0", path=path, state=state
    ) as capture:
        emulate(live, cell_data(live.fabric, kind="poisson", size_bytes=4096, nic="rdma"), state=state)
        capture.stop()
    return captured_frames(path)[3]


def test_clock_frame_of_ours_replayed_fails_the_run(state: RunState, tmp_path: Path) -> None:
    fabric = fabric_of("single_switch", {"cards": 3})
    data = cell_data(fabric, kind="poisson", size_bytes=4096, nic="rdma", records=LONG)
    with build_fabric(fabric, state=state) as live:
        again = a_captured_frame(live, state, tmp_path / "c1.pcap")
        report = Once(lambda: inject(live, "l1", "l1-eth1", again))
        with pytest.raises(MeasurementError, match=r"c1 port 0: frame 3 came where \d+ was due"):
            emulate(live, data, state=state, report=report)
        assert_prompt(report)


def test_clock_frame_with_a_changed_trailer_fails_the_run(state: RunState, tmp_path: Path) -> None:
    fabric = fabric_of("single_switch", {"cards": 3})
    data = cell_data(fabric, kind="poisson", size_bytes=4096, nic="rdma", records=LONG)
    with build_fabric(fabric, state=state) as live:
        whole = bytearray(a_captured_frame(live, state, tmp_path / "c1.pcap"))
        whole[-20] ^= 1
        report = Once(lambda: inject(live, "l1", "l1-eth1", bytes(whole)))
        with pytest.raises(MeasurementError, match="a frame reached c1 port 0 damaged"):
            emulate(live, data, state=state, report=report)


@pytest.mark.parametrize(("node", "interface"), [("c1", "c1-eth0"), ("l1", "l1-eth1")])
def test_clock_interface_taken_down_fails_the_run(state: RunState, node: str, interface: str) -> None:
    fabric = fabric_of("single_switch", {"cards": 3})
    data = cell_data(fabric, kind="poisson", size_bytes=4096, nic="transparent", records=LONG)
    with build_fabric(fabric, state=state) as live:
        report = Once(lambda: _set_link(live, node, interface, "down"))
        with pytest.raises(TestbedError) as caught:
            emulate(live, data, state=state, report=report)
        assert_prompt(report)
    assert "c1" in str(caught.value) or "l1" in str(caught.value)


def test_clock_interface_down_and_up_again_fails_the_run(state: RunState) -> None:
    """Frames are lost in silence; the count of each link tells."""
    fabric = fabric_of("single_switch", {"cards": 3})
    data = cell_data(fabric, kind="poisson", size_bytes=4096, nic="transparent", records=LONG)
    with build_fabric(fabric, state=state) as live:
        report = Once(
            lambda: in_namespace(live, "l1", "sh", "-c", "ip link set l1-eth1 down; ip link set l1-eth1 up")
        )
        with pytest.raises(TestbedError) as caught:
            emulate(live, data, state=state, report=report)
        assert_prompt(report)
    assert "c1" in str(caught.value) or "l1" in str(caught.value)


def _set_link(live: LiveFabric, node: str, interface: str, state: str) -> None:
    in_namespace(live, node, "ip", "link", "set", interface, state)


def assert_prompt(report: Once) -> None:
    assert report.acted_at_s is not None
    assert time.monotonic() - report.acted_at_s < DEADLINE_S
