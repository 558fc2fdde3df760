"""Frames as bytes: what is written is read back, damage is seen, and other tools would decode the headers."""

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
from hypothesis import example, given, settings
from hypothesis import strategies as st

from testbed.engine import _engine
from testbed.engine._engine import Opcode, WireFormat
from tests.engine.stations import FRAME_FIELDS

TRAILER_BYTES = 40
FIRST, LAST, MARKED, CORRUPT = 1, 2, 4, 8
DATA, ANSWERS = (Opcode.DATA, Opcode.TRIMMED), (Opcode.ACK, Opcode.NACK)

U16 = st.integers(0, 2**16 - 1)
PSN = st.integers(0, 2**24 - 1)


def frame_of(**values: Any) -> _engine.Frame:
    frame = _engine.Frame()
    for name, value in values.items():
        setattr(frame, name, value)
    return frame


def fields(frame: _engine.Frame) -> dict[str, Any]:
    return {name: getattr(frame, name) for name in FRAME_FIELDS}


@st.composite
def thin_frames(draw: st.DrawFn) -> _engine.Frame:
    values: dict[str, Any] = {
        "psn": draw(PSN),
        "src": draw(U16),
        "dst": draw(U16),
        "traffic_class": draw(st.integers(0, 7)),
    }
    opcode = draw(st.sampled_from([*DATA, *ANSWERS]))
    values |= {"opcode": opcode, "flags": draw(st.integers(0, 7))}
    if opcode in ANSWERS:
        more = {"credit": draw(U16), "ack_bits": draw(st.integers(0, 2**64 - 1)), "index": draw(U16)}
        return frame_of(**values, **more, frame_bytes=64)
    payload = draw(st.integers(1, 9000))
    values |= {"payload_bytes": payload, "frame_bytes": max(64, 26 + payload), "msn": draw(U16)}
    if not values["flags"] & LAST:  # a last packet has its length in the place of its index
        values["index"] = draw(U16)
    return frame_of(**values)


@st.composite
def roce_frames(draw: st.DrawFn) -> _engine.Frame:
    dscp = draw(st.integers(0, 63))
    values: dict[str, Any] = {
        "psn": draw(PSN),
        "src": draw(U16),
        "dst": draw(U16),
        "dscp": dscp,
    }
    opcode = draw(st.sampled_from([*DATA, *ANSWERS]))
    values |= {"opcode": opcode, "entropy": draw(U16), "format": WireFormat.ROCE_V2}
    if opcode in ANSWERS:
        return frame_of(**values, msn=draw(U16), flags=draw(st.sampled_from([0, MARKED])), frame_bytes=66)
    flags, payload = draw(st.integers(0, 7)), draw(st.integers(1, 9000))
    header = 78 if flags & FIRST else 62
    values |= {"flags": flags, "payload_bytes": payload, "frame_bytes": header + payload + -payload % 4}
    if flags & FIRST:
        values["message_bytes"] = draw(st.integers(payload, 2**30))
    return frame_of(**values)


@st.composite
def control_frames(draw: st.DrawFn) -> _engine.Frame:
    return control(
        draw(st.sampled_from([Opcode.PAUSE, Opcode.CREDIT])),
        {number: draw(U16) for number in draw(st.sets(st.integers(0, 7)))},
    )


def control(opcode: Opcode, words: Mapping[int, int]) -> _engine.Frame:
    """A MAC control frame with a 16-bit word for each class that it names."""

    def packed(classes: range) -> int:
        return sum(words.get(number, 0) << 16 * place for place, number in enumerate(classes))

    return frame_of(
        format=WireFormat.MAC_CONTROL,
        opcode=opcode,
        frame_bytes=64,
        src=0xFFFF,
        dst=0xFFFF,
        credit=sum(1 << number for number in words),
        ack_bits=packed(range(4)),
        psn=packed(range(4, 6)),
        message_bytes=packed(range(6, 8)),
    )


FRAMES = thin_frames() | roce_frames() | control_frames()
SNAPS = st.sampled_from([0, 1, 64, 1000, 2**32 - 1])


def example_frames() -> list[_engine.Frame]:
    base = {"src": 3, "dst": 7, "psn": 0x123456, "traffic_class": 3}
    ack = base | {"opcode": Opcode.NACK, "ack_bits": 0x8000000000000001, "credit": 64}
    roce = base | {"format": WireFormat.ROCE_V2, "entropy": 0xC123, "dscp": 26}
    return [
        frame_of(**base, payload_bytes=100, frame_bytes=126, flags=FIRST | LAST, msn=5),
        frame_of(**ack, frame_bytes=64),
        frame_of(**roce, payload_bytes=101, frame_bytes=78 + 104, message_bytes=5000, flags=FIRST),
        frame_of(**roce, opcode=Opcode.ACK, msn=9, frame_bytes=66),
        control(Opcode.PAUSE, {3: 0xFFFF, 4: 0}),
        frame_of(**base, opcode=Opcode.TRIMMED, payload_bytes=38, frame_bytes=64, flags=FIRST),
        frame_of(**roce, opcode=Opcode.TRIMMED, payload_bytes=50, frame_bytes=128, message_bytes=9, flags=3),
    ]


@given(FRAMES, SNAPS, st.integers(0, 2**62), st.integers(0, 2**64 - 1))
@settings(max_examples=300, deadline=None)
def test_frame_encoded_and_decoded_is_the_same(
    frame: _engine.Frame, snap: int, first_bit_ps: int, link_seq: int
) -> None:
    kind, read, about = _engine.decode(_engine.encode(frame, snap, first_bit_ps, link_seq))
    assert kind == "frame"
    assert read is not None
    assert fields(read) == fields(frame)
    assert about == {"first_bit_ps": first_bit_ps, "link_seq": link_seq, "intact": True}


@given(FRAMES, SNAPS)
@settings(max_examples=200, deadline=None)
def test_frame_on_veth_has_its_length_less_fcs_and_what_snap_cuts(frame: _engine.Frame, snap: int) -> None:
    cut = max(0, frame.payload_bytes - snap)
    assert len(_engine.encode(frame, snap)) == max(60, frame.frame_bytes - 4 - cut) + TRAILER_BYTES


@pytest.mark.parametrize("place", range(7))
def test_trailer_with_any_byte_damaged_is_no_frame(place: int) -> None:
    data = _engine.encode(example_frames()[place], 2**32 - 1, 123_456_789, 42)
    for offset in range(len(data) - TRAILER_BYTES, len(data)):
        for flip in (1, 0x80, 0xFF):
            assert _engine.decode(damaged(data, offset, flip))[0] != "frame", offset


@pytest.mark.parametrize("place", [0, 2])
def test_payload_with_any_byte_damaged_is_not_intact(place: int) -> None:
    frame = example_frames()[place]
    data = _engine.encode(frame)
    header = 22 if frame.format is WireFormat.THIN else 70
    for offset in range(header, header + frame.payload_bytes):
        kind, _, about = _engine.decode(damaged(data, offset, 1 << (offset % 8)))
        assert kind == "frame"
        assert about is not None
        assert not about["intact"], offset


@pytest.mark.parametrize("place", [0, 2])
def test_packet_with_another_identity_is_not_intact(place: int) -> None:
    frame = example_frames()[place]
    data = _engine.encode(frame)
    psn = 15 if frame.format is WireFormat.THIN else 14 + 20 + 8 + 9
    for offset in (4, 5, 10, 11, psn, psn + 1, psn + 2):  # destination, source, sequence number
        kind, _, about = _engine.decode(damaged(data, offset, 1))
        assert kind == "frame"
        assert about is not None
        assert not about["intact"], offset


def damaged(data: bytes, offset: int, flip: int) -> bytes:
    return data[:offset] + bytes([data[offset] ^ flip]) + data[offset + 1 :]


@given(st.binary(max_size=300))
@example(b"")
@settings(max_examples=200, deadline=None)
def test_foreign_bytes_are_foreign(data: bytes) -> None:
    assert _engine.decode(data) == ("foreign", None, None)


@pytest.mark.parametrize("place", range(7))
def test_frame_cut_anywhere_is_no_frame(place: int) -> None:
    data = _engine.encode(example_frames()[place])
    assert {_engine.decode(data[:size])[0] for size in range(len(data))} == {"foreign"}


@given(FRAMES, st.binary(min_size=60, max_size=200))
@settings(max_examples=200, deadline=None)
def test_trailer_behind_other_bytes_is_never_intact_data_of_another(
    frame: _engine.Frame, other: bytes
) -> None:
    kind, read, about = _engine.decode(other + _engine.encode(frame)[-TRAILER_BYTES:])
    if kind == "frame" and read is not None and about is not None and read.opcode is Opcode.DATA:
        assert not about["intact"]


@pytest.mark.parametrize("field", ["frame_bytes", "payload_bytes"])
def test_encode_frame_that_cannot_hold_its_payload_is_refused(field: str) -> None:
    frame = example_frames()[0]
    setattr(frame, field, 60 if field == "frame_bytes" else 9000)
    with pytest.raises(ValueError, match="frame"):
        _engine.encode(frame)


def test_encode_frame_never_filled_is_refused() -> None:
    with pytest.raises(ValueError, match="frame"):
        _engine.encode(_engine.Frame())


# ---------------------------------------------------------------------------- headers, read by independent code


def test_thin_header_has_its_documented_fields() -> None:
    data = _engine.encode(example_frames()[0])
    assert data[:14].hex() == "02544e000007" + "02544e000003" + "88b5"
    word, psn, msn, size = data[14], data[15:18], data[18:20], data[20:22]
    assert (word, psn.hex(), msn.hex(), size.hex()) == (0b00_11_0_011, "123456", "0005", "0064")


def test_thin_acknowledgement_has_credit_and_bits() -> None:
    data = _engine.encode(example_frames()[1])
    assert data[14] >> 6 == 2
    assert (data[18:20].hex(), data[22:30].hex()) == ("0040", "8000000000000001")
    assert len(data) == 60 + TRAILER_BYTES


@given(roce_frames())
@settings(max_examples=100, deadline=None)
def test_roce_ip_header_is_valid(frame: _engine.Frame) -> None:
    ip = _engine.encode(frame)[14:34]
    total = sum(struct.unpack(">10H", ip))
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF
    assert (ip[0], ip[8], ip[9]) == (0x45, 64, 17)
    assert int.from_bytes(ip[2:4], "big") == frame.frame_bytes - 4 - 14
    assert ip[1] == frame.dscp << 2 | (3 if frame.flags & MARKED else 2)
    assert ip[12:16] == bytes([10, frame.src >> 8, frame.src & 255, 1])
    assert ip[16:20] == bytes([10, frame.dst >> 8, frame.dst & 255, 1])


@given(roce_frames())
@settings(max_examples=100, deadline=None)
def test_roce_udp_and_bth_have_their_fields(frame: _engine.Frame) -> None:
    data = _engine.encode(frame)
    source, port, size, check = struct.unpack(">4H", data[34:42])
    assert (source, port, size, check) == (frame.entropy, 4791, frame.frame_bytes - 4 - 34, 0)
    if frame.opcode in ANSWERS:
        psn = (frame.psn - 1) % 2**24 if frame.opcode is Opcode.ACK else frame.psn
        assert (data[42], data[54]) == (0x11, 0x1F if frame.opcode is Opcode.ACK else 0x60)
        assert data[51:54] == psn.to_bytes(3, "big")
        assert data[55:58] == frame.msn.to_bytes(3, "big")
        return
    kinds = {0: 0x07, FIRST: 0x06, LAST: 0x08, FIRST | LAST: 0x0A}  # RDMA WRITE of a reliable connection
    assert data[42] == kinds[frame.flags & 3]
    assert (data[43] >> 4) & 3 == -frame.payload_bytes % 4
    assert data[46] == (1 if frame.opcode is Opcode.TRIMMED else 0)  # reserved bits beside FECN and BECN
    assert data[51:54] == frame.psn.to_bytes(3, "big")
    if frame.flags & FIRST:
        assert data[66:70] == frame.message_bytes.to_bytes(4, "big")


def icrc_of(packet: bytes) -> bytes:
    """RoCEv2 annex A17.3.3: CRC-32 of 64 ones and the packet from IP on, its variant fields replaced by ones."""
    ones = bytearray(packet[14:-4])
    for offset in (
        1,
        8,
        10,
        11,
        26,
        27,
        32,
    ):  # type of service, TTL, header check sum, UDP check sum, BTH reserved
        ones[offset] = 0xFF
    return zlib.crc32(b"\xff" * 8 + bytes(ones)).to_bytes(4, "little")


@given(roce_frames())
@settings(max_examples=100, deadline=None)
def test_roce_icrc_is_that_of_the_annex(frame: _engine.Frame) -> None:
    packet = _engine.encode(frame)[:-TRAILER_BYTES]
    assert packet[-4:] == icrc_of(packet)


def test_icrc_covers_what_a_router_leaves_alone_and_nothing_else() -> None:
    packet = _engine.encode(example_frames()[2])[:-TRAILER_BYTES]
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


@given(FRAMES)
@settings(max_examples=100, deadline=None)
def test_damage_on_a_wire_travels_in_the_trailer_alone(frame: _engine.Frame) -> None:
    whole = _engine.encode(frame)
    frame.flags |= CORRUPT
    data = _engine.encode(frame)
    assert data[:-TRAILER_BYTES] == whole[:-TRAILER_BYTES]
    kind, read, about = _engine.decode(data)
    assert (kind, about and about["intact"]) == ("frame", True)
    assert read is not None
    assert read.flags == frame.flags


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
