"""What is to be captured, checked before anything is built; and raw captures made into one file."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import pytest
from scapy.utils import RawPcapNgReader

from testbed.engine import _engine
from testbed.engine._engine import Frame, WireFormat
from testbed.errors import MeasurementError, SpecError
from testbed.fabric.capture import CaptureCounts, capture_command, frame_places
from testbed.run.capture_cell import plan_capture, ports_of
from testbed.run.capture_file import OneWay, Port, Raw, write_capture
from testbed.run.loader import load_experiment
from topologies import build_fabric

LATENCY_PS = 14_500
PORTS = ports_of(build_fabric("leaf_spine", {"spines": 1, "leaves": 2, "cards": 4}))
FOREIGN = bytes(80)


def packet(first_bit_ps: int, link_seq: int) -> bytes:
    frame = Frame()
    frame.format, frame.src, frame.dst, frame.payload_bytes, frame.flags = WireFormat.THIN, 1, 2, 64, 3
    frame.frame_bytes = _engine.least_frame_bytes(frame)
    return _engine.encode(frame, first_bit_ps=first_bit_ps, link_seq=link_seq)


def pcap(packets: list[bytes]) -> bytes:
    """As tcpdump writes it; the times are of no use."""
    head = struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1)
    return head + b"".join(
        struct.pack("=4I", 1_700_000_000, 5, len(data), len(data)) + data for data in packets
    )


def raw(directory: Path, port: Port, direction: OneWay, packets: list[bytes]) -> Raw:
    path = directory / f"{port.interface}.{direction}.pcap"
    path.write_bytes(pcap(packets))
    counts = CaptureCounts(captured_pkts=len(packets), received_pkts=0, dropped_pkts=0)
    return Raw(port=port, direction=direction, latency_ps=LATENCY_PS, path=path, counts=counts)


def scratch(directory: Path) -> Path:
    made = directory / "scratch"
    made.mkdir(exist_ok=True)
    return made


def test_frame_places_of_a_pcap_are_its_frames() -> None:
    packets = [bytes([number]) * (60 + number) for number in range(5)]
    data = pcap(packets)
    assert [data[place] for place in frame_places(data)] == packets
    assert list(frame_places(pcap([]))) == []


@pytest.mark.parametrize("missing", [1, 63, 64, 79])
def test_frame_places_of_a_pcap_cut_off_are_those_that_are_whole(missing: int) -> None:
    packets = [bytes(60), bytes(64)]
    data = pcap(packets)[:-missing]
    assert [data[place] for place in frame_places(data)] == packets[:1]


def test_capture_command_of_one_direction_asks_for_it() -> None:
    command = capture_command(netns_pid=7, interface="s1-eth3", path=Path("x"), direction="out")
    assert command[command.index("-Q") + 1] == "out"
    assert "-Q" not in capture_command(netns_pid=7, interface="s1-eth3", path=Path("x"))


def test_write_capture_merges_by_virtual_time_and_takes_the_latency_from_what_goes_out(
    tmp_path: Path,
) -> None:
    spine, leaf = PORTS["s1-eth1"], PORTS["l1-eth3"]
    assert (spine.peer, leaf.peer) == ("l1-eth3", "s1-eth1")
    raws = [
        raw(tmp_path, spine, "in", [packet(20_999, 0), FOREIGN, packet(90_000, 1)]),
        raw(tmp_path, spine, "out", [packet(40_000, 0)]),
        raw(tmp_path, leaf, "in", [packet(40_000, 0)]),
        raw(tmp_path, leaf, "out", [packet(20_999, 0), packet(90_000, 1)]),
    ]
    path = tmp_path / "all.pcapng"
    written = write_capture(raws, path, scratch=scratch(tmp_path), about="a test")
    with RawPcapNgReader(str(path)) as reader:
        read = [
            (about.ifname.decode(), about.direction, (about.tshigh << 32) + about.tslow)
            for _, about in reader
        ]
    assert read == [
        ("l1-eth3", 2, 6),  # (20,999 - 14,500) ps
        ("s1-eth1", 1, 20),
        ("s1-eth1", 2, 25),
        ("l1-eth3", 1, 40),
        ("l1-eth3", 2, 75),
        ("s1-eth1", 1, 90),
    ]
    assert (written.first_ps, written.last_ps) == (6_499, 90_000)
    counts = [
        (one.port, one.peer, one.in_frames, one.out_frames, one.foreign_frames) for one in written.ports
    ]
    assert counts == [("s1-eth1", "l1-eth3", 2, 1, 1), ("l1-eth3", "s1-eth1", 1, 2, 0)]
    assert list(scratch(tmp_path).iterdir()) == []


def test_write_capture_of_no_frame_is_a_file_without_packets(tmp_path: Path) -> None:
    raws = [raw(tmp_path, PORTS["s1-eth1"], "in", [])]
    written = write_capture(raws, tmp_path / "none.pcapng", scratch=scratch(tmp_path), about="a test")
    assert written.first_ps is None
    with RawPcapNgReader(str(tmp_path / "none.pcapng")) as reader:
        assert list(reader) == []


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        (CaptureCounts(captured_pkts=2, received_pkts=5, dropped_pkts=3), "lost 3 frames"),
        (CaptureCounts(captured_pkts=2, received_pkts=6, dropped_pkts=0), "lost 4 frames"),
        (CaptureCounts(captured_pkts=5, received_pkts=5, dropped_pkts=0), "not whole: 2 of 5 frames"),
    ],
)
def test_write_capture_of_a_part_of_the_frames_is_refused(
    tmp_path: Path, counts: CaptureCounts, words: str
) -> None:
    one = replace(raw(tmp_path, PORTS["s1-eth1"], "in", [packet(1, 0), packet(2, 1)]), counts=counts)
    with pytest.raises(MeasurementError, match=words):
        write_capture([one], tmp_path / "x.pcapng", scratch=scratch(tmp_path), about="a test")
    assert not (tmp_path / "x.pcapng").exists()


def test_write_capture_of_a_damaged_frame_is_refused(tmp_path: Path) -> None:
    bad = bytearray(packet(1, 0))
    bad[-30] ^= 1  # the time in the trailer
    one = raw(tmp_path, PORTS["s1-eth1"], "in", [bytes(bad)])
    with pytest.raises(MeasurementError, match="s1-eth1 contradicts itself"):
        write_capture([one], tmp_path / "x.pcapng", scratch=scratch(tmp_path), about="a test")


def test_plan_capture_takes_the_first_cell_and_each_port_once() -> None:
    job = plan_capture(
        load_experiment("quickstart"), cell_id=None, ports=["s1-eth3", "c1-eth0", "s1-eth3"], records=7
    )
    assert job.run.cell.id == "idle-4KiB-transparent"
    assert [(port.interface, port.node, port.peer) for port in job.ports] == [
        ("s1-eth3", "s1", "l3-eth5"),
        ("c1-eth0", "c1", "l1-eth1"),
    ]


def test_plan_capture_of_a_variant_has_its_network() -> None:
    job = plan_capture(load_experiment("switch_shootout"), cell_id=None, ports=[], records=1)
    assert job.run.network.variant == job.run.cell.variant != ""


def test_plan_capture_unknown_port_names_the_nearest_of_its_node() -> None:
    with pytest.raises(SpecError, match=r"unknown port 's1-eth33'; nearest: s1-eth3, ") as error:
        plan_capture(load_experiment("quickstart"), cell_id=None, ports=["s1-eth33"], records=1)
    assert "s1-eth3" in error.value.remedy
    assert "l1" not in str(error.value)


def test_plan_capture_unknown_node_names_ports_like_it() -> None:
    with pytest.raises(SpecError, match=r"unknown port 'l11-eth1'; nearest: l1-eth1"):
        plan_capture(load_experiment("quickstart"), cell_id=None, ports=["l11-eth1"], records=1)


def test_plan_capture_unknown_cell_is_named() -> None:
    with pytest.raises(SpecError, match="unknown cell 'idle-4KiB-rmda'; did you mean 'idle-4KiB-rdma'"):
        plan_capture(load_experiment("quickstart"), cell_id="idle-4KiB-rmda", ports=[], records=1)
