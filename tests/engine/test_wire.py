"""Frames as bytes: what is written is read back, damage is seen, and other tools would decode the headers."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from testbed.engine import _engine
from testbed.engine._engine import Opcode, WireFormat
from tests.engine.plans import FRAME_FIELDS

TRAILER_BYTES = 40
FIRST, LAST, MARKED = 1, 2, 4

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
    values = {"psn": draw(PSN), "src": draw(U16), "dst": draw(U16), "traffic_class": draw(st.integers(0, 7))}
    opcode = draw(st.sampled_from(Opcode))
    values |= {"opcode": opcode, "flags": draw(st.integers(0, 7))}
    if opcode is not Opcode.DATA:
        more = {"credit": draw(U16), "ack_bits": draw(st.integers(0, 2**64 - 1)), "frame_bytes": 64}
        return frame_of(**values, **more)
    payload = draw(st.integers(1, 9000))
    values |= {"payload_bytes": payload, "frame_bytes": max(64, 26 + payload), "msn": draw(U16)}
    if not values["flags"] & LAST:  # a last packet has its length in the place of its index
        values["index"] = draw(U16)
    return frame_of(**values)


@st.composite
def roce_frames(draw: st.DrawFn) -> _engine.Frame:
    values = {"psn": draw(PSN), "src": draw(U16), "dst": draw(U16), "traffic_class": draw(st.integers(0, 7))}
    opcode = draw(st.sampled_from(Opcode))
    values |= {"opcode": opcode, "entropy": draw(U16), "format": WireFormat.ROCE_V2}
    if opcode is not Opcode.DATA:
        return frame_of(**values, msn=draw(U16), flags=draw(st.sampled_from([0, MARKED])), frame_bytes=66)
    flags, payload = draw(st.integers(0, 7)), draw(st.integers(1, 9000))
    header = 78 if flags & FIRST else 62
    values |= {"flags": flags, "payload_bytes": payload, "frame_bytes": header + payload + -payload % 4}
    if flags & FIRST:
        values["message_bytes"] = draw(st.integers(payload, 2**30))
    return frame_of(**values)


FRAMES = thin_frames() | roce_frames()
SNAPS = st.sampled_from([0, 1, 64, 1000, 2**32 - 1])


def example_frames() -> list[_engine.Frame]:
    base = {"src": 3, "dst": 7, "psn": 0x123456, "traffic_class": 3}
    ack = base | {"opcode": Opcode.NACK, "ack_bits": 0x8000000000000001, "credit": 64}
    roce = base | {"format": WireFormat.ROCE_V2, "entropy": 0xC123}
    return [
        frame_of(**base, payload_bytes=100, frame_bytes=126, flags=FIRST | LAST, msn=5),
        frame_of(**ack, frame_bytes=64),
        frame_of(**roce, payload_bytes=101, frame_bytes=78 + 104, message_bytes=5000, flags=FIRST),
        frame_of(**roce, opcode=Opcode.ACK, msn=9, frame_bytes=66),
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


@pytest.mark.parametrize("place", range(4))
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


@pytest.mark.parametrize("place", range(4))
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
    assert ip[1] == frame.traffic_class << 5 | (3 if frame.flags & MARKED else 2)
    assert ip[12:16] == bytes([10, frame.src >> 8, frame.src & 255, 1])
    assert ip[16:20] == bytes([10, frame.dst >> 8, frame.dst & 255, 1])


@given(roce_frames())
@settings(max_examples=100, deadline=None)
def test_roce_udp_and_bth_have_their_fields(frame: _engine.Frame) -> None:
    data = _engine.encode(frame)
    source, port, size, check = struct.unpack(">4H", data[34:42])
    assert (source, port, size, check) == (frame.entropy, 4791, frame.frame_bytes - 4 - 34, 0)
    if frame.opcode is not Opcode.DATA:
        psn = (frame.psn - 1) % 2**24 if frame.opcode is Opcode.ACK else frame.psn
        assert (data[42], data[54]) == (0x11, 0x1F if frame.opcode is Opcode.ACK else 0x60)
        assert data[51:54] == psn.to_bytes(3, "big")
        assert data[55:58] == frame.msn.to_bytes(3, "big")
        return
    kinds = {0: 0x07, FIRST: 0x06, LAST: 0x08, FIRST | LAST: 0x0A}  # RDMA WRITE of a reliable connection
    assert data[42] == kinds[frame.flags & 3]
    assert (data[43] >> 4) & 3 == -frame.payload_bytes % 4
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
