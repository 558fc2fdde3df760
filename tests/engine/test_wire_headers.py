"""Headers of every wire format, byte by byte, and by the rules of their standards."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from testbed.engine import _engine
from testbed.engine._engine import Frame, Op, Opcode, WireFormat
from tests.engine.frames import (
    FIRST,
    LAST,
    MARKED,
    TRAILER_BYTES,
    control,
    damaged,
    example_kinds,
    frames,
)

BITMAP = "8000000000000001"
BATCH = "0002 0040 0001 0040 0000 0040"
NO_CHECKSUM = "...."
"""A checksum over the payload, which other tests look at."""
SES = "00000001 0000 0000 0000000000000000 00000003 0000000000000000"
HEADERS: dict[tuple[WireFormat, str], str] = {
    (WireFormat.THIN, "PUT_middle"): "03 123456 0005 0009",
    (WireFormat.THIN, "GET_RESPONSE_middle"): "03 123456 0005 8009",
    (WireFormat.THIN, "PUT_SIGNAL_last"): "13 123456 0005 2065",
    (WireFormat.THIN, "PUT_only"): "33 123456 0005 0065",
    (WireFormat.THIN, "SEND_only"): "33 123456 0005 4065",
    (WireFormat.THIN, "GET_REQUEST_only"): "33 123456 0005 6000 00001388",
    (WireFormat.THIN, "batch"): f"33 123456 0006 a0c0 {BATCH}",
    (WireFormat.THIN, "trimmed"): "eb 123456 0000 0000",
    (WireFormat.THIN, "ACK"): f"43 123456 0040 0000 {BITMAP} 3457 001000 04",
    (WireFormat.THIN, "NACK"): f"83 123456 0040 0001 {BITMAP} 3457 001000 04",
    (WireFormat.THIN_UDP, "PUT_only"): "c123 88b5 0075 0000 33 123456 0005 0065",
    (WireFormat.THIN_UDP, "trimmed"): "c123 88b5 0036 0000 e3 123456 0000 0000",
    (WireFormat.TCP, "PUT_first"): f"c123 88b6 00001388 00000001 8010 8001 {NO_CHECKSUM} 0000"
    " 0101080a 00123456 0005 0000",
    (WireFormat.TCP, "GET_RESPONSE_middle"): f"c123 88b6 00001388 00000001 8010 8008 {NO_CHECKSUM} 0000"
    " 0101080a 00123456 0005 0009",
    (WireFormat.TCP, "batch"): f"c123 88b6 00000000 00000001 8018 8001 {NO_CHECKSUM} 0000"
    " 0101080a 00123456 0006 0003",
    (WireFormat.TCP, "trimmed"): f"c123 88b6 00000000 00000001 8810 8001 {NO_CHECKSUM} 0000"
    " 0101080a 00123456 0000 0000",
    (WireFormat.TCP, "NACK"): f"88b6 c123 00000001 00123456 e010 0040 {NO_CHECKSUM} 0000"
    f" 0101080a 00123456 00003457 fd10544e {BITMAP} 0001 0003 ac08 000000 001000",
    (WireFormat.UDP, "PUT_only"): f"c123 88b6 0079 {NO_CHECKSUM} 30 123456 0005 0000 00000065",
    (WireFormat.UDP, "GET_REQUEST_only"): f"c123 88b6 0014 {NO_CHECKSUM} 33 123456 0005 0000 00001388",
    (WireFormat.UDP, "NACK"): f"c123 88b6 001e {NO_CHECKSUM} 84 123456 3457 0001 0040 001000 00 {BITMAP}",
    (WireFormat.UET, "PUT_only"): f"c123 12b9 00a5 0000 1188 0000 00123456 0007 0003"
    f" 01 03 0005 {SES} 0000000000000000 00001388",
    (WireFormat.UET, "PUT_SIGNAL_middle"): f"c123 12b9 00a5 0000 1180 0000 00123456 0007 0003"
    f" 01 04 0005 {SES} 0000 0065 00000009 00001388",
    (WireFormat.UET, "ACK"): "c123 12b9 0028 0000 4000 0002 00123455 0007 0003 01 00 0002"
    f" {BITMAP} 0040 00 001000 0000",
    (
        WireFormat.UET,
        "NACK",
    ): f"c123 12b9 0028 0000 6000 01 00 00123456 0007 0003 3457 0001 01 0040 001000 0000 {BITMAP}",
    (WireFormat.SUE, "PUT_only"): "c123 0d05 0075 0000 0003 3456 c04b 0000",
    (WireFormat.SUE, "GET_REQUEST_only"): "c123 0d05 0014 0000 0003 3456 d84b 0000 00001388",
    (WireFormat.SUE, "batch"): f"c123 0d05 00dc 0000 0003 3456 c04b 0003 {BATCH}",
    (WireFormat.SUE, "ACK"): "c123 0d05 0017 0000 0803 3457 e048 3455 0040 001000 0000",
    (WireFormat.SUE_COMPRESSED, "PUT_only"): "60 00 0005 0003 3456 c04b 0000",
    (WireFormat.SUE_COMPRESSED, "NACK"): "60 00 0001 1803 3457 e048 3456 0040 001000 0000",
    (WireFormat.UALINK, "PUT_only"): "00 1b 0001 00123456 0005 0000 0000 0065 00001388",
    (WireFormat.UALINK, "NACK"): f"24 18 0001 00123456 3457 0001 0040 0000 00001000 {BITMAP}",
}
"""Behind Ethernet and IPv4, field by field, as docs/wire-format.md has them."""
ETHER_TYPES = {WireFormat.THIN: "88b5", WireFormat.SUE_COMPRESSED: "fe5c", WireFormat.UALINK: "fe0a"}


@pytest.mark.parametrize(("wire_format", "kind"), HEADERS)
def test_header_has_its_documented_fields(wire_format: WireFormat, kind: str) -> None:
    data = _engine.encode(example_kinds(wire_format)[kind])
    assert data[:14].hex() == "02544e000007" + "02544e000003" + ETHER_TYPES.get(wire_format, "0800")
    start = 14 if wire_format in ETHER_TYPES else 34
    expected = HEADERS[wire_format, kind].replace(" ", "")
    shown = data[start : start + len(expected) // 2].hex()
    at = expected.find(NO_CHECKSUM)
    assert shown == (expected if at < 0 else expected[:at] + shown[at : at + 4] + expected[at + 4 :])


@pytest.mark.parametrize(("kind", "number"), [("PUT_only", 5), ("ACK", 0), ("NACK", 1)])
def test_sue_identification_has_message_or_cut_packet(kind: str, number: int) -> None:
    data = _engine.encode(example_kinds(WireFormat.SUE)[kind])
    assert int.from_bytes(data[18:20], "big") == number


@given(frames(WireFormat.ROCE_V2))
@settings(max_examples=100, deadline=None)
def test_roce_ip_header_is_valid(frame: Frame) -> None:
    ip = _engine.encode(frame)[14:34]
    total = sum(struct.unpack(">10H", ip))
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF
    assert (ip[0], ip[8], ip[9]) == (0x45, 64, 17)
    assert int.from_bytes(ip[2:4], "big") == frame.frame_bytes - 4 - 14
    assert ip[1] == frame.dscp << 2 | (3 if frame.flags & MARKED else 2)
    assert ip[12:16] == bytes([10, frame.src >> 8, frame.src & 255, 1])
    assert ip[16:20] == bytes([10, frame.dst >> 8, frame.dst & 255, 1])


ROCE_OPCODES = {
    Op.PUT: {0: 0x07, FIRST: 0x06, LAST: 0x08, FIRST | LAST: 0x0A},
    Op.PUT_SIGNAL: {LAST: 0x09, FIRST | LAST: 0x0B},
    Op.SEND: {0: 0x01, FIRST: 0x00, LAST: 0x02, FIRST | LAST: 0x04},
    Op.GET_REQUEST: {FIRST | LAST: 0x0C},
    Op.GET_RESPONSE: {0: 0x0E, FIRST: 0x0D, LAST: 0x0F, FIRST | LAST: 0x10},
}
"""InfiniBand volume 1, table 35: reliable connection."""
SYNDROMES = {Opcode.ACK: 0x1F, Opcode.NACK: 0x60, Opcode.NOT_READY: 0x20}


@given(frames(WireFormat.ROCE_V2))
@settings(max_examples=200, deadline=None)
def test_roce_udp_and_bth_have_their_fields(frame: Frame) -> None:
    data = _engine.encode(frame)
    source, port, size, check = struct.unpack(">4H", data[34:42])
    assert (source, port, size, check) == (frame.entropy, 4791, frame.frame_bytes - 4 - 34, 0)
    if frame.opcode is Opcode.CNP:
        assert data[42:70].hex() == "8100ffff40" + (0x10 + frame.src).to_bytes(3, "big").hex() + "00" * 20
        return
    pair = 0x10 + frame.src + (0x100000 if frame.op is Op.GET_RESPONSE else 0)
    assert data[47:50] == pair.to_bytes(3, "big")
    if frame.opcode in SYNDROMES:
        psn = (frame.psn - 1) % 2**24 if frame.opcode is Opcode.ACK else frame.psn
        syndrome = SYNDROMES[frame.opcode] | (frame.credit if frame.opcode is Opcode.NOT_READY else 0)
        assert (data[42], data[54]) == (0x11, syndrome)
        assert data[51:54] == psn.to_bytes(3, "big")
        assert data[55:58] == frame.msn.to_bytes(3, "big")
        return
    assert data[42] == ROCE_OPCODES[frame.op][frame.flags & 3]
    assert (data[43] >> 4) & 3 == -frame.payload_bytes % 4
    assert data[46] == (1 if frame.opcode is Opcode.TRIMMED else 0)  # reserved bits beside FECN and BECN
    assert data[51:54] == frame.psn.to_bytes(3, "big")
    assert data[54 : 54 + len(extensions(frame))] == extensions(frame)


def extensions(frame: Frame) -> bytes:
    """RETH, AETH and immediate data of a data packet."""
    found = b""
    if frame.op is Op.GET_REQUEST or (frame.op in (Op.PUT, Op.PUT_SIGNAL) and frame.flags & FIRST):
        found += struct.pack(">QII", 2**32, 0x10 + frame.src, frame.message_bytes)
    if frame.op is Op.GET_RESPONSE and frame.flags & 3:
        found += struct.pack(">I", 0x1F << 24 | frame.msn)
    if frame.op is Op.PUT_SIGNAL and frame.flags & LAST:
        found += struct.pack(">I", frame.msn)
    return found


def icrc_of(packet: bytes) -> bytes:
    """RoCEv2 annex A17.3.3: CRC-32 of 64 ones and the packet from IP on, its variant fields replaced by ones."""
    ones = bytearray(packet[14:-4])
    # type of service, TTL, header checksum, UDP checksum, BTH reserved
    for offset in (1, 8, 10, 11, 26, 27, 32):
        ones[offset] = 0xFF
    return zlib.crc32(b"\xff" * 8 + bytes(ones)).to_bytes(4, "little")


@given(frames(WireFormat.ROCE_V2))
@settings(max_examples=100, deadline=None)
def test_roce_icrc_is_that_of_the_annex(frame: Frame) -> None:
    packet = _engine.encode(frame)[:-TRAILER_BYTES]
    assert packet[-4:] == icrc_of(packet)


def test_icrc_covers_what_a_router_leaves_alone_and_nothing_else() -> None:
    packet = _engine.encode(example_kinds(WireFormat.ROCE_V2)["PUT_first"])[:-TRAILER_BYTES]
    for offset in (14 + 1, 14 + 8, 14 + 10, 14 + 26, 14 + 32):
        assert icrc_of(damaged(packet, offset, 0xFF)) == packet[-4:]
    for offset in (14 + 12, 14 + 16, 14 + 20, 42, 51, 70, 100):
        assert icrc_of(damaged(packet, offset, 1)) != packet[-4:]


# ---------------------------------------------------------------------------- MAC control

PAUSE_WORDS = {0: 1, 3: 0xFFFF, 4: 0, 7: 0x1234}
PAUSE_BYTES = bytes.fromhex(
    "0180c2000001"  # to the bridge's neighbour, IEEE 802.1Q table 8-1
    "02544e00ffff"
    "8808"  # MAC control
    "0101"  # priority-based flow control
    "0099"  # classes 0, 3, 4 and 7
    "0001 0000 0000 ffff 0000 0000 0000 1234"  # quanta by class
) + bytes(26)


def test_pause_frame_is_that_of_the_standard() -> None:
    data = _engine.encode(control(Opcode.PAUSE, PAUSE_WORDS))
    assert data[:-TRAILER_BYTES] == PAUSE_BYTES
    assert len(PAUSE_BYTES) == 60


def test_credit_frame_has_an_opcode_of_its_own() -> None:
    data = _engine.encode(control(Opcode.CREDIT, PAUSE_WORDS))
    assert data[:-TRAILER_BYTES] == PAUSE_BYTES[:14] + bytes.fromhex("fffe") + PAUSE_BYTES[16:]


def test_control_frame_with_an_unknown_opcode_is_damaged() -> None:
    data = _engine.encode(control(Opcode.PAUSE, PAUSE_WORDS))
    assert _engine.decode(damaged(data, 15, 2))[0] == "damaged"


@pytest.mark.parametrize(("name", "value"), [("frame_bytes", 65), ("payload_bytes", 1)])
def test_control_frame_of_another_length_is_refused(name: str, value: int) -> None:
    frame = control(Opcode.PAUSE, PAUSE_WORDS)
    setattr(frame, name, value)
    with pytest.raises(ValueError, match="64 bytes and no payload"):
        _engine.encode(frame)


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_pause_frame_tshark_reads_classes_and_times(tmp_path: Path) -> None:
    path = tmp_path / "pause.pcap"
    frame = PAUSE_BYTES
    record = struct.pack("<4I", 0, 0, len(frame), len(frame)) + frame
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1) + record)
    command = ["tshark", "-n", "-r", str(path), "-T", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (packet,) = json.loads(done.stdout)
    layer = packet["_source"]["layers"]["macc"]
    assert int(layer["macc.opcode"], 0) == 0x0101
    enabled, quanta = {}, {}
    for key, value in flat(layer).items():
        if key.startswith("macc.cbfc.enbv.c"):
            enabled[int(key[-1])] = value in ("1", "True")
        if key.startswith("macc.cbfc.pause_time.c"):
            quanta[int(key[-1])] = int(value)
    assert {number for number, on in enabled.items() if on} == set(PAUSE_WORDS)
    assert quanta == {number: PAUSE_WORDS.get(number, 0) for number in range(8)}


def flat(tree: Mapping[str, Any]) -> dict[str, str]:
    """The leaves of a tree by name."""
    found: dict[str, str] = {}
    for key, value in tree.items():
        found |= flat(value) if isinstance(value, dict) else {key: value}
    return found
