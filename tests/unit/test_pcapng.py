"""pcapng as scapy and tshark read it, neither of which shares code with the testbed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Literal

import pytest
from scapy.utils import RawPcapNgReader

from testbed.fabric.pcapng import Interface, PcapngWriter
from tests.tshark import tshark_fields

INTERFACES = [
    Interface(name="s1-eth3", description="to l3-eth5", speed_bps=800 * 10**9),
    Interface(name="c12-eth0", description="to l3-eth1", speed_bps=400 * 10**9),
]
PACKETS: list[tuple[int, int, Literal["in", "out"], bytes]] = [
    (0, 0, "in", bytes(range(60))),
    (1, 1, "out", bytes(61)),
    (1, 999_999_999, "in", bytes(62)),
    (0, 7_000_000_001, "out", bytes(9063)),
    (0, 2**62, "out", bytes(64)),
]
"""Interface, time in ns, direction, bytes: of every length modulo a word, and a time above 32 bits."""


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "all.pcapng"
    with path.open("wb") as file:
        writer = PcapngWriter(file, INTERFACES, application="the testbed", comment="times are virtual")
        for interface, time_ns, direction, packet in PACKETS:
            writer.write(interface, time_ns, direction, packet)
    return path


def test_pcapng_scapy_reads_the_same(written: Path) -> None:
    with RawPcapNgReader(str(written)) as reader:
        read = list(reader)
    assert len(read) == len(PACKETS)
    for (data, about), (interface, time_ns, direction, packet) in zip(read, PACKETS, strict=True):
        assert data == packet
        assert about.linktype == 1
        assert about.wirelen == len(packet)
        assert about.tsresol == 10**9
        assert (about.tshigh << 32) + about.tslow == time_ns
        assert about.ifname.decode() == INTERFACES[interface].name
        assert about.direction == {"in": 1, "out": 2}[direction]


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_pcapng_tshark_reads_the_same(written: Path) -> None:
    names = ["frame.interface_name", "frame.interface_description", "frame.time_epoch", "frame.cap_len"]
    names += ["frame.packet_flags_direction"]
    rows = tshark_fields(written, names)
    for row, (interface, time_ns, direction, packet) in zip(rows, PACKETS, strict=True):
        of = INTERFACES[interface]
        assert row[:2] == [of.name, of.description]
        assert row[2] == f"{time_ns // 10**9}.{time_ns % 10**9:09}"
        assert int(row[3]) == len(packet)
        assert int(row[4], 0) == {"in": 1, "out": 2}[direction]


@pytest.mark.skipif(shutil.which("capinfos") is None, reason="capinfos is not installed")
def test_pcapng_capinfos_reads_what_the_file_says_of_itself(written: Path) -> None:
    text = subprocess.run(["capinfos", str(written)], capture_output=True, text=True, check=True).stdout
    shown = [line.strip() for line in text.splitlines()]
    assert "Capture application: the testbed" in shown
    assert "Capture comment:     times are virtual" in shown
    assert "Speed = 800000000000" in shown
    assert "Time resolution = 0x09" in shown
    assert "Number of interfaces in file: 2" in shown
