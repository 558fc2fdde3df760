"""The frames of a run, captured by tcpdump: the run is the same, and every frame is what it says it is."""

from __future__ import annotations

import contextlib
import shutil
from collections import Counter
from pathlib import Path

import pytest

from testbed.engine import _engine
from testbed.fabric.build import LiveFabric, build_fabric
from testbed.fabric.capture import Capture, start_capture
from testbed.fabric.state import RunState
from testbed.spec.experiment import Kind
from testbed.spec.fabric import Fabric
from tests.fabric.emulated import captured_frames, cell_data, run_both
from tests.tshark import tshark_fields
from topologies import build_fabric as fabric_of

pytestmark = [
    pytest.mark.fabric,
    pytest.mark.usefixtures("nothing_left"),
    pytest.mark.skipif(shutil.which("tcpdump") is None, reason="tcpdump is not installed"),
]

CARDS = 3


@contextlib.contextmanager
def captures(live: LiveFabric, state: RunState, directory: Path):  # type: ignore[no-untyped-def]  # noqa: ANN201
    """One capture at each interface; each sees the frames that arrive there."""
    with contextlib.ExitStack() as stack:
        found: dict[str, Capture] = {}
        for node in live.fabric.node_names():
            for link in live.fabric.links_of(node):
                name = link.interface_at(node)
                capture = start_capture(
                    netns_pid=live.netns_pid(node),
                    interface=name,
                    path=directory / f"{name}.pcap",
                    state=state,
                    direction="in",
                )
                found[name] = stack.enter_context(capture)
        yield found


def captured_run(
    fabric: Fabric,
    state: RunState,
    directory: Path,
    *,
    nic: str,
    kind: Kind,
    size_bytes: int,
    snap: int | None = None,
) -> tuple[dict[str, list[bytes]], dict[str, dict[str, int]]]:
    """The frames that arrived at each interface in a run that equals the twin's, and the run's counters."""
    with build_fabric(fabric, state=state) as live, captures(live, state, directory) as running:
        data = cell_data(fabric, kind=kind, size_bytes=size_bytes, nic=nic, records=30)
        emulated, _ = run_both(live, state, data, snap_bytes=snap)
        counts = {name: capture.stop() for name, capture in running.items()}
    assert all(count.dropped_pkts == 0 for count in counts.values())
    frames = {name: captured_frames(capture.path) for name, capture in running.items()}
    assert {name: len(some) for name, some in frames.items()} == {
        name: count.captured_pkts for name, count in counts.items()
    }
    assert sum(map(len, frames.values())) == emulated.hops
    return frames, emulated.counters


@pytest.mark.parametrize("nic", ["transparent", "rdma"])
def test_capture_of_a_run_every_frame_decodes_and_is_counted(
    state: RunState, tmp_path: Path, nic: str
) -> None:
    fabric = fabric_of("single_switch", {"cards": CARDS})
    frames, counters = captured_run(fabric, state, tmp_path, nic=nic, kind="idle", size_bytes=8999)
    for interface, arrived in frames.items():
        for number, data in enumerate(arrived):
            what, frame, trailer = _engine.decode(data)
            assert what == "frame", (interface, number)
            assert frame is not None
            assert trailer is not None
            assert trailer["link_seq"] == number, interface
            assert trailer["intact"]
            assert len(data) == max(60, frame.frame_bytes - 4) + 40, "real bytes without FCS, and the trailer"
    for card in range(1, CARDS + 1):
        assert len(frames[f"c{card}-eth0"]) == counters["l1"][f"port{card}.out_frames"]
        under_way = len(frames[f"l1-eth{card}"]) - counters["l1"][f"port{card}.in_frames"]
        assert 0 <= under_way <= 3, "the last acknowledgements, when the last message is in"


def test_capture_of_a_card_both_directions_are_seen(state: RunState, tmp_path: Path) -> None:
    """As tcpdump at the interface of any Linux host."""
    fabric = fabric_of("single_switch", {"cards": 2})
    with build_fabric(fabric, state=state) as live:
        path = tmp_path / "c1.pcap"
        with start_capture(
            netns_pid=live.netns_pid("c1"), interface="c1-eth0", path=path, state=state
        ) as capture:
            data = cell_data(fabric, kind="pingpong", size_bytes=4096, nic="rdma", records=30)
            emulated, _ = run_both(live, state, data)
            capture.stop()
    frames = captured_frames(path)
    sent = emulated.counters["c1"]["tx_packets"] + emulated.counters["c1"]["tx_acks"]
    assert len(frames) == sent + emulated.counters["l1"]["port1.out_frames"]


def test_capture_of_a_run_frame_through_the_switch_keeps_its_bytes(state: RunState, tmp_path: Path) -> None:
    """All but the trailer, which belongs to the wire."""
    fabric = fabric_of("single_switch", {"cards": CARDS})
    frames, _ = captured_run(fabric, state, tmp_path, nic="rdma", kind="permutation", size_bytes=4096)
    sent = Counter(data[:-40] for name, some in frames.items() if name.startswith("l1") for data in some)
    received = Counter(data[:-40] for name, some in frames.items() if name.startswith("c") for data in some)
    assert received.total() > 100
    assert received <= sent


def test_capture_of_a_run_with_snap_holds_headers_and_so_much_payload(
    state: RunState, tmp_path: Path
) -> None:
    fabric = fabric_of("single_switch", {"cards": CARDS})
    frames, _ = captured_run(
        fabric, state, tmp_path, nic="transparent", kind="poisson", size_bytes=65_536, snap=32
    )
    arrived = [data for some in frames.values() for data in some]
    assert max(map(len, arrived)) < 200
    decoded = [_engine.decode(data)[1] for data in arrived]
    assert max(frame.frame_bytes for frame in decoded if frame) > 4096, "the modelled length stays"


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
@pytest.mark.parametrize("nic", ["transparent", "rdma"])
def test_capture_of_a_run_tshark_finds_nothing_malformed(state: RunState, tmp_path: Path, nic: str) -> None:
    fabric = fabric_of("single_switch", {"cards": CARDS})
    frames, _ = captured_run(fabric, state, tmp_path, nic=nic, kind="incast", size_bytes=9000)
    for interface, arrived in frames.items():
        fields = ("frame.protocols", "eth.type", "udp.dstport", "ip.checksum.status", "_ws.expert.message")
        rows = tshark_fields(tmp_path / f"{interface}.pcap", fields, "-o", "ip.check_checksum:TRUE")
        assert len(rows) == len(arrived)
        for protocols, ethertype, port, checksum, complaint in rows:
            assert complaint == ""
            assert "malformed" not in protocols
            if nic == "rdma":
                assert protocols.startswith("eth:ethertype:ip:udp:infiniband"), "RoCEv2"
                assert (port, checksum) == ("4791", "1")
            else:
                assert int(ethertype, 16) == 0x88B5


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_capture_of_a_run_tshark_reads_the_fields_that_were_meant(state: RunState, tmp_path: Path) -> None:
    fabric = fabric_of("single_switch", {"cards": CARDS})
    frames, _ = captured_run(fabric, state, tmp_path, nic="rdma", kind="poisson", size_bytes=20_000)
    opcodes = set()
    for interface, arrived in frames.items():
        fields = ("infiniband.bth.psn", "infiniband.bth.opcode", "ip.src", "ip.dst")
        rows = tshark_fields(tmp_path / f"{interface}.pcap", fields)
        for data, (psn, opcode, source, destination) in zip(arrived, rows, strict=True):
            frame = _engine.decode(data)[1]
            assert frame is not None
            # The model's cumulative acknowledgement names the next packet; RoCE's the last one that came.
            last = 1 if frame.opcode == _engine.Opcode.ACK else 0
            assert int(psn) == (frame.psn - last) & 0xFFFFFF
            assert source == f"10.{frame.src >> 8}.{frame.src & 255}.1"
            assert destination == f"10.{frame.dst >> 8}.{frame.dst & 255}.1"
            opcodes.add(int(opcode))
    assert opcodes == {6, 7, 8, 17}, "RDMA WRITE first, middle, last; acknowledge [IBTA 9.2]"
